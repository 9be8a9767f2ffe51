"""Where the time of a training step goes, and how near that is to the floor.

    python benchmarks/time_by_operation.py --batch 256 --rounds 15

One thread, the seed's network and recipe. The parts of a step are timed as the loop runs them. The
floor is what the multiply-adds of the convolutions would take at the pace the processor reaches on
numbers that lie in its first-level cache; "convolutions alone" are the same layers with nothing
between them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numba
import torch

from benchmarks.plans import seed_plan
from benchmarks.turns import setting
from grader.datasets import files
from grader.datasets.files import load
from grader.measure.facts import measure
from grader.training.augment import augment
from grader.training.lanes.arrays import packed
from grader.training.lanes.blocks import PLACES, add_products
from grader.training.lanes.chain import Chain, Keys
from grader.training.lanes.geometry import Convolution
from grader.training.lanes.layer import Activation
from grader.training.lanes.vectors import BYTES, LANES
from grader.training.loop import Run
from grader.training.tuning import tune
from reference_solution.model import Net

IMAGES = 60_000
SAME = Convolution((1, 1), (1, 1), (1, 1), 1)
LAYERS = [(1, 10, 28), (10, 18, 28), (18, 18, 14), (18, 28, 14), (28, 28, 7), (28, 10, 7)]


class Clock:
    """Adds up the CPU seconds of named parts, one list entry a round."""

    def __init__(self) -> None:
        self.rounds: list[dict[str, float]] = []

    def start(self) -> None:
        """Begin a round."""
        self.rounds.append(defaultdict(float))

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what runs inside."""
        began = time.thread_time()
        yield
        self.rounds[-1][name] += time.thread_time() - began

    def medians(self) -> dict[str, float]:
        """Return each part's median, the first round left out."""
        names = self.rounds[0]
        return {n: statistics.median(r[n] for r in self.rounds[1:]) for n in names}


def steps(batch: int, rounds: int) -> dict[str, float]:
    """Return the CPU seconds of the parts of a training step."""
    run = Run(seed_plan(Net(), batch, 1), 1, load(), lambda _: None)
    recipe, clock = run.plan.recipe, Clock()
    run.network.train()
    order = run.order.permutation(IMAGES)
    for index in range(rounds + 1):
        clock.start()
        chosen = order[index * batch : (index + 1) * batch]
        with clock.part("augmentation"):
            images = augment(run.images[chosen], recipe.train_transform, run.augmentation)
        with clock.part("forward"):
            output = run.network(images)
        with clock.part("loss"):
            loss = run._loss(output, run.labels[chosen])
        with clock.part("backward and optimiser"):
            run.optimizer.step(loss)
    return clock.medians()


def alone(batch: int, rounds: int) -> dict[str, float]:
    """Return the CPU seconds of the convolutions with nothing between them."""
    clock = Clock()
    work = [_layer(batch, *layer) for layer in LAYERS]
    for _ in range(rounds + 1):
        clock.start()
        for forward, backward in work:
            with clock.part("convolutions alone, forward"):
                output = forward()
            with clock.part("convolutions alone, backward"):
                backward(output)
    return clock.medians()


def _layer(
    batch: int, inputs: int, outputs: int, side: int
) -> tuple[Callable[[], torch.Tensor], Callable[[torch.Tensor], None]]:
    x = packed(torch.randn(batch, inputs, side, side)).requires_grad_(inputs > 1)
    kernel = torch.randn(outputs, inputs, 3, 3).requires_grad_()
    gradient = packed(torch.randn(batch, outputs, side, side))
    chain = Chain((Activation(), Activation()), (SAME,), Keys(0))
    return lambda: chain(x, batch, kernel, None), lambda output: torch.autograd.backward(
        output, gradient
    )


def pace(rounds: int) -> float:
    """Return multiply-adds a second of the inner loop, on numbers in the first-level cache."""
    inputs, kernel, places, outputs, times = 16, 3, PLACES, 3, 20_000
    x = torch.randn(inputs, kernel, places + kernel, LANES)
    weights, y = torch.randn(inputs, kernel, kernel, outputs), torch.empty(outputs, places, LANES)

    compiled: Any = numba.njit

    @compiled  # type: ignore[untyped-decorator] # numba ships no types
    def repeat(x: int, weights: int, y: int) -> None:
        for _ in range(times):
            add_products(
                places, outputs, x, weights, y, inputs, kernel, kernel,
                kernel * (places + kernel) * BYTES, (places + kernel) * BYTES, BYTES, BYTES,
                4 * outputs, places * BYTES, BYTES,
            )  # fmt: skip

    seconds = []
    for _ in range(rounds):
        began = time.thread_time()
        repeat(x.data_ptr(), weights.data_ptr(), y.data_ptr())
        seconds.append(time.thread_time() - began)
    return times * LANES * places * outputs * inputs * kernel**2 / min(seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    tune()
    torch.set_num_threads(1)
    batch, rounds = options.batch, options.rounds
    facts = measure(seed_plan(Net(), batch, 1), files.some().train_images)
    forward = facts.macs
    first = LAYERS[0]
    needed = 3 * forward - first[0] * first[1] * first[2] ** 2 * 9  # no gradient of the images
    speed = pace(rounds)
    print(setting())
    print(
        f"one thread, batches of {batch}, median of {rounds}; CPU seconds an epoch of {IMAGES:,}:"
    )
    parts = steps(batch, rounds)
    rows = {**parts, "whole step": sum(parts.values()), **alone(batch, rounds)}
    for name, seconds in rows.items():
        print(f"  {name:32} {seconds / batch * IMAGES:6.2f}")
    print(f"  {'floor':32} {needed * IMAGES / speed:6.2f}")
    print(f"multiply-adds an image: {forward:,} forward, {needed:,} in a step")
    print(f"pace in the first-level cache: {speed / 1e9:.0f} billion multiply-adds a second")


if __name__ == "__main__":
    main()
