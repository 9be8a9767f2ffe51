"""The steps from a path to a Record, each run once and only when somebody asks for it.

read ─> describe ─> examine ─> train
text    sandbox     facts      worker process
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from grader import pool, results, runs
from grader import record as records
from grader.datasets import mnist
from grader.errors import GraderFault, GradingError, SubmissionError, blaming_data, stopped_by
from grader.plan.assemble import assemble, request_defaults
from grader.plan.content import content_of, in_order
from grader.plan.facts import facts_of
from grader.plan.fixed import fixed_values
from grader.plan.images import shape_after, validate_images
from grader.plan.initial import drawn_together, kept_short, notes_on_initialisation
from grader.plan.schema import Description, Flaw, Plan
from grader.plan.validate import validate, validate_model
from grader.record import Record
from grader.rubric import Rubric
from grader.sandbox.box import Held
from grader.sandbox.describe import Box
from grader.submission.apart import read_apart
from grader.submission.files import check_path, sha256_of
from grader.submission.literals import fixed_in_code
from grader.submission.program import Program, RecipeChoice, Statement
from grader.training.events import AnyEvent, Blank, EpochDone, Failed, Metered, Probed, Started
from grader.training.supervise import Bounds, Job, Own

OnEvent = Callable[[AnyEvent, int], None]
"""Is told each event of a training, and which of the runs it is of, counted from 1."""


@dataclass(frozen=True)
class Request:
    """What a person asked for. `out` is the folder that gets one folder a submission.

    `runs` is how often the network is trained, if not as often as the rubric says.
    """

    submission: Path
    out: Path
    rubric: Rubric
    data_dir: Path | None = None
    model: str | None = None
    recipe: RecipeChoice | None = None
    seed: int | None = None
    official: bool = False
    runs: int | None = None


class Run:
    """One submission's way through the steps; its Record is on disk after every one of them."""

    def __init__(self, request: Request) -> None:
        """Check what can be checked at once; GraderFault when a run would be pointless.

        UsageFault where nothing to grade lies at the path, and where a required protection is
        missing in an official run.

        A box is started at once too: it loads PyTorch while the submission is read.
        """
        check_path(request.submission.absolute())
        self.request = request
        self.program: Program | None = None
        self.plan: Plan | None = None
        self._done: set[str] = set()
        rubric = request.rubric
        self.runs = rubric.limits.runs_asked_for(request.runs)
        self._box = _box(rubric)
        with contextlib.ExitStack() as failing:
            failing.callback(self.close)
            if request.official:
                self._box.protections().require()
            mnist.verify(request.data_dir)
            self.record = _first_record(request)
            self.folder: Path | None = None
            failing.pop_all()

    def close(self) -> None:
        """End the box; `described` does it too."""
        self._box.close()

    def begin(self, *, whole: bool = True) -> Path:
        """Write the first record, unless that is done; return the folder of the results.

        `whole` says that every check is going to be judged. Raises GraderFault where nothing can
        be written.
        """
        if self.folder is None:
            request = self.request
            out = request.out.resolve()
            self.folder = results.claim(out, request.submission, self.record, whole=whole)
        return self.folder

    def save(self) -> None:
        """Write the record as it stands."""
        records.save(self.record, self.begin())

    def described(self) -> Record:
        """Read, describe and examine the submission; a problem is in the record, not raised."""
        if self._first_time("describe"):
            self.begin()
            with contextlib.closing(self):
                self._describe()
            self.save()
        return self.record

    def trained(self, on_event: OnEvent) -> Record:
        """Train what was described, unless there is nothing to train; see `described`."""
        self.described()
        if self.plan is not None and self.trainable and self._first_time("train"):
            with self._problems_noted("train"):
                self._train(self.plan, on_event)
            self.save()
        return self.record

    @property
    def trainable(self) -> bool:
        """Whether the network is small enough for a training, and its recipe without flaws."""
        facts, recipe = self.record.model, self.record.recipe
        limit = self.request.rubric.limits.trained_parameters
        small = facts is not None and facts.parameters <= limit
        return small and recipe is not None and not recipe.flaws

    def _describe(self) -> None:
        with self._problems_noted("describe"):
            self._update(sandbox=_protections(self._box.protections()))
        with self._problems_noted("read"):
            self.program = read(self.request)
            self._note_reading(self.program)
        if self.program is not None:
            with self._problems_noted("describe"):
                found = described(self.program, self.request, self._box)
                self.program = msgspec.structs.replace(self.program, own=found.own)
                self.plan = make_plan(found, self.program, self.request.rubric)
                with blaming_data("the submission's description of itself"):
                    self.record = examine(self.record, self.plan)
                self._note_own_training(self.program, self.plan)
                self._write_plan(self.plan)

    def _first_time(self, step: str) -> bool:
        first = step not in self._done
        self._done.add(step)
        return first

    def _note_reading(self, program: Program) -> None:
        aside = [records.SetAside(s.text, s.where, s.why) for s in program.set_aside]
        self._update(set_aside=aside, notes=self.record.notes + program.notes)

    def _note_own_training(self, program: Program, plan: Plan) -> None:
        """Add what its training brings along where the submission trains itself."""
        if plan.level == "sandboxed" and (fixed := fixed_in_code(program)).count:
            self._update(fixed=[*self.record.fixed, fixed])

    def _update(self, **changes: object) -> None:
        self.record = records.update(self.record, **changes)

    @contextlib.contextmanager
    def _problems_noted(self, stage: records.Stage) -> Iterator[None]:
        """Turn a submission's error into the record's problem; let the grader's own pass."""
        try:
            yield
        except SubmissionError as error:
            self._note_problem(stage, error)
        except GradingError as error:
            self._note_problem(stage, error)
            self.save()
            raise
        except KeyboardInterrupt as error:
            self.note_stop(stopped_by(error), stage)
            raise
        except BaseException as error:
            fault = GraderFault(
                "the grader failed", expected="an end of this step, good or bad",
                found=_brief(error), help="grade again; if it happens again, report this message",
            )  # fmt: skip
            self._note_problem(stage, fault)
            with contextlib.suppress(GraderFault):  # what went wrong first must get through
                self.save()
            raise

    def note_stop(self, words: str, stage: records.Stage = "train") -> None:
        """Note that something outside stopped the run, unless that is noted."""
        if self.record.status != "interrupted":
            problem = records.Problem(stage, "stopped", words, help="grade again")
            self._update(status="interrupted", problem=problem)
            with contextlib.suppress(GraderFault):  # what stops the run must get through
                self.save()

    def _note_problem(self, stage: records.Stage, error: GradingError) -> None:
        self._update(problem=runs.problem_of(stage, error))

    def _write_plan(self, plan: Plan) -> None:
        encoded = msgspec.json.encode(plan)
        records.write_atomically(self.begin() / "plan.json", encoded)
        self._update(
            plan_sha256=hashlib.sha256(encoded).hexdigest(),
            content_sha256=hashlib.sha256(content_of(plan)).hexdigest(),
        )

    def _train(self, plan: Plan, on_event: OnEvent) -> None:
        """Train once for every seed; a run that fails ends no other."""
        tasks = self._tasks(plan)
        self._runs = [
            records.TrainingRun(task.job.seed, Path(task.job.weights).name) for task in tasks
        ]
        self._errors: dict[int, GradingError] = {}

        def note(news: pool.News, number: int) -> None:
            if isinstance(news, pool.Ended):
                self._note_end(number, news.error)
                if news.error is not None:
                    on_event(Failed(news.error.message), number)
            else:
                self._note_event(number, news)
                on_event(news, number)

        pool.carry_out(tasks, pool.here(len(tasks)), note)
        if (error := self._verdict()) is not None:
            raise error

    def _tasks(self, plan: Plan) -> list[pool.Task]:
        """Return a training for each run. Several have one core each, a single one has them all."""
        request, rubric = self.request, self.request.rubric
        first = request.seed if request.seed is not None else _seed(self.record.content_sha256)
        budget = rubric.limits.epochs - 1
        bounds = Bounds(rubric.seconds.epoch, rubric.seconds.run, rubric.megabytes.train)
        own, program = None, None
        if plan.level == "sandboxed":
            program = msgspec.json.encode(self.program)
            own = Own(
                "", request_defaults(budget)["optimizer"], bounds.run, bounds.megabytes,
                official=request.official,
            )  # fmt: skip
        data_dir = str(request.data_dir.resolve()) if request.data_dir else None
        folder = self.begin()
        jobs = [
            Job(
                str(folder / "plan.json"), str(folder / runs.weights_of(number)), seed,
                data_dir, budget, threads=1 if self.runs > 1 else None, own=own,
            )
            for number, seed in enumerate(runs.seeds_from(first, self.runs), start=1)
        ]  # fmt: skip
        return [pool.Task(job, bounds, program) for job in jobs]

    def _verdict(self) -> GradingError | None:
        """Return what keeps the runs from being judged: our fault in any, or all failed."""
        errors = [self._errors[number] for number in sorted(self._errors)]
        faults = [error for error in errors if not isinstance(error, SubmissionError)]
        everything = len(errors) == len(self._runs)
        return next(iter(faults), errors[0] if everything else None)

    def _note_end(self, number: int, error: GradingError | None) -> None:
        run = self._runs[number - 1]
        if error is None and not run.finished and number not in self._errors:
            error = GraderFault(
                "the training ended without a result", expected="a result, or a reason for none",
                found="neither", where="grader.training.worker",
                help="grade again; if it happens again, report this message",
            )  # fmt: skip
        if error is not None:
            self._note_failure(number, error)
        self._note_accuracy()
        self.save()

    def _note_failure(self, number: int, error: GradingError) -> None:
        self._errors.setdefault(number, error)
        self._runs[number - 1] = runs.failed(self._runs[number - 1], self._errors[number])

    def _note_accuracy(self) -> None:
        limits = self.request.rubric.limits
        judged = records.accuracy_of(list(self._runs), limits.judged_on, limits.accuracy)
        self._update(accuracy=judged)

    def _note_event(self, number: int, event: AnyEvent) -> None:
        run = runs.noted(self._runs[number - 1], event, self.request.rubric.limits)
        self._runs[number - 1] = run if number > 1 else msgspec.structs.replace(run, metered=None)
        if number == 1:
            self._note_first(event)
        if (error := runs.failure_of(event, self.record.level)) is not None:
            self._note_failure(number, error)
        if isinstance(event, EpochDone):
            self._note_accuracy()
        if isinstance(event, Probed | EpochDone):
            self.save()

    def _note_first(self, event: AnyEvent) -> None:
        """Note in full what the first run says."""
        if self.plan is not None:
            self._update(training=runs.in_full(self.record.training, event, self.plan.recipe))
        if isinstance(event, Started):
            device = {"device": event.device}
            environment = self.record.environment | event.versions | device
            self._update(environment=environment, notes=self.record.notes + event.remarks)
        elif isinstance(event, Probed):
            self._update(probe=event)
        elif isinstance(event, Blank):
            self._update(blank=event)
        elif isinstance(event, Metered):
            self._update(metered=event)


