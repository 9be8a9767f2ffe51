"""A run over one submission: what it begins with, and where it goes on."""

from __future__ import annotations

from pathlib import Path

from grader import rubric as rubrics
from grader.reports import class_table
from grader.request import Request
from grader.run import Run
from tests.grading import EXAMPLES


def test_a_run_that_was_killed_has_no_score_and_passed_nothing(tmp_path: Path) -> None:
    """The first record says that nothing is known yet, in every table."""
    begun = Run(Request(EXAMPLES / "too_short.py", tmp_path, rubrics.load())).record

    assert (begun.status, begun.score) == ("running", None)
    assert class_table.end_of(begun) == class_table.score_of(begun) == "none"
