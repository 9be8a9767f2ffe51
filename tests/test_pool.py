"""Trainings side by side: each by itself, all of them ended together, and the same every time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from torch import nn

from grader import pool
from grader.errors import GraderFault, LimitReached, SubmissionError
from grader.events import EpochDone
from grader.pool import Ended, News, Task
from grader.supervise import Bounds, Job
from tests.capturing import Net
from tests.plans import plan_of
from tests.processes import running

BOUNDS = Bounds(epoch=300, run=300, megabytes=6_000)
Training = Callable[..., None]


def tasks(folder: Path, *seeds: int, **more: Any) -> list[Task]:
    """Make a training of a small network with dropout for each seed, by one thread."""
    plan = folder / "plan.json"
    if not plan.exists():
        network = Net(
            lambda s, x: s.line(s.drop(x.flatten(1))), drop=nn.Dropout(0.2), line=nn.Linear(784, 10)
        )
        made = plan_of(network, batch=1000, lr=[0.01])
        plan.write_bytes(msgspec.json.encode(made))
    return [
        Task(Job(str(plan), str(folder / f"{seed}.safetensors"), seed, threads=1, **more), BOUNDS)
        for seed in seeds
    ]


def outcome(jobs: list[Task], at_once: int | None) -> dict[int, list[News]]:
    """Carry out the tasks; return what was told of each."""
    told: dict[int, list[News]] = {number: [] for number in range(1, len(jobs) + 1)}
    pool.carry_out(jobs, at_once, lambda news, number: told[number].append(news))
    return told


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Callable[[Training], None]:
    """Give a function that puts another in the place of the training."""
    return lambda training: monkeypatch.setattr(pool, "train", training)


def nothing(count: int) -> list[Task]:
    """Make tasks for a pretended training, whose seeds are their numbers."""
    return [Task(Job("", "", seed), BOUNDS) for seed in range(1, count + 1)]


def test_one_that_fails_ends_no_other(pretended: Callable[[Training], None]) -> None:
    """Each task ends for itself: with the submission's error, the grader's, or well."""
    errors = {1: LimitReached("too slow"), 3: ZeroDivisionError("3"), 4: GraderFault("it died")}

    def training(job: Job, *_: object) -> None:
        if job.seed in errors:
            raise errors[job.seed]

    pretended(training)
    ends = {n: news[-1] for n, news in outcome(nothing(4), 2).items()}

    assert ends[1] == Ended(errors[1])  # type: ignore[arg-type] # is a GradingError
    assert ends[2] == Ended()
    assert ends[4] == Ended(errors[4])  # type: ignore[arg-type]
    assert isinstance(ends[3], Ended)
    assert isinstance(ends[3].error, GraderFault)
    assert not isinstance(ends[3].error, SubmissionError)
    assert "ZeroDivisionError: 3" in ends[3].error.found


def test_no_more_run_at_once_than_there_are_cores(
    pretended: Callable[[Training], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On three cores six trainings go three at a time, and all of them are done."""
    under_way, most, lock, together = 0, [], threading.Lock(), threading.Barrier(3, timeout=300)

    def training(*_: object) -> None:
        nonlocal under_way
        with lock:
            under_way += 1
            most.append(under_way)
        together.wait()
        with lock:
            under_way -= 1

    pretended(training)
    monkeypatch.setattr(pool, "cores", lambda: 3)
    told = outcome(nothing(6), None)

    assert max(most) == 3
    assert list(told.values()) == [[Ended()]] * 6


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8), ({"cpu.max": "max 100000\n"}, 8), ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1), ({"cpu.max": "junk"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
    ],
    ids=str,
)  # fmt: skip
def test_a_container_has_the_cores_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    """Of eight cores a container counts those its share of time is worth, and at least one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    assert pool.cores(tmp_path) == expected


@pytest.mark.parametrize("raised", [KeyboardInterrupt, GraderFault("disk full")], ids=str)
def test_what_is_raised_ends_all(
    pretended: Callable[[Training], None], raised: type[BaseException] | BaseException
) -> None:
    """An error of the listener, or a signal, ends those under way and begins no other."""
    begun, ended = [], []

    def training(
        job: Job, bounds: object, home: object, tell: Callable[[str], None],
        stop: Callable[[], bool],
    ) -> None:  # fmt: skip
        begun.append(job.seed)
        tell("begun")
        while not stop():
            time.sleep(0.01)
        ended.append(job.seed)
        raise CancelledError

    def listener(*_: object) -> None:
        if len(begun) == 2:
            raise raised

    pretended(training)
    with pytest.raises(raised if isinstance(raised, type) else type(raised)):
        pool.carry_out(nothing(5), 2, listener)

    assert sorted(ended) == sorted(begun) == [1, 2]


@pytest.mark.slow
def test_same_seed_gives_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    """In other processes, one after another or side by side: the seed decides, nothing else."""
    results: dict[tuple[str, int], tuple[bytes, list[int]]] = {}
    for name, width in (("alone", 1), ("beside", 2)):
        folder = tmp_path / name
        folder.mkdir()
        told = outcome(tasks(folder, 7, 8), width)
        for seed, news in zip((7, 8), told.values(), strict=True):
            weights = (folder / f"{seed}.safetensors").read_bytes()
            curve = [e.test_errors for e in news if isinstance(e, EpochDone)]
            results[name, seed] = (weights, curve)

    for seed in (7, 8):
        assert results["alone", seed] == results["beside", seed]
        assert results["alone", seed][1]
    assert results["alone", 7][0] != results["alone", 8][0]


@pytest.mark.slow
def test_an_interrupt_leaves_no_process(tmp_path: Path) -> None:
    """When the listener is interrupted while two processes train, both are gone afterwards."""
    workers: list[psutil.Process] = []
    started: set[int] = set()

    def listener(news: News, number: int) -> None:
        started.add(number)
        if len(started) == 2:
            workers.extend(running(psutil.Process(), "grader.training.worker"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pool.carry_out(tasks(tmp_path, 7, 8), 2, listener)

    assert len(workers) == 2
    assert not any(worker.is_running() for worker in workers)
