"""PrairieLearn: `results.json` of an external grader (its documentation, "External grading").

What cannot be judged is not gradable, and costs the student no attempt.
"""

from __future__ import annotations

from typing import Any

from grader.escape import escaped
from grader.files import readable
from grader.record import Check, Record
from grader.reports import told
from grader.reports.given import Graded, Results
from grader.reports.registry import Files

_MOST = 10_000  # characters of a text: with all of them the file stays below its megabyte


def files(graded: Graded, results: Results) -> Files:
    """Return the file for `/grade/results`."""
    record = escaped(graded.record)
    why = told.why_unscored(record)
    made = _ungradable(record, why) if why else _gradable(record)
    return {"prairielearn/results.json": readable(made)}


def _ungradable(record: Record, why: str) -> dict[str, Any]:
    problem = told.lines(record.problem) if record.problem is not None else []
    return {"gradable": False, "format_errors": ["\n".join([f"not graded: {why}", *problem])]}


def _gradable(record: Record) -> dict[str, Any]:
    assert record.score is not None  # it would be ungradable
    problem = told.untold(record)
    output = [*(told.lines(problem) if problem else []), *told.accuracy(record), *record.notes]
    return {
        "gradable": True, "score": min(record.score / record.max_score, 1.0),
        "message": output[0][:_MOST] if output else "", "output": "\n".join(output)[:_MOST],
        "tests": [_test(check) for check in record.checks],
    }  # fmt: skip


def _test(check: Check) -> dict[str, Any]:
    return {
        "name": check.title, "points": check.points, "max_points": check.max_points,
        "message": check.message[:_MOST], "output": "\n".join(told.lines(check))[:_MOST],
    }  # fmt: skip
