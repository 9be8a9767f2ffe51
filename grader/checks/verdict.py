"""What a check is: a plain function of a record and a rubric that returns a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

from grader.record import Check, Outcome, Record
from grader.rubric import Rubric


@dataclass(frozen=True)
class Verdict:
    """An outcome, what was compared and, without a pass, what happened and what to try."""

    outcome: Outcome
    expected: str = ""
    found: str = ""
    where: str = ""
    message: str = ""
    help: str = ""


class NotJudged(Exception):
    """Ends a check that has nothing to judge: neither a pass nor the student's fault."""


def verdict(
    passed: bool, *, expected: str, found: str, where: str = "", message: str = "", help: str = ""
) -> Verdict:
    """Return passed, or failed with `message` and `help`."""
    if passed:
        return Verdict("passed", expected, found, where)
    return Verdict("failed", expected, found, where, message, help)


Needs = Literal["description", "training", "everything"]


@dataclass(frozen=True)
class Requirement:
    """One requirement of the assignment: its function, and what has to be known to judge it.

    `description`: nothing but the description. `training`: a finished training; without one it
    cannot be judged. `everything`: as much as the run finds out.
    """

    function: Callable[[Record, Rubric], Verdict]
    needs: Needs

    @property
    def id(self) -> str:
        """Its name in records and rubrics."""
        return self.function.__name__

    @property
    def title(self) -> str:
        """The title that students see: the first line of the function's docstring."""
        doc = self.function.__doc__ or self.id
        return doc.strip().splitlines()[0].rstrip(".")

    @property
    def trains(self) -> bool:
        """Whether it cannot be judged without a training."""
        return self.needs == "training"

    def judge(self, record: Record, rubric: Rubric) -> Check:
        """Judge the record."""
        try:
            found = self.function(record, rubric)
        except NotJudged as why:
            found = Verdict("not_judged", message=str(why))
        return self.check(found, rubric)

    def check(self, found: Verdict, rubric: Rubric) -> Check:
        """Return a verdict as the record holds it, with title and points."""
        points = float(rubric.points[self.id])
        earned = points if found.outcome == "passed" else 0.0
        return Check(self.id, self.title, points=earned, max_points=points, **asdict(found))
