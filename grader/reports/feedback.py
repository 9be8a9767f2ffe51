"""What a student gets to read through a course system, and the archives that carry it there."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable

from grader.record import Submission
from grader.reports.given import Results
from grader.reports.gradebook import Remark
from grader.reports.grades import grade
from grader.reports.registry import FORMATS

Place = Callable[[Submission], str]
"""Where in an archive a submission's feedback belongs: the beginning of its name, or nothing."""

_WHEN = (1980, 1, 1, 0, 0, 0)  # equal results make equal archives
_NAME = "report.html"


def zipped(results: Results, system: str, place: Place) -> tuple[bytes, list[Remark]]:
    """Return a zip with the page of each submission, and remarks on those without one in it."""
    made = io.BytesIO()
    left: list[Remark] = []
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for graded in results.graded:
            submission = graded.record.submission
            start = place(submission) if submission.system == system else ""
            if grade(graded.record, results.rubric).points is None:
                continue  # which the remarks on grades tell
            if not start:
                left.append(("", graded.key, "no feedback: it has not the system's numbers"))
                continue
            if start + _NAME in archive.namelist():
                left.append(("", graded.key, "no feedback: somebody handed in several times"))
                continue
            entry = zipfile.ZipInfo(start + _NAME, _WHEN)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, FORMATS["html"].files(graded, results)[_NAME])
    return made.getvalue(), left


def words(name: str) -> str:
    """Return what a name has of letters, blanks and hyphens: no part of it is then a number."""
    return re.sub(r"[^\w -]+|[\d_]+", "", name).strip(" -") or "submission"
