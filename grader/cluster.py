"""Trainings on a Dask cluster: the same tasks as on this machine, as bytes there and back.

What crosses is a plan with numbers, and what a training said with its weights. No student code ever
does: a submission that trains itself is trained on this machine. What comes back is validated like
an answer from a sandbox; but Dask itself unpickles results, so that whoever can reach the scheduler
can run code here (docs/threat-model.md): use TLS, or a network of your own.

Read in the source of distributed 2026.8: a future's key makes equal work one task; `retries` covers
exceptions alone, and a lost worker makes all its tasks suspicious, in the end KilledWorker; a
resource that no worker has is waited for without end.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import queue
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from grader import runs, store
from grader.datasets import files
from grader.datasets.known import MNIST, Dataset
from grader.datasets.mask import Mask
from grader.errors import GraderFault, GradingError, SubmissionError, UsageFault
from grader.events import EVENT, AnyEvent, Diverged, EpochDone, Failed, Finished, Progress
from grader.files import write_atomically
from grader.pool import WAIT, Ended, OnNews, Task
from grader.supervise import Bounds, Job, train

_CONNECTING = 5  # seconds
_STATE = 0.5  # seconds to wait for a state that nobody may have left
_AT_WORK = ("running", "paused")  # what a worker says of itself; a paused one is short of memory
_MOST_AGAIN = 2  # times that a task is sent again when its workers were lost


Untyped: TypeAlias = Any
"""What is Dask's, which tells few types."""


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A training, as it is sent. `depends_on` holds the software that a worker has to have.

    `topic` is where it tells how it goes. `data_dir` is read where the worker has such a folder.
    """

    key: str
    topic: str
    plan: bytes
    seed: int
    max_epochs: int | None
    bounds: Bounds
    depends_on: dict[str, Any]
    dataset: Dataset = MNIST
    data_dir: str | None = None
    mask: Mask | None = None


class Delivery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What comes back: all events, the last of which tells how it ended, and the weights.

    `refused` says why a worker did not begin, `stopped` which of the task's bounds ended it.
    """

    events: list[AnyEvent] = []
    weights: bytes = b""
    refused: str = ""
    stopped: Failed | None = None


_ORDER = msgspec.msgpack.Decoder(Order)
_DELIVERY = msgspec.msgpack.Decoder(Delivery)


def carry_out(
    tasks: Sequence[Task], address: str, resources: Mapping[str, float], on_news: OnNews
) -> None:
    """Do all tasks on the cluster at `address`; see `pool.carry_out`.

    Raises UsageFault where Dask is not installed or nobody answers there, and where no worker has
    the resources.
    """
    with _client(address) as client:
        _check_workers(client, address, resources)
        _Running(client, resources, tasks, on_news).to_their_end()


def check(address: str, resources: Mapping[str, float]) -> None:
    """Raise UsageFault where `carry_out` would, in seconds and before anything is done."""
    with _client(address) as client:
        _check_workers(client, address, resources)


