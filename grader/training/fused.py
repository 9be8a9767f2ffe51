"""ReLU, batch norm, ReLU, dropout and max-pooling in one go, for training on a CPU.

A batch is worked on in pieces that fit a core's cache, by the compiled steps of `kernels`, which
see it as rows of width × channels numbers: convolutions are fastest when channels come last. The
arithmetic is float32, with sums over the batch finished in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from grader.training import kernels
from grader.training.masks import Masks, threshold
from grader.training.team import team

_CACHE_BYTES = 1 << 19  # of one piece; a quarter of a present-day core's second-level cache
_OFF_CENTRE = 1e3  # mean² / variance from which float32 sums of squares lose too much

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class NormBlock:
    """Batch norm in training mode, a ReLU before it, and what follows: ReLU, dropout, pooling.

    Call it with x [B, C, H, W] and the norm's weight, bias, running mean and running variance;
    the last two are updated as `torch.nn.functional.batch_norm` does. What the fast way does not
    cover (other devices, types and dimensions) takes PyTorch's own operations.
    """

    masks: Masks
    momentum: float
    eps: float
    rectified: bool  # a ReLU stands before the norm
    relu: bool  # and one behind it
    p: float  # of dropout, 0 for none
    pool: bool  # max-pooling of 2×2; only behind a ReLU

    def __call__(
        self,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        mean: torch.Tensor | None,
        variance: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return the block's output, [B, C, H, W] or half as high and wide."""
        fits = x.dim() == 4 and x.dtype == torch.float32 and x.device.type == "cpu"
        if not fits or weight is None or bias is None or x.numel() <= x.shape[1]:
            return self._plain(x, weight, bias, mean, variance)
        y, found_mean, found_variance = _Fused.apply(x, weight, bias, self)
        if mean is not None and variance is not None:
            count = x.numel() / x.shape[1]
            with torch.no_grad():
                mean.lerp_(found_mean, self.momentum)
                variance.lerp_(found_variance * (count / (count - 1)), self.momentum)
        return y  # type: ignore[no-any-return]

    def _plain(
        self,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        mean: torch.Tensor | None,
        variance: torch.Tensor | None,
    ) -> torch.Tensor:
        x = F.relu(x) if self.rectified else x
        y = F.batch_norm(x, mean, variance, weight, bias, True, self.momentum, self.eps)
        y = F.relu(y) if self.relu else y
        y = F.dropout(y, self.p) if self.p else y
        return F.max_pool2d(y, 2) if self.pool else y


