"""Means of the weights a training passes through, which often answer better than the last ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch

from grader.plan import schema


class Average:
    """The mean of `tensors` over the steps so far, as the Plan's `averaging` weighs them.

    Batch norm's running statistics are averaged like weights: they belong to the same steps, and
    to work them out anew would take one more pass over the training images. Whole numbers (batch
    norm's counter of steps) stay as they are. `means` are after so many `steps`.
    """

    def __init__(self, averaging: schema.Averaging, tensors: Iterable[torch.Tensor]) -> None:
        self._averaging = averaging
        self._tensors = [tensor for tensor in tensors if tensor.is_floating_point()]
        self.means = [torch.zeros_like(tensor) for tensor in self._tensors]
        self.steps = 0

    @torch.no_grad()
    def add(self, epochs_left: int) -> None:
        """Count the tensors as they are after a step, with so many whole epochs to follow."""
        if isinstance(self._averaging, schema.Tail) and epochs_left >= self._averaging.epochs:
            return
        self.steps += 1
        share = self._share()
        for mean, tensor in zip(self.means, self._tensors, strict=True):
            mean.lerp_(tensor, share)

    def _share(self) -> float:
        """Return what the newest step counts, so that the weights of all steps sum to one."""
        if isinstance(self._averaging, schema.Tail):
            return 1 / self.steps
        decay = self._averaging.decay
        return (1 - decay) / (1 - decay**self.steps)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Let the tensors hold the mean inside, unless there is none yet."""
        if not self.steps:
            yield
            return
        own = [tensor.detach().clone() for tensor in self._tensors]
        self._fill(self.means)
        try:
            yield
        finally:
            self._fill(own)

    @torch.no_grad()
    def _fill(self, values: list[torch.Tensor]) -> None:
        for tensor, value in zip(self._tensors, values, strict=True):
            tensor.copy_(value)
