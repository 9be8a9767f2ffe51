"""Seconds a training step: ten architectures in a plain PyTorch loop against the grader's trainer.

    python benchmarks/architectures.py --steps 40 --rounds 5

The plain loop is what a careful student writes: all images in one tensor, batches of 128 by index,
forward, loss, backward, step. No side augments. Each network has a process for either side; they
take turns of so many steps.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.turns import ratios, setting, spread, take_turns

BATCH = 128


def plain_loop(name: str, steps: int) -> Callable[[], None]:
    """Return a function that trains the network for so many steps with PyTorch alone."""
    import torch
    import torch.nn.functional as F

    from benchmarks.networks import NETWORKS
    from grader.datasets.files import load

    data = load()
    images = (torch.from_numpy(data.train_images.copy()).unsqueeze(1) / 255 - 0.1307) / 0.3081
    labels = torch.from_numpy(data.train_labels.astype("int64"))
    model = NETWORKS[name]().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def turn() -> None:
        order = torch.randperm(len(images))
        for chosen in torch.split(order, BATCH)[:steps]:
            optimizer.zero_grad()
            loss = F.nll_loss(F.log_softmax(model(images[chosen]), 1), labels[chosen])
            torch.autograd.backward(loss)
            optimizer.step()
            loss.item()

    return turn


def our_loop(name: str, steps: int) -> Callable[[], None]:
    """Return a function that does the same with the grader's trainer, and tests nothing."""
    from grader.training.tuning import tune

    tune()
    import msgspec

    from benchmarks.networks import NETWORKS
    from benchmarks.plans import NORMALIZE, seed_plan
    from grader.datasets.files import Images, load
    from grader.plan import schema
    from grader.training.loop import train

    whole = load()
    some = slice(steps * BATCH)
    data = Images(
        whole.train_images[some], whole.train_labels[some],
        whole.test_images[:1], whole.test_labels[:1],
    )  # fmt: skip
    plan = seed_plan(NETWORKS[name](), BATCH, 1, steps * BATCH)
    plain: list[schema.Transform] = [schema.ToFloat(), NORMALIZE]
    recipe = msgspec.structs.replace(plan.recipe, train_transform=plain)
    plan = msgspec.structs.replace(plan, recipe=recipe)
    return lambda: (train(plan, 1, data, lambda _: None), None)[1]


def main() -> None:
    """Measure and print."""
    from benchmarks.networks import NETWORKS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40, help="training steps a turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side that count")
    options = parser.parse_args()
    print(setting())
    print(
        f"{options.rounds} turns of {options.steps} steps of {BATCH} images; milliseconds a step:"
    )
    gains = []
    for name in NETWORKS:
        sides = {
            "plain": partial(plain_loop, name, options.steps),
            "ours": partial(our_loop, name, options.steps),
        }
        turns = take_turns(sides, options.rounds)
        plain, ours = ([t.wall / options.steps * 1e3 for t in turns[side]] for side in sides)
        gain = ratios(turns, "plain", "ours", "wall")
        gains.append(statistics.median(gain))
        print(f"  {name:24} {spread(plain, 1):24} {spread(ours, 1):24} ratio {spread(gain)}")
    print(f"geometric mean of the ratios: {statistics.geometric_mean(gains):.2f}")


if __name__ == "__main__":
    main()
