"""Seconds an epoch: the seed's own way of training against the grader's, on the same recipe.

    python benchmarks/trainer_vs_seed.py --share 0.1 --rounds 5

The seed's way is PIL transforms in a DataLoader, batches of 512, float32, the network as an
`nn.Module`. Each side has a process of its own; they take turns, a share of an epoch (training
and test pass) at a time, so that whatever else the machine does hits both. The first turn of
each warms up and does not count. Printed are times scaled to a whole epoch.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.turns import Turns, ratios, setting, spread, take_turns
from grader.datasets.files import Bytes, Images, load

BATCH = 512
SIDES = ("seed", "ours")


def part_of_mnist(share: float) -> Images:
    """Return that share of both sets, the training part in whole batches."""
    data = load()
    train = max(1, round(60_000 * share / BATCH)) * BATCH
    test = round(10_000 * share)
    return Images(
        data.train_images[:train],
        data.train_labels[:train],
        data.test_images[:test],
        data.test_labels[:test],
    )


def seed_way(data: Images, workers: int) -> Callable[[], None]:
    """Return a function that trains one epoch on `data` and tests, as the seed's script does."""
    import torch
    import torch.nn.functional as F
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    from reference_solution.model import Net

    to_tensor = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    augment = [
        transforms.RandomRotation((-7.0, 7.0), fill=(0,)),
        transforms.RandomAffine(degrees=0, translate=(0.1, 0.1)),
    ]

    class Digits(Dataset[tuple[torch.Tensor, int]]):
        """What torchvision.datasets.MNIST does for each image."""

        def __init__(self, images: Bytes, labels: Bytes, transform: transforms.Compose) -> None:
            self.images, self.labels = torch.tensor(images), torch.tensor(labels)
            self.transform = transform

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            image = Image.fromarray(self.images[index].numpy())
            return self.transform(image), int(self.labels[index])

    train_set = Digits(
        data.train_images, data.train_labels, transforms.Compose(augment + to_tensor)
    )
    test_set = Digits(data.test_images, data.test_labels, transforms.Compose(to_tensor))
    train_loader = DataLoader(train_set, BATCH, shuffle=True, num_workers=workers)
    test_loader = DataLoader(test_set, BATCH, num_workers=workers)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def epoch() -> None:
        model.train()
        for images, target in train_loader:
            optimizer.zero_grad()
            loss = F.nll_loss(model(images), target)
            torch.autograd.backward(loss)
            optimizer.step()
            loss.item()
        model.eval()
        with torch.no_grad():
            for images, target in test_loader:
                model(images).argmax(1).eq(target).sum().item()

    return epoch


def our_way(data: Images) -> Callable[[], None]:
    """Return a function that does the same with the grader's trainer."""
    from benchmarks.plans import seed_plan
    from grader.training.loop import train
    from reference_solution.model import Net

    plan = seed_plan(Net(), BATCH, 1, len(data.train_images))
    return lambda: (train(plan, 1, data, lambda _: None), None)[1]


def side(name: str, options: argparse.Namespace) -> Callable[[], None]:
    """Get one side ready, in a process of its own."""
    if name == "ours":
        from grader.training.tuning import tune

        tune()
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    data = part_of_mnist(options.share)
    return our_way(data) if name == "ours" else seed_way(data, options.workers)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=0.1, help="share of an epoch a turn takes")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side that count")
    parser.add_argument("--workers", type=int, default=0, help="the seed's DataLoader processes")
    parser.add_argument("--threads", type=int, help="PyTorch's threads, by default one a core")
    options = parser.parse_args()
    turns = take_turns({name: partial(side, name, options) for name in SIDES}, options.rounds)
    report(turns, options)


def report(turns: Turns, options: argparse.Namespace) -> None:
    """Print both sides' seconds an epoch (wall, CPU), the ratio, and what they ran on."""
    threads = options.threads or os.cpu_count()
    print(setting())
    print(f"{threads} threads, DataLoader workers {options.workers}")
    print(
        f"{options.rounds} turns each of {options.share:g} of an epoch; seconds an epoch, median:"
    )
    for clock in ("wall", "cpu"):
        for name in SIDES:
            seconds = [getattr(turn, clock) / options.share for turn in turns[name]]
            print(f"  {clock:4} {name:5} {spread(seconds)}")
        print(f"  {clock:4} ratio {spread(ratios(turns, 'seed', 'ours', clock))}")


if __name__ == "__main__":
    main()
