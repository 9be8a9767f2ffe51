"""Batch norm, ReLU, dropout and max-pooling in one go, for training on a CPU.

PyTorch's own kernels walk through memory once for each of these operations, and batch norm is
slow when channels come last and are not a multiple of the vector width, which is how convolutions
are fastest. Here a batch is worked on in pieces that stay in the cache, seen as rows of
width × channels numbers, so that every step is a plain vector operation. The arithmetic is
float32, with sums over the batch finished in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F

from grader.training.masks import Masks
from grader.training.team import team

_CACHE_BYTES = 1 << 19  # of one piece; a quarter of a present-day core's second-level cache
_OFF_CENTRE = 1e3  # mean² / variance from which float32 sums of squares lose too much


_Result = TypeVar("_Result")


@dataclass(frozen=True)
class NormBlock:
    """Batch norm in training mode and what follows it: ReLU, dropout, max-pooling of 2×2.

    Call it with x [B, C, H, W] and the norm's weight, bias, running mean and running variance;
    the last two are updated as `torch.nn.functional.batch_norm` does. What the fast way does not
    cover (other devices, types and dimensions) takes PyTorch's own operations.
    """

    masks: Masks
    momentum: float
    eps: float
    relu: bool
    p: float  # of dropout, 0 for none; only after a ReLU
    pool: bool

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
        x = x.contiguous(memory_format=torch.channels_last)
        mean, variance, x, centre = _moments(x)
        inverse = (variance + block.eps).rsqrt()
        gain = 1 / (1 - block.p)  # of dropout; a ReLU lets it through
        scale = weight * inverse * gain
        shift = bias * gain - centre * scale
        y, chosen = _activate(x, scale, shift, block)
        ctx.save_for_backward(x, y if block.relu else None, chosen, weight, inverse, centre)
        ctx.gain = gain
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        grad: torch.Tensor,
        *_: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        x, y, chosen, weight, inverse, centre = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        passed, total, product = _through_activation(x, y, chosen, grad)
        to_bias = total * ctx.gain
        to_weight = inverse * (product * ctx.gain - centre * to_bias)
        count = x.numel() / x.shape[1]
        by_x = -weight * inverse * inverse * to_weight / count
        constant = -weight * inverse * to_bias / count - by_x * centre
        return (
            _combine(passed, x, weight * inverse * ctx.gain, by_x, constant),
            to_weight,
            to_bias,
            None,
        )


def _activate(
    x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, block: NormBlock
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the block's output for scale · x + shift, and what max-pooling chose."""
    scale, shift = _as_row(scale, x), _as_row(shift, x)
    count, channels, height, width = x.shape
    y, chosen = torch.empty_like(x) if not block.pool else None, None
    if block.pool:
        shape = (count, channels, height // 2, width // 2)
        pooled = torch.empty(shape, memory_format=torch.channels_last)
        chosen = torch.empty_like(pooled, dtype=torch.int64)

    def work(piece: int, part: slice) -> None:
        full = torch.empty_like(x[part]) if y is None else y[part]
        rows = torch.addcmul(shift, _rows(x[part]), scale, out=_rows(full))
        if block.relu:
            rows.relu_()
        if block.p:
            values = rows.numpy().reshape(-1)
            np.multiply(values, block.masks.keep(piece, values.size, block.p), out=values)
        if chosen is not None:
            torch.ops.aten.max_pool2d_with_indices.out(
                full, [2, 2], [2, 2], out=pooled[part], indices=chosen[part]
            )

    _for_pieces(x, work)
    return pooled if y is None else y, chosen


def _through_activation(
    x: torch.Tensor,
    y: torch.Tensor | None,
    chosen: torch.Tensor | None,
    grad: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradient before the ReLU, its sums over all but channels, and those times x.

    Where the output is zero, the ReLU or dropout closed the way; both let nothing back.
    """
    passed = grad if y is None and chosen is None else torch.empty_like(x)

    def work(_: int, part: slice) -> torch.Tensor:
        piece = grad[part]
        if y is not None:
            opened = passed[part] if chosen is None else torch.empty_like(piece)
            piece = torch.sign(y[part], out=opened).mul_(piece)
        if chosen is not None:
            torch.ops.aten.max_pool2d_with_indices_backward.grad_input(
                piece, x[part], [2, 2], [2, 2], [0, 0], [1, 1], False, chosen[part],
                grad_input=passed[part],
            )  # fmt: skip
        rows = _rows(passed[part])
        return torch.stack([rows.sum(0), (rows * _rows(x[part])).sum(0)])

    total, product = _by_channel(_for_pieces(x, work), x)
    return passed, total, product


def _combine(
    grad: torch.Tensor,
    x: torch.Tensor,
    by_grad: torch.Tensor,
    by_x: torch.Tensor,
    constant: torch.Tensor,
) -> torch.Tensor:
    """Return by_grad · grad + by_x · x + constant, each factor one number a channel."""
    result = torch.empty_like(x)
    by_grad, by_x, constant = (_as_row(factor, x) for factor in (by_grad, by_x, constant))

    def work(_: int, part: slice) -> None:
        rows = torch.addcmul(constant, _rows(grad[part]), by_grad, out=_rows(result[part]))
        rows.addcmul_(_rows(x[part]), by_x)

    _for_pieces(x, work)
    return result


def _moments(
    x: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return mean and variance a channel, and (x, mean of x) to go on with.

    Sums of squares lose digits when a mean is far larger than its spread; then x goes on with
    the mean taken off.
    """
    mean, square = _sums(x) / (x.numel() / x.shape[1])
    variance = square - mean * mean
    if bool((mean * mean > _OFF_CENTRE * variance).any()):
        x = x - mean.to(x.dtype)[:, None, None]
        rest, square = _sums(x) / (x.numel() / x.shape[1])
        variance, centre, mean = square - rest * rest, rest, mean.to(x.dtype) + rest
    else:
        centre = mean
    mean, variance, centre = (v.to(torch.float32) for v in (mean, variance.clamp_min(0), centre))
    return mean, variance, x, centre


def _sums(x: torch.Tensor) -> torch.Tensor:
    """Return [2, C], float64: sums of x and of x² over all but channels."""

    def work(_: int, part: slice) -> torch.Tensor:
        rows = _rows(x[part])
        return torch.stack([rows.sum(0), (rows * rows).sum(0)])

    return _by_channel(_for_pieces(x, work), x)


def _by_channel(sums: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Add the pieces' sums, each [2, W · C], up to [2, C], float64."""
    return torch.stack(sums).sum(0, dtype=torch.float64).view(2, x.shape[3], x.shape[1]).sum(1)


def _for_pieces(x: torch.Tensor, work: Callable[[int, slice], _Result]) -> list[_Result]:
    """Do `work(number, slice of the batch)` for pieces of x that fit a core's cache."""
    step = max(1, _CACHE_BYTES // (x[0].numel() * x.element_size()))
    parts = [slice(start, start + step) for start in range(0, len(x), step)]
    return team(torch.get_num_threads()).run(lambda i: work(i, parts[i]), len(parts))


def _rows(x: torch.Tensor) -> torch.Tensor:
    """See a channels-last piece [B, C, H, W] as [B · H, W · C]."""
    count, channels, height, width = x.shape
    return x.permute(0, 2, 3, 1).reshape(count * height, width * channels)


def _as_row(factor: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Repeat one number a channel [C] to a row [W · C] as `_rows` lays it out."""
    return factor.to(x.dtype).repeat(x.shape[3])
