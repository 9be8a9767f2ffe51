"""Starts the training worker, hands on what it says, and keeps it within its bounds. No torch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from grader import process
from grader.datasets.known import MNIST, Dataset
from grader.datasets.mask import Mask
from grader.errors import GraderFault, LimitReached
from grader.events import EVENT, AnyEvent, EpochDone, Finished, Started

_WORDS = 5  # lines in which the worker tells of a fault of the grader's, with status 2
_OUTPUT = 200 << 20  # bytes; a progress event is 200 bytes, and a few come a second


class Own(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the box is told where the submission's own loop trains.

    `program` is a path; `optimizer` the one for a submission that has none; `seconds` and
    `megabytes` bound the box; with `official` protections of the box are required.
    """

    program: str
    optimizer: dict[str, Any]
    seconds: float
    megabytes: int
    official: bool = False


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the worker is told. Paths are absolute; `max_epochs` ends a longer recipe early.

    `checkpoint` is where the state after each epoch is kept, and taken up again; a loop of the
    submission's own starts anew. `own` is there where that one trains. The network sees the data
    under the `mask`, if there is one.
    """

    plan: str
    weights: str
    seed: int
    data_dir: str | None = None
    max_epochs: int | None = None
    threads: int | None = None
    checkpoint: str | None = None
    own: Own | None = None
    dataset: Dataset = MNIST
    mask: Mask | None = None


class Bounds(msgspec.Struct, frozen=True):
    """Seconds for an epoch and for the run, megabytes for the process."""

    epoch: float
    run: float
    megabytes: int


def train(
    job: Job,
    bounds: Bounds,
    home: Path,
    on_event: Callable[[AnyEvent], None],
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Run one training to its end; every event is handed to `on_event` as it comes.

    Ends the worker, and raises CancelledError, within a second after `stop` says so. Raises
    LimitReached when a bound is passed and GraderFault when the worker dies.
    """
    path = home / "job.json"
    path.write_bytes(msgspec.json.encode(job))
    command = process.python("-m", "grader.training.worker", str(path), str(os.getpid()))
    clock, finished = _Clock(bounds, stop), False
    with process.child(
        command, env=process.clean_environment(home), cwd=home,
        memory=bounds.megabytes * 1_000_000, output=_OUTPUT,
    ) as worker:  # fmt: skip
        try:
            for event in _events(worker.chunks(clock.deadline)):
                clock.note(event)
                on_event(event)
                finished = isinstance(event, Finished)
        except process.Stopped as stopped:
            if not finished:
                raise clock.limit(stopped) from None
    if worker.returncode != 0 and not finished:  # else all was there, and it was slow to end
        lines = worker.stderr.strip().splitlines() or ["nothing was printed"]
        told = lines[-_WORDS:] if worker.returncode == 2 else lines[-1:]
        tail = "; ".join(line.strip() for line in told)
        raise GraderFault(
            "the training process died", expected="exit status 0",
            found=f"status {worker.returncode}: {tail[:500]}", where="grader.training.worker",
            help="run it again; if it happens again, report the last line",
        )  # fmt: skip


class _Clock:
    """The nearer of two deadlines: the run's, and that of the epoch now running."""

    def __init__(self, bounds: Bounds, stop: Callable[[], bool]) -> None:
        self.bounds = bounds
        self.stop = stop
        self.started = self.epoch_started = time.monotonic()
        self.epoch = 1

    def note(self, event: AnyEvent) -> None:
        if isinstance(event, (Started, EpochDone)):
            self.epoch_started = time.monotonic()
        if isinstance(event, EpochDone):
            self.epoch = event.epoch + 1

    def deadline(self) -> float:
        nearer = min(self.started + self.bounds.run, self.epoch_started + self.bounds.epoch)
        return process.until(nearer, self.stop)()

    def limit(self, stopped: process.Stopped) -> LimitReached:
        """Say which bound ended the run."""
        bounds = self.bounds
        if stopped.reason == "memory":
            name, bound = "memory", f"{bounds.megabytes:,} MB (megabytes.train)"
        elif self.started + bounds.run <= self.epoch_started + bounds.epoch:
            name, bound = "run", f"{bounds.run:g} s for the whole training (seconds.run)"
        else:
            name, bound = "epoch", f"{bounds.epoch:g} s for one epoch (seconds.epoch)"
        return LimitReached.of(
            stopped.reason,
            f"the training was stopped in epoch {self.epoch} by the bound on the {name}",
            expected=f"at most {bound}", found=str(stopped), where=f"epoch {self.epoch}",
            help="make the network cheaper: fewer channels at full resolution, earlier pooling",
        )  # fmt: skip


def _events(chunks: Iterator[bytes]) -> Iterator[AnyEvent]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield EVENT.decode(line)
