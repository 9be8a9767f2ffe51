"""What the checks make of a probe that contradicts the description."""

import pytest

from grader.record import Record
from grader.training.events import Influence, Misshapen, Probed
from tests.judging import check_of
from tests.making import facts, finding, record


def probed(**found: object) -> Record:
    """Make the record of a trained network with two batch norms, of nodes n1 and n2."""
    norms = [finding(name="bn1", node="n1"), finding(name="bn2", node="n2")]
    return record(60, model=facts(batch_norm=norms), probe=Probed(**found))  # type: ignore[arg-type]


CONTRADICTIONS = {
    "node conv2d_3 gives 10×1×1 where the description says 10×7×7": probed(
        misshapen=[Misshapen("conv2d_3", "train", "10×7×7", "10×1×1")]
    ),
    "scores change with the other images": probed(dependence=0.5, independent=False),
    "cannot be run on a few images: out of range": probed(failed="out of range"),
}


@pytest.mark.parametrize("words", CONTRADICTIONS)
def test_contradiction_fails_the_check(words: str) -> None:
    """Each kind of contradiction is a failure that says what was seen."""
    check = check_of("integrity", CONTRADICTIONS[words])

    assert check.outcome == "failed"
    assert words in check.found


def test_layers_that_change_nothing_fail_their_own_check() -> None:
    """Batch norms that the graph counts, and the probe found idle, fail with that reason."""
    idle = [Influence(node, 1e-9, acts=False, why="the scores stay") for node in ("n1", "n2")]
    run = probed(influences=idle)
    check = check_of("batch_normalization", run)

    assert check_of("integrity", run).outcome == check_of("dropout", run).outcome == "passed"
    assert check.outcome == "failed"
    assert "bn1 (8×26×26): the scores stay" in check.found


@pytest.mark.parametrize(
    "run",
    [
        probed(influences=[Influence("n1", 0.0, acts=False), Influence("n2", 0.9, acts=True)]),
        probed(influences=[Influence("n1", None, acts=True), Influence("n2", 0.0, acts=False)]),
        record(60),
    ],
    ids=["one of two norms acts", "no telling", "no probe"],
)
def test_no_contradiction_passes_the_check(run: Record) -> None:
    """One layer that acts is what a requirement asks for, whatever others of its kind do."""
    assert check_of("batch_normalization", run).outcome == "passed"
    assert check_of("integrity", run).outcome == "passed"
