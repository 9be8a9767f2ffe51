"""Brightspace: a CSV of grades to import, with the columns as they stand in its own export."""

from __future__ import annotations

import re

from grader.reports import gradebook
from grader.reports.given import Results
from grader.reports.gradebook import Gradebook, Layout
from grader.reports.registry import Files

_KEYS = ("OrgDefinedId", "Username")
_GRADE = re.compile(r".+ Points Grade( <.*>)?")
_POINTS = re.compile(r"MaxPoints:([-\d.,]*\d)")
_END = "End-of-Line Indicator"


def files(results: Results) -> Files:
    """Return the grades, and remarks. Raises UsageFault."""
    book = gradebook.of(results, "Brightspace")
    grades, remarks = gradebook.filled(results, book, _layout(book))
    return {
        "brightspace-grades.csv": grades, "brightspace-remarks.csv": gradebook.as_csv(remarks),
    }  # fmt: skip


def _layout(book: Gradebook) -> Layout:
    keys = book.ids("Brightspace", *_KEYS, how="export grades in Brightspace, with both keys")
    target = book.target(_GRADE, "Project 1 Points Grade")
    points = gradebook.possible(book, _POINTS.findall(book.header[target]))
    return Layout(keys, target, possible=points, after=book.columns(_END))
