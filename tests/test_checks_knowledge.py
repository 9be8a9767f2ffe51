"""No accuracy is believed that was not learned from the training images."""

from __future__ import annotations

import msgspec
import pytest

from grader import rubric as rubrics
from grader.events import Blank, Recalled
from grader.plan.findings import Fixed
from grader.record import Record
from tests.judging import check_of
from tests.making import accuracy, record, run


def recalled(test: int, train: int, tested: int = 10_000) -> Record:
    """Make a record of a training with so many errors on test and training images."""
    made = record(test)
    assert made.accuracy is not None
    first = msgspec.structs.replace(made.accuracy.runs[0], recalled=Recalled(tested, train))
    return record(test, accuracy=msgspec.structs.replace(made.accuracy, runs=[first]))


@pytest.mark.parametrize(("test", "train"), [(0, 8_998), (0, 100), (40, 150), (500, 1_200)])
def test_accuracy_far_above_that_on_training_images_is_not_believed(test: int, train: int) -> None:
    """However small both may be."""
    found = recalled(test, train)

    assert check_of("integrity", found).outcome == "failed"
    assert "it was trained on" in check_of("integrity", found).found
    judged = check_of("test_accuracy", found)
    assert judged.outcome == "not_judged"
    assert judged.points == 0


@pytest.mark.parametrize(
    ("test", "train"), [(60, 20), (60, 60), (55, 80), (180, 220), (9_000, 9_010), (5, 9), (0, 12)]
)
def test_an_honest_training_knows_both(test: int, train: int) -> None:
    """Heavy augmentation makes neither better than the other; nor does an early end."""
    assert check_of("integrity", recalled(test, train)).outcome == "passed"


def test_every_run_is_compared() -> None:
    """A network that shows what it knows from one seed only is found there."""
    judged = accuracy([60], [60])
    runs = [run(60), run(0, seed=2, recalled=Recalled(10_000, 500))]
    found = record(60, accuracy=msgspec.structs.replace(judged, runs=runs))

    assert "in run 2 it answers 100.00%" in check_of("integrity", found).found


@pytest.mark.parametrize("when", ["untrained", "still", "shuffled"])
def test_what_a_network_knows_at_the_start_fails(when: str) -> None:
    """It has to be near chance, whenever it is asked."""
    asked = {"untrained": 300, "still": 300, "shuffled": 500} | {when: 1_500}
    found = record(60, blank=Blank(asked=2_000, **asked))

    assert check_of("integrity", found).outcome == "failed"
    assert "1,500 of 2,000" in check_of("integrity", found).found
    assert check_of("test_accuracy", found).outcome == "not_judged"


def test_random_weights_may_tell_some_digits() -> None:
    """They are no knowledge."""
    found = record(60, blank=Blank(asked=2_000, untrained=600, still=600, shuffled=700))

    assert check_of("integrity", found).outcome == "passed"


def test_fixed_values_are_bounded_by_the_rubric() -> None:
    """The largest are named with their lines, and what to do."""
    found = record(60, fixed=[Fixed("buffer", "table", 300, "net.py, line 4")])
    check = check_of("integrity", found)
    assert check.outcome == "failed"
    assert "300 in buffer table (net.py, line 4)" in check.found
    assert check.where == "net.py, line 4"
    assert "parameters" in check.help

    rubric = rubrics.load()
    limits = msgspec.structs.replace(rubric.limits, fixed_values=300)
    generous = msgspec.structs.replace(rubric, limits=limits)
    assert check_of("integrity", found, generous).outcome == "passed"
