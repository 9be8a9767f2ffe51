"""What `grade` does besides grading: one function a command, in modules by subject.

A command takes the words behind its name and returns an exit status. Its docstring is what its
`--help` says. What keeps it from its work it raises: `grader.commands.shared.told` says it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

Command = Callable[[Sequence[str]], int]

COMMANDS: dict[str, str] = {
    "audit": "proof",
    "check-rubric": "course",
    "compare": "results",
    "doctor": "course",
    "gradescope-bundle": "course",
    "init": "course",
    "leaderboard": "results",
    "regrade": "results",
    "report": "results",
    "reproduce": "proof",
    "salt": "course",
    "similar": "results",
    "store": "store",
    "verify": "proof",
}
"""The module of each command, imported when the command is asked for: grading needs none."""


def command(name: str) -> Command:
    """Return the function of a command: that of `check-rubric` is `check_rubric`."""
    module = importlib.import_module(f"{__name__}.{COMMANDS[name]}")
    function: Command = getattr(module, name.replace("-", "_"))
    return function
