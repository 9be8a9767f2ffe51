"""Real values beside tensors without contents, for forwards that ask what is in an image.

A print, an assertion or a logged number asks for values and does nothing to the graph. Such a
forward is recorded twice, each time on other images: what both recordings agree on does not
depend on what is in them.
"""

from __future__ import annotations

from typing import Any

import torch
from tensors import CannotCapture
from torch import SymBool, SymFloat, SymInt, Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary

_ASKED = "forward asks for a number inside a tensor, which differs from batch to batch"
_HELP = (
    "use torch.where or a mask in place of if, while, assert, int(), float() and .item() on tensors"
)


class ValueAsked(CannotCapture):
    """Forward asks what is in a tensor, and nobody can tell."""

    def __init__(self, where: str = "") -> None:
        """Take the line that asks."""
        super().__init__(_ASKED, _HELP, where)


class Shadow:
    """The real tensors behind those of one recording.

    `asked` says who looked at one: after how many nodes, and on which line.
    """

    def __init__(self, scale: float) -> None:
        """Take the factor by which its images differ from those of another shadow."""
        self._scale = scale
        self._real = WeakIdKeyDictionary()
        self.asked: list[tuple[int, str]] = []

    def fill(self, tensor: Tensor, batch: int) -> None:
        """Let a batch of images be what is in a tensor [B, …]."""
        drawn = torch.randn(batch, *tensor.shape[1:], generator=torch.Generator().manual_seed(0))
        self._real[tensor] = (drawn.abs() * self._scale).to(tensor.dtype)

    def follow(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Do to the real tensors what was done to those without contents."""
        real = self._run(func, args, kwargs)
        for tensor, value in zip(tree_leaves(result), tree_leaves(real), strict=True):
            if isinstance(tensor, Tensor):
                self._real[tensor] = value

    def answer(self, func: Any, args: Any, kwargs: Any, place: tuple[int, str]) -> Any:
        """Give the number or truth value that an operation gives; ValueAsked for anything else."""
        result = self._run(func, args, kwargs)
        if any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
            raise ValueAsked(place[1])  # a tensor whose shape depends on what is in another
        self.asked.append(place)
        return result

    def content(self, tensor: Tensor, place: tuple[int, str]) -> Tensor:
        """Give what is in a tensor."""
        self.asked.append(place)
        with _disable_current_modes(), torch.no_grad():
            real: Tensor = self._really(tensor)
            return real.clone()

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        with unset_fake_temporarily(), torch.no_grad():
            args, kwargs = tree_map(self._really, (args, kwargs))
            return func(*args, **kwargs)

    def _really(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            if value not in self._real:  # of the model itself, which must not change
                self._real[value] = value.detach().clone()
            return self._real[value]
        if isinstance(value, (SymInt, SymFloat, SymBool)):
            return value.node.hint
        return value
