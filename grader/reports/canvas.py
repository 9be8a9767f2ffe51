"""Canvas: a gradebook to import, and a zip of feedback files to upload again.

What its importer does with titles, rows and cells is from canvas-lms, `lib/gradebook_importer.rb`;
the names of feedback files from its `lib/content_zipper.rb` and submission comments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from grader.errors import UsageFault
from grader.record import Submission
from grader.reports import feedback, gradebook
from grader.reports.given import Results
from grader.reports.gradebook import Gradebook, Layout
from grader.reports.registry import Files

_NAMES = ("Student", "LastName", "FirstName", "Section")
_IDS = ("ID", "SIS User ID", "SIS Login ID", "Integration ID", "Root Account")
_ASSIGNMENT = re.compile(r".+ \(\d+\)")
_DROPPED = re.compile(r"(Current|Final|Override) (Score|Points|Grade|Status)")


def files(results: Results) -> Files:
    """Return the gradebook with grades, feedback, and remarks. Raises UsageFault."""
    book = gradebook.of(results, "Canvas")
    grades, remarks = gradebook.filled(results, book, _layout(book))
    zipped, left = feedback.zipped(results, book, "canvas", _place)
    return {
        "canvas-grades.csv": grades, "canvas-feedback.zip": zipped,
        "canvas-remarks.csv": gradebook.as_csv(remarks + left),
    }  # fmt: skip


def _layout(book: Gradebook) -> Layout:
    target = book.target(_ASSIGNMENT, "Project 1 (77), with the number that Canvas gave it")
    title = book.header[target]
    if _DROPPED.search(title):
        raise UsageFault(
            "Canvas would drop this column", expected="a title without such words", found=title,
            where=str(book.path), help="rename the assignment in Canvas, and export it again",
        )  # fmt: skip
    book.ids("Canvas", "ID", how="export the gradebook in Canvas")
    # Below the header: perhaps "Manual Posting", then "Points Possible".
    first = min((row.place for row in book.people), default=book.top + 1)
    above = [at for at in range(book.top + 1, first) if any(book.rows[at])]
    cells = [book.rows[at][target] for at in above if target < len(book.rows[at])]
    return Layout(
        book.columns(*_NAMES, *_IDS), target, book.columns(*_NAMES), above,
        gradebook.possible(book, cells), comma=gradebook.has_commas(cells),
    )  # fmt: skip


def _place(submission: Submission, _row: Sequence[str]) -> str:
    """Return the first parts of a feedback file's name, of which two are numbers: user and file."""
    user, file = submission.ids.get("user", ""), submission.ids.get("file", "")
    if not (user.isdecimal() and file.isdecimal()):
        return ""
    return f"{feedback.words(submission.key)}_{user}_{file}_"
