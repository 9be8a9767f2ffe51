"""Whose fault each failure is, as one exception tree.

    GradingError                 a message a person can act on, never a traceback
    ├── SubmissionError          the student's to fix: `failed` at the check it hits
    │   └── LimitReached         a time, memory or output bound of the rubric was reached
    └── GraderFault              ours, or the machine's: `not_judged`, never a zero
        └── UsageFault           the command line, the rubric or the data folder is wrong

Every error says what was expected, what was found, where, and what to do.
"""

from __future__ import annotations


class GradingError(Exception):
    """Base of all errors that end a run with words instead of a traceback."""

    def __init__(
        self, message: str, *, expected: str = "", found: str = "", where: str = "", help: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.found = found
        self.where = where
        self.help = help

    def __str__(self) -> str:
        parts = [self.message]
        for label in ("expected", "found", "where", "help"):
            if text := getattr(self, label):
                parts.append(f"  {label}: {text}")
        return "\n".join(parts)


class SubmissionError(GradingError):
    """The submission is at fault; the student can mend it."""


class LimitReached(SubmissionError):
    """The submission ran into a bound that the rubric sets."""


class GraderFault(GradingError):
    """The grader or its machine is at fault; the student is never scored for it."""


class UsageFault(GraderFault):
    """The person running the grader gave something it cannot use."""
