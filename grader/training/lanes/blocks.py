"""The inner loops of convolutions: a block of sums that stays in registers.

Each is compiled for several sizes of block.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from grader.training.lanes.vectors import (
    FLOAT,
    INT,
    LANES,
    REGISTERS,
    VECTOR,
    ZERO,
    at,
    multiply_add,
    operation,
    spread,
)  # fmt: skip

_LONG = ir.IntType(64)
_Rows = list[list[Any]]
Sizes = Mapping[int, tuple[int, ...]]

FOLD = 4
"""Over how many numbers `add_correlation` spreads a sum: few, for the cache, but quickly made."""

_FOLDED = ir.VectorType(FLOAT, FOLD)

TAPS = 7
"""The most elements of a kernel's row that a block has."""

# How many channels a block may have, by its number of neighbours. The largest leaves registers for
# what is multiplied; each further size takes time to compile, and saves some where it fits.
if REGISTERS >= 32:
    PLACES, CHANNELS = 7, 3
    CORRELATIONS = {
        1: (8, 1), 2: (8, 1), 3: (7, 5, 2, 1), 4: (5, 2, 1), 5: (4, 1), 6: (3, 1), 7: (3, 1),
    }  # fmt: skip
else:
    PLACES, CHANNELS = 3, 4
    CORRELATIONS = {1: (8, 1), 2: (4, 1), 3: (4, 1), 4: (2, 1), 5: (2, 1), 6: (1,), 7: (1,)}

PRODUCTS = dict.fromkeys(range(1, PLACES + 1), (CHANNELS, 1))
"""`add_products` takes CHANNELS channels, or one; and up to PLACES places of a row."""


def parts(count: int, neighbours: Collection[int]) -> tuple[int, ...]:
    """Cut `count` channels into blocks for `add_correlation` that take the least time together.

    `neighbours` are the numbers of neighbours that every one of these sizes will meet.
    """
    sizes = set[int].intersection(*(set(CORRELATIONS[n]) for n in neighbours))
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for total in range(1, count + 1):
        ways = (
            (best[total - size][0] + _cycles(size, neighbours), (*best[total - size][1], size))
            for size in sizes
            if size <= total
        )
        best.append(min(ways))
    return tuple(sorted(best[count][1], reverse=True))


def _cycles(channels: int, neighbours: Collection[int]) -> float:
    """Estimate a step's cycles: two sums in a cycle, each four cycles after the one before it."""
    return sum(max(channels * n / 2, (channels + n) / 2, 4) for n in neighbours)


@operation(types.void, [types.intp] * 15)
def add_products(builder: ir.IRBuilder, args: Sequence[Any]) -> None:
    """Set y to the sums of products of a kernel and what it sees, for a block of places.

    add_products(places, channels, x, kernel, y, inputs, height, width, x_channel, x_row, x_tap,
    x_place, kernel_tap, y_channel, y_place): the last seven are distances in bytes. `kernel` is
    laid out [inputs, height, width, outputs], and begins with the block's first channel.
    """
    places, channels, *rest = args
    for size in _each_size(builder, PRODUCTS, places, channels):
        _products(builder, size, rest)


def _products(builder: ir.IRBuilder, size: tuple[int, int], args: Sequence[Any]) -> None:
    places, channels = size
    x, kernel, y, inputs, height, width, *steps = args
    x_channel, x_row, x_tap, x_place, tap, y_channel, y_place = steps
    sums = _zeros(builder, places, channels)
    weights = cgutils.alloca_once(builder, _LONG)
    builder.store(kernel, weights)
    with cgutils.for_range(builder, inputs) as channel:
        of_channel = builder.add(x, builder.mul(channel.index, x_channel))
        with cgutils.for_range(builder, height) as row:
            of_row = builder.add(of_channel, builder.mul(row.index, x_row))
            with cgutils.for_range(builder, width) as column:
                first = builder.add(of_row, builder.mul(column.index, x_tap))
                seen = [_loaded(builder, first, i, x_place) for i in range(places)]
                here = builder.load(weights)
                for sums_of_channel, i in zip(sums, range(channels), strict=True):
                    number = builder.load(at(builder, builder.add(here, _LONG(4 * i)), FLOAT))
                    _accumulate(builder, sums_of_channel, seen, spread(builder, number))
                builder.store(builder.add(here, tap), weights)
    for i, sums_of_channel in enumerate(sums):
        row = builder.add(y, builder.mul(y_channel, _LONG(i)))
        for j, total in enumerate(sums_of_channel):
            to = builder.add(row, builder.mul(y_place, _LONG(j)))
            builder.store(builder.load(total), at(builder, to), align=4)


