"""Packed arrays, work on their pieces, and what a thread keeps for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from grader.training.lanes.vectors import LANES
from grader.training.team import team

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

FLOAT = torch.float32
PIECES = 2  # of a batch at least: one thread and two add up alike
_WALK = 32  # multiply-adds that take as long as it takes to read a number and write one
_ALONE = 1 << 25  # multiply-adds, a quarter of a millisecond, that are not worth waking a thread
_Result = TypeVar("_Result")
_local = threading.local()


def require(holds: bool, otherwise: str) -> None:
    """Refuse what the compiled code, which checks nothing, could not do; raises ValueError."""
    if not holds:
        raise ValueError(otherwise)


def for_pieces(
    array: torch.Tensor, work: Callable[[int, int, int], _Result], products: int = 0
) -> list[_Result]:
    """Do `work(number, first pack, last pack + 1)` for pieces of a batch.

    `products` are the multiply-adds for each number of the array. Where all is done sooner than
    another thread has woken up, the calling one does it.
    """
    threads = torch.get_num_threads()
    count = min(max(PIECES, threads), len(array))
    ends = [len(array) * i // count for i in range(count + 1)]
    effort = array.numel() * (_WALK + products)
    helpers = team(threads if effort > _ALONE else 1)
    return helpers.run(lambda i: work(i, ends[i], ends[i + 1]), count)


def margin(channels: int, rows: int, columns: int, use: tuple[int, ...]) -> int:
    """Return the address of zeros [channels, rows, columns, LANES] kept by this thread for a use.

    The same places are written over each time; what lies around them stays zero.
    """
    kept: dict[str, torch.Tensor] = _local.__dict__
    name = f"{channels} {rows} {columns} {use}"
    if name not in kept:
        kept[name] = torch.zeros(channels, rows, columns, LANES)
    return kept[name].data_ptr()


def added(sums: Sequence[Doubles]) -> Doubles:
    """Add up the sums of pieces, in their order."""
    total: Doubles = np.sum(sums, axis=0)
    return total


def packed(x: torch.Tensor) -> torch.Tensor:
    """Lay [B, C, H, W] out as [B / LANES, C, H, W, LANES]; empty lanes hold zeros."""
    require(x.dim() == 4 and x.dtype == FLOAT, f"{list(x.shape)} are no maps of float32")
    lacking = -len(x) % LANES
    if lacking:
        x = torch.cat([x, x.new_zeros(lacking, *x.shape[1:])])
    return x.reshape(-1, LANES, *x.shape[1:]).permute(0, 2, 3, 4, 1).contiguous()


def unpacked(x: torch.Tensor, images: int) -> torch.Tensor:
    """Undo `packed`."""
    return x.permute(0, 4, 1, 2, 3).flatten(0, 1)[:images]
