"""Carries out trainings on this machine, several at a time: threads that each watch one process.

A training is a `Task`, plain data. `grader.cluster` does the same tasks on other machines.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from grader import scratch
from grader.errors import GraderFault, GradingError
from grader.events import AnyEvent, Diverged, Finished, Taken
from grader.store import About, Store, handed_out, now
from grader.supervise import Bounds, Job, train

WAIT = 0.5  # seconds without looking for a signal, on systems where waiting cannot be interrupted


@dataclass(frozen=True)
class Keeping:
    """Where the result of a training is kept, and what of it is told there.

    With `anew` it is not taken from there, only put there.
    """

    place: Path
    key: str
    about: About
    anew: bool = False


@dataclass(frozen=True)
class Task:
    """A training; `program` is the encoded Program where the submission's own loop trains.

    `keeping` says where the result is kept; without it nothing is.
    """

    job: Job
    bounds: Bounds
    program: bytes | None = None
    keeping: Keeping | None = None


@dataclass(frozen=True)
class Ended:
    """A training is over; `error` tells why it did not get to its end."""

    error: GradingError | None = None


News = AnyEvent | Ended
OnNews = Callable[[News, int], None]
OnEvent = Callable[[AnyEvent], None]


_Mailbox = queue.SimpleQueue[tuple[int, News]]


def cores(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many cores this process may use; a container's share is read from `groups`."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, int(min(count, _share(groups))))


def _share(groups: Path) -> float:
    """Return how many cores' time a container gets, by cgroups of version 2 or 1."""
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        with contextlib.suppress(OSError, ValueError):  # no such file, or no limit ("max")
            quota, period = " ".join((groups / file).read_text() for file in files).split()
            if int(quota) > 0:
                return int(quota) / int(period)
    return math.inf


def carry_out(tasks: Sequence[Task], jobs: int | None, on_news: OnNews) -> None:
    """Do all tasks, so many `jobs` at a time (None: as many as there are cores).

    `on_news` is told, in this thread, of each task by its number from 1. The last news of a task
    is that it `Ended`, and one that ends badly stops no other. Whatever is raised in here, by
    `on_news` or by a signal, ends those under way before it gets through.
    """
    left, mailbox, stop = len(tasks), _Mailbox(), threading.Event()
    executor = ThreadPoolExecutor(min(left, jobs or cores()), "training")
    try:
        for number, task in enumerate(tasks, start=1):
            future = executor.submit(_perform, task, number, mailbox, stop)
            future.add_done_callback(_teller(number, mailbox))
        while left:
            with contextlib.suppress(queue.Empty):
                number, news = mailbox.get(timeout=WAIT)
                left -= isinstance(news, Ended)
                on_news(news, number)
    finally:
        stop.set()
        executor.shutdown(cancel_futures=True)


def _teller(number: int, mailbox: _Mailbox) -> Callable[[Future[None]], None]:
    def tell(future: Future[None]) -> None:
        error = CancelledError() if future.cancelled() else future.exception()
        if error is not None and not isinstance(error, GradingError):
            error = GraderFault(
                "the training did not run", expected="a result, or a reason for none",
                found=f"{type(error).__name__}: {error}", where="grader.pool",
                help="run it again; if it happens again, report this message",
            )  # fmt: skip
        mailbox.put((number, Ended(error)))

    return tell


def _perform(task: Task, number: int, mailbox: _Mailbox, stop: threading.Event) -> None:
    """Do one task."""
    with scratch.folder("grader-train-") as home:
        job = task.job
        if task.program is not None and job.own is not None:
            program = Path(home) / "program.json"
            program.write_bytes(task.program)
            own = msgspec.structs.replace(job.own, program=str(program))
            job = msgspec.structs.replace(job, own=own)
        tell = lambda event: mailbox.put((number, event))  # noqa: E731 - shorter than a def

        def training(job: Job, tell: OnEvent) -> None:
            train(job, task.bounds, Path(home), tell, stop.is_set)

        if task.keeping is None:
            training(job, tell)
        else:
            _train_once(job, task.keeping, training, tell, stop)


def _train_once(
    job: Job,
    keeping: Keeping,
    training: Callable[[Job, OnEvent], None],
    tell: OnEvent,
    stop: threading.Event,
) -> None:
    """Train unless that was done before; a store that cannot be written to spoils nothing."""
    store = Store(keeping.place)
    told: list[AnyEvent] = []
    with contextlib.ExitStack() as holding:
        with contextlib.suppress(GraderFault):
            holding.enter_context(store.lease(keeping.key, stop.is_set))
        kept = None if keeping.anew else store.find(keeping.key)
        if kept is not None:
            tell(Taken(kept.about.trained))
            for event in handed_out(kept, keeping.about.tensors, Path(job.weights)):
                tell(event)
            return

        def note(event: AnyEvent) -> None:
            told.append(event)
            tell(event)

        state = store.state(keeping.key)
        if keeping.anew:
            with contextlib.suppress(OSError):
                state.unlink(missing_ok=True)
        training(msgspec.structs.replace(job, checkpoint=str(state)), note)
        if told and isinstance(told[-1], Finished | Diverged):
            about = msgspec.structs.replace(keeping.about, trained=now())
            with contextlib.suppress(GraderFault):
                store.keep(keeping.key, about, told, Path(job.weights))
