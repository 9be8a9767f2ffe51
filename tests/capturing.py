"""Small networks written in one line, captured as the box captures a submission's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from grader.plan.facts import facts_of
from grader.plan.findings import Facts
from grader.plan.schema import Model
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


def facts(module: nn.Module) -> Facts:
    """Capture a module and work out its facts."""
    torch.manual_seed(0)
    model = model_of(module)
    validate_model(model)
    return facts_of(model)
