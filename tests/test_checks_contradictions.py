"""What the checks make of a network that does not do what its description says."""

import pytest

from tests.judging import check_of
from tests.making import facts, finding, record

WORDS = "node conv2d_3 gives 10×1×1 where the description says 10×7×7"


def test_contradiction_fails_integrity() -> None:
    """What is not as described is told as it was seen."""
    check = check_of("integrity", record(60, model=facts(contradictions=[WORDS])))

    assert check.outcome == "failed"
    assert WORDS in check.found


def test_layers_that_change_nothing_fail_their_own_check_alone() -> None:
    """Batch norms that were found idle fail with that reason."""
    norms = [finding(name=name, counts=False, why="the scores stay") for name in ("bn1", "bn2")]
    run = record(60, model=facts(batch_norm=norms))
    check = check_of("batch_normalization", run)

    assert check_of("integrity", run).outcome == check_of("dropout", run).outcome == "passed"
    assert check.outcome == "failed"
    assert "bn1 (8×26×26): the scores stay" in check.found


@pytest.mark.parametrize("idle", [0, 1])
def test_one_layer_that_acts_is_enough(idle: int) -> None:
    """Whatever others of its kind do, one is what a requirement asks for."""
    norms = [finding(name=f"bn{i}", counts=i != idle) for i in (0, 1)]

    assert check_of("batch_normalization", record(60, model=facts(batch_norm=norms))).outcome == (
        "passed"
    )
