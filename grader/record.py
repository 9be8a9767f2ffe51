"""The Record: everything a run found out, frozen and versioned. Documented in docs/record.md."""

from __future__ import annotations

from pathlib import Path
from statistics import stdev
from typing import Any, Literal

import msgspec

from grader.datasets.known import MNIST, Dataset
from grader.datasets.mask import Mask
from grader.errors import NOT_SCORED, Fault, GraderFault
from grader.events import Blank, EpochDone, Metered, Recalled
from grader.files import UNREADABLE, readable, write_atomically
from grader.person import Person
from grader.plan.findings import Facts, Finding, Fixed, Layer
from grader.plan.schema import Fact, Flaw
from grader.statistics import chance, mean_interval, p_value, wilson

# Checks know the Record, and nothing behind it.
__all__ = ["Blank", "Facts", "Finding", "Fixed", "Flaw", "Layer", "Metered", "Person"]

Outcome = Literal["passed", "failed", "not_judged"]
Stage = Literal["read", "describe", "train"]


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base: immutable and strict."""


class Submission(Struct, frozen=True):
    """What was graded; `sha256` is of the file, or of all files of a folder with their names.

    `id` tells submissions of one name apart: it is made from the path. What follows is of a class:
    `key` names the submission in it, and the rest is what the download, of which `system`, tells;
    `ids` are for the feedback that goes back there.
    """

    name: str
    path: str
    sha256: str
    id: str = ""
    key: str = ""
    people: list[Person] = []
    system: str = ""
    attempt: int | None = None
    late: bool | None = None
    submitted: str = ""
    ids: dict[str, str] = {}

    @property
    def called(self) -> str:
        """What it is called among others: its key in the class, or its own name."""
        return self.key or self.name


class Problem(Struct, frozen=True):
    """Why a stage did not finish; `fault` says in one word how, and whose it is."""

    stage: Stage
    fault: Fault
    message: str
    expected: str = ""
    found: str = ""
    where: str = ""
    help: str = ""

    @property
    def is_scored(self) -> bool:
        """Whether it is the submission's, which loses points by it."""
        return self.fault not in NOT_SCORED


class RecipeSummary(Struct, frozen=True):
    """How it is trained, in words; each fact with the place it came from.

    With `flaws`, parts that the file declares and that cannot be used, nothing is trained.
    """

    epochs: int
    batch_size: int
    facts: list[Fact]
    flaws: list[Flaw] = []


class Training(Struct, frozen=True):
    """What the training did; `epochs` holds only finished ones, `samples_seen` counts draws."""

    seed: int
    device: str
    planned_epochs: int
    steps_per_epoch: int
    samples_per_epoch: int
    epochs: list[EpochDone]
    samples_seen: int
    seconds: float
    peak_memory: int = 0
    finished: bool = False
    weights_sha256: str = ""


class TrainingRun(Struct, frozen=True):
    """One training, of its own seed; `errors` are wrong answers of the epoch that is judged.

    `curve` holds the wrong answers after each finished epoch. `passed` is None until it is known:
    true if the run got to its end and reached the limit, false if it did not, or failed by the
    submission's doing, which `problem` tells. `recalled` are answers to training images. `metered`
    is None for the first run, whose is the record's. `kept` says when it was trained, where its
    result was taken from the store. Of a salted run `mask` says how it saw the data, as its weights
    do.
    """

    seed: int
    weights: str
    threads: int = 0
    errors: int | None = None
    tested: int = 0
    curve: list[int] = []
    samples_seen: int = 0
    seconds: float = 0.0
    peak_memory: int = 0
    finished: bool = False
    weights_sha256: str = ""
    passed: bool | None = None
    problem: Problem | None = None
    metered: Metered | None = None
    recalled: Recalled | None = None
    kept: str = ""
    mask: Mask | None = None


