"""What of a record is handed on as a grade: the score, less what lateness costs, or nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from grader.record import Record
from grader.reports.told import why_unscored
from grader.rubric import Late, Rubric, sha256_of

_DAY = 24 * 60  # minutes


@dataclass(frozen=True)
class Grade:
    """Points out of the record's, None where there is no grade.

    `remark` says what the instructor has to know, `late` what lateness has cost, if anything.
    """

    points: float | None
    remark: str = ""
    late: str = ""


def grade(record: Record, rubric: Rubric) -> Grade:
    """Return the grade of a record.

    No grade, which is not a zero: where the grader failed, the run did not end, checks were left
    out, or nothing was handed in that could be read as code.
    """
    why = why_unscored(record)
    if record.score is None or why:
        return Grade(None, f"no grade: {why}")
    if record.problem is not None and record.problem.fault == "no-code":
        return Grade(None, "handed in, but no code: look at it")
    off, remark = (0.0, "") if rubric.late is None else _taken_off(record, rubric.late)
    # Where `grade regrade` has kept a verdict, or somebody has forgotten `--rubric`.
    other = "judged by another rubric" * (record.rubric_sha256 != sha256_of(rubric))
    return Grade(
        max(record.score - off, 0.0),
        "; ".join(filter(None, (remark, other))),
        remark if off else "",
    )


def _taken_off(record: Record, late: Late) -> tuple[float, str]:
    """Return the points that lateness costs, and what is to be said of it."""
    submission = record.submission
    own = [datetime.fromisoformat(p.deadline) for p in submission.people if p.deadline]
    try:
        deadline = max(own, default=late.deadline)
        if deadline is None:
            return 0.0, "late, but there is no deadline: nothing taken off" * bool(submission.late)
        if not submission.submitted:
            return 0.0, _unknown(submission.late)
        minutes = (datetime.fromisoformat(submission.submitted) - deadline).total_seconds() / 60
    except TypeError:  # of two times only one has an offset from UTC
        return 0.0, (
            f"nothing taken off for lateness: handed in at {submission.submitted}, and only one of "
            "this and the deadline has an offset from UTC"
        )
    if minutes <= late.grace_minutes:
        return 0.0, ""
    days = math.ceil(minutes / _DAY)
    off = min(days * late.points_a_day, math.inf if late.most is None else late.most)
    return off, f"{days} day{'s' * (days != 1)} late: {off:g} points taken off"


def _unknown(late: bool | None) -> str:
    if late is False:
        return ""
    words = "late, but nobody knows by how much" if late else "nobody knows when it was handed in"
    return f"{words}: nothing taken off (--times says when)"
