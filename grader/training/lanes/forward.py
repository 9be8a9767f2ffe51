"""What is done to a layer, compiled: activation and convolution.

An activation is what stands between two convolutions, on the first one's output z: a ReLU, a
norm, a ReLU or SiLU, dropout and 2×2 max-pooling, each of which may be missing:

    max(scale · max(z, low) + shift, floor), dropped, pooled

or with a SiLU, times `gain`, in place of the bound.

Compiled code gets it as a tuple: z, C, H, W; [3, C] of low, scale and shift; floor; gain of a SiLU,
or 0; key and bound of dropout's words; whether it is pooled. It is never kept: a convolution works
it out for LANES images at a time, in a margin of zeros that fits the cache, and so does the way
back. Arrays are packed, [B / LANES, C, H, W, LANES] float32, and given by their address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from grader.training.lanes.blocks import CHANNELS, PLACES, add_products
from grader.training.lanes.vectors import (
    BYTES,
    LANES,
    at_least,
    fill,
    fma,
    kept,
    larger,
    load,
    minus,
    of_images,
    plus,
    sigmoid,
    store,
    times,
    total,
    where_above,
)  # fmt: skip

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])

_OFF_CENTRE = 1e3  # mean² / variance from which float32 sums of squares lose too much


def compiled(function: _Kernel) -> _Kernel:
    """Compile at the first call, and keep the result on disk where that can be written."""
    compiler: Any = numba.njit(nogil=True, cache=True, error_model="numpy")
    result: _Kernel = compiler(function)
    return result


@compiled
def bent(z, gradient, number, low, scale, shift, floor, gain, key, least):
    """Activate one register, and let a gradient through; `number` is its place in the layer."""
    inner = fma(scale, at_least(z, low), shift)
    if gain:
        share, more = sigmoid(inner), fill(gain)
        value, one = times(inner, share), fill(numba.float32(1))
        slope = plus(share, times(value, minus(one, share)))
        value, opened = times(more, value), times(times(more, gradient), slope)
    else:
        value, opened = at_least(inner, floor), where_above(inner, floor, gradient)
    if least:
        value, opened = kept(value, number, key, least), kept(opened, number, key, least)
    return value, opened


@compiled
def _value(z, number, low, scale, shift, floor, gain, key, least):
    """Activate one register."""
    return bent(z, z, number, low, scale, shift, floor, gain, key, least)[0]


@compiled
def activate(pack, activation, out, channel_step, row_step):
    """Write a pack's activation [C, H, W], or half as high and wide, to `out` and its distances."""
    z, channels, height, width, factors, floor, gain, key, least, pooled = activation
    bottom = fill(floor)
    for channel in range(channels):
        low, scale = fill(factors[0, channel]), fill(factors[1, channel])
        shift = fill(factors[2, channel])
        first = (pack * channels + channel) * height * width
        for row in range(height // 2 if pooled else height):
            to = out + channel * channel_step + row * row_step
            i = first + row * width * (2 if pooled else 1)
            for column in range(width // 2 if pooled else width):
                if pooled:
                    j = i + 2 * column
                    v0 = _value(load(z + j * BYTES), j, low, scale, shift, bottom, gain, key, least)
                    j += 1
                    v1 = _value(load(z + j * BYTES), j, low, scale, shift, bottom, gain, key, least)
                    j += width
                    v3 = _value(load(z + j * BYTES), j, low, scale, shift, bottom, gain, key, least)
                    j -= 1
                    v2 = _value(load(z + j * BYTES), j, low, scale, shift, bottom, gain, key, least)
                    value = larger(larger(v0, v1), larger(v2, v3))
                else:
                    j = i + column
                    value = _value(
                        load(z + j * BYTES), j, low, scale, shift, bottom, gain, key, least
                    )
                store(to + column * BYTES, value)


@compiled
def emit(first, last, activation, out):
    """Write the activation of packs as a packed array."""
    channels, height, width = activation[1:4]
    if activation[-1]:
        height, width = height // 2, width // 2
    for pack in range(first, last):
        to = out + pack * channels * height * width * BYTES
        activate(pack, activation, to, height * width * BYTES, width * BYTES)


@compiled
def _add_moments(z, count, low, images, sums):
    """Add, over `count` registers of a channel, max(z, low) and its square to sums[0] and [1]."""
    sum0, square0 = fill(numba.float32(0)), fill(numba.float32(0))
    sum1, square1 = sum0, square0
    for i in range(0, count - 1, 2):
        a, b = at_least(load(z + i * BYTES), low), at_least(load(z + (i + 1) * BYTES), low)
        sum0, square0 = plus(sum0, a), fma(a, a, square0)
        sum1, square1 = plus(sum1, b), fma(b, b, square1)
    if count % 2:
        a = at_least(load(z + (count - 1) * BYTES), low)
        sum0, square0 = plus(sum0, a), fma(a, a, square0)
    sums[0] += total(of_images(plus(sum0, sum1), images))
    sums[1] += total(of_images(plus(square0, square1), images))


@compiled
def add_moments(first, last, images, z, channels, places, lows, sums):
    """Add to sums [C, 2], over packs, what a norm needs of max(z, low) for its statistics."""
    for pack in range(first, last):
        for channel in range(channels):
            at = z + (pack * channels + channel) * places * BYTES
            there = min(LANES, images - pack * LANES)
            _add_moments(at, places, fill(lows[channel]), there, sums[channel])


@compiled
def normalise(
    sums, count, off, low, weight, bias, eps, gain, momentum, mean, variance, factors, inverse,
    centre, strict,
):  # fmt: skip
    """Work out, for every channel, what a norm does to `count` numbers with such sums [C, 2].

    Writes `factors` [3, C], see above; what the norm takes away and then multiplies by, to
    `centre` and `inverse`; and moves `mean` and `variance`, which may both be empty. `off` was
    taken from the numbers before, and is no part of `centre`. Returns False, and does nothing, if
    `strict` and the squares' sum lost too many digits.
    """
    for channel in range(len(sums)):
        found = sums[channel, 0] / count
        if strict and found * found > _OFF_CENTRE * (sums[channel, 1] / count - found * found):
            return False
    for channel in range(len(sums)):
        found = sums[channel, 0] / count
        spread = sums[channel, 1] / count - found * found
        spread = 0.0 if spread < 0 else spread  # NaN stays
        inverse[channel] = 1 / np.sqrt(spread + eps)
        centre[channel] = found
        scale = weight[channel] * inverse[channel] * gain
        factors[0, channel] = low[channel]
        factors[1, channel] = scale
        factors[2, channel] = bias[channel] * gain - found * scale
        if len(mean):
            mean[channel] += momentum * (off[channel] + found - mean[channel])
            spread *= count / (count - 1)
            variance[channel] += momentum * (spread - variance[channel])
    return True


@compiled
def convolve_group(
    x, kernel, y, inputs, outputs, high, wide, height, width, x_channel, x_row, x_place, row_tap,
    tap, y_channel, y_row, y_place,
):  # fmt: skip
    """Set a pack's y [outputs, height, width] to the convolution of one group's channels.

    `kernel` is [inputs, high, wide, outputs]; what follows `width` are distances in bytes.
    """
    blocks = (width + PLACES - 1) // PLACES
    for row in range(height):  # the rows it sees stay in the cache for all channels
        channel = 0
        while channel < outputs:
            part = CHANNELS if outputs - channel >= CHANNELS else 1
            column = 0
            for block in range(blocks):
                places = (width + block) // blocks
                add_products(
                    places, part, x + row * x_row + column * x_place, kernel + channel * 4,
                    y + channel * y_channel + row * y_row + column * y_place,
                    inputs, high, wide, x_channel, row_tap, tap, x_place, outputs * 4, y_channel,
                    y_place,
                )  # fmt: skip
                column += places
            channel += part


@compiled
def convolve(first, last, images, activation, g, scratch, kernel, bias, out, lows, sums):
    """Convolve the activation of packs, and add up what the next norm needs of the result.

    `scratch` [C, rows, columns, LANES] holds zeros; `kernel` is [groups, inputs, height, width,
    outputs]; `bias` [outputs] may be empty; `lows` and `sums` are as in `add_moments`, or empty.
    """
    row_step, channel_step = g.columns * BYTES, g.rows * g.columns * BYTES
    out_channel = g.height * g.width * BYTES
    of_group = g.inputs * g.kernel_height * g.kernel_width * g.outputs * 4
    for pack in range(first, last):
        to = scratch + (g.top * g.columns + g.left) * BYTES
        activate(pack, activation, to, channel_step, row_step)
        there = min(LANES, images - pack * LANES)
        for group in range(g.groups):
            x = scratch + group * g.inputs * channel_step
            y = out + (pack * g.groups + group) * g.outputs * out_channel
            convolve_group(
                x, kernel + group * of_group, y, g.inputs, g.outputs, g.kernel_height,
                g.kernel_width, g.height, g.width, channel_step, g.step_y * row_step,
                g.step_x * BYTES, g.apart_y * row_step, g.apart_x * BYTES, out_channel,
                g.width * BYTES, BYTES,
            )  # fmt: skip
            for channel in range(g.outputs):
                at, number = y + channel * out_channel, group * g.outputs + channel
                if len(bias):
                    more = fill(bias[number])
                    for i in range(g.height * g.width):
                        store(at + i * BYTES, plus(load(at + i * BYTES), more))
                if len(lows):
                    low = fill(lows[number])
                    _add_moments(at, g.height * g.width, low, there, sums[number])
