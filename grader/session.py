"""A grading run inside pytest: fixtures for the checks, and what their outcomes become."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any, cast

import pytest

from grader import pool
from grader import record as records
from grader import rubric as rubrics
from grader.checks.judge import CheckFailed, Finding, Judge
from grader.errors import GraderFault
from grader.escape import safe, write_readably
from grader.pipeline import Request, Run
from grader.record import Check, Outcome, Record
from grader.reports import progress, terminal
from grader.rubric import CHECKS, Rubric

_Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None

_JUDGE = pytest.StashKey[Judge]()
_PREFIX = "test_"
_GRACE = 120  # seconds a check may take beyond the bounds that end its work from inside


class Grading:
    """Registered as a plugin for one run; owns the pipeline's Run and collects the checks."""

    def __init__(self, config: pytest.Config, run: Run) -> None:
        self.config = config
        self.run = run
        self.checks: dict[str, Check] = {}
        self.trains = False
        self.unsaved: GraderFault | None = None

    @classmethod
    def start(cls, config: pytest.Config) -> Grading:
        """Make the Run from the options; UsageError for what the person got wrong."""
        option = config.getoption
        base = config.invocation_params.dir
        if not option("submission"):
            raise pytest.UsageError("--submission needs the path of a file or folder; found none")
        try:
            rubric = rubrics.load(base / option("rubric")) if option("rubric") else rubrics.load()
            data_dir = base / option("data_dir") if option("data_dir") else None
            request = Request(
                base / option("submission"), base / option("out"), rubric, data_dir,
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

    # Fixtures of the checks

    @pytest.fixture
    def judge(self, request: pytest.FixtureRequest) -> Judge:
        """Give a check its judge."""
        judge: Judge = request.node.stash[_JUDGE]
        return judge

    @pytest.fixture
    def rubric(self) -> Rubric:
        """Give a check the rubric of this run."""
        return self.run.request.rubric

    @pytest.fixture
    def described(self) -> Record:
        """Give the record once the submission has been described."""
        return self.run.described()

    @pytest.fixture
    def trained(self) -> Record:
        """Give the record once the network has been trained, showing progress on the way."""
        with self._uncaptured(), progress.shown(self.run.runs) as show:
            return self.run.trained(show)

    @pytest.fixture
    def record(self, request: pytest.FixtureRequest) -> Record:
        """Give the most that is known in this run: trained if any selected check needs that."""
        most: Record = request.getfixturevalue("trained" if self.trains else "described")
        return most

    @contextlib.contextmanager
    def _uncaptured(self) -> Generator[None]:
        """Let what is printed inside reach the person, whatever pytest captures."""
        capture = self.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            yield

    # pytest's hooks

    def pytest_report_header(self) -> str:
        """Name the submission and the rubric above the run."""
        request = self.run.request
        return f"submission: {safe(str(request.submission))}\nrubric: {request.rubric.assignment}"

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out the training for a quick look; bound every check's time from outside."""
        if self.config.getoption("quick"):
            slow = [item for item in items if item.get_closest_marker("trains")]
            items[:] = [item for item in items if item not in slow]
            self.config.hook.pytest_deselected(items=slow)
        guarded = self.config.pluginmanager.hasplugin("timeout")
        if guarded and self.config.getoption("timeout") is None:
            seconds = self.run.request.rubric.seconds
            limit = seconds.describe + seconds.run * pool.rounds(self.run.runs) + _GRACE
            for item in items:
                item.add_marker(pytest.mark.timeout(limit))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """See whether any selected check needs the training."""
        self.trains = any(item.get_closest_marker("trains") for item in session.items)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Give every check its judge."""
        item.stash[_JUDGE] = Judge()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Turn pytest's outcome of a check into ours; a failure shows words, not a traceback."""
        report = yield
        error = call.excinfo.value if call.excinfo else None
        if isinstance(error, CheckFailed | GraderFault):
            report.longrepr = "\n".join(safe(line) for line in str(error).split("\n"))
        if call.when == "call" or error is not None:
            self._note(item, report, error)
        return report

    def _note(
        self, item: pytest.Item, report: pytest.TestReport, error: BaseException | None
    ) -> None:
        outcome: Outcome = "not_judged"
        finding = item.stash[_JUDGE].finding
        if report.passed:
            outcome = "passed"
        elif isinstance(error, CheckFailed):
            outcome = "failed"
        elif isinstance(error, GraderFault):
            finding = Finding(error.expected, error.found, error.where, error.message, error.help)
        elif not report.skipped:
            finding = Finding(message=str(error))
        self._add(item, outcome, finding)

    def _add(self, item: pytest.Item, outcome: Outcome, finding: Finding) -> None:
        name = item.name.removeprefix(_PREFIX)
        points = float(getattr(self.run.request.rubric.points, name))
        earned = points if outcome == "passed" else 0.0
        self.checks[name] = Check(
            name, title_of(item), outcome, earned, points, finding.expected, finding.found,
            finding.where, finding.message, finding.help,
        )  # fmt: skip
        self._save("running")

    def _judge_the_probed(self, session: pytest.Session) -> None:
        """Judge what the beginning of a training tells, where the run was stopped later in it."""
        record = self.run.record
        if record.status != "interrupted" or record.probe is None:
            return
        for item in session.items:
            check: Callable[..., None] | None = getattr(item, "function", None)
            known = item.name.removeprefix(_PREFIX) in self.checks
            if check is None or known or not item.get_closest_marker("probed"):
                continue
            judge, outcome = Judge(), "passed"
            try:
                check(judge=judge, record=record)
            except CheckFailed:
                outcome = "failed"
            except pytest.skip.Exception:
                outcome = "not_judged"
            self._add(item, cast(Outcome, outcome), judge.finding)

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
        self._judge_the_probed(session)
        whole = set(self.checks) == set(CHECKS)
        self._save("complete" if whole else "partial")
        judged = [check.outcome for check in self.checks.values()]
        if session.exitstatus == pytest.ExitCode.OK and set(judged) != {"passed"}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.unsaved is not None:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Call a skipped check what it is."""
        return ("not judged", "n", "NOT JUDGED") if report.skipped else None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the results summary, below pytest's own list of failures."""
        if self.checks:
            writer = terminalreporter._tw  # its width and colours are what the person chose
            text = terminal.render(
                self.run.record,
                self.run.request.rubric,
                width=writer.fullwidth,
                color=writer.hasmarkup,
            )
            terminalreporter.ensure_newline()
            terminalreporter.write_line(text)
            told = f"record: {safe(str(self.run.folder / 'record.json'))}"
            terminalreporter.write_line(str(self.unsaved) if self.unsaved else told)


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


def title_of(item: pytest.Item) -> str:
    """Return a check's student-facing title: the first line of its docstring."""
    doc = getattr(getattr(item, "function", None), "__doc__", None) or item.name
    return doc.strip().splitlines()[0].rstrip(".")
