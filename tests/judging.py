"""Grades submissions in this process, without a training: the pipeline and the checks alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from grader import rubric as rubrics
from grader.checks import judge as checks_of
from grader.pipeline import describe
from grader.record import Check, Record
from grader.request import Request
from grader.rubric import Rubric
from grader.run import Run


@dataclass(frozen=True)
class Judged:
    """A record, the outcome of each check that needs no training, and the points earned."""

    record: Record
    outcomes: Mapping[str, str]
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
    describe([run], 1, lambda run: None)
    checks = [c for c in checks_of(run.record, rubric) if c.id != "test_accuracy"]
    return Judged(run.record, {c.id: c.outcome for c in checks}, sum(c.points for c in checks))


def check_of(name: str, record: Record, rubric: Rubric | None = None) -> Check:
    """Let one check judge a record, by the default rubric if no other is given."""
    return next(c for c in checks_of(record, rubric or rubrics.load()) if c.id == name)
