"""Moodle: the grading worksheet it exported, filled in, and a zip of feedback files.

What is imported of a worksheet is from mod/assign, `feedback/offline/importgradeslib.php`; names in
the zip are from `feedback/file/importziplib.php`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from grader.record import Submission
from grader.reports import feedback, gradebook
from grader.reports.given import Results
from grader.reports.gradebook import Gradebook, Layout, Remark
from grader.reports.grades import grade
from grader.reports.registry import Files

# Its columns have titles in the site's language: first Identifier, Grade with Maximum Grade next.
_GRADE = re.compile(
    r"grade|bewertung|note|calificación|calificacion|cijfer|valutazione|voto|nota|avaliação|betyg"
    r"|karakter|ocena|hodnocení|оценка|成绩|評点|not",
    re.IGNORECASE,
)


def files(results: Results) -> Files:
    """Return the worksheet with grades, feedback, and remarks. Raises UsageFault."""
    book = gradebook.of(results, "Moodle")
    grades, remarks = gradebook.filled(results, book, _layout(book))
    zipped, left = feedback.zipped(results, book, "moodle", _place)
    return {
        "moodle-grades.csv": grades, "moodle-feedback.zip": zipped,
        "moodle-remarks.csv": gradebook.as_csv([*remarks, *left, *_zeros(results, book)]),
    }  # fmt: skip


def _layout(book: Gradebook) -> Layout:
    title = re.compile(re.escape(book.column.strip()) + ".*") if book.column else _GRADE
    target = book.target(title, "Grade, in the site's language")
    beside = [row[target + 1] for row in book.rows[book.top + 1 :] if len(row) > target + 1]
    return Layout(
        [], target, range(1, target), possible=gradebook.possible(book, beside), whole=True,
        comma=gradebook.has_commas(beside),
    )  # fmt: skip


def _place(submission: Submission, row: Sequence[str]) -> str:
    """Return the folder of a submission, in whose name the participant's number stands.

    A team's number is none of a participant's, or of another one: the row's first cell tells.
    """
    number = submission.ids.get("participant", "")
    name = feedback.words(submission.people[0].name if submission.people else "")
    own = number.isdecimal() and number in re.findall(r"\d+", row[0])
    return f"{name}_{number}_assignsubmission_file/" if own else ""


def _zeros(results: Results, book: Gradebook) -> Iterator[Remark]:
    for row in book.people:
        for graded in [results.graded[at] for at in row.graded]:
            if grade(graded.record, results.rubric).points == 0:
                yield row.person.name, graded.key, "0: Moodle may pass it over, so look there"
