"""How a check says what it found: three outcomes, and four things to tell a student who failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import pytest


@dataclass(frozen=True)
class Finding:
    """What a check compared, and, when it failed, what happened and what to try."""

    expected: str = ""
    found: str = ""
    where: str = ""
    message: str = ""
    help: str = ""

    def __str__(self) -> str:
        lines = [self.message] if self.message else []
        labels = ("expected", "found", "where", "help")
        shown = {"help": "try"}
        pairs = ((shown.get(label, label), getattr(self, label)) for label in labels)
        return "\n".join(lines + [f"  {label + ':':<10}{text}" for label, text in pairs if text])


class CheckFailed(AssertionError):
    """The submission does not meet the requirement."""


class Judge:
    """Given to every check, which calls it once with what it compared."""

    def __init__(self) -> None:
        self.finding = Finding()

    def __call__(
        self, passed: bool, *, expected: str, found: str, where: str = "", message: str = "",
        help: str = "",
    ) -> None:  # fmt: skip
        """Note the finding; CheckFailed if it did not pass, with `message` and `help`."""
        if passed:
            self.finding = Finding(expected, found, where)
            return
        self.finding = Finding(expected, found, where, message, help)
        raise CheckFailed(str(self.finding))

    def cannot(self, why: str) -> NoReturn:
        """End the check as not judged, which is neither a pass nor the student's fault."""
        self.finding = Finding(message=why)
        pytest.skip(f"not judged: {why}")
