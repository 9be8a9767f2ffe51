"""A grading run inside pytest: what its checks are given, and what becomes of their verdicts."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator

import pytest

from grader import pool
from grader import record as records
from grader import rubric as rubrics
from grader.checks import CHECKS
from grader.checks.verdict import Requirement, Verdict
from grader.errors import GraderFault, UsageFault
from grader.escape import safe, write_readably
from grader.interruptions import INTERRUPTIONS
from grader.items import CheckItem
from grader.pipeline import OnEvent, Request, Run
from grader.record import Check, Record
from grader.reports import progress, terminal

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
        self.fault: Exception | None = None
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
                option("runs"), option("store"), option("rerun"),
            )  # fmt: skip
            write_readably(sys.stdout)
            run = Run(request)
            config.add_cleanup(run.close)  # no check may come to ask for a description
        except GraderFault as fault:
            raise pytest.UsageError(str(fault)) from None
        config.stash[INTERRUPTIONS].note = run.note_stop
        return cls(config, run)

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
            self.fault = fault
            self._note_unjudged(requirement, Verdict(
                "not_judged", fault.expected, fault.found, fault.where, fault.message, fault.help
            ))  # fmt: skip
            raise
        except Exception as error:
            self.fault = error
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
        off = [
            item
            for item in items
            if isinstance(item, CheckItem) and item.requirement.id not in self._asked
        ]
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
        """Remember what is to be judged; make the folder for the results."""
        self.selected = [item.requirement for item in session.items if isinstance(item, CheckItem)]
        whole = {requirement.id for requirement in self.selected} == self._asked
        if not self.selected:
            raise pytest.UsageError("no check is selected: look at -k, -m and what else selects")
        try:
            self.run.begin(whole=whole)
        except GraderFault as fault:
            raise pytest.UsageError(str(fault)) from None

    @property
    def _asked(self) -> set[str]:
        return set(self.run.request.rubric.points)

    def _add(self, check: Check) -> None:
        self.checks[check.id] = check
        self._save("running")

    def _judge_the_rest(self) -> None:
        """Note what was not reached when the run was stopped."""
        record = self.run.record
        stopped = record.problem.message if record.problem else "the run was stopped"
        for requirement in self.selected:
            if requirement.id not in self.checks:
                self._note_unjudged(requirement, Verdict("not_judged", message=stopped))

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
        if self.run.folder is None:
            return
        if self.run.record.status == "interrupted":
            self._judge_the_rest()
        self._save("complete" if set(self.checks) == self._asked else "partial")
        session.exitstatus = self._exit_status(session)

    def _exit_status(self, session: pytest.Session) -> int:
        """Return whose the outcome is; README lists all."""
        passed = {check.id for check in self.checks.values() if check.outcome == "passed"}
        if self.run.record.status == "interrupted":
            return pytest.ExitCode.INTERRUPTED
        if isinstance(self.fault, UsageFault):
            return pytest.ExitCode.USAGE_ERROR
        if self.fault is not None or self.unsaved is not None:
            return pytest.ExitCode.INTERNAL_ERROR
        if session.exitstatus == pytest.ExitCode.OK and passed != {r.id for r in self.selected}:
            return pytest.ExitCode.TESTS_FAILED
        return session.exitstatus

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
            terminalreporter.write_line(f"record: {safe(str(self.run.begin() / 'record.json'))}")


def _score(record: Record, checks: list[Check]) -> float | None:
    """Add up the points; None where the submission is not at fault for what is missing."""
    problem = record.problem
    if record.status == "interrupted" or (problem is not None and not problem.is_scored):
        return None
    return sum(check.points for check in checks)
