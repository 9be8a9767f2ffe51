"""One submission's way through the steps: its Record, on disk after every one of them."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from grader import pool, results, runs, seal, steps, store, unlikely
from grader import record as records
from grader import rubric as rubrics
from grader.checks import accuracy
from grader.datasets.mask import Mask
from grader.errors import (
    GraderFault,
    GradingError,
    SubmissionError,
    blaming_data,
    stopped_by,
)
from grader.events import AnyEvent, Blank, EpochDone, Metered, Started, Taken
from grader.files import UNREADABLE, write_atomically
from grader.first import first_record
from grader.measure.asking import Measurer
from grader.plan.assemble import request_defaults
from grader.plan.content import content_of
from grader.plan.schema import Plan
from grader.record import Record
from grader.request import Request
from grader.sandbox.box import Held
from grader.sandbox.describe import Box
from grader.submission.literals import fixed_in_code
from grader.submission.program import Program
from grader.submission.witness import notes_on
from grader.supervise import Bounds, Job, Own

OnEvent = Callable[[AnyEvent, int], None]
"""Is told each event of a training, and which of the runs it is of, counted from 1."""


@dataclass(frozen=True)
class Tools:
    """What a description takes: a box for this submission, and a process that measures networks.

    Both load PyTorch when they are made, which takes seconds.
    """

    box: Box
    measurer: Measurer


def measurer(request: Request, stop: Callable[[], bool]) -> Measurer:
    """Start a process that measures networks, for any submission graded in this way.

    It is not waited for any longer once `stop` says so.
    """
    # Bounds on the training are for the training to reach.
    seconds, megabytes = request.rubric.seconds, request.rubric.megabytes
    return Measurer(
        request.data_dir, request.rubric.data, seconds=max(seconds.describe, seconds.epoch),
        megabytes=max(megabytes.describe, megabytes.train), stop=stop,
    )  # fmt: skip


class Run:
    """A submission that is being graded; nothing is started before it is described."""

    def __init__(self, request: Request) -> None:
        """Raise UsageFault as `Limits.runs_asked_for` does."""
        self.request = request
        self.program: Program | None = None
        self.plan: Plan | None = None
        self.folder: Path | None = None
        self.fault: Exception | None = None
        self.runs = request.rubric.limits.runs_asked_for(request.runs)
        self.record = first_record(request)
        self._done: set[str] = set()
        self._runs: list[records.TrainingRun] = []
        self._errors: dict[int, GradingError] = {}

    def begin(self, *, whole: bool = True) -> Path:
        """Write the first record, unless that is done; return the folder of the results.

        `whole` says that every check is going to be judged. Raises GraderFault where nothing can
        be written.
        """
        if self.folder is None:
            request = self.request
            out = request.out.resolve()
            self.folder = self._taken_up(out, whole=whole) or results.claim(
                out, request.submission, self.record, whole=whole
            )
        return self.folder

    def _taken_up(self, out: Path, *, whole: bool) -> Path | None:
        """Go on where a class run over the same submission, in the same way, was ended."""
        folder = results.find(out, self.record.submission)
        if folder is None or self.request.entry is None or self.request.rerun:
            return None
        with contextlib.suppress(GraderFault, *UNREADABLE):
            last = records.load(folder / "record.json")
            if last.inputs_sha256 != self.record.inputs_sha256:
                return None
            if last.status == "complete":
                sound = not seal.doubts(folder, last, self.request.salt)
                if whole and last.score is not None and sound:
                    self.record, self._done = last, {"describe", "train"}
                    return folder
                return None
            described = records.load(folder / results.DESCRIBED)
            encoded = (folder / "plan.json").read_bytes()
            of = described.submission.key, described.inputs_sha256, described.plan_sha256
            plan = hashlib.sha256(encoded).hexdigest()
            same = of == (self.record.submission.key, last.inputs_sha256, plan)
            sound = same and described.level == "rebuilt" and self._is_genuine(folder)
            if sound and (whole or last.training is None):
                self.plan = msgspec.json.decode(encoded, type=Plan)
                self.record, self._done = described, {"describe"}
                records.save(described, folder)
                return folder
        return None

    def _is_genuine(self, folder: Path) -> bool:
        """Tell whether what was described is as we wrote it, which without a salt nobody knows."""
        if (salt := self.request.salt) is None:
            return True
        expected = salt.seal((folder / results.DESCRIBED).read_bytes()).encode()
        return hmac.compare_digest((folder / results.DESCRIBED_MAC).read_bytes(), expected)

    def save(self) -> None:
        """Write the record as it stands."""
        records.save(self.record, self.begin())

    def described(self, tools: Tools) -> Record:
        """Read, describe and examine the submission; a problem is in the record, not raised.

        What goes wrong by the grader's doing is noted there too, and raised.
        """
        if self._first_time("describe"):
            self.begin()
            self._describe(tools)
            self.save()
            if self.request.entry is not None:
                self._keep_description()
        return self.record

    def _keep_description(self) -> None:
        encoded = records.encoded(self.record)
        write_atomically(self.begin() / results.DESCRIBED, encoded)
        if salt := self.request.salt:
            mac = salt.seal(encoded).encode()
            write_atomically(self.begin() / results.DESCRIBED_MAC, mac)

    @property
    def is_described(self) -> bool:
        """Whether there is nothing left to find out before a training."""
        return "describe" in self._done

    @property
    def is_trained(self) -> bool:
        """Whether there is nothing left to train."""
        return "train" in self._done

    @property
    def trainable(self) -> bool:
        """Whether the network is small enough for a training, and its recipe without flaws."""
        facts, recipe = self.record.model, self.record.recipe
        limit = self.request.rubric.limits.trained_parameters
        small = facts is not None and facts.parameters <= limit
        return small and self.record.problem is None and recipe is not None and not recipe.flaws

    def _describe(self, tools: Tools) -> None:
        with self._problems_noted("describe"):
            held = tools.box.protections()
            self._update(sandbox=_protections(held))
            if self.request.official:
                held.require()
        with self._problems_noted("read"):
            entry, path = self.request.entry, self.request.submission
            path = path if entry is None else self.request.unpack(entry)
            self.program = steps.read(path, self.request)
            self._note_reading(self.program)
        if self.program is not None:
            with self._problems_noted("describe"):
                found = steps.described(self.program, self.request, tools.box)
                self.program = msgspec.structs.replace(self.program, own=found.own)
                self.plan = steps.make_plan(found, self.program, self.request.rubric)
                with blaming_data("the submission's description of itself"):
                    self._write_plan(self.plan)
                    self._measure(self.plan, tools.measurer)
                self._note_own_training(self.program, self.plan)
                samples = self.request.rubric.data.train
                shown = notes_on(self.program, self.plan.recipe, samples)
                self._update(notes=[*self.record.notes, *shown])

    def _measure(self, plan: Plan, measurer: Measurer) -> None:
        """Find out what the network does, and whether a step of its training can be taken."""
        step = plan.level == "rebuilt" and not plan.flaws
        answer = measurer.measure(plan, step=step)
        self.record = steps.examine(self.record, plan, answer.facts)
        if answer.failed:
            with self._problems_noted("train"):
                raise runs.untrainable(answer)

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
        except CancelledError:
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
        write_atomically(self.begin() / "plan.json", encoded)
        self._update(
            plan_sha256=hashlib.sha256(encoded).hexdigest(),
            content_sha256=hashlib.sha256(content_of(plan)).hexdigest(),
        )

    def tasks(self) -> dict[int, pool.Task]:
        """Return the next trainings to carry out, by the number of the run, counted from 1.

        To be asked again when they are over, until there are none: where evidence decides, each
        run says whether there is another.
        """
        if self.plan is None or not self.trainable or self.is_trained:
            return {}
        done = len(self._runs)
        evidence = self.request.rubric.limits.judged_by == "evidence"
        last = min(done + 1, self.runs) if evidence else self.runs
        if last == done or (done and self._is_decided):
            self._done.add("train")
            self._remark_what_is_unlikely()
            return {}
        with self._problems_noted("train"):
            tasks = {number: self._task(self.plan, number) for number in range(done + 1, last + 1)}
        if not done and self.request.salt is not None and self.record.model is not None:
            self._update(notes=[*self.record.notes, _masked(self.record.model.symmetries)])
        self._runs += [self._begun(task.job) for task in tasks.values()]
        self._left = len(tasks)
        return tasks

    def _remark_what_is_unlikely(self) -> None:
        """Remark what the instructor should look at; the verdict is what it is."""
        kept = store.Store(self.request.store or store.default_place())
        seeds = {run.seed for run in self._runs}
        others = kept.errors_of(self.record.content_sha256, self.record.data.sha256, seeds)
        if told := list(unlikely.remarks_on(self.record, others)):
            self._update(remarks=[*self.record.remarks, *told])
            self.save()

    @property
    def _is_decided(self) -> bool:
        """Whether what the runs say is enough; a failure of one always is."""
        limits = self.request.rubric.limits
        return bool(self._errors) or accuracy.decision(self._runs, limits) != "undecided"

    @staticmethod
    def _begun(job: Job) -> records.TrainingRun:
        return records.TrainingRun(job.seed, Path(job.weights).name, mask=job.mask)

    def note(self, news: pool.News, number: int) -> None:
        """Note news of a training, by its number from 1; the last one sums up."""
        if not isinstance(news, pool.Ended):
            with self._problems_noted("train"):
                self._note_event(number, news)
            return
        with self._problems_noted("train"):
            self._note_end(number, news.error)
            self._left -= 1
            if self._left == 0 and (error := self._verdict()) is not None:
                raise error
        self.save()

    def _task(self, plan: Plan, number: int) -> pool.Task:
        """Return the training of a run. Several have one core each, a single one has them all."""
        request, rubric = self.request, self.request.rubric
        folder = self.begin()
        several = self.runs > 1 and rubric.limits.judged_by != "evidence"
        side_by_side = several or request.entry is not None or request.scheduler is not None
        seed, mask = self._drawn(number)
        job = Job(
            str(folder / "plan.json"), str(folder / runs.weights_of(number)), seed,
            str(request.data_dir.resolve()) if request.data_dir else None,
            rubric.limits.epochs - 1, threads=1 if side_by_side else None, dataset=rubric.data,
            mask=mask,
        )  # fmt: skip
        program = self.program if plan.level == "sandboxed" else None
        task = training(job, program, rubric, official=request.official)
        return replace(task, keeping=self._keeping(task.job, plan))

    def _drawn(self, number: int) -> tuple[int, Mask | None]:
        """Return the seed of a run, and the mask under which it sees the data, if it does."""
        content, request, facts = self.record.content_sha256, self.request, self.record.model
        if request.salt is not None and facts is not None:
            classes = len(request.rubric.data.classes)
            mask = request.salt.mask(content, number, classes, facts.symmetries)
            return request.salt.seed(content, number), mask
        first = request.seed if request.seed is not None else runs.first_seed(content)
        return runs.seed_of(first, number), None

    def _keeping(self, job: Job, plan: Plan) -> pool.Keeping:
        """Say where the result of a training is kept, and under which key."""
        epochs = min(plan.recipe.epochs, job.max_epochs or plan.recipe.epochs)
        own = job.own is not None
        decides = store.what_decides(
            self.record.content_sha256,
            job.seed,
            epochs,
            job.threads or pool.cores(),
            own=own,
            dataset=job.dataset,
            mask=job.mask,
        )
        if self.request.scheduler is not None and not own:
            decides |= store.ANYWHERE
        names = [tensor.name for tensor in plan.model.tensors]
        about = store.About(decides, names, self.record.submission.name, "")
        place = self.request.store or store.default_place()
        return pool.Keeping(place, store.key_of(decides), about, anew=self.request.rerun)

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
        if isinstance(event, Taken):
            self._update(notes=[*self.record.notes, _taken(number, event)])
        if number == 1:
            self._note_first(event)
        if (error := runs.failure_of(event, self.record.level)) is not None:
            self._note_failure(number, error)
        if isinstance(event, EpochDone):
            self._note_accuracy()
            self.save()

    def _note_first(self, event: AnyEvent) -> None:
        """Note in full what the first run says."""
        if self.plan is not None:
            self._update(
                training=runs.in_full(
                    self.record.training, event, self.plan.recipe, self.request.rubric.data
                )
            )
        if isinstance(event, Started):
            environment = self.record.environment | event.versions | {"device": event.device}
            self._update(environment=environment, notes=self.record.notes + event.remarks)
        elif isinstance(event, Blank):
            self._update(blank=event)
        elif isinstance(event, Metered):
            self._update(metered=event)


def training(
    job: Job, program: Program | None, rubric: rubrics.Rubric, *, official: bool
) -> pool.Task:
    """Return a training within a rubric's bounds; by the loop of the `program`, if there is one."""
    bounds = Bounds(rubric.seconds.epoch, rubric.seconds.run, rubric.megabytes.train)
    if program is None:
        return pool.Task(job, bounds)
    defaults = request_defaults(rubric.limits.epochs - 1, rubric.data)
    own = Own("", defaults["optimizer"], bounds.run, bounds.megabytes, official=official)
    return pool.Task(msgspec.structs.replace(job, own=own), bounds, msgspec.json.encode(program))


def _protections(held: Held) -> records.Protections:
    missing = [f"{name}: {why}" for name, why in held.missing.items()]
    return records.Protections(list(held.present), missing)


def _masked(turns: Sequence[int]) -> str:
    """Say how a salted training sees the data."""
    if len(turns) == 1:
        how = "its images lie as they always do, since the network is tied to places or directions"
    else:
        how = (
            f"its images are turned in one of {len(turns)} ways, which the network does not notice"
        )
    return f"the data set is masked: its classes have other numbers, and {how}"


def _taken(number: int, event: Taken) -> str:
    return (
        f"run {number} was not trained again: its result was kept on {event.trained}, from "
        "a submission that computes the same (--rerun trains it)"
    )


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:500]
