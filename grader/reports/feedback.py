"""What a student gets to read through a course system, and the archives that carry it there."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable

from grader.record import Submission
from grader.reports import terminal
from grader.reports.given import Graded, Results
from grader.reports.gradebook import Remark
from grader.reports.grades import grade

Place = Callable[[Submission], str]
"""Where in an archive a submission's feedback belongs: the beginning of its name, or nothing."""

_WHEN = (1980, 1, 1, 0, 0, 0)  # equal results make equal archives
_COLUMNS = 80


def zipped(results: Results, system: str, place: Place) -> tuple[bytes, list[Remark]]:
    """Return a zip of feedback, and remarks on submissions that have none in it."""
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
            name, content = written(graded, results)
            if start + name in archive.namelist():
                left.append(("", graded.key, "no feedback: somebody handed in several times"))
                continue
            entry = zipfile.ZipInfo(start + name, _WHEN)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, content)
    return made.getvalue(), left


def written(graded: Graded, results: Results) -> tuple[str, bytes]:
    """Return the name and the content of the feedback on one submission."""
    text = terminal.render(graded.record, results.rubric, width=_COLUMNS)
    made = grade(graded.record, results.rubric)
    late = f"{made.remark}\ngrade: {made.points:g}\n" if made.remark else ""
    return "feedback.txt", f"{text}\n{late}".encode("utf-8-sig")  # with a mark, for old editors


def words(name: str) -> str:
    """Return what a name has of letters, blanks and hyphens: no part of it is then a number."""
    return re.sub(r"[^\w -]+|[\d_]+", "", name).strip(" -") or "submission"
