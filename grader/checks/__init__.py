"""The requirements: plain functions that read a record. They run nothing and need no pytest."""

from __future__ import annotations

from grader.checks.requirements import REQUIREMENTS
from grader.record import Check, Record
from grader.rubric import Rubric

__all__ = ["CHECKS", "REQUIREMENTS", "judge"]

CHECKS = tuple(requirement.id for requirement in REQUIREMENTS)
"""The ids, in the order of the report."""


def judge(record: Record, rubric: Rubric) -> list[Check]:
    """Judge every requirement on what the record holds."""
    return [requirement.judge(record, rubric) for requirement in REQUIREMENTS]
