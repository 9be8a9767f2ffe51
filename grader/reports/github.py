"""GitHub Actions: a step summary, and annotations at lines of the submission.

A summary of more than 1,024 KiB is dropped whole, and of a step ten annotations of a kind are shown
(its documentation, "Workflow commands"). Lines of `annotations.txt` are commands once a step prints
them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from grader.escape import escaped
from grader.record import Check, Record
from grader.reports import markdown, told
from grader.reports.given import Graded, Results
from grader.reports.registry import Files

_MOST_SUMMARY = 1_000 * 1024  # bytes
_MOST_ANNOTATIONS = 10
_WHERE = re.compile(
    r"(?P<file>[^;]*?\.(?:py|ipynb))(?P<cell>, cell \d+)?(?:, line (?P<line>\d+))?(?![\w.])", re.I
)


def files(graded: Graded, results: Results) -> Files:
    """Return the summary and the annotations."""
    shown = escaped(graded.record)
    lines = [_annotation(check, shown) for check in told.failed(shown)[:_MOST_ANNOTATIONS]]
    if why := told.why_unscored(shown):
        lines.insert(0, _command("warning", {"title": "No verdict"}, why))
    return {
        "github/summary.md": markdown.summary(graded.record, _MOST_SUMMARY).encode(),
        "github/annotations.txt": "".join(f"{line}\n" for line in lines).encode(),
    }


def _annotation(check: Check, record: Record) -> str:
    text = "\n".join(told.lines(check))
    place = _WHERE.search(check.where)
    at = {"file": _file(record, _name(place["file"]))} if place else {}
    if place and place["line"] and not place["cell"]:  # lines of a cell are not those of the file
        at["line"] = place["line"]
    return _command("error", at | {"title": check.title}, text)


def _name(text: str) -> str:
    """Return a file's name without the words before it: `forward of Net (my net (1).py`."""
    while text.count("(") > text.count(")"):
        text = text.partition("(")[2]
    return text.strip()


def _file(record: Record, name: str) -> str:
    """Return where a file lies in the repository: what a submission is called is its own path."""
    path = Path(record.submission.path)
    whole = path if path.name == name else path / name
    base = os.environ.get("GITHUB_WORKSPACE", "")
    return str(whole.relative_to(base)) if base and whole.is_relative_to(base) else str(whole)


def _command(kind: str, about: dict[str, str], text: str) -> str:
    shown = ",".join(f"{key}={_data(value, ':,')}" for key, value in about.items())
    return f"::{kind} {shown}::{_data(text)}"


def _data(text: str, more: str = "") -> str:
    """Return text in which nothing is the end of a value or a command."""
    for character in f"%\r\n{more}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text
