"""Dropout masks from fast generators; PyTorch's own take longer than a convolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from grader.training.kernels import drop, drop_gradient
from grader.training.team import team

_PIECE = 1 << 17  # elements that one thread works on at a time


class Masks:
    """Masks of 16 random bits an element.

    A probability is rounded to a multiple of 2⁻¹⁶, which moves it by less than 10⁻⁵. Every piece
    of a batch has its own generator, so that masks do not depend on which thread asks first.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generators: dict[int, np.random.SFC64] = {}

    def words(self, piece: int, count: int) -> npt.NDArray[np.uint16]:
        """Return [count] random words."""
        if piece not in self._generators:
            self._generators[piece] = np.random.SFC64([self._seed, piece])
        drawn = np.asarray(self._generators[piece].random_raw((count + 3) // 4))
        return drawn.view(np.uint16)[:count]


def threshold(p: float) -> np.uint32:
    """Return the first word that keeps its element, when a share `p` of all is dropped."""
    return np.uint32(round(p * 65536))


@dataclass(frozen=True)
class Dropout:
    """Dropout in training mode."""

    masks: Masks
    p: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return x with elements zeroed with probability `p` and the others scaled up."""
        if x.dtype != torch.float32 or x.device.type != "cpu":
            return F.dropout(x, self.p)
        return _Function.apply(x, self.masks, self.p)  # type: ignore[no-any-return]


class _Function(torch.autograd.Function):
    """Forward and backward of a `Dropout`; tensors are seen flat, in the layout they have."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - PyTorch gives it no public type
        x: torch.Tensor,
        masks: Masks,
        p: float,
    ) -> torch.Tensor:
        y = torch.empty_like(x)  # dense, in the layout of x
        x = x.detach() if x.stride() == y.stride() else torch.empty_like(y).copy_(x)
        kept = torch.empty_like(y, dtype=torch.uint8)
        ctx.gain = np.float32(1 / (1 - p))
        ctx.save_for_backward(kept)
        flat, flat_y, flat_kept = _flat(x), _flat(y), _flat(kept)

        def work(piece: int, part: slice) -> None:
            words = masks.words(piece, len(flat[part]))
            drop(flat[part], words, threshold(p), ctx.gain, flat_y[part], flat_kept[part])

        _for_pieces(len(flat), work)
        return y

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        gradient: torch.Tensor,
    ) -> tuple[torch.Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        result = torch.empty_like(kept, dtype=torch.float32)
        if gradient.stride() != kept.stride():
            gradient = torch.empty_like(result).copy_(gradient)
        flat, flat_kept, flat_result = _flat(gradient), _flat(kept), _flat(result)

        def work(_: int, part: slice) -> None:
            drop_gradient(flat[part], flat_kept[part], ctx.gain, flat_result[part])

        _for_pieces(len(flat), work)
        return result, None, None


def _flat(x: torch.Tensor) -> npt.NDArray[Any]:
    """See a dense tensor as [numel], in the order of memory."""
    return x.as_strided((x.numel(),), (1,)).numpy()


def _for_pieces(count: int, work: Callable[[int, slice], None]) -> None:
    parts = [slice(start, start + _PIECE) for start in range(0, count, _PIECE)]
    team(torch.get_num_threads()).run(lambda i: work(i, parts[i]), len(parts))
