"""A gallery of small networks, and what the grader has to find in each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn


@dataclass(frozen=True)
class Case:
    """A network, and its facts as a person would work them out.

    `batch_norm`, `dropout` and `pooling` are how many of each act; `sees` is the receptive field
    of the last convolution or window, in pixels (None: the whole image).
    """

    make: Callable[[], nn.Module]
    parameters: int
    sees: int | None
    batch_norm: int = 0
    dropout: int = 0
    pooling: int = 0
    output: Literal["log-probabilities", "probabilities", "logits"] = "logits"
