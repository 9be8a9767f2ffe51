"""Trainings on a cluster: a real scheduler and real workers on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from grader import cluster, pool, store
from grader.datasets.known import FASHION_MNIST
from grader.errors import GraderFault, UsageFault
from grader.events import EpochDone, Finished, Progress, Started
from grader.pool import Ended, News
from tests.processes import runs
from tests.test_pool import tasks

distributed = pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.slow,
    # Its own sockets and loops, which it leaves to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Start a scheduler and two workers with nannies, each for one training at a time."""
    worker = {
        "cls": distributed.Nanny,
        "options": {"nthreads": 1, "host": "127.0.0.1", "memory_limit": 0, "resources": {"CPU": 1}},
    }
    made = distributed.SpecCluster(
        workers={0: worker, 1: worker},
        scheduler={
            "cls": distributed.Scheduler,
            "options": {"host": "127.0.0.1", "port": 0, "dashboard": False},
        },
        silence_logs=50,
    )
    with made:
        yield str(made.scheduler_address)


def kept(folder: Path, *seeds: int, **more: Any) -> list[pool.Task]:
    """Make trainings whose results are kept as those of a cluster."""
    made = []
    for task in tasks(folder, *seeds, **more):
        decides = store.what_decides("c", task.job.seed, 1, 1, own=False) | store.ANYWHERE
        about = store.About(decides, [], "net.py", "")
        keeping = pool.Keeping(folder / "store", store.key_of(decides), about)
        made.append(replace(task, keeping=keeping))
    return made


def outcome(
    made: list[pool.Task], address: str, resources: dict[str, float] | None = None
) -> dict[int, list[News]]:
    """Carry out the tasks; return what was told of each."""
    told: dict[int, list[News]] = {number: [] for number in range(1, len(made) + 1)}
    cluster.carry_out(
        made, address, resources or {}, lambda news, number: told[number].append(news)
    )
    return told


def told_of(news: list[News]) -> list[dict[str, Any]]:
    """Return what was told of a training, without times."""
    plain: list[dict[str, Any]] = []
    for each in news:
        if not isinstance(each, Ended | Progress):
            fields = msgspec.to_builtins(each)
            plain.append({n: v for n, v in fields.items() if n not in ("seconds", "peak_memory")})
    return plain


def test_a_cluster_trains_what_this_machine_would(address: str, tmp_path: Path) -> None:
    """The same events and the same weights as here, and the results are kept."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    here: dict[int, list[News]] = {1: [], 2: []}
    pool.carry_out(
        tasks(tmp_path / "here", 1, 2), 2, lambda news, number: here[number].append(news)
    )
    made = kept(tmp_path / "there", 1, 2)
    there = outcome(made, address, {"CPU": 1})

    assert [told_of(news) for news in there.values()] == [told_of(news) for news in here.values()]
    assert all(news[-1] == Ended() for news in there.values())
    for seed in (1, 2):
        name = f"{seed}.safetensors"
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert all(
        task.keeping and store.Store(task.keeping.place).find(task.keeping.key) for task in made
    )


def test_a_worker_that_is_lost_costs_no_verdict(address: str, tmp_path: Path) -> None:
    """Killed in the middle of its training, it is replaced, and what was told is not told again."""
    made = kept(tmp_path, 3)
    told: list[News] = []
    killed: list[psutil.Process] = []

    def note(news: News, number: int) -> None:
        told.append(news)
        if isinstance(news, Started) and not killed:
            for process in psutil.Process().children(recursive=True):
                parent = process.parent()
                if runs(process, "grader.training.worker") and parent:
                    killed.append(parent)
                    parent.kill()

    cluster.carry_out(made, address, {}, note)

    assert killed
    assert told[-1] == Ended()
    assert isinstance(told[-2], Finished)
    assert len([news for news in told if isinstance(news, Started)]) == 1
    assert [news.epoch for news in told if isinstance(news, EpochDone)] == [1]


def test_what_no_worker_has_is_an_error_in_seconds(address: str, tmp_path: Path) -> None:
    """Dask would wait for it without end."""
    began = time.monotonic()
    with pytest.raises(UsageFault, match="a worker with GPU=1"):
        cluster.check(address, {"GPU": 1})
    with pytest.raises(UsageFault, match="there is no scheduler"):
        cluster.check("tcp://127.0.0.1:9", {})
    with pytest.raises(UsageFault, match="there is no scheduler"):
        cluster.check("nonsense://", {})

    assert time.monotonic() - began < 120


def test_a_worker_without_the_data_refuses(address: str, tmp_path: Path) -> None:
    """It says what to install there, or to give."""
    absent = msgspec.structs.replace(FASHION_MNIST, folder=str(tmp_path / "none"))
    (news,) = outcome(kept(tmp_path, 5, dataset=absent), address).values()

    assert isinstance(news[-1], Ended)
    assert isinstance(news[-1].error, GraderFault)
    assert "apt install dataset-fashion-mnist" in news[-1].error.found


def test_a_worker_with_other_software_refuses(address: str, tmp_path: Path) -> None:
    """It says in what it differs, and that is a fault of the grader."""
    (task,) = kept(tmp_path, 4)
    assert task.keeping is not None
    other = task.keeping.about.depends_on | {"trainer": "another"}
    about = msgspec.structs.replace(task.keeping.about, depends_on=other)
    keeping = pool.Keeping(task.keeping.place, store.key_of(other), about)
    (news,) = outcome([replace(task, keeping=keeping)], address).values()

    assert isinstance(news[-1], Ended)
    assert isinstance(news[-1].error, GraderFault)
    assert "and not another" in news[-1].error.found