class Accuracy(Struct, frozen=True):
    """Accuracies in per cent of the test set; `judged` is the one the rubric asks for.

    With several runs they are means over those that are finished, `errors` and `tested` sums.
    `interval` is the 95 % interval of `judged`: Wilson's of one run (or of unfinished ones as one
    sample), Student's of the mean of several. `chance` (that one more run passes, 0 to 1) needs a
    finished run; `deviation` (sample standard deviation, in points) and `p_value` (of a mean so
    good if the true one were at the limit) need two.
    """

    judged: float
    final: float
    best: float
    errors: int
    tested: int
    interval: tuple[float, float]
    runs: list[TrainingRun]
    deviation: float | None = None
    chance: float | None = None
    p_value: float | None = None

    def unsure(self, limit: float) -> bool:
        """Tell whether a limit in per cent lies within the interval, which is noise."""
        low, high = self.interval
        return low < limit <= high

    @property
    def odds(self) -> str:
        """The chance in per cent; a few runs make nothing certain. Empty where it is not known."""
        if self.chance is None:
            return ""
        rounded = f"{100 * self.chance:.0f}%"
        return {"0%": "under 1%", "100%": "over 99%"}.get(rounded, rounded)


class Check(Struct, frozen=True):
    """One requirement: `message` and `help` are empty when it passed."""

    id: str
    title: str
    outcome: Outcome
    points: float
    max_points: float
    expected: str = ""
    found: str = ""
    where: str = ""
    message: str = ""
    help: str = ""


class SetAside(Struct, frozen=True):
    """A statement of the submission that was not run, and why."""

    text: str
    where: str
    why: str


class Protections(Struct, frozen=True):
    """What kept the student's code in its box on this machine, and what this machine lacks."""

    present: list[str]
    missing: list[str]


class Data(Struct, frozen=True):
    """What the network was trained and tested on; `sha256` tells one data set from another."""

    name: str
    title: str
    sha256: str


def data_of(dataset: Dataset) -> Data:
    """Return what a record says of a data set."""
    return Data(dataset.name, dataset.title, dataset.digest)


class Record(Struct, frozen=True):
    """One run over one submission.

    `inputs_sha256` is of all that the run depends on: submission, rubric, options and grader.
    `fixed` are the numbers that no training changes; see `grader.plan.fixed`. `salt_sha256` is of
    the secret that seeds and masks follow from, empty without one; `grader_sha256` of the code.
    `judged_by` is `evidence` where `--runs auto` asked for that, whatever the rubric says.

    `status` is `running` until the end, then `complete` if every check has an outcome, `partial`
    if some were not selected, `interrupted` if the run was stopped from outside. `score` is None
    until then, and where the grader is at fault or the run was stopped, which is not a zero.
    `remarks` are for the instructor alone: what is made for the student has none of them.
    """

    submission: Submission
    assignment: str
    rubric_sha256: str
    max_score: float
    inputs_sha256: str = ""
    version: Literal[2] = 2
    status: Literal["running", "complete", "partial", "interrupted"] = "running"
    level: Literal["rebuilt", "sandboxed"] = "rebuilt"
    problem: Problem | None = None
    model: Facts | None = None
    plan_sha256: str = ""
    content_sha256: str = ""
    recipe: RecipeSummary | None = None
    fixed: list[Fixed] = []
    blank: Blank | None = None
    metered: Metered | None = None
    training: Training | None = None
    accuracy: Accuracy | None = None
    checks: list[Check] = []
    score: float | None = None
    official: bool = False
    environment: dict[str, str] = {}
    sandbox: Protections = Protections([], [])
    set_aside: list[SetAside] = []
    notes: list[str] = []
    remarks: list[str] = []
    data: Data = data_of(MNIST)
    salt_sha256: str = ""
    grader_sha256: str = ""
    judged_by: Literal["", "evidence"] = ""


