"""`grade reproduce` and `grade audit`: train again what a record says, and compare."""

from __future__ import annotations

import contextlib
import hashlib
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from grader import checks, pool, runs, scratch, seal
from grader import record as records
from grader import rubric as rubrics
from grader.datasets.known import KNOWN, Dataset
from grader.errors import GraderFault, UsageFault
from grader.events import AnyEvent, EpochDone, Finished, Started
from grader.files import UNREADABLE
from grader.pipeline import describe
from grader.plan.content import content_of
from grader.plan.schema import Plan
from grader.record import Record, TrainingRun
from grader.reports.reproduced import Again, Reproduced
from grader.request import Request
from grader.results import results_in
from grader.rubric import Rubric
from grader.run import Run, training
from grader.salt import Salt
from grader.statistics import likely_spread, t_quantile
from grader.supervise import Job

OnEvent = Callable[[AnyEvent, int], None]
_SURE = 0.995  # one side: two trainings of the same seed differ by more in 1 of 100
_DECIDES = ("torch", "numpy", "numba", "instructions", "gpu", "device")


@dataclass(frozen=True)
class Sources:
    """What a record is held against: all but the rubric may be missing."""

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
    if record.rubric_sha256 != rubrics.sha256_of(sources.rubric):
        raise _unusable(folder, "the rubric that it was graded by (--rubric)", "another one")
    plan = _plan_of(folder, record)
    objections = [*_of_seeds(record, plan, sources.salt), *_of_verdict(record, sources.rubric)]
    with scratch.folder("grader-again-") as home:
        tasks, told = _trainings(record, trained, folder, sources, Path(home))
        found, environment = _carried_out(tasks, trained, on_event)
    differs = list(_differences(record, environment))
    exact = not differs and record.environment.get("device") == "cpu"
    most = trained[0].tested * (1 - sources.rubric.limits.accuracy / 100)
    objections += told + [
        words for again in found if (words := _objection(again, most, exact=exact))
    ]
    return Reproduced(found, differs + list(_remarks(record, plan, sources)), objections)


def _plan_of(folder: Path, record: Record) -> Plan:
    """Read the plan that a record names; UsageFault where it is not there."""
    try:
        content = (folder / "plan.json").read_bytes()
        if hashlib.sha256(content).hexdigest() == record.plan_sha256:
            return msgspec.json.decode(content, type=Plan)
    except UNREADABLE as error:
        raise _unusable(folder, "the plan that the record names", str(error)) from None
    raise _unusable(folder, "the plan that the record names", "another plan.json")


def sample(folder: Path, count: int, seed: int | None) -> list[Path]:
    """Choose so many of the results of a class by chance, of those the grader trained itself.

    Raises UsageFault where there are none.
    """
    trained = [path for path in results_in(folder) if _is_trained(path)]
    if not trained:
        raise _unusable(folder, "results of trainings by the grader's own loop", "none")
    return sorted(random.Random(seed).sample(trained, min(count, len(trained))))  # noqa: S311


def _is_trained(folder: Path) -> bool:
    """Tell whether a record can be reproduced without its submission, as far as it can be read."""
    with contextlib.suppress(GraderFault):
        record = records.load(folder / "record.json")
        finished = record.accuracy is not None and any(r.finished for r in record.accuracy.runs)
        return finished and record.level == "rebuilt"
    return True  # which reproducing it says


def _of_seeds(record: Record, plan: Plan, salt: Salt | None) -> Iterator[str]:
    """Say where seeds and masks are not what the salt makes of the plan."""
    content = hashlib.sha256(content_of(plan)).hexdigest()
    if content != record.content_sha256:
        yield "content_sha256 is not of its plan"
    if salt is None:
        return
    if record.salt_sha256 != salt.sha256:
        yield "the record does not name this salt"
        return
    for number, run in enumerate(record.accuracy.runs if record.accuracy else (), start=1):
        if run.seed != salt.seed(content, number):
            yield f"the seed of run {number} does not follow from the salt"
        turns = record.model.symmetries if record.model else (0,)
        classes = len(run.mask.classes) if run.mask else 0
        if run.mask != salt.mask(content, number, classes, turns):
            yield f"the mask of run {number} does not follow from the salt"


