"""What a class costs beside its trainings, and how it grows.

    python benchmarks/class_scale.py overhead [--rounds 3]     # CPU seconds beside the epochs
    python benchmarks/class_scale.py memory [--of 10 40]       # of all processes, no training
    python benchmarks/class_scale.py simulate [--tasks 2000] [--workers 64] [--cluster]

`simulate` sends trainings through the scheduler of one machine, or through Dask's, with a process
for each worker. A training lasts as long as one in `experiments.jsonl` took, divided by a number;
nothing is computed. The ideal is that no worker ever waits, or the longest training if that takes
longer.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import importlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.class_run import NETWORK, handed_in  # noqa: E402 - the path comes first
from benchmarks.turns import spread  # noqa: E402
from grader import cluster, pool, process, rubric, steps, store  # noqa: E402
from grader.datasets import files  # noqa: E402
from grader.events import AnyEvent, Finished, Started  # noqa: E402
from grader.plan.assemble import request_defaults  # noqa: E402
from grader.sandbox.describe import describe  # noqa: E402
from grader.submission.reader import read_program  # noqa: E402
from grader.supervise import Bounds, Job  # noqa: E402

_FASTER = "GRADER_BENCHMARK_FASTER"
_IDLE = {  # what a worker does for itself, on cores of its own where there is more than one machine
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "60s",
}
_EVERY = 0.2  # seconds between two looks at memory


def overhead(base: Path, rounds: int) -> None:
    """Train one network for one epoch and for three; what does not grow is no epoch."""
    source = base / "net.py"
    text = NETWORK.format(first=6, second=12, number=500).replace("EPOCHS = 1", "EPOCHS = 3")
    source.write_text(text, encoding="utf-8")
    program, rules = read_program(source), rubric.load()
    defaults = request_defaults(rules.limits.epochs - 1)
    found = describe(program, defaults, seconds=300, megabytes=4000)
    plan = base / "plan.json"
    plan.write_bytes(msgspec.json.encode(steps.make_plan(found, program, rules)))

    def trained(epochs: int, count: int = 1) -> float:
        job = Job(str(plan), str(base / "weights"), 7, None, epochs, threads=1)
        tasks = [pool.Task(job, Bounds(600, 1800, 4000))] * count
        before = _cpu()
        pool.carry_out(tasks, 1, lambda news, number: None)
        return _cpu() - before

    for name in ("new processes", "forks"):
        with process.loaded("trusted") if name == "forks" else contextlib.nullcontext():
            trained(1)
            pairs = [(trained(1), trained(3)) for _ in range(rounds)]
        found_ = [one - (three - one) / 2 for one, three in pairs]
        print(f"{name}: {spread(found_)} CPU s beside the epochs (n = {rounds})", flush=True)


def _cpu() -> float:
    """Return the CPU seconds of this process's descendants, as far as they have ended or live."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    alive = 0.0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            alive += sum(child.cpu_times()[:4])
    return used.ru_utime + used.ru_stime + alive


def memory(base: Path, counts: list[int]) -> None:
    """Grade classes of different sizes without a training; print the most memory at a time."""
    for count in counts:
        folder = handed_in(base / f"class{count}", count)
        command = [
            sys.executable, "-m", "grader.cli", "class", str(folder), "--quick",
            f"--out={base / f'out{count}'}", f"--store={base / 'store'}",
        ]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
            most = own = 0
            while running.poll() is None:
                with contextlib.suppress(psutil.Error):
                    family = [p := psutil.Process(running.pid), *p.children(recursive=True)]
                    most = max(most, sum(map(_proportional, family)))
                    own = max(own, p.memory_info().rss)
                time.sleep(_EVERY)
        print(f"{count} submissions: {most / 1e6:,.0f} MB, of these {own / 1e6:,.0f} the grader's")


