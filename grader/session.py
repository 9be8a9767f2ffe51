"""A grading run inside pytest: what its checks are given, and what becomes of their verdicts."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any

import pytest

from grader import pool
from grader import record as records
from grader import rubric as rubrics
from grader.checks import CHECKS
from grader.checks.verdict import Requirement, Verdict
from grader.errors import GraderFault
from grader.escape import safe, write_readably
from grader.items import CheckItem
from grader.pipeline import OnEvent, Request, Run
from grader.record import Check, Record
from grader.reports import progress, terminal

_Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None

_GRACE = 120  # seconds a check may take beyond the bounds that end its work from inside


class Grading:
    """Registered as a plugin for one run; owns the pipeline's Run and collects the checks."""

    def __init__(self, config: pytest.Config, run: Run) -> None:
        self.config = config
        self.run = run
        self.checks: dict[str, Check] = {}
        self.selected: list[Requirement] = []
        self.quiet = config.get_verbosity() < 0
        self.described = False
        self.unsaved: GraderFault | None = None

    @classmethod
    def start(cls, config: pytest.Config) -> Grading:
        """Make the Run from the options; UsageError for what the person got wrong."""
        option = config.getoption
        try:
            rubric = rubrics.load(option("rubric") or rubrics.DEFAULT)
            request = Request(
                option("submission").absolute(), option("out").absolute(), rubric,
                option("data_dir"),
                option("model"), option("recipe"), option("seed"), option("official"),
                option("runs"),
            )  # fmt: skip
            _heed_signals(config)
            write_readably(sys.stdout)
            run = Run(request)
            config.add_cleanup(run.close)  # no check may come to ask for a description
            return cls(config, run)
        except GraderFault as fault:
            raise pytest.UsageError(str(fault)) from None

    # What the items ask for

    def prepare(self, requirement: Requirement) -> None:
        """Find out what a check needs to know, or the most that is known in this run.

        A fault of the grader is noted and raised.
        """
        with self._noted(requirement):
            with self._uncaptured(), self._describing():
                self.run.described()
            if requirement.needs != "description" and any(each.trains for each in self.selected):
                with self._uncaptured(), self._progress() as show:
                    self.run.trained(show)

    def judge(self, requirement: Requirement) -> Check:
        """Judge the record as it stands; what comes out, and nothing else, is the verdict."""
        with self._noted(requirement):
            check = requirement.judge(self.run.record, self.run.request.rubric)
        self._add(check)
        return check

    @contextlib.contextmanager
    def _noted(self, requirement: Requirement) -> Generator[None]:
        """Note a check as not judged where something keeps it from that."""
        try:
            yield
        except GraderFault as fault:
            self._note_unjudged(requirement, Verdict(
                "not_judged", fault.expected, fault.found, fault.where, fault.message, fault.help
            ))  # fmt: skip
            raise
        except (Exception, pytest.fail.Exception) as error:  # the latter is pytest-timeout's
            self._note_unjudged(requirement, Verdict("not_judged", message=str(error)))
            raise

    def _note_unjudged(self, requirement: Requirement, verdict: Verdict) -> None:
        self._add(requirement.check(verdict, self.run.request.rubric))

    @contextlib.contextmanager
    def _uncaptured(self) -> Generator[None]:
        """Let what is printed inside reach the person, whatever pytest captures."""
        capture = self.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            yield

    def _describing(self) -> contextlib.AbstractContextManager[None]:
        """Show the first time that something happens; after that it is done."""
        if self.quiet or self.described:
            return contextlib.nullcontext()
        self.described = True
        return progress.describing()

    def _progress(self) -> contextlib.AbstractContextManager[OnEvent]:
        if self.quiet:
            return contextlib.nullcontext(lambda event, number: None)
        return progress.shown(self.run.runs)

    # pytest's hooks

    def pytest_report_header(self) -> str:
        """Name the submission and the rubric above the run."""
        request = self.run.request
        return f"submission: {safe(str(request.submission))}\nrubric: {request.rubric.assignment}"

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what the rubric has switched off; bound every check's time from outside."""
        off = [item for item in items if isinstance(item, CheckItem) and not self._asks(item)]
        items[:] = [item for item in items if item not in off]
        if off and not items:
            names = ", ".join(item.requirement.id for item in off)
            raise pytest.UsageError(f"the rubric has switched off {names}: no points are given")
        guarded = self.config.pluginmanager.hasplugin("timeout")
        if guarded and self.config.getoption("timeout") is None:
            seconds = self.run.request.rubric.seconds
            limit = seconds.describe + seconds.run * pool.rounds(self.run.runs) + _GRACE
            for item in items:
                item.add_marker(pytest.mark.timeout(limit))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember what is to be judged."""
        self.selected = [item.requirement for item in session.items if isinstance(item, CheckItem)]

    def _asks(self, item: CheckItem) -> bool:
        return item.requirement.id in self.run.request.rubric.points

    def _add(self, check: Check) -> None:
        self.checks[check.id] = check
        self._save("running")

    def _judge_the_probed(self) -> None:
        """Judge what the beginning of a training tells, where the run was stopped later in it."""
        record = self.run.record
        if record.status == "interrupted" and record.probe is not None:
            for requirement in self.selected:
                if requirement.probed and requirement.id not in self.checks:
                    self.judge(requirement)

    def _save(self, status: str) -> None:
        checks = [self.checks[name] for name in CHECKS if name in self.checks]
        score = _score(self.run.record, checks)
        keep = {} if self.run.record.status == "interrupted" else {"status": status}
        self.run.record = records.update(self.run.record, checks=checks, score=score, **keep)
        try:
            self.run.save()
        except GraderFault as fault:  # in the middle of a hook of pytest's: told at the end
            self.unsaved = fault
        else:
            self.unsaved = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the final record; absence of failure is not a pass."""
        self._judge_the_probed()
        self._save(
            "complete" if set(self.checks) == set(self.run.request.rubric.points) else "partial"
        )
        passed = {check.id for check in self.checks.values() if check.outcome == "passed"}
        if session.exitstatus == pytest.ExitCode.OK and passed != {r.id for r in self.selected}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.unsaved is not None:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Call a skipped check what it is; leave it to the summary to say why others failed.

        pytest's own lists would stand between the summary and the prompt.
        """
        if report.skipped:
            return "not judged", "n", "NOT JUDGED"
        if report.failed and isinstance(report.longrepr, str):
            return "not passed", "F", "FAILED"
        return None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the results summary, below pytest's own list of failures."""
        if self.checks:
            writer = terminalreporter._tw  # its width and colours are what the person chose
            text = terminal.render(
                self.run.record,
                self.run.request.rubric,
                width=writer.fullwidth,
                color=writer.hasmarkup,
                brief=self.quiet,
            )
            terminalreporter.ensure_newline()
            terminalreporter.write_line(text)
        if self.unsaved:
            terminalreporter.write_line(str(self.unsaved))
        elif self.checks and not self.quiet:
            terminalreporter.write_line(f"record: {safe(str(self.run.folder / 'record.json'))}")


def _score(record: Record, checks: list[Check]) -> float | None:
    """Add up the points; None where the grader is at fault, which must not look like a zero."""
    if record.problem is not None and record.problem.fault == "grader":
        return None
    return sum(check.points for check in checks)


def _heed_signals(config: pytest.Config) -> None:
    """Let what asks a program to end (a time limit of a cluster, a closed terminal) end it well."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP"):
        if number := getattr(signal, name, None):
            config.add_cleanup(_restorer(number, signal.signal(number, interrupt)))


def _restorer(number: int, handler: _Handler) -> Callable[[], None]:
    def restore() -> None:
        signal.signal(number, handler)

    return restore