def _of_verdict(record: Record, rubric: Rubric) -> Iterator[str]:
    """Say where accuracy, checks or score are not what the rubric makes of the runs."""
    rubric = rubrics.by_evidence(rubric) if record.judged_by else rubric
    accuracy = runs.judged_again(record.accuracy, rubric.limits)
    if accuracy != record.accuracy:
        yield "the accuracy is not what its runs come to"
    judged = {c.id: c for c in checks.judge(records.update(record, accuracy=accuracy), rubric)}
    for check in record.checks:
        now = judged.get(check.id)
        if now is None or (now.outcome, now.points) != (check.outcome, check.points):
            yield f"{check.title}: {check.outcome}, and not by what the record holds"
    if record.score is not None and record.score != sum(check.points for check in record.checks):
        yield "the score is not the sum of its points"


def _remarks(record: Record, plan: Plan, sources: Sources) -> Iterator[str]:
    """Say what was not checked, and what a person should know."""
    if record.salt_sha256 and sources.salt is None:
        yield "seeds and masks were not checked: the record names a salt (--salt)"
    first = runs.first_seed(hashlib.sha256(content_of(plan)).hexdigest())
    for number, run in enumerate(record.accuracy.runs if record.accuracy else (), start=1):
        if not record.salt_sha256 and run.seed != runs.seed_of(first, number):
            yield f"the seed of run {number} was chosen: {run.seed}"


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
            objections.append("the submission, read without --model, computes something else")
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
) -> tuple[list[Again], dict[str, str]]:
    """Train; return what came of it, and the environment it was done in."""
    found = [Again(run) for run in trained]
    environment: dict[str, str] = {}

    def note(news: pool.News, number: int) -> None:
        again = found[number - 1]
        if isinstance(news, pool.Ended):
            if news.error is not None:
                found[number - 1] = replace(again, failed=news.error.message)
            return
        if isinstance(news, Started):
            environment.update(news.versions, device=news.device)
        elif isinstance(news, EpochDone):
            found[number - 1] = replace(again, curve=[*again.curve, news.test_errors])
        elif isinstance(news, Finished):
            same = news.weights_sha256 == again.run.weights_sha256
            found[number - 1] = replace(again, same=same)
        on_event(news, number)

    # One with several threads takes all cores.
    pool.carry_out(tasks, 1 if any(run.threads > 1 for run in trained) else None, note)
    return found, environment


def _differences(record: Record, environment: Mapping[str, str]) -> Iterator[str]:
    """Say in what this machine and its software are others than those of the record."""
    for name in _DECIDES:
        before, now = record.environment.get(name, ""), environment.get(name, "")
        if before.partition("+")[0] != now.partition("+")[0]:
            yield f"{name}: {before or 'not known'} then, {now or 'none'} now"
    if seal.other_version(record):
        yield "the grader: another version now"


def _objection(again: Again, most: float, *, exact: bool) -> str:
    """Say what of a run is not as the record says, for no reason that is known.

    Where all is the same, `exact`, the same bits are expected.
    """
    run, errors = again.run, again.errors
    if again.failed:
        return f"seed {run.seed}: {again.failed}"
    if errors is None or not run.curve:
        return f"seed {run.seed}: no result"
    if exact and not (again.same and again.curve == run.curve):
        what = "errors" if again.same else "weights"
        return f"seed {run.seed}: other {what}, though machine and software are the same"
    deviation, freedom = likely_spread([], max(most, run.curve[-1]))
    if abs(errors - run.curve[-1]) > t_quantile(_SURE, freedom) * deviation * math.sqrt(2):
        return f"seed {run.seed}: {run.curve[-1]} errors then, {errors} now: more than chance makes"
    return ""


def _unusable(folder: Path, expected: str, found: str) -> UsageFault:
    return UsageFault(
        "this record cannot be reproduced", expected=expected, found=found, where=str(folder),
        help="name a folder of results with its plan.json, as `grade` wrote it",
    )  # fmt: skip