class _Running:
    """The trainings that are on a cluster."""

    def __init__(
        self, client: Untyped, resources: Mapping[str, float], tasks: Sequence[Task],
        on_news: OnNews,
    ) -> None:  # fmt: skip
        self.client, self.resources, self.tasks = client, dict(resources), tasks
        self.on_news = on_news
        self.told: queue.SimpleQueue[tuple[int, str, Any]] = queue.SimpleQueue()
        self.futures: dict[int, Any] = {}
        self.sent = dict.fromkeys(range(1, len(tasks) + 1), 0)  # how often each was sent
        self.heard: dict[tuple[int, str], int] = {}  # events of each attempt, by its mark
        self.known = dict.fromkeys(self.sent, 0)  # events of each task that were handed on

    def to_their_end(self) -> None:
        """Send all, hand on what is heard of them, and leave nothing behind."""
        try:
            for number in self.sent:
                self._send(number)
            while self.futures:
                with contextlib.suppress(queue.Empty):
                    number, mark, news = self.told.get(timeout=WAIT)
                    if number not in self.futures:
                        continue  # heard late of a training that is over
                    if isinstance(news, AnyEvent):
                        self._heard(number, mark, news)
                    else:
                        self._received(number, news)
        finally:
            self.client.cancel(list(self.futures.values()), force=True)

    def _send(self, number: int) -> None:
        task = self.tasks[number - 1]
        job, keeping = task.job, task.keeping
        assert keeping is not None
        self.sent[number] += 1
        name = f"train-{keeping.key}-{self.sent[number]}"
        order = Order(
            keeping.key, name, Path(job.plan).read_bytes(), job.seed, job.max_epochs, task.bounds,
            keeping.about.depends_on, job.dataset, job.data_dir, job.mask,
        )  # fmt: skip

        def hear(event: tuple[float, tuple[str, bytes]]) -> None:
            with contextlib.suppress(msgspec.MsgspecError, TypeError, ValueError, IndexError):
                mark, told = event[1]
                self.told.put((number, str(mark), EVENT.decode(told)))

        self.client.subscribe_topic(name, hear)
        future = self.client.submit(
            train_there, msgspec.msgpack.encode(order), resources=self.resources, pure=False,
            key=name, retries=1,
        )  # fmt: skip
        self.futures[number] = future
        future.add_done_callback(lambda ended: self.told.put((number, "", ended)))

    def _heard(self, number: int, mark: str, event: AnyEvent) -> None:
        """Hand an event on, unless it was told already by a worker that was lost since."""
        if not isinstance(event, Progress):
            at = self.heard[number, mark] = self.heard.get((number, mark), 0) + 1
            if at <= self.known[number]:
                return
            self.known[number] = at
        self.on_news(event, number)

    def _received(self, number: int, future: Untyped) -> None:
        """Hand on what came of a task, or send it again where its workers were lost."""
        try:
            error = self._delivered(number, _DELIVERY.decode(future.result()))
        except GradingError as own:
            error = own
        except Exception as lost:  # whatever Dask and the network raise
            again = type(lost).__name__ == "KilledWorker" and self.sent[number] <= _MOST_AGAIN
            if again:
                self._send(number)
                return
            error = _fault("the training did not run", repr(lost)[:500])
        del self.futures[number]
        self.on_news(Ended(error), number)

    def _delivered(self, number: int, delivery: Delivery) -> GradingError | None:
        """Keep what came, hand on what was not heard on the way, and return what went wrong."""
        task = self.tasks[number - 1]
        keeping, events = task.keeping, delivery.events
        assert keeping is not None
        if delivery.refused:
            return _fault("a worker refused the training", delivery.refused)
        digest = hashlib.sha256(delivery.weights).hexdigest()
        last = events[-1] if events else None
        if isinstance(last, Finished) and digest != last.weights_sha256:
            return _fault("a result came damaged", "weights with another SHA-256")
        if isinstance(last, Finished):
            write_atomically(Path(task.job.weights), delivery.weights)
        for event in events[self.known[number] :]:
            self.on_news(event, number)
        if delivery.stopped is not None:
            return runs.failure_of(delivery.stopped, "sandboxed")  # in its own words
        if isinstance(last, Finished | Diverged):
            about = msgspec.structs.replace(keeping.about, trained=store.now())
            with contextlib.suppress(GraderFault):
                store.Store(keeping.place).keep(keeping.key, about, events, Path(task.job.weights))
        return None


