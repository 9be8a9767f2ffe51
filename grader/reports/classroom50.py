"""Classroom 50: `result.json` of an autograder, `classroom50/result/v1` (its wiki and schema).

Who pushed what stands in the environment that its runner gives an autograder. Scores are whole
numbers there; where a rubric's points are not, all are told in hundredths. A record without a score
gives no file, which is an error of the infrastructure to the runner, and no zero.
"""

from __future__ import annotations

import os
import time
from typing import Any

from grader.errors import UsageFault
from grader.escape import escaped
from grader.files import readable
from grader.record import Check
from grader.reports import markdown, told
from grader.reports.given import Graded, Results
from grader.reports.registry import Files

_VARIABLES = {
    "classroom": "CLASSROOM", "assignment": "ASSIGNMENT", "submission": "SUBMISSION_TAG",
    "commit": "COMMIT_URL", "release": "RELEASE_URL",
}  # fmt: skip
_STAMPED = {"owner": "OWNER", "assignment_type": "ASSIGNMENT_TYPE"}
"""What the runner writes over, whatever an autograder says."""
_MOST = 2_000  # characters of a release's text; bytes are never fewer


def files(graded: Graded, results: Results) -> Files:
    """Return `result.json` and the text of a release. Raises UsageFault outside its runner."""
    record = escaped(graded.record)
    if told.why_unscored(record):
        return {}
    if missing := [name for name in _VARIABLES.values() if not os.environ.get(name)]:
        raise UsageFault(
            "a result for Classroom 50 says which push it is of",
            expected="the environment that its runner gives an autograder",
            found=f"no {', '.join(missing)}", help="write this report in an autograder.py of its",
        )  # fmt: skip
    stamped = {key: os.environ.get(name) for key, name in _STAMPED.items()}
    stamped["owner"] = stamped["owner"] or os.environ.get("USERNAME")
    whole = all(p % 1 == 0 for check in record.checks for p in (check.points, check.max_points))
    tests = [_test(check, 1 if whole else 100) for check in record.checks]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    made = {
        "schema": "classroom50/result/v1",
        **{key: os.environ[name] for key, name in _VARIABLES.items()},
        **{key: value for key, value in stamped.items() if value},
        "review": os.environ.get("REVIEW_URL") or os.environ["COMMIT_URL"],
        "datetime": now, "graded_at": now,
        "score": sum(test["score"] for test in tests),
        "max-score": sum(test["max-score"] for test in tests),
        "tests": tests,
    }  # fmt: skip
    return {
        "classroom50/result.json": readable(made),
        "classroom50/release-body.md": markdown.summary(graded.record, _MOST).encode(),
    }


def _test(check: Check, scale: int) -> dict[str, Any]:
    return {
        "test-name": check.title, "passed": check.outcome == "passed",
        "score": round(check.points * scale), "max-score": round(check.max_points * scale),
        "output": "\n".join(told.lines(check)),
    }  # fmt: skip
