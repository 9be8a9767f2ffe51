"""Small networks written in one line, captured as the box captures a submission's."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from grader.datasets import files
from grader.datasets.files import Bytes
from grader.datasets.known import MNIST
from grader.measure.facts import measure_once
from grader.plan.findings import Facts
from grader.plan.schema import (
    Channels,
    Graph,
    Group,
    Model,
    Optimizer,
    Plan,
    Recipe,
    Schedule,
    ToFloat,
)
from grader.plan.validate import validate_model
from tests.boxed import boxed


class Net(nn.Module):
    """A network of given parts whose forward is a function of itself and the images."""

    def __init__(self, run: Callable[[Any, Tensor], Any], **parts: object) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        """Run it on images [B, 1, 28, 28]."""
        return self.run(self, x)


def conv(inputs: int = 1, outputs: int = 10, kernel: int = 3, **options: Any) -> nn.Conv2d:
    """Return a convolution; without options [1, 28, 28] becomes [10, 26, 26]."""
    return nn.Conv2d(inputs, outputs, kernel, **options)


def model_of(module: nn.Module) -> Model:
    """Capture a module and read the result as the grader does; lines are those of this file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch comments on recurrent layers
        json = boxed("capture").capture(module, type(module).__name__, "here", {__file__}).json
    return msgspec.json.decode(msgspec.json.encode(json), type=Model)


@functools.cache
def digits() -> Bytes:
    """Read some images to train on."""
    return files.some().train_images


def recipe_of(model: Model, batch: int = 64) -> Recipe:
    """Return a recipe that teaches every tensor, in batches of so many images."""
    shape = model.input_shape
    image = [] if shape == [1, 28, 28] else [Channels(shape[0])] * (len(shape) == 3)
    names = [tensor.name for tensor in model.tensors if tensor.trainable]
    return Recipe(
        epochs=10, batch_size=batch, optimizer=Optimizer("SGD", [Group(names, {})]),
        schedule=Schedule([[0.1]]), train_transform=[*image, ToFloat()],
        test_transform=[*image, ToFloat()], loss=Graph(["output", "target"], [], "output"),
        drop_last=False,
    )  # fmt: skip


SEED = 2026
"""Of the random numbers that networks are measured with here; not chosen by what it shows."""


def facts_of_model(model: Model, *, batch: int = 64, seed: int = SEED) -> Facts:
    """Measure a model with a recipe of its own, under one draw: one has to do here."""
    return measure_once(Plan(model, recipe_of(model, batch), []), digits(), seed, MNIST.train)


def facts(module: nn.Module) -> Facts:
    """Capture a module and measure what it does."""
    torch.manual_seed(0)
    model = model_of(module)
    validate_model(model)
    return facts_of_model(model)
