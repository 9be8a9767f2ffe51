"""The requirements: plain functions that read a record. They run nothing and need no pytest."""

from __future__ import annotations

from grader.checks.requirements import REQUIREMENTS
from grader.checks.verdict import Requirement
from grader.record import Check, Record
from grader.rubric import Rubric

__all__ = ["CHECKS", "REQUIREMENTS", "judge", "selected"]

CHECKS = tuple(requirement.id for requirement in REQUIREMENTS)
"""The ids, in the order of the report."""


def selected(rubric: Rubric) -> list[Requirement]:
    """Return the requirements that the rubric gives points for; the others are switched off."""
    return [requirement for requirement in REQUIREMENTS if requirement.id in rubric.points]


def judge(record: Record, rubric: Rubric) -> list[Check]:
    """Judge every requirement that the rubric asks for on what the record holds."""
    return [requirement.judge(record, rubric) for requirement in selected(rubric)]
