"""The steps for any number of submissions: all are described first, then all are trained.

read ─> describe ─> measure ─> train     each verdict that needs no training is there before any
text    sandbox     process    process   training begins
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from grader import cluster, forks, pool, process, steps
from grader.errors import stopped_by
from grader.events import AnyEvent, Failed
from grader.measure.asking import Measurer
from grader.record import Stage
from grader.run import Run, Tools, measurer
from grader.store import Store

_Work = tuple[pool.Task, Run, int]
OnDescribed = Callable[[Run], None]
OnEvent = Callable[[AnyEvent, Run, int], None]
"""Is told each event of a training: whose, and which of its runs, counted from 1."""


def describe(runs: Sequence[Run], jobs: int, on_described: OnDescribed) -> None:
    """Describe submissions, so many at a time.

    A fault of the grader is kept in the run it befell and touches no other. What stops the grader
    from outside is noted in every record, and raised.
    """
    stop = threading.Event()
    executor = ThreadPoolExecutor(jobs, "description")
    with _Measurers(stop.is_set) as measurers, _stops_noted(runs, "describe"):

        def one(run: Run) -> Run:
            with _faults_kept(run), measurers.lent(run) as lent:
                box = steps.box(run.request.rubric, stop.is_set)
                with contextlib.closing(box):
                    run.described(Tools(box, lent))
            return run

        try:
            with process.loaded(*forks.KINDS) if len(runs) > 1 else contextlib.nullcontext():
                for future in _as_they_end([executor.submit(one, run) for run in runs]):
                    on_described(future.result())
        finally:
            stop.set()
            executor.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Place:
    """Where trainings run: here, so many `jobs` at a time (None: as many as there are cores).

    With a `scheduler`, on the cluster at that address, by workers that have the `resources`.
    """

    jobs: int | None = None
    scheduler: str | None = None
    resources: Mapping[str, float] = field(default_factory=dict)


def train(runs: Sequence[Run], place: Place, on_event: OnEvent) -> None:
    """Train what was described; nothing is trained twice, whoever handed it in.

    See `describe` for faults.
    """
    work = _next(runs)
    several = len(work) > 1 and place.scheduler is None
    with process.loaded("trusted") if several else contextlib.nullcontext():
        while work:
            _carry_out(work, place, on_event)
            work = _next(runs)


def _next(runs: Sequence[Run]) -> list[_Work]:
    work: list[_Work] = []
    for run in runs:
        with _faults_kept(run):
            if run.fault is None:
                work += [(task, run, number) for number, task in run.tasks().items()]
    return work


def _carry_out(work: list[_Work], place: Place, on_event: OnEvent) -> None:
    first, again = _apart(work, at_all=place.scheduler is not None)

    def note(work: list[_Work], news: pool.News, index: int) -> None:
        _, run, number = work[index - 1]
        with _faults_kept(run):
            run.note(news, number)
        if not isinstance(news, pool.Ended):
            on_event(news, run, number)
        elif news.error is not None:
            on_event(Failed(news.error.message), run, number)

    with _stops_noted([run for _, run, _ in work], "train"):
        if place.scheduler is not None and first:
            tasks = [task for task, _, _ in first]
            try:
                cluster.carry_out(tasks, place.scheduler, place.resources, partial(note, first))
            except Exception as fault:  # it was there when the run began
                for _, run, _ in first:
                    run.fault = run.fault or fault
        here = again if place.scheduler is not None else first + again
        if here:
            tasks = [task for task, _, _ in here]
            pool.carry_out(tasks, place.jobs, partial(note, here))


def _apart(work: list[_Work], *, at_all: bool) -> tuple[list[_Work], list[_Work]]:
    """Split off trainings that equal an earlier one: they come last, and find its result.

    With `at_all`, also those that are kept already, or that no cluster may do: the submissions'
    own loops.
    """
    seen: set[str] = set()
    first, again = list[_Work](), list[_Work]()
    for each in work:
        keeping = each[0].keeping
        assert keeping is not None  # every run's tasks have one
        here = at_all and (each[0].job.own is not None or _is_kept(keeping))
        (again if keeping.key in seen or here else first).append(each)
        seen.add(keeping.key)
    return first, again


def _is_kept(keeping: pool.Keeping) -> bool:
    return not keeping.anew and Store(keeping.place).find(keeping.key) is not None


class _Measurers:
    """Measuring processes, lent to one submission after another: each loads PyTorch once."""

    def __init__(self, stop: Callable[[], bool]) -> None:
        self._stop = stop
        self._free: queue.SimpleQueue[Measurer] = queue.SimpleQueue()

    def __enter__(self) -> _Measurers:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._free.get_nowait().close()

    @contextlib.contextmanager
    def lent(self, run: Run) -> Iterator[Measurer]:
        """Lend one. What it is used for may end it; then it is not lent again."""
        try:
            one = self._free.get_nowait()
        except queue.Empty:
            one = measurer(run.request, self._stop)
        try:
            yield one
        finally:
            if one.is_usable:
                self._free.put(one)
            else:
                one.close()


@contextlib.contextmanager
def _faults_kept(run: Run) -> Iterator[None]:
    """Keep what the grader did wrong in the run: it is told where its checks are."""
    try:
        yield
    except Exception as error:
        run.fault = run.fault or error


@contextlib.contextmanager
def _stops_noted(runs: Sequence[Run], stage: Stage) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        for run in runs:
            run.note_stop(stopped_by(error), stage)
        raise


def _as_they_end(futures: list[Future[Run]]) -> Iterator[Future[Run]]:
    """Yield each when it is done; a signal gets through while none is, on every system."""
    ended: queue.SimpleQueue[Future[Run]] = queue.SimpleQueue()
    for future in futures:
        future.add_done_callback(ended.put)
    for _ in futures:
        yield _waited_for(ended)


def _waited_for(ended: queue.SimpleQueue[Future[Run]]) -> Future[Run]:
    while True:
        with contextlib.suppress(queue.Empty):
            return ended.get(timeout=pool.WAIT)