def _box(rubric: Rubric) -> Box:
    return Box(seconds=rubric.seconds.describe, megabytes=rubric.megabytes.describe)


def read(request: Request) -> Program:
    """Parse the submission and keep the statements its model and recipe need; runs nothing."""
    return read_apart(request.submission, model=request.model, recipe=request.recipe)


def described(program: Program, request: Request, box: Box) -> Description:
    """Let the submission describe itself in the sandbox.

    It does so again, in another one, where its transforms make images of another size than that
    which its network took first.
    """
    rubric = request.rubric
    budget = rubric.limits.epochs - 1
    defaults = request_defaults(budget)
    found = box.describe(program, defaults)
    if (shape := _images(found, budget)) != found.model.input_shape:
        with contextlib.closing(_box(rubric)) as another:
            if request.official:
                another.protections().require()
            found = another.describe(program, defaults | {"input_shape": shape})
    return found


def make_plan(found: Description, program: Program, rubric: Rubric) -> Plan:
    """Complete and check what a submission says of itself."""
    with blaming_data("the submission's description of itself"):
        return complete(found, program, rubric)


def _images(found: Description, budget: int) -> list[int]:
    """Return the shape [C, H, W] in which training images reach the network."""
    with blaming_data("the submission's description of itself"):
        validate_model(found.model)
        return shape_after(assemble(found, budget), "train_transform")