def train_there(order: bytes) -> bytes:
    """Train on a worker: an Order in, a Delivery out, both MessagePack."""
    dask, asked = _dask(), _ORDER.decode(order)
    if differs := _differences(asked.depends_on):
        return msgspec.msgpack.encode(Delivery(refused=differs))
    data_dir = asked.data_dir if asked.data_dir and Path(asked.data_dir).is_dir() else None
    try:
        files.verify(asked.dataset, Path(data_dir) if data_dir else None)
    except UsageFault as missing:
        return msgspec.msgpack.encode(Delivery(refused=" ".join(str(missing).split())))
    worker, kept = dask.get_worker(), dask.Variable(f"state-{asked.key}")
    mark = secrets.token_hex(8)  # of this attempt: Dask itself may make another
    told: list[AnyEvent] = []
    with tempfile.TemporaryDirectory(prefix="grader-there-") as folder:
        home = Path(folder)
        state, weights = home / "state", home / "weights.safetensors"
        (home / "plan.json").write_bytes(asked.plan)
        with contextlib.suppress(Exception):  # there is none yet, or it was lost with its scheduler
            state.write_bytes(kept.get(timeout=_STATE))

        def tell(event: AnyEvent) -> None:
            worker.log_event(asked.topic, (mark, msgspec.json.encode(event)))
            if not isinstance(event, Progress):
                told.append(event)
            if isinstance(event, EpochDone):
                with contextlib.suppress(OSError):
                    kept.set(state.read_bytes())

        job = Job(
            str(home / "plan.json"), str(weights), asked.seed, data_dir, asked.max_epochs,
            threads=1, checkpoint=str(state), dataset=asked.dataset, mask=asked.mask,
        )  # fmt: skip
        stopped = None
        try:
            train(job, asked.bounds, home, tell, lambda: worker.status.name not in _AT_WORK)
        except SubmissionError as error:
            stopped = Failed(
                error.message, error.where, error.expected, error.found, error.help, error.fault
            )
        kept.delete()
        content = weights.read_bytes() if weights.exists() else b""
    return msgspec.msgpack.encode(Delivery(told, content, stopped=stopped))


def _differences(depends_on: Mapping[str, Any]) -> str:
    """Say in what a worker's software differs from what the training depends on."""
    here = store.what_decides("", 0, 0, 1, own=False)
    found = [
        f"{name} is {here[name]}, and not {depends_on.get(name)}"
        for name in ("versions", "trainer")
        if here[name] != depends_on.get(name)
    ]
    return "; ".join(found)


def _dask() -> Untyped:
    """Return Dask's module; UsageFault where it is not installed."""
    try:
        return importlib.import_module("distributed")
    except ImportError:
        raise UsageFault(
            "Dask is not installed", expected="the package distributed", found="none",
            where="--scheduler", help="pip install 'mnist-grader[cluster]'",
        ) from None  # fmt: skip


@contextlib.contextmanager
def _client(address: str) -> Iterator[Untyped]:
    dask = _dask()
    try:
        client = dask.Client(address, timeout=_CONNECTING, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageFault(
            "there is no scheduler", expected="the address of one: tcp://HOST:8786",
            found=str(error)[:300] or type(error).__name__, where=address,
            help="start one with `dask scheduler`, see docs/cluster.md",
        ) from None  # fmt: skip
    with client:
        yield client


def _check_workers(client: Untyped, address: str, resources: Mapping[str, float]) -> None:
    """Raise UsageFault where no worker could ever do a task: Dask would wait without end."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    fit = [
        worker
        for worker in workers
        if all(worker["resources"].get(name, 0) >= count for name, count in resources.items())
    ]
    if not fit:
        asked = ", ".join(f"{name}={count:g}" for name, count in resources.items())
        raise UsageFault(
            "no worker of the cluster can train",
            expected=f"a worker with {asked}" if asked else "a worker",
            found=f"{len(workers)} workers", where=address,
            help="start workers with `dask worker`, see docs/cluster.md",
        )  # fmt: skip


def _fault(message: str, found: str) -> GraderFault:
    return GraderFault(
        message, expected="a training on a worker of the cluster", found=found,
        where="grader.cluster", help="grade again: what is finished is not trained again",
    )  # fmt: skip
