"""The dashboard of a class without names, as `anonymous.html`: to be shown to the class."""

from __future__ import annotations

from grader.reports.given import Results
from grader.reports.html.dashboard import render
from grader.reports.registry import Files


def files(results: Results) -> Files:
    """Return the page; nothing where there are no results."""
    return {"anonymous.html": render(results, anonymous=True)} if results.graded else {}
