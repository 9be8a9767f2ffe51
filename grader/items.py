"""What pytest collects in a grading run: one item a check, made here, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from _pytest._code.code import TerminalRepr

from grader.checks import REQUIREMENTS
from grader.checks.verdict import Requirement
from grader.errors import GraderFault
from grader.escape import escaped, safe
from grader.guard import CHECKS, SELECTED
from grader.record import Check, Record
from grader.reports import junit
from grader.submissions import INTAKE


class Grading(Protocol):
    """The run that the items belong to."""

    def prepare(self, requirement: Requirement, key: str) -> None:
        """Find out what a check of a submission needs to know."""

    def judge(self, requirement: Requirement, key: str) -> Check:
        """Judge a check and note the verdict."""

    def record(self, key: str) -> Record:
        """Return what is known of a submission."""


GRADING = pytest.StashKey[Grading]()
"""What the items ask; missing where checks are only collected."""

_ORDER = ("description", "training", "everything")


class CheckFailed(Exception):
    """The submission does not meet a requirement: how pytest is told."""


class CheckItem(pytest.Item):
    """One check of one submission. It is judged by our own function; pytest shows how it ended."""

    def __init__(self, *, requirement: Requirement, key: str, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type] # pytest's own, passed on
        self.requirement = requirement
        self.key = key
        if requirement.trains:
            self.add_marker("trains")

    def setup(self) -> None:
        """Find out what the check needs to know; a fault of the grader is an error of pytest's."""
        self.config.stash[GRADING].prepare(self.requirement, self.key)

    def runtest(self) -> None:
        """Judge; raise or skip as pytest expects it."""
        grading = self.config.stash[GRADING]
        check = escaped(grading.judge(self.requirement, self.key))
        self.user_properties += junit.properties(check, grading.record(self.key))
        if check.outcome == "failed":
            raise CheckFailed(_told(check))
        if check.outcome == "not_judged":
            pytest.skip(f"not judged: {check.message}")

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None
    ) -> str | TerminalRepr:
        """Show words; a traceback only for what nobody expected."""
        if isinstance(excinfo.value, CheckFailed):
            return str(excinfo.value)
        if isinstance(excinfo.value, GraderFault):
            return "\n".join(safe(line) for line in str(excinfo.value).split("\n"))
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return where pytest says it is."""
        return self.path, None, self.name


def _told(check: Check) -> str:
    pairs = {
        "expected": check.expected, "found": check.found, "where": check.where, "try": check.help,
    }  # fmt: skip
    return "\n".join(
        [check.message, *(f"  {label + ':':<10}{text}" for label, text in pairs.items() if text)]
    )


def _spelled(name: str) -> tuple[str, str]:
    """Return the words that select a check: its name, and that of all submissions'."""
    return name, name.partition("[")[0]


class Checks(pytest.Directory):
    """The folder of checks, whose files are never looked at."""

    def collect(self) -> Iterator[CheckItem]:
        """Make the items: what needs no training first, then the training, then the rest."""
        names = self.config.stash[SELECTED]
        for stage in _ORDER:
            for entry in self.config.stash[INTAKE].entries:
                for requirement in REQUIREMENTS:
                    name = f"test_{requirement.id}" + (f"[{entry.key}]" if entry.key else "")
                    if requirement.needs == stage and (not names or {*_spelled(name)} & names):
                        yield CheckItem.from_parent(
                            self, name=name, requirement=requirement, key=entry.key
                        )


class Collection:
    """Registered as a plugin for one run: collects the checks, whatever the command line says."""

    def __init__(self, config: pytest.Config) -> None:
        """Raise UsageError where the command line names a check that does not exist."""
        known = [f"test_{requirement.id}" for requirement in REQUIREMENTS]
        keys = [f"{name}[{entry.key}]" for name in known for entry in config.stash[INTAKE].entries]
        if unknown := config.stash[SELECTED] - {*known, *keys}:
            raise pytest.UsageError(
                f"there is no check {', '.join(sorted(unknown))}\n  expected: {', '.join(known)}"
            )

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> bool:
        """Ignore every file, and every folder that does not lead to the checks."""
        return collection_path != CHECKS and collection_path not in CHECKS.parents

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Collector:
        """Make the collector of the checks; the folders above are just folders."""
        if path != CHECKS:
            return pytest.Dir.from_parent(parent, path=path)
        inside = CHECKS.is_relative_to(parent.config.rootpath)
        return Checks.from_parent(parent, path=path, nodeid=None if inside else "grader/checks")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leave out the training for a quick look."""
        if config.getoption("quick"):
            slow = [item for item in items if item.get_closest_marker("trains")]
            items[:] = [item for item in items if item not in slow]
            config.hook.pytest_deselected(items=slow)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Refuse to run anything that is not a check of ours."""
        foreign = [item.nodeid for item in session.items if type(item) is not CheckItem]
        if foreign:
            raise pytest.UsageError(f"refused: these are no checks of the grader: {foreign}")
