"""Keeps the configuration of a grading run out of a submission's hands (design, invariant 7).

pytest looks for its ini file along its arguments, and with `--submission PATH`, written with a
space, PATH looks like one of them when the ini file is chosen. By the time a plugin is asked, the
ini file has been read but no conftest.py has been imported, so acting here is early enough for
everything except an ini file that itself names a plugin to import (`addopts = -p evil`); `grade`
and `--submission=PATH` close that gap.
"""

from __future__ import annotations

import argparse
import difflib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pytest

from grader.isolation import PACKAGE, forget_current_folder
from grader.options import OPTIONS

CHECKS = PACKAGE / "checks"
INI = PACKAGE / "pytest.ini"

SELECTED = pytest.StashKey[set[str]]()
"""Names of the checks that stand on the command line, as `test_dropout`; empty for all."""

_OPTIONS = tuple(option.name for option in OPTIONS[:2])  # those that name submissions


def is_grading(arguments: Sequence[str]) -> bool:
    """Tell whether a command line of pytest grades anything."""
    return any(a.partition("=")[0] in _OPTIONS for a in arguments)


def is_about_grading(arguments: Sequence[str]) -> bool:
    """Tell whether it grades, or means to: `pytest grader --help` or, by mistake, `--quick`."""
    return is_grading(arguments) or any(map(_is_ours, arguments))


def protect(config: pytest.Config, parser: pytest.Parser, arguments: list[str]) -> None:
    """Let nothing but the grader's own files take part in a run, before any other is imported.

    Raises UsageError where that is too late, or where the command line asks for something else.
    """
    options = config.known_args_namespace
    forget_current_folder()
    options.noconftest = True
    advice = f"  try: {_command_of(options)}"
    if config.inipath is None or config.inipath.resolve() not in (
        INI,
        PACKAGE.parent / "pyproject.toml",
    ):
        raise pytest.UsageError(
            "refused: pytest took its configuration from outside the grader\n"
            f"  expected: {INI}\n  found: {config.inipath}\n{advice}"
        )
    for argument in options.file_or_dir:
        if not _is_ours(argument):
            raise pytest.UsageError(
                "refused: only the grader's own checks are collected\n"
                f"  expected: {PACKAGE}, or checks inside it\n  found: {argument}\n{advice}"
            )
    _check_options(parser, arguments)
    config.stash[SELECTED] = _selected(options.file_or_dir)


def _is_ours(argument: str) -> bool:
    path = Path(argument.partition("::")[0]).resolve()
    return path in (PACKAGE, CHECKS, CHECKS / "requirements.py")


def _selected(arguments: Sequence[str]) -> set[str]:
    parts = [argument.partition("::")[2] for argument in arguments]
    return set(parts) if all(parts) else set()


def _check_options(parser: pytest.Parser, arguments: list[str]) -> None:
    """Raise UsageError for an option that nobody has declared, with the one that may be meant."""
    _, unknown = parser.parse_known_and_unknown_args(arguments)
    for option in (word.partition("=")[0] for word in unknown if word.startswith("-")):
        close = difflib.get_close_matches(option, [each.name for each in OPTIONS], 1)
        raise pytest.UsageError(
            f"there is no option {option}\n"
            + (f"  try: {close[0]}\n" if close else "")
            + "  all options: grade --help, and those of pytest: pytest --help"
        )


def check_processes(config: pytest.Config) -> None:
    """Raise UsageError when pytest-xdist is to spread the checks over processes."""
    if getattr(config.option, "dist", "no") != "no":
        raise pytest.UsageError(
            "refused: the checks of a submission share one training and cannot be spread\n"
            "  expected: one pytest process; --jobs N says how much it does at once\n"
            "  found: several (-n, --tx of pytest-xdist)\n"
            f"  try: {_command_of(config.option)}"
        )


def _command_of(options: argparse.Namespace) -> str:
    """Return the command that grades what these options name."""
    if options.submissions is not None:
        return grade_command("class", options.submissions)
    return grade_command(*options.submission)


def grade_command(*submissions: Path | str) -> str:
    """Return a command line that grades submissions, whatever folder it is typed in."""
    script = Path(sysconfig.get_path("scripts")) / ("grade.exe" if os.name == "nt" else "grade")
    found = shutil.which(script.name)
    if found and Path(found).resolve() == script.resolve():
        command = ["grade"]
    else:
        command = [str(script)] if script.exists() else [sys.executable, "-P", "-m", "grader.cli"]
    words = [*command, *map(str, submissions)]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
