"""A grading run inside pytest: what its checks are given, and what becomes of their verdicts."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from grader import cluster, pipeline, pool, seal
from grader import record as records
from grader import rubric as rubrics
from grader import salt as salts
from grader.checks import CHECKS
from grader.checks.verdict import Requirement, Verdict
from grader.datasets import files
from grader.errors import GraderFault, UsageFault
from grader.escape import safe, write_readably
from grader.files import write_atomically
from grader.interruptions import INTERRUPTIONS
from grader.items import CheckItem
from grader.record import Check, Record
from grader.reporting import Wanted
from grader.reports import class_table, progress, terminal
from grader.reports.given import Graded as Result
from grader.request import Request
from grader.rubric import Rubric
from grader.run import Run
from grader.salt import Salt
from grader.sandbox import doctor
from grader.submissions import INTAKE, unpacker

_GRACE = 120  # seconds a check may take beyond the bounds that end its work from inside


@dataclass
class Graded:
    """A submission, and how far its checks have come."""

    run: Run
    selected: list[Requirement] = field(default_factory=list)
    checks: dict[str, Check] = field(default_factory=dict)
    unsaved: GraderFault | None = None

    @property
    def trains(self) -> bool:
        """Whether a check is selected that needs a training."""
        return any(requirement.trains for requirement in self.selected)

    def judge(self, requirement: Requirement) -> Check:
        """Judge the record as it stands; what comes out, and nothing else, is the verdict."""
        with self.noted(requirement):
            check = requirement.judge(self.run.record, self.run.request.rubric)
        self._add(check)
        return check

    @contextlib.contextmanager
    def noted(self, requirement: Requirement) -> Generator[None]:
        """Note a check as not judged where something keeps it from that."""
        try:
            yield
        except GraderFault as fault:
            self.run.fault = fault
            self._note_unjudged(requirement, Verdict(
                "not_judged", fault.expected, fault.found, fault.where, fault.message, fault.help
            ))  # fmt: skip
            raise
        except Exception as error:
            self.run.fault = error
            self._note_unjudged(requirement, Verdict("not_judged", message=str(error)))
            raise

    def judge_the_rest(self) -> None:
        """Note what was not reached when the run was stopped."""
        record = self.run.record
        stopped = record.problem.message if record.problem else "the run was stopped"
        for requirement in self.selected:
            if requirement.id not in self.checks:
                self._note_unjudged(requirement, Verdict("not_judged", message=stopped))

    def begin(self) -> None:
        """Make the folder for the results. Raises GraderFault where nothing can be written."""
        whole = {each.id for each in self.selected} == set(self.run.request.rubric.points)
        self.run.begin(whole=whole)

    def exit_status(self, status: int | pytest.ExitCode) -> int | pytest.ExitCode:
        """Return whose the outcome is, `status` being pytest's own; README lists all."""
        passed = {check.id for check in self.checks.values() if check.outcome == "passed"}
        if self.run.record.status == "interrupted":
            return pytest.ExitCode.INTERRUPTED
        if isinstance(self.run.fault, UsageFault):
            return pytest.ExitCode.USAGE_ERROR
        if self.run.fault is not None or self.unsaved is not None:
            return pytest.ExitCode.INTERNAL_ERROR
        well = passed == {each.id for each in self.selected} and self.run.record.problem is None
        if status == pytest.ExitCode.OK and not well:
            return pytest.ExitCode.TESTS_FAILED
        return pytest.ExitCode(status)

    def end(self) -> None:
        """Write the final record; absence of failure is not a pass."""
        if self.run.record.status == "interrupted":
            self.judge_the_rest()
        asked = set(self.run.request.rubric.points)
        self._save("complete" if set(self.checks) == asked else "partial")
        if self.unsaved is None:
            try:
                seal.seal(self.run.begin(), self.run.request.salt)
            except GraderFault as fault:
                self.unsaved = fault

    def _note_unjudged(self, requirement: Requirement, verdict: Verdict) -> None:
        self._add(requirement.check(verdict, self.run.request.rubric))

    def _add(self, check: Check) -> None:
        self.checks[check.id] = check
        self._save("running")

    def _save(self, status: str) -> None:
        checks = [self.checks[name] for name in CHECKS if name in self.checks]
        unknown = status == "running" or self.run.fault is not None
        score = None if unknown else _score(self.run.record, checks)
        keep = {} if self.run.record.status == "interrupted" else {"status": status}
        self.run.record = records.update(self.run.record, checks=checks, score=score, **keep)
        try:
            self.run.save()
        except GraderFault as fault:  # in the middle of a hook of pytest's: told at the end
            self.unsaved = fault
        else:
            self.unsaved = None


