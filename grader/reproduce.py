"""`grade reproduce` and `grade audit`: train again what a record says, and compare."""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from grader import machine, pool, scratch, seal
from grader import record as records
from grader.datasets.known import KNOWN, Dataset
from grader.errors import UsageFault
from grader.events import AnyEvent, EpochDone, Finished
from grader.pipeline import describe
from grader.record import Record, TrainingRun
from grader.reports.reproduced import Again, Reproduced
from grader.request import Request
from grader.rubric import Rubric
from grader.run import Run, training
from grader.salt import Salt
from grader.statistics import likely_spread, t_quantile
from grader.supervise import Job

OnEvent = Callable[[AnyEvent, int], None]
_SURE = 0.995  # one side: two trainings of the same seed differ by more in 1 of 100


@dataclass(frozen=True)
class Sources:
    """What a record is held against: all of these may be missing."""

    rubric: Rubric
    salt: Salt | None = None
    submission: Path | None = None
    data_dir: Path | None = None


def reproduced(folder: Path, sources: Sources, on_event: OnEvent) -> Reproduced:
    """Train again, from the seeds in its record, what lies in a folder of results.

    Raises UsageFault where something for that is missing.
    """
    record = records.load(folder / "record.json")
    trained = [run for run in record.accuracy.runs if run.finished] if record.accuracy else []
    if not trained or record.training is None:
        raise _unusable(folder, "a record of a finished training", "none")
    plan = folder / "plan.json"
    if not plan.exists() or hashlib.sha256(plan.read_bytes()).hexdigest() != record.plan_sha256:
        raise _unusable(folder, "the plan that the record names", "another plan.json, or none")
    objections = list(_of_salt(record, sources.salt))
    with scratch.folder("grader-again-") as home:
        tasks, told = _trainings(record, trained, folder, sources, Path(home))
        objections += told
        runs = _carried_out(tasks, trained, on_event)
    differs = list(_differences(record))
    most = trained[0].tested * (1 - sources.rubric.limits.accuracy / 100)
    objections += [words for again in runs if (words := _objection(again, differs, most))]
    return Reproduced(record, runs, differs, objections)


def sample(folder: Path, count: int, seed: int | None) -> list[Path]:
    """Choose so many of the trained results of a class by chance."""
    trained = [path for path in seal.results_in(folder) if _is_trained(path)]
    return sorted(random.Random(seed).sample(trained, min(count, len(trained))))  # noqa: S311


def _is_trained(folder: Path) -> bool:
    record = records.load(folder / "record.json")
    return record.accuracy is not None and any(run.finished for run in record.accuracy.runs)


def _of_salt(record: Record, salt: Salt | None) -> Iterator[str]:
    """Say where seeds and masks are not what the salt makes of the plan."""
    if salt is None:
        return
    if record.salt_sha256 != salt.sha256:
        yield "the record does not name this salt"
        return
    for number, run in enumerate(record.accuracy.runs if record.accuracy else (), start=1):
        if run.seed != salt.seed(record.content_sha256, number):
            yield f"the seed of run {number} does not follow from the salt"
        turns = record.model.symmetries if record.model else (0,)
        classes = len(run.mask.classes) if run.mask else 0
        if run.mask != salt.mask(record.content_sha256, number, classes, turns):
            yield f"the mask of run {number} does not follow from the salt"


def _trainings(
    record: Record, trained: Sequence[TrainingRun], folder: Path, sources: Sources, home: Path
) -> tuple[list[pool.Task], list[str]]:
    """Return the trainings, and what the submission objects, where it is read again."""
    program, objections = None, list[str]()
    if sources.submission is not None:
        run = Run(Request(sources.submission, home, sources.rubric, sources.data_dir))
        describe([run], 1, lambda run: None)
        if run.fault is not None:
            raise run.fault
        program = run.program if record.level == "sandboxed" else None
        if run.record.content_sha256 != record.content_sha256:
            objections.append("the submission does not compute what the record says")
    elif record.level == "sandboxed":
        raise _unusable(folder, "--submission PATH, whose own loop trains", "a record alone")
    assert record.training is not None
    tasks = []
    for number, each in enumerate(trained, start=1):
        job = Job(
            str((folder / "plan.json").resolve()), str(home / f"weights-{number}.safetensors"),
            each.seed, str(sources.data_dir.resolve()) if sources.data_dir else None,
            record.training.planned_epochs, threads=each.threads or None,
            dataset=_dataset(record), mask=each.mask,
        )  # fmt: skip
        tasks.append(training(job, program, sources.rubric, official=record.official))
    return tasks, objections


def _dataset(record: Record) -> Dataset:
    known = KNOWN.get(record.data.name)
    if known is None or known.digest != record.data.sha256:
        raise UsageFault(
            "the record's data set is not known here", expected=" or ".join(KNOWN),
            found=f"{record.data.title}, {record.data.sha256}", where="record.json",
            help="use the version of the grader that made the record",
        )  # fmt: skip
    return known


def _carried_out(
    tasks: Sequence[pool.Task], trained: Sequence[TrainingRun], on_event: OnEvent
) -> list[Again]:
    found = [Again(run) for run in trained]

    def note(news: pool.News, number: int) -> None:
        again = found[number - 1]
        if isinstance(news, pool.Ended):
            if news.error is not None:
                found[number - 1] = replace(again, failed=news.error.message)
            return
        if isinstance(news, EpochDone):
            found[number - 1] = replace(again, curve=[*again.curve, news.test_errors])
        elif isinstance(news, Finished):
            same = news.weights_sha256 == again.run.weights_sha256
            found[number - 1] = replace(again, same=same)
        on_event(news, number)

    # One with several threads takes all cores.
    pool.carry_out(tasks, 1 if any(run.threads > 1 for run in trained) else None, note)
    return found


def _differences(record: Record) -> Iterator[str]:
    """Say in what this machine and its software are others than those of the record."""
    here = {
        "torch": importlib.metadata.version("torch"),
        "numba": importlib.metadata.version("numba"),
        "instructions": machine.instruction_set(),
        "device": (machine.gpu() and "cuda") or "cpu",
    }
    for name, now in here.items():
        before = record.environment.get(name, "")
        if before.partition("+")[0] != now.partition("+")[0]:
            yield f"{name}: {before or 'not known'} then, {now} now"
    if seal.other_version(record):
        yield "the grader: another version now"


def _objection(again: Again, differs: Sequence[str], most: float) -> str:
    """Say what of a run is not as the record says, for no reason that is known."""
    run, errors = again.run, again.errors
    if again.failed:
        return f"seed {run.seed}: {again.failed}"
    if again.same:
        return ""
    if errors is None or run.curve[-1:] == []:
        return f"seed {run.seed}: no result"
    deviation, freedom = likely_spread([run.curve[-1]], most)
    if abs(errors - run.curve[-1]) > t_quantile(_SURE, freedom) * deviation * math.sqrt(2):
        return f"seed {run.seed}: {run.curve[-1]} errors then, {errors} now: more than chance makes"
    if not differs:
        return f"seed {run.seed}: other weights, though machine and software are the same"
    return ""


def _unusable(folder: Path, expected: str, found: str) -> UsageFault:
    return UsageFault(
        "this record cannot be reproduced", expected=expected, found=found, where=str(folder),
        help="name a folder of results with its plan.json, as `grade` wrote it",
    )  # fmt: skip