def complete(found: Description, program: Program, rubric: Rubric) -> Plan:
    """Return the plan of a description: completed, checked, and with what is wrong in it noted.

    Raises SubmissionError where the network cannot be used; a recipe that cannot is a flaw.
    """
    validate_model(found.model)
    budget = rubric.limits.epochs - 1
    plan = assemble(found, budget)
    if plan.level == "sandboxed" and rubric.limits.rebuilt:
        note = "the rubric asks for the grader's own loop: the recipe is trained without the rest"
        plan = msgspec.structs.replace(plan, level="rebuilt", notes=[*plan.notes, note])
    if plan.level == "sandboxed":
        plan = msgspec.structs.replace(plan, code_sha256=code_sha256(program))
    validate_images(plan)
    try:
        validate(plan, budget)
    except SubmissionError as error:
        flaw = Flaw("recipe", f"{error.message}: {error.found}", error.where, error.help)
        plan = msgspec.structs.replace(plan, flaws=[*plan.flaws, flaw])
    return msgspec.structs.replace(plan, model=kept_short(drawn_together(in_order(plan.model))))


def code_sha256(program: Program) -> str:
    """Hash what the submission's own training runs, without comments and places."""
    code = [[module.name, *map(_plain, module.statements)] for module in program.modules]
    return hashlib.sha256(msgspec.json.encode(code)).hexdigest()


