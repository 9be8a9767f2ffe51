"""Measures what a network knows before it has learned anything: it should be nothing.

A network that answers test images untrained, or after a training on labels that mean nothing, was
trained elsewhere: its knowledge lies in fixed values, in its initialisation or in its loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import numpy as np
import torch

from grader import events
from grader.datasets.files import Images
from grader.plan import schema
from grader.training.loop import TEST_BATCH, Run, Tally

_ASKED = 2_000  # test images
_STILL = 4  # steps with a learning rate of zero, in which running statistics move
_LEARNED = 4_096  # images with shuffled labels
_STEPS = (8, 32)  # at least and at most on these
_BATCH = 512  # at most


def blank(plan: schema.Plan, seed: int, data: Images) -> events.Blank:
    """Ask the network test images before it is trained, and after trainings that teach nothing.

    Leaves PyTorch's random numbers as they were. Raises SubmissionError as the training would.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        batch = min(plan.recipe.batch_size, _BATCH, len(data.train_images))
        steps = min(max(_LEARNED // batch, _STEPS[0]), _STEPS[1])
        run = Run(_in_short(plan, batch, steps), seed, _shuffled(data, seed), lambda event: None)
        batches = _endless(run)
        untrained = _right(run)
        _teach(run, batches, _STILL)
        still = _right(run)
        _teach(run, batches, steps)
        return events.Blank(
            asked=len(run.test_images), untrained=untrained, still=still, shuffled=_right(run)
        )


def _teach(run: Run, batches: Iterator[tuple[torch.Tensor, torch.Tensor]], steps: int) -> None:
    run.network.train()
    for _ in range(steps):
        if not np.isfinite(run.step(*next(batches), Tally())):
            return


def _in_short(plan: schema.Plan, batch: int, steps: int) -> schema.Plan:
    """Let the schedule stand still, then pass through all of its rates in a few steps."""
    schedule = plan.recipe.schedule
    rates = [[0.0] * _STILL + _sampled(each, steps) for each in schedule.lr]
    moving = [_sampled(each, _STILL) + _sampled(each, steps) for each in schedule.momentum or []]
    short = schema.Schedule(rates, moving or None)
    recipe = msgspec.structs.replace(
        plan.recipe, batch_size=batch, schedule=short, averaging=None, drop_last=True
    )
    return msgspec.structs.replace(plan, recipe=recipe)


def _sampled(series: list[float], count: int) -> list[float]:
    return [series[index * (len(series) - 1) // max(count - 1, 1)] for index in range(count)]


def _shuffled(data: Images, seed: int) -> Images:
    """Return some of the images: those to train on with labels drawn by chance."""
    labels = np.random.default_rng(seed).integers(
        0, len(data.dataset.classes), len(data.train_labels)
    )
    every = max(1, len(data.test_images) // _ASKED)
    return replace(
        data, train_labels=labels.astype(np.uint8), test_images=data.test_images[::every],
        test_labels=data.test_labels[::every],
    )  # fmt: skip


def _endless(run: Run) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    while True:
        yield from run.batches(run.plan.recipe.epochs)


def _right(run: Run) -> int:
    """Count right answers, each answer being called after the class that gets it most often."""
    classes = run.classes
    counts = torch.zeros(classes, classes, dtype=torch.int64)
    run.network.eval()
    with torch.no_grad():
        for start in range(0, len(run.test_images), TEST_BATCH):
            batch = slice(start, start + TEST_BATCH)
            transform = run.plan.recipe.test_transform
            seen = run.prepared(run.test_images[batch], transform)
            answers = run.network(seen).argmax(1)
            known = answers < classes
            pairs = answers[known] * classes + run.test_labels[batch][known]
            counts += torch.bincount(pairs.cpu(), minlength=classes**2).view_as(counts)
    return int(counts.amax(1).sum())