@operation(types.void, [types.intp] * 14)
def add_correlation(builder: ir.IRBuilder, args: Sequence[Any]) -> None:
    """Add to z the sums, over places, of products of x and an output's gradient g.

    add_correlation(taps, channels, x, g, z, rows, columns, x_row, x_place, x_tap, g_row, g_place,
    g_channel, z_channel): distances in bytes; the sums of a channel lie side by side in z, each
    spread over FOLD numbers.
    """
    taps, channels, *rest = args
    for size in _each_size(builder, CORRELATIONS, taps, channels):
        _correlation(builder, size, rest)


def _correlation(builder: ir.IRBuilder, size: tuple[int, int], args: Sequence[Any]) -> None:
    taps, channels = size
    x, g, z, rows, columns, x_row, x_place, x_tap, g_row, g_place, g_channel, z_channel = args
    sums = _zeros(builder, taps, channels)
    with cgutils.for_range(builder, rows) as row:
        x_of_row = builder.add(x, builder.mul(row.index, x_row))
        g_of_row = builder.add(g, builder.mul(row.index, g_row))
        with cgutils.for_range(builder, columns) as column:
            first = builder.add(x_of_row, builder.mul(column.index, x_place))
            seen = [_loaded(builder, first, i, x_tap) for i in range(taps)]
            of_column = builder.add(g_of_row, builder.mul(column.index, g_place))
            for i, sums_of_channel in enumerate(sums):
                _accumulate(
                    builder, sums_of_channel, seen, _loaded(builder, of_column, i, g_channel)
                )
    for i, sums_of_channel in enumerate(sums):
        row_of_z = builder.add(z, builder.mul(z_channel, _LONG(i)))
        for j, total in enumerate(sums_of_channel):
            to = at(builder, builder.add(row_of_z, _LONG(j * FOLD * 4)), _FOLDED)
            sum_so_far = builder.load(to, align=4)
            builder.store(
                builder.fadd(sum_so_far, _folded(builder, builder.load(total))), to, align=4
            )


def _folded(builder: ir.IRBuilder, value: Any) -> Any:
    """Add the parts of a register up until FOLD numbers are left."""
    width = LANES
    while width > FOLD:
        width //= 2
        empty = ir.Constant(value.type, ir.Undefined)
        halves = (
            ir.Constant(ir.VectorType(INT, width), list(range(start, start + width)))
            for start in (0, width)
        )
        low, high = (builder.shuffle_vector(value, empty, half) for half in halves)
        value = builder.fadd(low, high)
    return value


def _each_size(
    builder: ir.IRBuilder, blocks: Sizes, neighbours: Any, channels: Any
) -> Iterator[tuple[int, int]]:
    """Write a switch: what is written while a size is yielded runs for blocks of that size."""
    end = builder.append_basic_block("end")
    chosen = builder.add(builder.mul(neighbours, _LONG(64)), channels)
    switch = builder.switch(chosen, end)
    for count, sizes in blocks.items():
        for size in sizes:
            case = builder.append_basic_block(f"block{count}x{size}")
            switch.add_case(_LONG(count * 64 + size), case)
            builder.position_at_end(case)
            yield count, size
            builder.branch(end)
    builder.position_at_end(end)


def _zeros(builder: ir.IRBuilder, neighbours: int, channels: int) -> _Rows:
    sums = [
        [cgutils.alloca_once(builder, VECTOR) for _ in range(neighbours)] for _ in range(channels)
    ]
    for row in sums:
        for total in row:
            builder.store(ZERO, total)
    return sums


def _loaded(builder: ir.IRBuilder, first: Any, index: int, distance: Any) -> Any:
    address = builder.add(first, builder.mul(distance, _LONG(index)))
    return builder.load(at(builder, address), align=4)


def _accumulate(builder: ir.IRBuilder, sums: list[Any], seen: list[Any], factor: Any) -> None:
    for total, value in zip(sums, seen, strict=True):
        builder.store(multiply_add(builder, value, factor, builder.load(total)), total)
