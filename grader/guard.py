"""Keeps the configuration of a grading run out of a submission's hands (design, invariant 7).

pytest looks for its ini file and for conftest.py files along its arguments, and with
`--submission PATH`, written with a space, PATH looks like one of them when the ini file is
chosen. By the time a plugin is asked, the ini file has been read but no conftest.py has been
imported, so refusing here is early enough for everything except an ini file that itself names a
plugin to import (`addopts = -p evil`); `grade` and `--submission=PATH` close that gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

_PACKAGE = Path(__file__).resolve().parent
_OURS = (_PACKAGE / "pytest.ini", _PACKAGE.parent / "pyproject.toml")
_ADVICE = f"use `grade PATH`, or add `-c {_OURS[0]}`, or write `--submission=PATH` with a ="


def check_configuration(ini: Path | None, arguments: Sequence[str], pyargs: bool) -> None:
    """Raise UsageError unless the ini file and every collected path are the grader's own."""
    if ini is None or ini.resolve() not in _OURS:
        raise pytest.UsageError(
            "refused: pytest took its configuration from outside the grader\n"
            f"  expected: {_OURS[0]}\n  found: {ini}\n  try: {_ADVICE}"
        )
    for argument in arguments or [str(_PACKAGE)]:
        if not (pyargs and argument.partition(".")[0] == _PACKAGE.name) and not _is_ours(argument):
            raise pytest.UsageError(
                "refused: with --submission only the grader's own checks are collected\n"
                f"  expected: {_PACKAGE}, or checks inside it\n  found: {argument}\n"
                "  try: pytest grader --submission PATH"
            )


def _is_ours(argument: str) -> bool:
    path = Path(argument.partition("::")[0]).resolve()
    return path == _PACKAGE or _PACKAGE in path.parents


def check_plugins(manager: pytest.PytestPluginManager) -> None:
    """Raise UsageError when a conftest.py that is not the grader's has been loaded."""
    for plugin in manager.get_plugins():
        file = getattr(plugin, "__file__", None)
        if (
            file
            and Path(file).name == "conftest.py"
            and _PACKAGE not in Path(file).resolve().parents
        ):
            raise pytest.UsageError(
                f"refused: {file} is loaded into the grading run\n  try: {_ADVICE}"
            )


def check_processes(number: int | None) -> None:
    """Raise UsageError when pytest-xdist is to spread the checks over `number` processes."""
    if number:
        raise pytest.UsageError(
            "refused: the checks of a submission share one training and cannot be spread\n"
            f"  expected: one pytest process\n  found: {number} (-n of pytest-xdist)\n"
            "  try: pytest grader --submission PATH, without -n"
        )