def accuracy_of(
    runs: list[TrainingRun], judged_on: Literal["last", "best"], limit: float
) -> Accuracy | None:
    """Sum up trainings of one network; `limit` is in per cent. None before the first epoch.

    Only finished runs count; while there is none, all that have finished an epoch, as one sample.
    """
    tried = [run for run in runs if run.curve]
    counted = [run for run in tried if run.finished] or tried
    if not counted:
        return None
    tested = counted[0].tested
    last, best = ([f(run.curve) for run in counted] for f in (lambda curve: curve[-1], min))
    errors = last if judged_on == "last" else best
    total, count = sum(errors), len(errors)
    accuracy = Accuracy(
        judged=percent(total, tested * count), final=percent(sum(last), tested * count),
        best=percent(sum(best), tested * count), errors=total, tested=tested * count,
        interval=wilson(tested * count - total, tested * count), runs=runs,
    )  # fmt: skip
    finished = sum(run.finished for run in counted)  # what is unfinished tells nothing of spread
    if not finished:
        return accuracy
    failed = sum(run.passed is False and not run.finished for run in runs)
    odds = chance(errors, int(tested * (1 - limit / 100) + 1e-6)) * count / (count + failed)
    accuracy = msgspec.structs.replace(accuracy, chance=odds)
    return _with_spread(accuracy, errors, tested, limit) if finished > 1 else accuracy


def _with_spread(accuracy: Accuracy, errors: list[int], tested: int, limit: float) -> Accuracy:
    """Add what only two or more runs tell; each of `errors` is out of `tested`."""
    few, many = mean_interval(errors)
    most = tested * (1 - limit / 100)
    return msgspec.structs.replace(
        accuracy,
        interval=(max(0.0, 100 - 100 * many / tested), min(100.0, 100 - 100 * few / tested)),
        deviation=100 * stdev(errors) / tested, p_value=p_value(errors, most),
    )  # fmt: skip


def percent(errors: int, tested: int) -> float:
    """Return an accuracy, rounded so that 60 errors in 10,000 are 99.4 to the last bit."""
    return round(100 * (1 - errors / tested), 6)


def encoded(record: Record) -> bytes:
    """Return a record as JSON that people can read."""
    return readable(record)


def save(record: Record, folder: Path) -> None:
    """Write `folder/record.json`."""
    write_atomically(folder / "record.json", encoded(record))


def load(path: Path) -> Record:
    """Read a record, also one of version 1; GraderFault when it is none."""
    try:
        content = msgspec.json.decode(path.read_bytes())
        if isinstance(content, dict):
            content.pop("probe", None)  # once, what was measured stood apart from the facts
            if content.get("version") == 1:
                return _of_version_1(content)
        return msgspec.convert(content, Record)
    except UNREADABLE as error:
        raise GraderFault(
            "the record cannot be read", expected="a record.json, version 1 or 2",
            found=str(error), where=str(path), help="grade the submission again to make a new one",
        ) from None  # fmt: skip


def _of_version_1(content: dict[str, Any]) -> Record:
    """Read a record whose `runs` were accuracies, of one training."""
    if isinstance(content.get("accuracy"), dict):
        content["accuracy"]["runs"] = []
    record = msgspec.convert(content | {"version": 2}, Record)
    training, accuracy = record.training, record.accuracy
    if training is None or accuracy is None:
        return record
    run = TrainingRun(
        training.seed, "weights.safetensors", errors=accuracy.errors, tested=accuracy.tested,
        curve=[epoch.test_errors for epoch in training.epochs], finished=training.finished,
        samples_seen=training.samples_seen, seconds=training.seconds,
        peak_memory=training.peak_memory, weights_sha256=training.weights_sha256,
    )  # fmt: skip
    return update(record, accuracy=msgspec.structs.replace(accuracy, runs=[run]))


def update(record: Record, **changes: Any) -> Record:  # noqa: ANN401 - any field of Record
    """Return the record with some fields replaced."""
    return msgspec.structs.replace(record, **changes)
