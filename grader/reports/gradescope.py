"""`results.json` of a Gradescope autograder (its documentation, "Autograder Specifications").

A record without a score, or of a run that did not end, gives no file: Gradescope then shows a
failed autograder, and no zero.
"""

from __future__ import annotations

from typing import Any

import msgspec

from grader.escape import escaped
from grader.files import readable
from grader.record import Check, Record
from grader.reports import told
from grader.reports.given import Graded, Results
from grader.reports.registry import Files


def files(graded: Graded, results: Results) -> Files:
    """Return the file, with a test for each check; nothing where no score counts."""
    record = escaped(graded.record)
    if record.score is None or record.status in ("running", "interrupted"):
        return {}
    made = {
        "score": record.score,
        "output": "\n".join(_summary(record)), "output_format": "text",
        "test_output_format": "text", "test_name_format": "text",
        "visibility": "visible", "stdout_visibility": "hidden",
        "tests": [_test(check) for check in record.checks],
        "leaderboard": list(_leaderboard(record)),
        "extra_data": {
            "status": record.status, "level": record.level, "official": record.official,
            "protection": told.protection(record),
            "sandbox": msgspec.to_builtins(record.sandbox), "sha256": record.submission.sha256,
            "content_sha256": record.content_sha256,
        },
    }  # fmt: skip
    return {"gradescope/results.json": readable(made)}


def _test(check: Check) -> dict[str, Any]:
    note = ["not judged"] if check.outcome == "not_judged" else []
    return {
        "name": check.title, "score": check.points, "max_score": check.max_points,
        "status": "passed" if check.outcome == "passed" else "failed",
        "output": "\n".join(note + told.lines(check)),
    }  # fmt: skip


def _summary(record: Record) -> list[str]:
    """Return what stands above the tests."""
    problem = told.untold(record)
    lines = told.lines(problem) if problem is not None else []
    if record.status == "partial":
        made = told.possible(record)
        lines.append(f"only checks worth {made:g} of {record.max_score:g} points were made so far")
    lines += told.accuracy(record)
    return lines + [f"note: {note}" for note in record.notes]


def _leaderboard(record: Record) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if record.accuracy is not None:
        rows.append({"name": "Accuracy", "value": record.accuracy.judged, "order": "desc"})
    if record.model is not None:
        rows.append({"name": "Parameters", "value": record.model.parameters, "order": "asc"})
    return rows