class Grading:
    """Registered as a plugin for one run; knows each submission by its key, a single one by ""."""

    def __init__(self, config: pytest.Config, graded: dict[str, Graded], wanted: Wanted) -> None:
        self.config = config
        self.graded = graded
        self.wanted = wanted
        self.rubric = wanted.rubric
        self.quiet = config.get_verbosity() < 0
        self._done: set[str] = set()

    @classmethod
    def start(cls, config: pytest.Config) -> Grading:
        """Find the submissions by the options; UsageError for what the person got wrong."""
        option = config.getoption
        try:
            written = rubrics.load(option("rubric") or rubrics.DEFAULT)
            auto = option("runs") == "auto"
            rubric = rubrics.by_evidence(written) if auto else written
            secret = _salt(option("salt"), option("rubric"), option("seed"))
            write_readably(sys.stdout)
            files.verify(rubric.data, option("data_dir"))
            wanted = Wanted(
                tuple(option("report") or ()), written, option("out").absolute(),
                option("data_dir"), option("roster"), option("column") or "", option("times"),
            )  # fmt: skip
            wanted.check()
            if option("scheduler"):
                cluster.check(option("scheduler"), dict(option("resources") or ()))
            if option("official"):
                doctor.held().require()
            unpack = unpacker(config)
            graded = {
                entry.key: Graded(Run(Request(
                    entry.path, option("out").absolute(), rubric, option("data_dir"),
                    option("model"), option("recipe"), option("seed"), option("official"),
                    None if auto else option("runs"), option("store"), option("rerun"),
                    option("scheduler"), secret, entry if entry.key else None, unpack,
                    written if auto else None,
                )))
                for entry in config.stash[INTAKE].entries
            }  # fmt: skip
        except GraderFault as fault:
            raise pytest.UsageError(str(fault)) from None
        grading = cls(config, graded, wanted)
        config.stash[INTERRUPTIONS].note = grading.note_stop
        return grading

    @property
    def is_class(self) -> bool:
        """Whether more than one submission is graded, or might be: a folder of them."""
        return "" not in self.graded

    @property
    def _one(self) -> Graded:
        return next(iter(self.graded.values()))

    @property
    def _selected(self) -> list[Graded]:
        return [graded for graded in self.graded.values() if graded.selected]

    def note_stop(self, words: str) -> None:
        """Note what stopped the run, in the records that are not complete."""
        for graded in self._selected:
            if set(graded.checks) != self._asked:
                graded.run.note_stop(words)

    # What the items ask for

    def prepare(self, requirement: Requirement, key: str) -> None:
        """Find out what a check needs to know, or the most that is known in this run.

        The first check to ask has that done for all submissions. A fault of the grader is noted
        and raised.
        """
        graded = self.graded[key]
        with self._uncaptured():
            if self._first_time("describe"):
                self._describe()
            trains = any(each.trains for one in self._selected for each in one.selected)
            if requirement.needs != "description" and trains and self._first_time("train"):
                self._train()
        if (fault := graded.run.fault) is not None:
            with graded.noted(requirement):
                raise fault

    def judge(self, requirement: Requirement, key: str) -> Check:
        """Judge what is known of a submission."""
        return self.graded[key].judge(requirement)

    def record(self, key: str) -> Record:
        """Return what is known of a submission."""
        return self.graded[key].run.record

    def _describe(self) -> None:
        runs = [graded.run for graded in self._selected if not graded.run.is_described]
        with progress.describing(len(runs), quiet=self.quiet) as show:
            pipeline.describe(runs, self._jobs, lambda run: show(run.record.submission.key))

    def _train(self) -> None:
        runs = [graded.run for graded in self._selected if graded.trains]
        several = self._one.run.runs > 1
        new = [run for run in runs if run.trainable and not run.is_trained]

        def name(run: Run, number: int) -> str:
            parts = [run.record.submission.key, f"run {number}/{run.runs}" if several else ""]
            return " ".join(part for part in parts if part)

        count = sum(run.runs for run in new)
        with progress.shown(count, brief=self.is_class, quiet=self.quiet) as show:
            place = pipeline.Place(
                self.config.getoption("jobs"), self.config.getoption("scheduler"),
                dict(self.config.getoption("resources") or ()),
            )  # fmt: skip
            tell = lambda event, run, number: show(event, name(run, number))  # noqa: E731 - a name
            pipeline.train(runs, place, tell)

    @property
    def _jobs(self) -> int:
        return self.config.getoption("jobs") or pool.cores()

    def _first_time(self, step: str) -> bool:
        first = step not in self._done
        self._done.add(step)
        return first

    @contextlib.contextmanager
    def _uncaptured(self) -> Generator[None]:
        """Let what is printed inside reach the person, whatever pytest captures."""
        capture = self.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            yield

    # pytest's hooks

    def pytest_report_header(self) -> str:
        """Name the submission and the rubric above the run."""
        what = f"{len(self.graded)} submissions" if self.is_class else f"submission: {self._path}"
        return f"{what}\nrubric: {self.rubric.assignment}"

    @property
    def _path(self) -> str:
        return safe(str(self._one.run.request.submission))

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
            jobs = None if self.config.getoption("scheduler") else self._jobs
            run = self._one.run
            longest = longest_check(run.request.rubric, run.runs, len(self.graded), jobs)
            for item in items:
                item.add_marker(pytest.mark.timeout(longest))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember what is to be judged; make the folders for the results."""
        for item in session.items:
            if isinstance(item, CheckItem):
                self.graded[item.key].selected.append(item.requirement)
        if not self._selected:
            raise pytest.UsageError("no check is selected: look at -k, -m and what else selects")
        try:
            for graded in self._selected:
                graded.begin()
        except GraderFault as fault:
            raise pytest.UsageError(str(fault)) from None

    @property
    def _asked(self) -> set[str]:
        return set(self.rubric.points)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the final records; absence of failure is not a pass."""
        begun = [graded for graded in self._selected if graded.run.folder is not None]
        for graded in begun:
            graded.end()
        if begun:
            ends = [graded.exit_status(session.exitstatus) for graded in begun]
            session.exitstatus = next(end for end in _GRAVITY if end in ends)

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
        judged = [graded for graded in self._selected if graded.checks]
        writer = terminalreporter._tw  # its width and colours are what the person chose
        width, color = writer.fullwidth, writer.hasmarkup
        terminalreporter.ensure_newline()
        if judged and self.is_class:
            listed = [graded.run.record for graded in judged]
            table = class_table.render(listed, width=width, color=color)
            terminalreporter.write_line(table)
            if not self.quiet and (remarks := self._remarks(width, color=color)):
                terminalreporter.write_line(remarks)
            if not self.quiet:
                terminalreporter.write_line(self._listed(listed))
        elif judged:
            record = self._one.run.record
            terminalreporter.write_line(
                terminal.render(
                    record,
                    self.rubric,
                    width=width,
                    color=color,
                    verbosity=self.config.get_verbosity(),
                )
            )
        for graded in judged:
            if graded.unsaved:
                terminalreporter.write_line(str(graded.unsaved))
            elif not self.quiet and not self.is_class:
                path = graded.run.begin() / "record.json"
                terminalreporter.write_line(f"record: {safe(str(path))}")
        for line in self._reported([graded for graded in judged if graded.unsaved is None]):
            terminalreporter.write_line(line)

    def _reported(self, saved: list[Graded]) -> Iterator[str]:
        """Write the results in other formats, and say where they are."""
        try:
            for path in self.wanted.write([Result(g.run.record, g.run.begin()) for g in saved]):
                yield f"report: {safe(str(path))}"
        except GraderFault as fault:
            yield str(fault)

    def _remarks(self, width: int, *, color: bool) -> str:
        intake = self.config.stash[INTAKE]
        strays = [f"{stray.place}: {stray.why}" for stray in intake.strays]
        return class_table.remarks(intake.notes, strays, width, color=color)

    def _listed(self, listed: list[Record]) -> str:
        """Write the table as a file too, and say where everything is."""
        path = self.config.getoption("out").absolute() / "class.csv"
        try:
            write_atomically(path, class_table.as_csv(listed))
        except GraderFault as fault:
            return str(fault)
        return f"table: {safe(str(path))}; a folder with the record of each lies beside it"


