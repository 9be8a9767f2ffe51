"""The same class of students as lists that different systems export."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence

from tests.downloads import Student

Table = list[list[str]]


def plain(students: Sequence[Student]) -> Table:
    """Return a list that a person wrote."""
    rows = [[s.sid, s.name, s.login, "A", "2024-12-05 23:00"] for s in students]
    return [["ID", "Name", "Login", "Section", "Deadline"], *rows]


def canvas(students: Sequence[Student]) -> Table:
    """Return a gradebook, with the rows below its header."""
    rows = [
        [f"{s.last}, {s.first}", str(s.number), s.sid, s.login, "Math 101", "0.9"] for s in students
    ]
    return [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Project (77)"],
        ["", "", "", "", "", "Manual Posting"], ["    Points Possible", "", "", "", "", "10.00"],
        *rows,
    ]  # fmt: skip


def moodle(students: Sequence[Student]) -> Table:
    """Return a grading worksheet."""
    rows = [[f"Participant {s.number}", s.name, s.email, "Submitted", "-"] for s in students]
    return [["Identifier", "Full name", "Email address", "Status", "Grade"], *rows]


def gradescope(students: Sequence[Student]) -> Table:
    """Return a roster."""
    rows = [[s.first, s.last, s.sid, s.email, "A"] for s in students]
    return [["First Name", "Last Name", "SID", "Email", "Sections"], *rows]


def blackboard(students: Sequence[Student]) -> Table:
    """Return a grade centre."""
    rows = [[s.last, s.first, s.login, s.sid, "2024-12-01", "Yes"] for s in students]
    return [
        ["Last Name", "First Name", "Username", "Student ID", "Last Access", "Availability"],
        *rows,
    ]


def brightspace(students: Sequence[Student]) -> Table:
    """Return grades, with `#` before what looks like a number."""
    rows = [[f"#{s.sid}", f"#{s.login}", s.last, s.first, s.email, "#"] for s in students]
    return [
        ["OrgDefinedId", "Username", "Last Name", "First Name", "Email", "End-of-Line Indicator"],
        *rows,
    ]


ROSTERS: Mapping[str, Callable[[Sequence[Student]], Table]] = {
    "plain": plain, "canvas": canvas, "moodle": moodle, "gradescope": gradescope,
    "blackboard": blackboard, "brightspace": brightspace,
}  # fmt: skip


def as_csv(table: Table, delimiter: str = ",", coding: str = "utf-8", quoting: int = 0) -> bytes:
    """Return a table as a file; `quoting` is one of the `csv` module's."""
    made = io.StringIO()
    # `csv` has an enumeration for quoting in its types only.
    csv.writer(made, delimiter=delimiter, quoting=quoting).writerows(table)  # type: ignore[arg-type]
    return made.getvalue().encode(coding)
