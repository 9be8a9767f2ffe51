"""Turns images, and kernels, by a symmetry of the square."""

from __future__ import annotations

import torch


def turned(images: torch.Tensor, turn: int) -> torch.Tensor:
    """Return images [..., H, W] as the bits of `turn` say; see `grader.datasets.mask.TURNS`."""
    if not turn:
        return images
    if turn & 4:
        images = images.transpose(-1, -2)
    sides = [side for side, bit in ((-2, 2), (-1, 1)) if turn & bit]
    return images.flip(sides).contiguous() if sides else images.contiguous()
