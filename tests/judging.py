"""Grades submissions in this process, without a training: the pipeline and the checks alone."""

from __future__ import annotations

import contextlib
import inspect
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from grader import rubric as rubrics
from grader.checks import test_requirements as requirements
from grader.checks.judge import CheckFailed, Judge
from grader.errors import GradingError
from grader.pipeline import Request, Run
from grader.record import Record
from grader.rubric import CHECKS, Rubric


@dataclass(frozen=True)
class Judged:
    """A record, the outcome of each check that needs no training, and the points earned."""

    record: Record
    outcomes: dict[str, str]
    score: float

    @property
    def fault(self) -> str | None:
        """The one word for why it did not get to its end."""
        return self.record.problem.fault if self.record.problem else None

    @property
    def failed(self) -> set[str]:
        """The checks that failed."""
        return {name for name, outcome in self.outcomes.items() if outcome == "failed"}


def judge(
    submission: Path,
    out: Path,
    *,
    seconds: float = 60,
    megabytes: int = 3000,
    official: bool = True,
) -> Judged:
    """Describe a submission in its box and let every check but the accuracy judge it."""
    rubric = rubrics.load()
    bounds = msgspec.structs.replace(rubric.seconds, describe=seconds)
    sizes = msgspec.structs.replace(rubric.megabytes, describe=megabytes)
    rubric = msgspec.structs.replace(rubric, seconds=bounds, megabytes=sizes)
    run = Run(Request(submission, out, rubric, official=official))
    with contextlib.closing(run), contextlib.suppress(GradingError):
        run.described()
    outcomes = {name: outcome_of(name, run.record, rubric) for name in CHECKS}
    del outcomes["test_accuracy"]
    points = [getattr(rubric.points, name) for name, o in outcomes.items() if o == "passed"]
    return Judged(run.record, outcomes, sum(points))


def outcome_of(name: str, record: Record, rubric: Rubric) -> str:
    """Let one check judge a record."""
    check = getattr(requirements, f"test_{name}")
    given = {"judge": Judge(), "rubric": rubric}
    try:
        check(**{name: given.get(name, record) for name in inspect.signature(check).parameters})
    except CheckFailed:
        return "failed"
    except pytest.skip.Exception:
        return "not_judged"
    return "passed"
