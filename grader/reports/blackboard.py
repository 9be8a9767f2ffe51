"""Blackboard: a file to upload to the grade centre, by user names and the numbers of columns."""

from __future__ import annotations

import re

from grader.reports import gradebook
from grader.reports.given import Results
from grader.reports.gradebook import Gradebook, Layout
from grader.reports.registry import Files

_GRADE = re.compile(r".+ ?\|\d+")
_POINTS = re.compile(r"Total Pts: (?:up to )?([-\d.,]*\d)")


def files(results: Results) -> Files:
    """Return the grades, and remarks. Raises UsageFault."""
    book = gradebook.of(results, "Blackboard")
    grades, remarks = gradebook.filled(results, book, _layout(book))
    return {"blackboard-grades.csv": grades, "blackboard-remarks.csv": gradebook.as_csv(remarks)}


def _layout(book: Gradebook) -> Layout:
    users = book.ids("Blackboard", "Username", how="download grades in Blackboard")
    target = book.target(_GRADE, "Project 1 [Total Pts: 10 Score] |12345")
    points = gradebook.possible(book, _POINTS.findall(book.header[target]))
    return Layout(users, target, possible=points)
