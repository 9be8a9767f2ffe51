"""Whose fault each failure is, as one exception tree.

    GradingError                 a message a person can act on, never a traceback
    ├── SubmissionError          the student's to fix: `failed` at the check it hits
    │   ├── LimitReached         a bound was reached; its `fault` says which
    │   ├── NoCode               nothing of it could be read as code: a PDF, a broken archive
    │   ├── Crashed              the interpreter it ran in ended without an answer
    │   └── Suspicious           it did what only a submission does that means to deceive
    └── GraderFault              ours, or the machine's: `not_judged`, never a zero
        └── UsageFault           the command line, the rubric or the data folder is wrong

    Interrupted                  somebody outside stopped the run: nobody's fault

Every error says what was expected, what was found, where, and what to do. Its `fault` is the one
word for it in records.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Literal

from grader.escape import safe

Fault = Literal[
    "error", "no-code", "time-out", "out-of-memory", "flooded", "crashed", "suspicious", "grader",
    "usage", "stopped",
]  # fmt: skip
NOT_SCORED: tuple[Fault, ...] = ("grader", "usage", "stopped")
_LABELS = {"expected:": "expected", "found:": "found", "where:": "where", "try:": "help"}
_OF_BOUND: dict[str, Fault] = {"time": "time-out", "memory": "out-of-memory"}


class GradingError(Exception):
    """Base of all errors that end a run with words instead of a traceback."""

    fault: Fault = "grader"

    def __init__(
        self, message: str, *, expected: str = "", found: str = "", where: str = "", help: str = ""
    ) -> None:
        super().__init__(_as_text(message))
        self.message = _as_text(message)
        self.expected = _as_text(expected)
        self.found = _as_text(found)
        self.where = _as_text(where)
        self.help = _as_text(help)

    def __str__(self) -> str:
        parts = [safe(self.message)]
        for label, field in _LABELS.items():
            if text := getattr(self, field):
                parts.append(f"  {label:<10}{safe(text)}")
        return "\n".join(parts)


def _as_text(words: str) -> str:
    """Return what any file can hold: a name of the file system may hold bytes that are no text."""
    return words.encode("utf-8", "replace").decode()


class SubmissionError(GradingError):
    """The submission is at fault; the student can mend it."""

    fault: Fault = "error"


class LimitReached(SubmissionError):
    """The submission ran into a bound that the rubric sets, or the box."""

    @classmethod
    def of(
        cls, bound: str, message: str, *, expected: str = "", found: str = "", where: str = "",
        help: str = "",
    ) -> LimitReached:  # fmt: skip
        """Make the error for a `grader.process.Stopped` of this reason."""
        error = cls(message, expected=expected, found=found, where=where, help=help)
        error.fault = _OF_BOUND.get(bound, "flooded")
        return error


class NoCode(SubmissionError):
    """Nothing that was handed in could be read as code: a person has to look at it."""

    fault: Fault = "no-code"


class Crashed(SubmissionError):
    """The submission ended, or brought down, the interpreter it ran in."""

    fault: Fault = "crashed"


class Suspicious(SubmissionError):
    """The submission did what honest ones do not do by accident."""

    fault: Fault = "suspicious"


class GraderFault(GradingError):
    """The grader or its machine is at fault; the student is never scored for it."""


class UsageFault(GraderFault):
    """The person running the grader gave something it cannot use."""

    fault: Fault = "usage"


class Interrupted(KeyboardInterrupt):
    """Something outside stopped the run; the text says what (`SIGTERM`), without one a person."""


def stopped_by(error: BaseException) -> str:
    """Return what stopped the run, in words."""
    return f"stopped by {error}" if str(error) else "stopped by you"


@contextlib.contextmanager
def blaming_data(what: str) -> Iterator[None]:
    """Turn whatever a submission's data makes our code raise into the submission's error.

    That data is hostile until its readers are through with it, and a reader it manages to break
    must not become a fault of the grader. Errors of the system (OSError, MemoryError) stay ours,
    and a run that is being stopped (CancelledError) is nobody's fault.
    """
    try:
        yield
    except (GradingError, OSError, MemoryError, CancelledError):
        raise
    except Exception as error:
        raise SubmissionError(
            f"{what} cannot be used", expected="a network and a recipe the grader can work with",
            found=f"{type(error).__name__}: {error}"[:500],
            help="write the model in a simpler way; if it is simple already, report this",
        ) from error  # fmt: skip
