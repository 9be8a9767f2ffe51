"""Sizes: a convolution, and the convolutions that are its way back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from grader.training.lanes.blocks import TAPS, parts
from grader.training.lanes.vectors import LANES

Integers = npt.NDArray[np.int64]

_CACHE_BYTES = 1 << 15  # what rows of a gradient may take while they meet every input


class Geometry(NamedTuple):
    """Sizes of a convolution; `inputs` and `outputs` are those of one group.

    `rows` and `columns` are what lies in the margin and within it. For the way back to the kernel
    there are sizes of blocks, `input_parts` (of 1×1 kernels) and `output_parts`, and how many rows
    go at once.
    """

    groups: int
    inputs: int
    outputs: int
    kernel_height: int
    kernel_width: int
    step_y: int
    step_x: int
    apart_y: int
    apart_x: int
    top: int
    left: int
    height: int
    width: int
    rows: int
    columns: int
    input_parts: Integers
    output_parts: Integers
    rows_at_once: int


class WayBack(NamedTuple):
    """Sizes of the convolutions that give the gradient of [height, width] inputs.

    With a stride there is one for every phase: inputs so many apart see the same elements of the
    kernel. `phases` has a row for each: height and width of its part of the kernel, how far its
    elements are apart, where in the margin it begins, how many rows and columns it has, which are
    the first ones, and where its part of the kernel begins.
    """

    top: int
    left: int
    height: int
    width: int
    rows: int
    columns: int
    phases: Integers


@dataclass(frozen=True)
class Convolution:
    """A 2-d convolution; pairs are (down, across)."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def geometry(self, kernel: tuple[int, ...], size: tuple[int, int]) -> Geometry:
        """Return what the compiled code needs to know of the way there.

        `kernel` is [outputs, inputs of a group, height, width], `size` that of a map.
        """
        return _geometry(self, kernel, size)

    def way_back(
        self, kernel: tuple[int, ...], size: tuple[int, int]
    ) -> tuple[WayBack, list[tuple[slice, slice]]]:
        """Return what it needs to know of the way back, and each phase's part of the kernel.

        That is a part, down and across, of the kernel turned round.
        """
        return _way_back(self, kernel, size)


@lru_cache(maxsize=1024)
def _geometry(conv: Convolution, kernel: tuple[int, ...], size: tuple[int, int]) -> Geometry:
    outputs, inputs, high, wide = kernel
    each = outputs // conv.groups
    padded = _each(lambda s, p: s + 2 * p, size, conv.padding)
    out = _each(
        lambda whole, reach, step: (whole - reach - 1) // step + 1,
        padded, _reach(conv, kernel), conv.stride,
    )  # fmt: skip
    neighbours = [min(4, inputs - i) for i in range(0, inputs, 4)] if high * wide == 1 else []
    output_parts = parts(each, neighbours or [wide])
    row = output_parts[0] * out[1] * 4 * LANES
    return Geometry(
        conv.groups, inputs, each, high, wide, *conv.stride, *conv.dilation, *conv.padding, *out,
        *padded, _ints(neighbours), _ints(output_parts), max(1, _CACHE_BYTES // max(1, row)),
    )  # fmt: skip


@dataclass(frozen=True)
class _Phase:
    """Along one side: the inputs first, first + stride, …, and what reaches them.

    Those are the kernel's `elements`, in the order in which the outputs they belong to lie; the
    first of these outputs is `begin`, the next ones are `apart`.
    """

    first: int
    count: int
    elements: list[int]
    apart: int
    begin: int

    @property
    def end(self) -> int:
        """One more than the last output that is read."""
        return self.begin + (len(self.elements) - 1) * self.apart + self.count

    def part(self, kernel: int) -> slice:
        """Return where the elements are in a kernel of that length that is turned round."""
        first, *others = (kernel - 1 - element for element in self.elements)
        return slice(first, None, others[0] - first) if others else slice(first, first + 1)


def _phases(size: int, kernel: int, stride: int, padding: int, dilation: int) -> list[_Phase]:
    """Return the phases that anything reaches."""
    found = []
    for first in range(min(stride, size)):
        elements = [k for k in range(kernel) if (first + padding - k * dilation) % stride == 0]
        elements.reverse()
        if elements:
            step = elements[0] - elements[1] if len(elements) > 1 else 0
            begin = (first + padding - elements[0] * dilation) // stride
            count = -(-(size - first) // stride)
            found.append(_Phase(first, count, elements, step * dilation // stride, begin))
    return found


@lru_cache(maxsize=1024)
def _way_back(
    conv: Convolution, kernel: tuple[int, ...], size: tuple[int, int]
) -> tuple[WayBack, list[tuple[slice, slice]]]:
    sides = zip(size, kernel[2:], conv.stride, conv.padding, conv.dilation, strict=True)
    down, across = (_phases(*side) for side in sides)
    out = conv.geometry(kernel, size)
    before = _each(lambda phases: max([0, *(-phase.begin for phase in phases)]), (down, across))
    whole = _each(
        lambda margin, side, phases: margin + max([side, *(phase.end for phase in phases)]),
        before, (out.height, out.width), (down, across),
    )  # fmt: skip
    rows, elements, at = [], [], 0
    for y, x in itertools.product(down, across):
        high, wide = len(y.elements), len(x.elements)
        rows.append(
            [high, wide, y.apart, x.apart, y.begin + before[0], x.begin + before[1], y.count,
             x.count, y.first, x.first, at]
        )  # fmt: skip
        elements.append((y.part(kernel[2]), x.part(kernel[3])))
        at += kernel[0] * kernel[1] * high * wide
    return WayBack(*before, *size, *whole, np.array(rows, np.int64).reshape(-1, 11)), elements


def _reach(conv: Convolution, kernel: tuple[int, ...]) -> tuple[int, int]:
    """Return how far the last element of a kernel lies from its first, down and across."""
    return _each(lambda apart, k: apart * (k - 1), conv.dilation, (kernel[2], kernel[3]))


def _each(work: Callable[..., int], *pairs: tuple[Any, Any]) -> tuple[int, int]:
    """Work something out down and across."""
    down, across = zip(*pairs, strict=True)
    return work(*down), work(*across)


def _ints(values: Sequence[int]) -> Integers:
    return np.array(values, np.int64)


def fits(conv: Convolution, kernel: tuple[int, ...]) -> bool:
    """Tell whether the compiled code, which checks nothing, covers a convolution."""
    if min(*conv.stride, *conv.dilation, conv.groups, *kernel) < 1:
        return False
    reach = _reach(conv, kernel)
    within = all(0 <= p <= r for p, r in zip(conv.padding, reach, strict=True))
    return within and kernel[3] <= TAPS and math.prod(kernel) <= 1 << 17
