"""What all commands share: how a command line is read, and how a command ends."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from grader.commands import Command
from grader.options import DEFAULT_OUT, path

# Those of pytest.ExitCode, without importing pytest.
FAILED = 1  # TESTS_FAILED
INTERRUPTED = 2
FAULT = 3  # INTERNAL_ERROR
USAGE_ERROR = 4


class Parser(argparse.ArgumentParser):
    """Says what was wrong and what to do, and ends with the exit status that pytest would give."""

    def error(self, message: str) -> NoReturn:
        """Exit."""
        print(f"{self.prog}: {message}\n  try: {self.prog} --help", file=sys.stderr)
        sys.exit(USAGE_ERROR)


def add_folder(parser: Parser) -> None:
    """Let results be named by their folder; without one, those that lie where `grade` puts them."""
    parser.add_argument(
        "folder", metavar="DIR", type=path, nargs="?", default=Path(DEFAULT_OUT),
        help=f"results of one submission or of a class (default: {DEFAULT_OUT})",
    )  # fmt: skip


def told(command: Command, arguments: Sequence[str]) -> int:
    """Carry out a command; say what keeps it from its work. Return the exit status."""
    from grader.errors import GradingError, UsageFault

    try:
        return command(arguments)
    except GradingError as error:
        print(error, file=sys.stderr)
        return USAGE_ERROR if isinstance(error, UsageFault) else FAULT
