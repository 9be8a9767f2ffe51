"""What a training does to every number of a layer, compiled: one walk through memory a step.

PyTorch walks through memory once for each operation; where a layer is larger than the cache, that
is what batch norm, ReLU, dropout and pooling cost. Arrays are float32 and have a row for each row
of an image, in which channels come last: [images · height, width · channels]. What differs from
channel to channel comes as such a row too. A bound of -inf stands for a ReLU that is not there.
NaN stays NaN, so that a training that diverges is seen to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint16]
_Kernel = TypeVar("_Kernel", bound=Callable[..., None])


def _compiled(function: _Kernel) -> _Kernel:
    """Compile at the first call, and keep the result on disk where that can be written."""
    compiler: Any = numba.njit(
        nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"}
    )
    compiled: _Kernel = compiler(function)
    return compiled


@_compiled
def add_moments(x: Floats, low: Floats, sums: Floats) -> None:
    """Add max(x, low) over the rows to sums[0], and its square to sums[1]."""
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            value = low[i] if x[row, i] < low[i] else x[row, i]
            sums[0, i] += value
            sums[1, i] += value * value


@_compiled
def activate(
    x: Floats, low: Floats, scale: Floats, shift: Floats, floor: np.float32,
    words: Words | None, threshold: np.uint32, y: Floats, kept: Bytes | None,
) -> None:  # fmt: skip
    """Set y to max(scale · max(x, low) + shift, floor), and to 0 where a word is below threshold.

    `words` has one for every number, or is None: nothing is dropped. `kept` notes what is not.
    """
    zero = np.float32(0)
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            value = low[i] if x[row, i] < low[i] else x[row, i]
            value = scale[i] * value + shift[i]
            value = floor if value < floor else value
            if words is not None:
                keep = np.uint32(words[row * x.shape[1] + i]) >= threshold
                value = value if keep else zero
                if kept is not None:
                    kept[row, i] = keep
            y[row, i] = value


@_compiled
def pool(x: Floats, height: int, channels: int, y: Floats, chosen: Bytes) -> None:
    """Set y to the largest of every 2×2 of x, and `chosen` to which, from 1 to 4, or 0 for none.

    None if the largest is not above 0, behind a ReLU: there nothing of a gradient goes back.
    """
    for above in range(y.shape[0]):
        row = above // (height // 2) * height + above % (height // 2) * 2
        for left in range(y.shape[1] // channels):
            for channel in range(channels):
                i, to = 2 * left * channels + channel, left * channels + channel
                best, choice = x[row, i], np.uint8(1)
                if x[row, i + channels] > best:
                    best, choice = x[row, i + channels], np.uint8(2)
                if x[row + 1, i] > best:
                    best, choice = x[row + 1, i], np.uint8(3)
                if x[row + 1, i + channels] > best:
                    best, choice = x[row + 1, i + channels], np.uint8(4)
                y[above, to] = best
                chosen[above, to] = choice if best > 0 else np.uint8(0)


@_compiled
def add_gradient_moments(
    x: Floats, low: Floats, opened: Floats | Bytes | None, gradient: Floats, sums: Floats
) -> None:
    """Add the gradient, where `opened` is above 0, to sums[0], and times max(x, low) to sums[1]."""
    zero = np.float32(0)
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            passed = gradient[row, i]
            if opened is not None:
                passed = passed if opened[row, i] > 0 else zero
            sums[0, i] += passed
            sums[1, i] += passed * (low[i] if x[row, i] < low[i] else x[row, i])


@_compiled
def combine(
    x: Floats, low: Floats, opened: Floats | Bytes | None, gradient: Floats,
    by_gradient: Floats, by_x: Floats, constant: Floats, result: Floats,
) -> None:  # fmt: skip
    """Set result to by_gradient · gradient + by_x · max(x, low) + constant; 0 where x ≤ low."""
    zero = np.float32(0)
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            passed = gradient[row, i]
            if opened is not None:
                passed = passed if opened[row, i] > 0 else zero
            value = by_gradient[i] * passed + by_x[i] * x[row, i] + constant[i]
            result[row, i] = zero if x[row, i] <= low[i] else value


@_compiled
def unpool(chosen: Bytes, gradient: Floats, height: int, channels: int, result: Floats) -> None:
    """Set result [images · height, …] to the gradient of what was chosen, and to 0 elsewhere."""
    result[:] = 0
    width = gradient.shape[1] // channels
    for above in range(gradient.shape[0]):
        top = above // (height // 2) * height + above % (height // 2) * 2
        for left in range(width):
            for corner in range(4):
                row, right = top + corner // 2, (2 * left + corner % 2) * channels
                for channel in range(channels):
                    i = left * channels + channel
                    if chosen[above, i] == corner + 1:
                        result[row, right + channel] = gradient[above, i]


@_compiled
def drop(
    x: Floats, words: Words, threshold: np.uint32, gain: np.float32, y: Floats, kept: Bytes
) -> None:
    """Set y to gain · x, or 0 where a word is below threshold; `kept` notes where. All are flat."""
    zero = np.float32(0)
    for i in range(len(x)):
        keep = np.uint32(words[i]) >= threshold
        y[i] = gain * x[i] if keep else zero
        kept[i] = keep


@_compiled
def drop_gradient(gradient: Floats, kept: Bytes, gain: np.float32, result: Floats) -> None:
    """Set result to gain · gradient where `kept`, and to 0 elsewhere. All are flat."""
    zero = np.float32(0)
    for i in range(len(gradient)):
        result[i] = gain * gradient[i] if kept[i] > 0 else zero
