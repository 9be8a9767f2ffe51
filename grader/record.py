"""The Record: everything a run found out, frozen and versioned. Documented in docs/record.md."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import msgspec

from grader.errors import Fault, GraderFault
from grader.plan.findings import Facts, Finding, Layer
from grader.plan.schema import Fact, Flaw
from grader.training.events import EpochDone, Metered, Probed

# Checks know the Record, and nothing behind it.
__all__ = ["Facts", "Finding", "Flaw", "Layer", "Metered", "Probed"]

Outcome = Literal["passed", "failed", "not_judged"]
Stage = Literal["read", "describe", "train"]


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base: immutable and strict."""


class Submission(Struct, frozen=True):
    """What was graded; `sha256` is of the file, or of all files of a folder with their names."""

    name: str
    path: str
    sha256: str


class Problem(Struct, frozen=True):
    """Why a stage did not finish; `fault` says in one word how, and whose it is."""

    stage: Stage
    fault: Fault
    message: str
    expected: str = ""
    found: str = ""
    where: str = ""
    help: str = ""


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


class Accuracy(Struct, frozen=True):
    """Accuracies in per cent of the test set; `judged` is the one the rubric asks for.

    `interval` is the 95 % Wilson interval for `judged` as a share of `tested` images.
    """

    judged: float
    final: float
    best: float
    errors: int
    tested: int
    interval: tuple[float, float]
    runs: list[float]


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


class Record(Struct, frozen=True):
    """One run over one submission.

    `status` is `running` until the end, then `complete` if every check has an outcome, `partial`
    if some were not selected, `interrupted` if the run was stopped from outside. `score` is None
    where the grader is at fault, which is not a zero.
    """

    submission: Submission
    assignment: str
    rubric_sha256: str
    max_score: float
    version: Literal[1] = 1
    status: Literal["running", "complete", "partial", "interrupted"] = "running"
    level: Literal["rebuilt", "sandboxed"] = "rebuilt"
    problem: Problem | None = None
    model: Facts | None = None
    plan_sha256: str = ""
    recipe: RecipeSummary | None = None
    probe: Probed | None = None
    metered: Metered | None = None
    training: Training | None = None
    accuracy: Accuracy | None = None
    checks: list[Check] = []
    score: float | None = 0.0
    official: bool = False
    environment: dict[str, str] = {}
    sandbox: Protections = Protections([], [])
    set_aside: list[SetAside] = []
    notes: list[str] = []


def accuracy_of(epochs: list[EpochDone], judged_on: Literal["last", "best"]) -> Accuracy:
    """Sum up the test passes of at least one finished epoch."""
    last, best = epochs[-1], min(epochs, key=lambda e: e.test_errors)
    judged = last if judged_on == "last" else best
    return Accuracy(
        judged=_percent(judged), final=_percent(last), best=_percent(best),
        errors=judged.test_errors, tested=judged.test_samples,
        interval=wilson(judged.test_samples - judged.test_errors, judged.test_samples),
        runs=[_percent(judged)],
    )  # fmt: skip


def _percent(epoch: EpochDone) -> float:
    return round(100 * (1 - epoch.test_errors / epoch.test_samples), 6)


def wilson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion, in per cent.

    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927), 209-212.
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    p = successes / trials
    centre = p + z * z / (2 * trials)
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    scale = 100 / (1 + z * z / trials)
    return (scale * (centre - half), scale * (centre + half))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; GraderFault names the path when it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(temporary).chmod(0o644)  # mkstemp's files are private
            os.replace(temporary, path)  # noqa: PTH105 - Path.replace is the same call
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise GraderFault(
            "a result could not be written", expected="a folder with free space that is ours",
            found=str(error), where=str(path), help="choose another folder with --out",
        ) from error  # fmt: skip


def save(record: Record, folder: Path) -> None:
    """Write `folder/record.json`."""
    write_atomically(folder / "record.json", msgspec.json.format(msgspec.json.encode(record)))


def load(path: Path) -> Record:
    """Read a record; GraderFault when it is not one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError) as error:
        raise GraderFault(
            "the record cannot be read", expected="a record.json, version 1", found=str(error),
            where=str(path),
        ) from None  # fmt: skip


def update(record: Record, **changes: Any) -> Record:  # noqa: ANN401 - any field of Record
    """Return the record with some fields replaced."""
    return msgspec.structs.replace(record, **changes)
