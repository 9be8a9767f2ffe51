"""What is too good to be true is told, and no verdict follows from it."""

from __future__ import annotations

import pytest

from grader import unlikely
from grader.record import Record
from tests.making import facts, record


def told(made: Record, *others: int) -> list[str]:
    """Return the remarks on a record."""
    return list(unlikely.remarks_on(made, others))


@pytest.mark.parametrize("curve", [(150, 70, 50), (91, 45), (120, 60, 38), (5_000,)])
def test_what_is_known_of_good_networks_is_no_wonder(curve: tuple[int, ...]) -> None:
    """Nothing is said of results that honest trainings have reached, whatever others made."""
    assert told(record(*curve)) == []
    assert told(record(*curve), curve[-1] + 10, curve[-1] - 3) == []


def test_fewer_errors_than_the_best_of_its_size_are_noted() -> None:
    """With 18,962 parameters the best make 45 errors in the mean."""
    (remark,) = told(record(200, 20))

    assert "20 errors, where the best that is known of networks of this size makes 45" in remark
    assert told(record(200, 20, model=facts(parameters=25_000))) == []


def test_a_curve_that_starts_too_high_is_noted() -> None:
    """Nobody has reached 99.6 % after one epoch."""
    (remark,) = told(record(40, 42))

    assert "40 errors after one epoch, where the best that is known made 91" in remark


def test_more_than_the_same_network_did_before_is_noted() -> None:
    """Of the same plan, other seeds made 90 errors."""
    (remark,) = told(record(150, 50), 88, 92, 90)

    assert "50 errors, where the same network and recipe made 90 before (n = 3)" in remark
