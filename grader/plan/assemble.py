"""From a Description to a Plan: what a submission leaves open comes from the default recipe."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from grader.datasets.known import MNIST, Dataset
from grader.plan.images import is_random, without_chance
from grader.plan.schema import (
    MAX_STEPS,
    Affine,
    Channels,
    Description,
    Fact,
    Graph,
    Group,
    Node,
    Normalize,
    Optimizer,
    OptimizerName,
    Pad,
    Plan,
    Recipe,
    Ref,
    Resize,
    Schedule,
    ToFloat,
    Transforms,
)  # fmt: skip

EPOCHS = 12
BATCH_SIZE = 128
OPTIMIZER: OptimizerName = "SGD"
PEAK = 0.15  # learning rate after the warm-up
WARM_UP = 0.25  # of all steps
OPTIONS = {"lr": PEAK, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
DEFAULT = "the grader's default"
"""Where a part of the recipe is from that the submission leaves open."""


def request_defaults(max_epochs: int, dataset: Dataset = MNIST) -> dict[str, Any]:
    """Return what the box needs to know: the data set, and how to finish half a recipe."""
    return {
        "epochs": min(EPOCHS, max_epochs), "batch_size": BATCH_SIZE, "max_epochs": max_epochs,
        "optimizer": {"name": OPTIMIZER, "options": OPTIONS},
        "dataset": msgspec.to_builtins(dataset),
    }  # fmt: skip


def assemble(found: Description, max_epochs: int, dataset: Dataset = MNIST) -> Plan:
    """Complete the recipe and note, for each part, where it came from.

    A recipe of more than `max_epochs` is cut off there: a default schedule is written no further.
    """
    epochs = found.epochs or min(EPOCHS, max_epochs)
    batch = found.batch_size or BATCH_SIZE
    drop_last = bool(found.drop_last)
    per_epoch = steps_per_epoch(batch, dataset.train, drop_last=drop_last)
    test, notes = _test_transform(found, dataset)
    recipe = Recipe(
        epochs=epochs,
        batch_size=batch,
        optimizer=found.optimizer or _optimizer(found),
        schedule=found.schedule
        or Schedule([_triangle(epochs * per_epoch, min(max_epochs * per_epoch, MAX_STEPS))]),
        train_transform=_AUGMENTATION + test
        if found.train_transform is None
        else found.train_transform,
        test_transform=test,
        loss=found.loss or _CROSS_ENTROPY,
        drop_last=drop_last,
        plain_epochs=found.plain_epochs,
        averaging=found.averaging,
    )
    known = {f.about for f in found.provenance} | {f.about for f in found.flaws}
    defaults = [
        Fact(about=about, value=value, where=DEFAULT)
        for about, value in _described(recipe, found).items()
        if about not in known
    ]
    model = Fact(about="model", value=found.model.class_name, where=found.model.where)
    facts = [model, *found.provenance, *defaults]
    return Plan(found.model, recipe, facts, [*found.notes, *notes], found.flaws, found.level)


def steps_per_epoch(batch_size: int, samples: int, *, drop_last: bool) -> int:
    """Return how many optimiser steps one pass over so many training images takes."""
    return (math.floor if drop_last else math.ceil)(samples / batch_size)


def _described(recipe: Recipe, found: Description) -> dict[str, str]:
    rising = f"linear warm-up over {WARM_UP:.0%} of the steps, then linear to 0"
    return {
        "epochs": str(recipe.epochs),
        "batch_size": str(recipe.batch_size),
        "optimizer": f"{OPTIMIZER}({', '.join(f'{k}={v}' for k, v in OPTIONS.items())})",
        "scheduler": "none: the learning rate stays constant" if found.schedule else rising,
        "train_transform": "rotation of ±7°, shift of ±10 %, normalisation",
        "test_transform": "what is not random in train_transform"
        if found.train_transform is not None
        else "normalisation",
        "loss": "cross entropy",
    }


def _optimizer(found: Description) -> Optimizer:
    trainable = [t.name for t in found.model.tensors if t.trainable]
    return Optimizer(OPTIMIZER, [Group(trainable, dict(OPTIONS))])


def _triangle(steps: int, most: int) -> list[float]:
    """Return a learning rate for each of at most `most` steps: up to PEAK, then down to nothing."""
    top = max(1, round(WARM_UP * steps))
    return [
        PEAK * min((i + 1) / top, (steps - i) / (steps - top + 1)) for i in range(min(steps, most))
    ]


_AUGMENTATION: Transforms = [Affine(degrees=(-7.0, 7.0)), Affine(translate=(0.1, 0.1))]


def _test_transform(found: Description, dataset: Dataset) -> tuple[Transforms, list[str]]:
    """Return how images are prepared for testing, never at random, and remarks on that.

    That is the submission's own, or its training transform, or a default; without chance.
    """
    if found.test_transform is not None:
        fixed = without_chance(found.test_transform)
        note = "testing is never random: a random crop of test_transform is central here, and "
        note += "its other random transforms are left out"
        return fixed, [note] if any(map(is_random, found.test_transform)) else []
    if found.train_transform is not None:
        return without_chance(found.train_transform), []
    channels, height, width = found.model.input_shape
    steps: Transforms = [Channels(channels)] if channels != dataset.channels else []
    border, odd = divmod(height - dataset.size, 2)
    if height != width or odd or not 0 <= border <= dataset.size:
        steps.append(Resize((height, width)))
    elif border:
        steps.append(Pad((border, border, border, border)))
    mean, deviation = dataset.normalization
    return [*steps, ToFloat(), Normalize([mean] * channels, [deviation] * channels)], []


_CROSS_ENTROPY = Graph(
    inputs=["output", "target"],
    nodes=[
        Node(
            "loss", "aten.cross_entropy_loss.default", [Ref("output"), Ref("target")], {},
            shape=[], dtype="torch.float32",
        )
    ],
    output="loss",
)  # fmt: skip