class _Fused(torch.autograd.Function):
    """Forward and backward of a `NormBlock`, without the running statistics."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - PyTorch gives it no public type
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        block: NormBlock,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = x.detach().contiguous(memory_format=torch.channels_last)
        low = x.new_full((x.shape[1],), 0.0 if block.rectified else -math.inf)
        mean, variance, x, low, centre = _moments(x, low)
        inverse = (variance + block.eps).rsqrt()
        gain = 1 / (1 - block.p)  # of dropout; a ReLU lets it through
        scale = weight * inverse * gain
        shift = bias * gain - centre * scale
        y, opened = _activate(x, low, scale, shift, block)
        ctx.save_for_backward(x, low, opened, weight, inverse, centre)
        ctx.pooled, ctx.gain = block.pool, gain
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        gradient: torch.Tensor,
        *_: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        x, low, opened, weight, inverse, centre = ctx.saved_tensors
        way = _WayBack(x, low, opened, gradient, ctx.pooled)
        total, product = way.moments()
        to_bias = total * ctx.gain
        to_weight = inverse * (product * ctx.gain - centre * to_bias)
        count = x.numel() / x.shape[1]
        by_x = -weight * inverse * inverse * to_weight / count
        constant = -weight * inverse * to_bias / count - by_x * centre
        return way.combined(weight * inverse * ctx.gain, by_x, constant), to_weight, to_bias, None


def _activate(
    x: torch.Tensor, low: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, block: NormBlock
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the block's output for scale · max(x, low) + shift, and what says the way back.

    That is what max-pooling chose; or else the output itself, behind a ReLU; or what was kept.
    """
    count, channels, height, width = x.shape
    size = (height // 2, width // 2) if block.pool else (height, width)
    y = torch.empty(count, channels, *size, memory_format=torch.channels_last)
    chosen = torch.empty_like(y, dtype=torch.uint8) if block.pool else None
    kept = torch.empty_like(y, dtype=torch.uint8) if block.p and not block.relu else None
    floor = np.float32(0 if block.relu else -math.inf)
    first, by, plus = (_as_row(factor, x) for factor in (low, scale, shift))

    def work(piece: int, part: slice) -> None:
        rows = _rows(x[part])
        words = block.masks.words(piece, rows.size) if block.p else None
        full = np.empty_like(rows) if block.pool else _rows(y[part])
        keeping = None if kept is None else _rows(kept[part])
        kernels.activate(rows, first, by, plus, floor, words, threshold(block.p), full, keeping)
        if chosen is not None:
            kernels.pool(full, height, channels, _rows(y[part]), _rows(chosen[part]))

    _for_pieces(x, work)
    if chosen is not None:
        return y, chosen
    return y, y if block.relu else kept


@dataclass
class _WayBack:
    """The gradient of a block's output on its way to the norm's input.

    It passes where `opened` is above 0; with `pooled` that says which of four it goes to.
    """

    x: torch.Tensor
    low: torch.Tensor
    opened: torch.Tensor | None
    gradient: torch.Tensor
    pooled: bool

    def __post_init__(self) -> None:
        self.gradient = self.gradient.contiguous(memory_format=torch.channels_last)

    def moments(self) -> torch.Tensor:
        """Return [2, C]: the gradient's sums over all but channels, and those times x."""
        low = _as_row(self.low, self.x)

        def work(_: int, part: slice) -> npt.NDArray[np.float32]:
            rows = _rows(self.x[part])
            sums = np.zeros((2, rows.shape[1]), np.float32)
            kernels.add_gradient_moments(rows, low, *self._passing(part, rows), sums)
            return sums

        return _by_channel(_for_pieces(self.x, work), self.x).to(torch.float32)

    def combined(
        self, by_gradient: torch.Tensor, by_x: torch.Tensor, constant: torch.Tensor
    ) -> torch.Tensor:
        """Return by_gradient · gradient + by_x · x + constant, each factor one number a channel."""
        result = torch.empty_like(self.x)
        low = _as_row(self.low, self.x)
        first, second, third = (_as_row(f, self.x) for f in (by_gradient, by_x, constant))

        def work(_: int, part: slice) -> None:
            rows = _rows(self.x[part])
            passing = self._passing(part, rows)
            kernels.combine(rows, low, *passing, first, second, third, _rows(result[part]))

        _for_pieces(self.x, work)
        return result

    def _passing(
        self, part: slice, rows: kernels.Floats
    ) -> tuple[npt.NDArray[Any] | None, kernels.Floats]:
        """Return what opens the way for a piece, and the gradient, as large as x."""
        gradient = _rows(self.gradient[part])
        opened = None if self.opened is None else _rows(self.opened[part])
        if not self.pooled or opened is None:
            return opened, gradient
        full = np.empty_like(rows)
        kernels.unpool(opened, gradient, self.x.shape[2], self.x.shape[1], full)
        return None, full


def _moments(
    x: torch.Tensor, low: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return mean and variance a channel of max(x, low), and (x, low, mean) to go on with.

    Sums of squares lose digits when a mean is far larger than its spread; then x and low go on
    with the mean taken off.
    """
    mean, square = _sums(x, low) / (x.numel() / x.shape[1])
    variance = square - mean * mean
    centre = mean
    if bool((mean * mean > _OFF_CENTRE * variance).any()):
        off = mean.to(x.dtype)
        x, low = x - off[:, None, None], low - off
        centre, square = _sums(x, low) / (x.numel() / x.shape[1])
        variance, mean = square - centre * centre, off + centre
    mean, variance, centre = (v.to(torch.float32) for v in (mean, variance.clamp_min(0), centre))
    return mean, variance, x, low, centre


def _sums(x: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """Return [2, C], float64: sums of max(x, low) and of its square over all but channels."""
    bound = _as_row(low, x)

    def work(_: int, part: slice) -> npt.NDArray[np.float32]:
        rows = _rows(x[part])
        sums = np.zeros((2, rows.shape[1]), np.float32)
        kernels.add_moments(rows, bound, sums)
        return sums

    return _by_channel(_for_pieces(x, work), x)


def _by_channel(sums: list[npt.NDArray[np.float32]], x: torch.Tensor) -> torch.Tensor:
    """Add the pieces' sums, each [2, W · C], up to [2, C], float64."""
    total = torch.from_numpy(np.stack(sums)).sum(0, dtype=torch.float64)
    return total.view(2, x.shape[3], x.shape[1]).sum(1)


def _for_pieces(x: torch.Tensor, work: Callable[[int, slice], _Result]) -> list[_Result]:
    """Do `work(number, slice of the batch)` for pieces of x that fit a core's cache."""
    step = max(1, _CACHE_BYTES // (x[0].numel() * x.element_size()))
    parts = [slice(start, start + step) for start in range(0, len(x), step)]
    return team(torch.get_num_threads()).run(lambda i: work(i, parts[i]), len(parts))


def _rows(x: torch.Tensor) -> npt.NDArray[Any]:
    """See a channels-last piece [B, C, H, W] as [B · H, W · C]."""
    count, channels, height, width = x.shape
    rows: npt.NDArray[Any] = x.permute(0, 2, 3, 1).reshape(count * height, width * channels).numpy()
    return rows


def _as_row(factor: torch.Tensor, x: torch.Tensor) -> npt.NDArray[np.float32]:
    """Repeat one number a channel [C] to a row [W · C] as `_rows` lays it out."""
    row: npt.NDArray[np.float32] = factor.detach().to(torch.float32).repeat(x.shape[3]).numpy()
    return row
