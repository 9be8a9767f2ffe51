"""What a student gets to read through a course system, and the archives that carry it there."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence

from grader.files import archived
from grader.record import Submission
from grader.reports.given import Results
from grader.reports.gradebook import Gradebook, Remark
from grader.reports.grades import grade
from grader.reports.registry import FORMATS

Place = Callable[[Submission, Sequence[str]], str]
"""Where in an archive a submission's feedback belongs: the beginning of its name, or nothing.

It is asked with the row of the gradebook whose grade the submission made.
"""

_NAME = "report.html"


def zipped(
    results: Results, book: Gradebook, system: str, place: Place
) -> tuple[bytes, list[Remark]]:
    """Return a zip with the pages of submissions, and remarks on those without one in it.

    In it are those that one row was graded with: nobody else may read what a page says.
    """
    rows: dict[int, list[Sequence[str]]] = defaultdict(list)
    for row in book.people:
        if len(row.graded) == 1:
            rows[row.graded[0]].append(book.rows[row.place])
    pages: dict[str, bytes] = {}
    left: list[Remark] = []
    for at, graded in enumerate(results.graded):
        submission = graded.record.submission
        if grade(graded.record, results.rubric).points is None:
            continue  # which the remarks on grades tell
        own = len(rows[at]) == 1
        start = place(submission, rows[at][0]) if own and submission.system == system else ""
        if not own:
            why = "it did not make one person's grade"
        elif not start:
            why = "it has not the person's numbers there"
        elif start + _NAME in pages:
            why = "its number is that of another one too"
        else:
            pages[start + _NAME] = FORMATS["html"].files(graded, results)[_NAME]
            continue
        left.append(("", graded.key, f"no feedback: {why}"))
    return archived(pages), left


def words(name: str) -> str:
    """Return what a name has of letters, blanks and hyphens: no part of it is then a number."""
    return re.sub(r"[^\w -]+|[\d_]+", "", name).strip(" -") or "submission"
