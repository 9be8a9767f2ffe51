"""What is held against a record when it is trained again, without training."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from grader import checks, reproduce
from grader import record as records
from grader import rubric as rubrics
from grader.errors import UsageFault
from grader.record import Record, TrainingRun
from grader.reports.reproduced import Again
from tests.making import record

RUBRIC = rubrics.load()
RUN = TrainingRun(1, "weights.safetensors", errors=57, tested=10_000, curve=[90, 57], finished=True)


def judged() -> Record:
    """Make a record with the verdicts that follow from it."""
    made = record(90, 57, status="complete", rubric_sha256=rubrics.sha256_of(RUBRIC))
    found = checks.judge(made, RUBRIC)
    return replace(made, checks=found, score=sum(check.points for check in found))


def test_an_honest_verdict_follows_from_its_runs() -> None:
    """Nothing is said against it."""
    assert list(reproduce._of_verdict(judged(), RUBRIC)) == []


def test_a_verdict_that_was_bettered_does_not() -> None:
    """Neither a score, nor a check, nor an accuracy above what the runs come to."""
    honest = judged()
    assert honest.accuracy is not None
    better = replace(honest.accuracy, judged=99.9)
    first = replace(honest.checks[0], outcome="failed", points=0.0)

    for false, said in (
        (replace(honest, score=99.5), "score"),
        (replace(honest, accuracy=better), "accuracy"),
        (replace(honest, checks=[first, *honest.checks[1:]]), "Loads"),
    ):
        assert any(said in told for told in reproduce._of_verdict(false, RUBRIC))


@pytest.mark.parametrize(
    ("again", "exact", "said"),
    [
        (Again(RUN, [90, 57], same=True), True, ""),
        (Again(RUN, [90, 52]), False, ""),
        (Again(RUN, [90, 70], same=True), True, "other errors"),
        (Again(RUN, [90, 57]), True, "other weights"),
        (Again(RUN, [90, 95]), False, "more than chance makes"),
        (Again(RUN), False, "no result"),
        (Again(RUN, failed="the training process died"), True, "the training process died"),
    ],
)
def test_a_run_is_held_to_its_bits_or_to_chance(again: Again, exact: bool, said: str) -> None:
    """To its bits where machine and software are the same, else to what seeds differ by."""
    assert said in reproduce._objection(again, 60, exact=exact)
    assert bool(said) == bool(reproduce._objection(again, 60, exact=exact))


def test_without_its_rubric_a_record_is_not_reproduced(tmp_path: Path) -> None:
    """Bounds, limits and epochs are those of the rubric."""
    records.save(replace(judged(), rubric_sha256="0" * 64), tmp_path)

    with pytest.raises(UsageFault, match="cannot be reproduced"):
        reproduce.reproduced(tmp_path, reproduce.Sources(RUBRIC), lambda event, run: None)


def test_a_class_without_trainings_is_not_audited(tmp_path: Path) -> None:
    """Nothing checked is no pass."""
    (tmp_path / "ada").mkdir()
    records.save(record(), tmp_path / "ada")

    with pytest.raises(UsageFault, match="cannot be reproduced"):
        reproduce.sample(tmp_path, 5, None)
