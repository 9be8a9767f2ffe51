"""What is noted of a submission's training while it runs on made-up images. In the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from data import Loader
from torch import nn
from torch.utils._pytree import tree_leaves

Json = dict[str, Any]


class Enough(BaseException):
    """A loop goes on and on; what was seen of it is enough."""


class TooSlow(BaseException):
    """The submission takes far longer than a few images can."""


@dataclass(frozen=True)
class Place:
    """Where something was done: `text` is the expression as it stands there."""

    file: str
    line: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}" if self.file else ""


NOWHERE = Place("", 0)


@dataclass
class Made:
    """An optimiser or a scheduler with its place, its arguments and its first groups."""

    thing: Any
    place: Place
    args: tuple[Any, ...] = ()
    options: Json = field(default_factory=dict)
    groups: list[Json] = field(default_factory=list)
    moves: list[str] = field(default_factory=list)  # of a scheduler: "batch", "early", "pass"
    before: int = 0  # modules that were there before it


@dataclass(frozen=True)
class Call:
    """A function of PyTorch that was called between the start of a batch and `backward`."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    options: Json
    result: Any
    place: Place


@dataclass
class State:
    """A model's weights and gradients, the random numbers, and the optimiser that is stepped."""

    model: nn.Module
    weights: dict[str, torch.Tensor]
    random: tuple[Any, ...]
    gradients: dict[str, torch.Tensor]
    optimizer: Json | None = None


@dataclass
class Batch:
    """One batch of a pass that may be one of training."""

    content: Any
    before: State | None = None
    after: dict[str, torch.Tensor] | None = None
    model: nn.Module | None = None  # the one called last, from outside any other
    was_training: bool = False
    shape: tuple[int, ...] = ()  # of an image it was given
    backwards: int = 0
    steps: list[tuple[Any, list[Json]]] = field(default_factory=list)  # optimiser, its groups
    clipped: bool = False
    outputs: list[Any] = field(default_factory=list)
    derived: set[int] = field(default_factory=set)  # the outputs, and what is made of them
    calls: list[Call] = field(default_factory=list)
    loss: torch.Tensor | None = None
    place: Place = NOWHERE  # of `backward`

    @property
    def weight(self) -> int:
        """What it takes to do it again: one, and more for hundreds of images."""
        leaves = (leaf for leaf in tree_leaves(self.content) if isinstance(leaf, torch.Tensor))
        return max([1, *(len(leaf) // 75 for leaf in leaves if leaf.dim())])


@dataclass
class Pass:
    """One pass over a loader; `around` are the loops it stood in, from the outside in.

    `epochs` is how often it goes over all images, where batches are drawn one by one.
    """

    loader: Loader
    number: int
    around: list[Place]
    at: Place = NOWHERE  # its own loop
    batches: list[Batch] = field(default_factory=list)
    finished: bool = False
    epochs: int = 1
    counted: bool = False  # whether it was given as many batches as it wanted

    @property
    def trains(self) -> bool:
        """Whether anything was learned in it."""
        return any(batch.backwards for batch in self.batches)

    @property
    def images(self) -> int:
        """How many images it goes over."""
        count, learned = len(list(self.loader.sampler)), sum(b.backwards > 0 for b in self.batches)
        left = self.counted and not self.finished
        return min(count, learned * (self.loader.batch_size or 1)) if left else count


def without_parameters(group: Json) -> Json:
    """Return what a group of an optimiser's says, but for its parameters."""
    return {key: value for key, value in group.items() if key != "params"}
