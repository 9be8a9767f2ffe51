"""Dropout masks from fast generators; PyTorch's own take longer than a convolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from grader.training.team import team

_PIECE = 1 << 17  # elements of a mask that one thread makes at a time


class Masks:
    """Masks of 16 random bits an element.

    A probability is rounded to a multiple of 2⁻¹⁶, which moves it by less than 10⁻⁵. Every piece
    of a batch has its own generator, so that masks do not depend on which thread asks first.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generators: dict[int, np.random.SFC64] = {}

    def keep(self, piece: int, count: int, p: float) -> npt.NDArray[np.bool_]:
        """Return [count] booleans, each false with probability `p`."""
        if piece not in self._generators:
            self._generators[piece] = np.random.SFC64([self._seed, piece])
        words = np.asarray(self._generators[piece].random_raw((count + 3) // 4))
        return words.view(np.uint16)[:count] >= round(p * 65536)


@dataclass(frozen=True)
class Dropout:
    """Dropout in training mode."""

    masks: Masks
    p: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return x with elements zeroed with probability `p` and the others scaled up."""
        if x.dtype != torch.float32 or x.device.type != "cpu":
            return F.dropout(x, self.p)
        mask = torch.empty_like(x, requires_grad=False)  # dense, in the layout of x
        flat = mask.as_strided((x.numel(),), (1,)).numpy()
        gain = np.float32(1 / (1 - self.p))

        def fill(piece: int) -> None:
            part = flat[piece * _PIECE : (piece + 1) * _PIECE]
            np.multiply(self.masks.keep(piece, len(part), self.p), gain, out=part)

        team(torch.get_num_threads()).run(fill, -(-x.numel() // _PIECE))
        return x * mask