# Which end is told where submissions end differently: the first of these.
_GRAVITY = [
    pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR,
    pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.OK,
]  # fmt: skip


def longest_check(rubric: Rubric, runs: int, submissions: int, jobs: int | None) -> float:
    """Return after how many seconds a check that waits for all trainings does not end any more.

    Of so many `jobs` at a time; None on a cluster, which may give one machine.
    """
    at_once = 1 if jobs is None or rubric.limits.judged_by == "evidence" else jobs
    rounds = math.ceil(runs / at_once)
    return submissions * (rubric.seconds.describe + rubric.seconds.run * rounds + _GRACE)


def _salt(named: Path | None, rubric: Path | None, seed: int | None) -> Salt | None:
    """Return the secret that seeds follow from; UsageFault where a seed is given as well."""
    salt = salts.asked_for(named, rubric)
    if salt is not None and seed is not None:
        raise UsageFault(
            "with a salt nobody chooses a seed", expected="--seed or a salt", found="both",
            where="--seed", help="leave it out",
        )  # fmt: skip
    return salt


def _score(record: Record, checks: list[Check]) -> float | None:
    """Add up the points; None where the submission is not at fault for what is missing."""
    problem = record.problem
    if record.status == "interrupted" or (problem is not None and not problem.is_scored):
        return None
    return sum(check.points for check in checks)
