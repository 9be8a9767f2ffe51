"""A layer: a convolution's output, and the activation that stands behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from grader.training.lanes import backward, forward
from grader.training.lanes.arrays import FLOAT, Doubles, Floats, added, for_pieces, require
from grader.training.lanes.vectors import LANES

_NOTHING = np.zeros(0, np.float32)
NO_SUMS = np.zeros((0, 2))
"""What stands for the sums of a layer without a norm."""


@dataclass(frozen=True)
class Norm:
    """A batch norm; with `batch` it takes the batch's statistics, and notes them."""

    momentum: float
    eps: float
    batch: bool


@dataclass(frozen=True)
class Activation:
    """What stands behind a convolution: each part may be missing, the order is fixed."""

    rectified: bool = False  # a ReLU before the norm
    norm: Norm | None = None
    relu: bool = False
    silu: bool = False  # in its place
    p: float = 0.0  # of dropout
    pooled: bool = False  # max-pooling of 2×2

    @property
    def is_identity(self) -> bool:
        """Whether it does nothing."""
        return self == Activation()


@dataclass
class Layer:
    """A layer at work: an array z and what its activation makes of it.

    `factors` are low, scale and shift of every channel, see `forward`; `centre` and `inverse`
    what the norm takes away and then multiplies by.
    """

    z: torch.Tensor
    activation: Activation
    images: int
    key: int
    tensors: Sequence[torch.Tensor | None]
    factors: Floats = field(init=False)
    compiled: tuple[Any, ...] = field(init=False)
    inverse: Doubles = field(init=False)
    centre: Doubles = field(init=False)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the activation."""
        height, width = self.z.shape[2:4]
        return (height // 2, width // 2) if self.activation.pooled else (height, width)

    @property
    def gain(self) -> float:
        """What dropout multiplies by; ReLU lets it through to the norm, SiLU does not."""
        return 1.0 if self.activation.silu else 1 / (1 - self.activation.p)

    @property
    def low(self) -> Floats:
        """The bound of the first ReLU, for every channel."""
        return low_of(self.activation, self.z.shape[1])

    def _for_kernels(self) -> tuple[Any, ...]:
        """Return the activation as compiled code takes it, see `forward`."""
        act = self.activation
        floor = np.float32(0 if act.relu else -math.inf)
        gain = np.float32(1 / (1 - act.p) if act.silu else 0)
        least = min(round(act.p * 2**32), 2**32 - 1)
        return (
            self.z.data_ptr(), *self.z.shape[1:4], self.factors, floor, gain, self.key, least,
            act.pooled,
        )  # fmt: skip

    def prepare(self, sums: Doubles | None) -> None:
        """Work the factors out; `sums` are a norm's [C, 2], where they are known already."""
        channels = self.z.shape[1]
        require(min(self.size) > 0, f"maps of {list(self.z.shape[2:4])} are too small to pool")
        for tensor in self.tensors:
            fits = tensor is None or (list(tensor.shape), tensor.dtype) == ([channels], FLOAT)
            require(fits, f"a norm of {channels} channels needs {channels} numbers of each kind")
        self.factors = np.empty((3, channels), np.float32)
        self.inverse, self.centre = np.empty(channels), np.empty(channels)
        norm = self.activation.norm
        if norm is None:
            self.factors[:] = self.low, np.full(channels, self.gain), np.zeros(channels)
        elif norm.batch:
            self._normalise(norm, sums)
        else:
            self._apply(norm)
        self.compiled = self._for_kernels()

    def _apply(self, norm: Norm) -> None:
        """Take the norm's running statistics."""
        weight, bias, mean, variance = self._numbers()
        self.centre[:] = mean
        self.inverse[:] = 1 / np.sqrt(variance.astype(np.float64) + norm.eps)
        scale = weight * self.inverse * self.gain
        self.factors[:] = self.low, scale, bias * self.gain - self.centre * scale

    def _normalise(self, norm: Norm, sums: Doubles | None) -> None:
        """Take the batch's statistics, and let the running ones follow."""
        weight, bias, mean, variance = self._numbers()
        count = self.images * math.prod(self.z.shape[2:4])
        low, off = self.low, _zeros(len(weight))
        sums = self._sums(low) if sums is None else sums
        for strict in (True, False):
            if forward.normalise(
                sums, count, off, low, weight, bias, norm.eps, self.gain, norm.momentum, mean,
                variance, self.factors, self.inverse, self.centre, strict,
            ):  # fmt: skip
                return
            # Sums of squares lost their digits: begin again with the mean taken off.
            off = (sums[:, 0] / count).astype(np.float32)
            self.z, low = self.z - torch.from_numpy(off)[:, None, None, None], low - off
            sums = self._sums(low)

    def _numbers(self) -> tuple[Floats, ...]:
        """Return weight, bias, mean and variance; for those that are not there 1, 0 and none."""
        channels = self.z.shape[1]
        missing = (_ones(channels), _zeros(channels), _NOTHING, _NOTHING)
        return tuple(
            m if t is None else t.numpy() for t, m in zip(self.tensors, missing, strict=True)
        )

    def _sums(self, low: Floats) -> Doubles:
        channels, height, width, _ = self.z.shape[1:]

        def work(_: int, first: int, last: int) -> Doubles:
            sums = np.zeros((channels, 2))
            forward.add_moments(
                first, last, self.images, self.z.data_ptr(), channels, height * width, low, sums
            )
            return sums

        return added(for_pieces(self.z, work))

    def emitted(self) -> torch.Tensor:
        """Return the activation as an array."""
        if self.activation.is_identity:
            return self.z.detach()  # the result leads to this layer, which must not lead back
        out = self.z.new_empty(len(self.z), self.z.shape[1], *self.size, LANES)

        def work(_: int, first: int, last: int) -> None:
            forward.emit(first, last, self.compiled, out.data_ptr())

        for_pieces(self.z, work)
        return out

    def way_back(self, sums: Doubles) -> tuple[Floats, list[torch.Tensor | None]]:
        """Return the factors of the way back, and the gradients of the norm's weight and bias.

        `sums` [C, 2] are what `backward.add_gradient_moments` found.
        """
        norm, channels = self.activation.norm, self.z.shape[1]
        factors = np.zeros((3, channels), np.float32)
        if norm is None:
            factors[0] = self.gain
            return factors, []
        count = self.images * math.prod(self.z.shape[2:4]) if norm.batch else 0
        gradients = np.empty((2, channels), np.float32)
        backward.normalise_back(
            sums, count, self._numbers()[0], self.inverse, self.centre, self.gain, factors,
            *gradients,
        )  # fmt: skip
        found = [*torch.from_numpy(gradients), None, None]
        return factors, [None if t is None else g for t, g in zip(self.tensors, found, strict=True)]

    def gradient_sums(self, gradient: torch.Tensor) -> Doubles:
        """Return the `sums` for `way_back` of the gradient of the activation."""
        if not self.activation.norm:
            return NO_SUMS

        def work(_: int, first: int, last: int) -> Doubles:
            sums = np.zeros((self.z.shape[1], 2))
            backward.add_gradient_moments(first, last, self.compiled, gradient.data_ptr(), sums)
            return sums

        return added(for_pieces(self.z, work))

    def gone_back(self, gradient: torch.Tensor, factors: Floats) -> torch.Tensor:
        """Return the gradient of z for that of the activation."""
        if self.activation.is_identity:
            return gradient
        out = torch.empty_like(self.z)

        def work(_: int, first: int, last: int) -> None:
            backward.go_back(
                first, last, self.images, self.compiled, gradient.data_ptr(), factors,
                out.data_ptr(), np.zeros(self.z.shape[1]),
            )  # fmt: skip

        for_pieces(self.z, work)
        return out


def low_of(activation: Activation, channels: int) -> Floats:
    """Return the bound of the ReLU before the norm for every channel [C], -inf for none."""
    return np.full(channels, 0 if activation.rectified else -math.inf, np.float32)


@lru_cache
def _ones(channels: int) -> Floats:
    return np.ones(channels, np.float32)


@lru_cache
def _zeros(channels: int) -> Floats:
    return np.zeros(channels, np.float32)


def as_tensor(values: Doubles) -> torch.Tensor:
    """Return the values as float32."""
    return torch.from_numpy(values.astype(np.float32))