def _proportional(one: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(one.memory_full_info().pss)
    return 0


def simulate(base: Path, count: int, workers: int, faster: float, *, on_cluster: bool) -> None:
    """Send tasks that only last; print how long all took, and how long they would at best."""
    lasting = [_lasting(number) / faster for number in range(count)]
    plan = base / "plan.json"
    plan.write_bytes(b"{}")

    def task(number: int) -> pool.Task:
        decides = store.what_decides("", number, 1, 1, own=False)
        about = store.About(decides, [], "", "")
        keeping = pool.Keeping(base / "store", store.key_of(decides), about)
        job = Job(str(plan), str(base / f"weights{number}"), number, None, 1, threads=1)
        return pool.Task(job, Bounds(600, 600, 4000), None, keeping)

    tasks, ends = [task(number) for number in range(count)], list[object]()

    def hear(news: pool.News, number: int) -> None:
        if isinstance(news, pool.Ended):
            ends.append(news.error)

    _pretend(pool, faster)
    with _workers(workers, faster) if on_cluster else contextlib.nullcontext("") as address:
        began = time.perf_counter()
        if on_cluster:
            cluster.carry_out(tasks, address, {}, hear)
        else:
            pool.carry_out(tasks, workers, hear)
        took = time.perf_counter() - began
    ideal = max(sum(lasting) / workers, *lasting)
    assert ends == [None] * count, {str(end) for end in ends}
    print(
        f"{count} trainings, {faster:g} times faster ({min(lasting):.1f} to {max(lasting):.1f} s), "
        f"on {workers} workers: {took:.1f} s, ideal {ideal:.1f} s, {took / ideal:.3f} times"
    )


@functools.cache
def _known() -> list[float]:
    lines = (ROOT / "benchmarks" / "experiments.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["cpu_seconds"] for line in lines]


def _lasting(seed: int) -> float:
    """Return how many seconds the training from a seed lasts."""
    return random.Random(seed).choice(_known())  # noqa: S311 - durations, not secrets


def _pretend(where: ModuleType, faster: float) -> None:
    """Have `where`, a module that trains, do nothing for as long as a training lasts."""

    def train(
        job: Job, bounds: Bounds, home: Path, tell: Callable[[AnyEvent], None], stop: object
    ) -> None:
        time.sleep(_lasting(job.seed) / faster)
        Path(job.weights).write_bytes(b"")
        tell(Started("cpu", 1, 1, 1, job.seed, {}))
        tell(Finished(1, 1.0, 1, hashlib.sha256(b"").hexdigest()))

    vars(where)["train"], vars(files)["verify"] = train, lambda *_: None


def dask_setup(worker: object) -> None:
    """Prepare a worker, which Dask has load this module."""
    faster = float(os.environ[_FASTER])
    _pretend(cluster, faster)
    cluster._STATE /= faster  # a wait that is as long as the trainings are not


@contextlib.contextmanager
def _workers(count: int, faster: float) -> Iterator[str]:
    """Start Dask's scheduler and so many workers, a process each; give its address."""
    distributed: Any = importlib.import_module("distributed")  # ships few types
    os.environ |= {_FASTER: str(faster), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    os.environ |= _IDLE
    with distributed.LocalCluster(
        n_workers=0, dashboard_address=None, host="127.0.0.1", silence_logs=50
    ) as made:
        command = [
            sys.executable, "-m", "distributed.cli.dask_worker", made.scheduler_address,
            "--nthreads=1", "--nworkers=1", "--no-nanny", "--no-dashboard", "--memory-limit=0",
            "--host=127.0.0.1", "--preload=benchmarks.class_scale", "--death-timeout=600",
        ]  # fmt: skip
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        running = [subprocess.Popen(command, **quiet) for _ in range(count)]  # type: ignore[call-overload]
        with distributed.Client(made.scheduler_address, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=600)
        yield str(made.scheduler_address)
        for each in running:
            each.kill()
            each.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["overhead", "memory", "simulate"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--of", type=int, nargs="+", default=[10, 40])
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--faster", type=float, default=100)
    parser.add_argument("--cluster", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="class-scale-") as folder:
        base = Path(folder)
        if asked.what == "overhead":
            overhead(base, asked.rounds)
        elif asked.what == "memory":
            memory(base, asked.of)
        else:
            simulate(base, asked.tasks, asked.workers, asked.faster, on_cluster=asked.cluster)


if __name__ == "__main__":
    main()