def _plain(statement: Statement) -> str:
    try:
        return ast.unparse(ast.parse(statement.source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return statement.source


def examine(record: Record, plan: Plan) -> Record:
    """Add to the record what the plan alone tells: architecture and recipe."""
    recipe = records.RecipeSummary(
        plan.recipe.epochs, plan.recipe.batch_size, plan.provenance, plan.flaws
    )
    flaws = [f"{f.about} cannot be used: {f.message} ({f.where})" for f in plan.flaws]
    notes = record.notes + list(plan.notes) + flaws
    if plan.level == "rebuilt":
        notes += notes_on_initialisation(plan.model)
    facts = facts_of(plan.model)
    return records.update(
        record, model=facts, recipe=recipe, fixed=fixed_values(plan), notes=notes,
        level=plan.level,
    )  # fmt: skip


def _first_record(request: Request) -> Record:
    path = request.submission
    name, number = results.identity(path)
    text = os.fsencode(path).decode("utf-8", "replace")
    return Record(
        submission=records.Submission(name, text, sha256_of(path), number),
        assignment=request.rubric.assignment,
        rubric_sha256=hashlib.sha256(msgspec.json.encode(request.rubric)).hexdigest(),
        max_score=request.rubric.max_score,
        official=request.official,
        environment=_environment(),
    )  # fmt: skip


def _protections(held: Held) -> records.Protections:
    missing = [f"{name}: {why}" for name, why in held.missing.items()]
    return records.Protections(list(held.present), missing)


def _environment() -> dict[str, str]:
    versions = {
        name: importlib.metadata.version(name) for name in ("mnist-grader", "torch", "torchvision")
    }
    machine = {"system": platform.platform(), "cores": str(os.cpu_count())}
    return versions | machine | {"python": platform.python_version()}


def _seed(content_sha256: str) -> int:
    """Return the plan's own seed: what computes the same is trained alike, on any machine."""
    return int(content_sha256[:8], 16)


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:500]
