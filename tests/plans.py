"""Plans and data small enough to train in a test."""

from __future__ import annotations

import warnings

import msgspec
import numpy as np
import torch.nn.functional as F
from torch import nn

from grader.datasets.files import Images
from grader.plan import schema
from tests.boxed import boxed
from tests.capturing import model_of

TO_FLOAT: list[schema.Transform] = [schema.ToFloat(), schema.Normalize([0.1307], [0.3081])]


def plan_of(
    network: nn.Module,
    *,
    epochs: int = 1,
    batch: int = 64,
    lr: list[float] | None = None,
    optimizer: str = "SGD",
    transform: list[schema.Transform] | None = None,
    **options: schema.Option,
) -> schema.Plan:
    """Capture a network and give it a recipe."""
    model = model_of(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = boxed("capture").loss_json(F.cross_entropy, 10, set())
    names = [tensor.name for tensor in model.tensors if tensor.trainable]
    recipe = schema.Recipe(
        epochs=epochs,
        batch_size=batch,
        optimizer=schema.Optimizer(optimizer, [schema.Group(names, {"lr": 0.1, **options})]),  # type: ignore[arg-type]
        schedule=schema.Schedule([lr or [0.1]]),
        train_transform=TO_FLOAT if transform is None else transform,
        test_transform=TO_FLOAT,
        loss=msgspec.json.decode(msgspec.json.encode(loss), type=schema.Graph),
        drop_last=False,
    )
    return schema.Plan(model, recipe, provenance=[])


def patterns(train: int = 300, test: int = 100) -> Images:
    """Make images that are easy to tell apart: a bright bar whose place says the class."""
    random = np.random.default_rng(0)

    def some(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = random.integers(0, 60, (count, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[4:24, 3 + 2 * label : 6 + 2 * label] = 220
        return images, labels

    return Images(*some(train), *some(test))
