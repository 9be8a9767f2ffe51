"""How many more epochs an hour several trainings of one thread make than one of all threads.

    python benchmarks/side_by_side.py [--images 6000] [--rounds 3]

Trains the reference network on some images, turn by turn: once by a process with a thread for
each core, then by as many processes with one thread each, which start together. Prints the ratio
of images a second. Hence `--runs N` gives each training one core.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.turns import setting, spread
from grader.pool import cores
from grader.training.tuning import tune

REFERENCE = Path(__file__).parents[1] / "reference_solution"


def work(threads: int, images: int, start: Barrier, answer: Connection) -> None:
    """Train one epoch to warm up, another one with the others; answer with its seconds."""
    tune()
    import torch

    from benchmarks.experiments import compressed, plan_of
    from grader.datasets.files import Images, load
    from grader.training.loop import train

    torch.set_num_threads(threads)
    plan, data = compressed(plan_of(REFERENCE), images / 60_000), load()
    some = Images(data.train_images[:images], data.train_labels[:images],
                 data.test_images[:500], data.test_labels[:500])  # fmt: skip
    train(plan, 1, some, lambda _: None, max_epochs=1)
    start.wait()
    began = time.perf_counter()
    train(plan, 1, some, lambda _: None, max_epochs=1)
    answer.send(time.perf_counter() - began)


def rate(processes: int, threads: int, images: int) -> float:
    """Return images a second, of all processes together."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(processes)
    pipes = [context.Pipe(duplex=False) for _ in range(processes)]
    workers = [
        context.Process(target=work, args=(threads, images, start, theirs)) for _, theirs in pipes
    ]
    for worker in workers:
        worker.start()
    seconds: list[float] = [ours.recv() for ours, _ in pipes]
    for worker in workers:
        worker.join()
    return processes * images / max(seconds)


def main() -> None:
    """Take turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=6_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(setting())
    ratios = []
    for _ in range(options.rounds):
        alone = rate(1, cores(), options.images)
        beside = rate(cores(), 1, options.images)
        ratios.append(beside / alone)
        print(f"{alone:.0f} images a second alone, {beside:.0f} side by side", flush=True)
    print(f"ratio {spread(ratios)}, n = {len(ratios)}")


if __name__ == "__main__":
    main()
