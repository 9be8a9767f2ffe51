"""What is done to a layer, compiled: activation, convolution, and the ways back.

An activation is what stands between two convolutions, on the first one's output z: a ReLU, a
norm, a ReLU, dropout and 2×2 max-pooling, each of which may be missing:

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

from grader.training.lanes.blocks import CHANNELS, FOLD, PLACES, add_correlation, add_products
from grader.training.lanes.vectors import (
    BYTES,
    LANES,
    at_least,
    fill,
    fma,
    kept,
    load,
    minus,
    of_images,
    plus,
    sigmoid,
    store,
    times,
    total,
    where_above,
    where_equal,
)  # fmt: skip

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])

_OFF_CENTRE = 1e3  # mean² / variance from which float32 sums of squares lose too much
_FOLDED = 4 * FOLD  # bytes of a sum of products


def _compiled(function: _Kernel) -> _Kernel:
    """Compile at the first call, and keep the result on disk where that can be written."""
    compiler: Any = numba.njit(nogil=True, cache=True, error_model="numpy")
    compiled: _Kernel = compiler(function)
    return compiled


@_compiled
def _bent(z, number, low, scale, shift, floor, gain, key, least):
    """Activate one register, and find the slope there; `number` is its place in the layer."""
    inner = fma(scale, at_least(z, low), shift)
    one = fill(numba.float32(1))
    if gain:
        share, more = sigmoid(inner), fill(gain)
        value = times(inner, share)
        slope = times(more, plus(share, times(value, minus(one, share))))
        value = times(more, value)
    else:
        value, slope = at_least(inner, floor), where_above(inner, floor, one)
    if least:
        value, slope = kept(value, number, key, least), kept(slope, number, key, least)
    return value, slope


@_compiled
def _value(z, number, low, scale, shift, floor, gain, key, least):
    """Activate one register."""
    return _bent(z, number, low, scale, shift, floor, gain, key, least)[0]


@_compiled
def _activate(pack, activation, out, channel_step, row_step):
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
                    value = at_least(at_least(v0, v1), at_least(v2, v3))
                else:
                    j = i + column
                    value = _value(
                        load(z + j * BYTES), j, low, scale, shift, bottom, gain, key, least
                    )
                store(to + column * BYTES, value)


@_compiled
def emit(first, last, activation, out):
    """Write the activation of packs as a packed array."""
    channels, height, width = activation[1:4]
    if activation[-1]:
        height, width = height // 2, width // 2
    for pack in range(first, last):
        to = out + pack * channels * height * width * BYTES
        _activate(pack, activation, to, height * width * BYTES, width * BYTES)


@_compiled
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


@_compiled
def add_moments(first, last, images, z, channels, places, lows, sums):
    """Add to sums [C, 2], over packs, what a norm needs of max(z, low) for its statistics."""
    for pack in range(first, last):
        for channel in range(channels):
            at = z + (pack * channels + channel) * places * BYTES
            there = min(LANES, images - pack * LANES)
            _add_moments(at, places, fill(lows[channel]), there, sums[channel])


@_compiled
def normalise(
    sums, count, off, low, weight, bias, eps, gain, momentum, mean, variance, factors, inverse,
    centre, strict,
):  # fmt: skip
    """Work out, for every channel, what a norm does to `count` numbers with such sums [C, 2].

    Writes `factors` [3, C], see above; what the norm divides by and takes away, to `inverse` and
    `centre`; and moves `mean` and `variance`, which may be empty. `off` was taken from the numbers
    before. Returns False, and does nothing, if `strict` and the squares' sum lost too many digits.
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


@_compiled
def normalise_back(sums, count, weight, inverse, centre, gain, factors, to_weight, to_bias):
    """Work out the way back through a norm from the sums of `add_gradient_moments`.

    Writes `factors` [3, C], see `_combined`, and the gradients of weight and bias [C]. A count of 0
    stands for a norm that did not take the batch's statistics.
    """
    for channel in range(len(sums)):
        direct, product = sums[channel, 0] * gain, sums[channel, 1] * gain
        of_weight = inverse[channel] * (product - centre[channel] * direct)
        scale = weight[channel] * inverse[channel]
        by_z = -scale * inverse[channel] * of_weight / count if count else 0.0
        factors[0, channel] = scale * gain
        factors[1, channel] = by_z
        factors[2, channel] = -scale * direct / count - by_z * centre[channel] if count else 0.0
        to_weight[channel] = of_weight
        to_bias[channel] = direct


@_compiled
def _convolve_group(
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


@_compiled
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
        _activate(pack, activation, to, channel_step, row_step)
        there = min(LANES, images - pack * LANES)
        for group in range(g.groups):
            x = scratch + group * g.inputs * channel_step
            y = out + (pack * g.groups + group) * g.outputs * out_channel
            _convolve_group(
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


@_compiled
def _opened(z, number, gradient, low, scale, shift, floor, gain, key, least):
    """Return the part of a gradient that an activation lets through to the norm's output."""
    return times(gradient, _bent(z, number, low, scale, shift, floor, gain, key, least)[1])


@_compiled
def _shared(z, i, width, gradient, low, scale, shift, floor, gain, key, least):
    """Return what of a pooled gradient goes to each of four: the first that is the largest."""
    none = fill(numba.float32(0))
    j0, j1, j2, j3 = i, i + 1, i + width, i + width + 1
    v0, s0 = _bent(load(z + j0 * BYTES), j0, low, scale, shift, floor, gain, key, least)
    v1, s1 = _bent(load(z + j1 * BYTES), j1, low, scale, shift, floor, gain, key, least)
    v2, s2 = _bent(load(z + j2 * BYTES), j2, low, scale, shift, floor, gain, key, least)
    v3, s3 = _bent(load(z + j3 * BYTES), j3, low, scale, shift, floor, gain, key, least)
    best = at_least(at_least(v0, v1), at_least(v2, v3))
    g0, rest = where_equal(v0, best, gradient, none), where_equal(v0, best, none, gradient)
    g1, rest = where_equal(v1, best, rest, none), where_equal(v1, best, none, rest)
    g2, rest = where_equal(v2, best, rest, none), where_equal(v2, best, none, rest)
    g3 = where_equal(v3, best, rest, none)
    return times(g0, s0), times(g1, s1), times(g2, s2), times(g3, s3)


@_compiled
def _add_gradient_moments(pack, activation, gradient, sums):
    """Add to sums [C, 2] the gradient at the norm's output, and the same times max(z, low)."""
    z, channels, height, width, factors, floor, gain, key, least, pooled = activation
    bottom = fill(floor)
    over = height // 2 * (width // 2) if pooled else height * width
    for channel in range(channels):
        low, scale = fill(factors[0, channel]), fill(factors[1, channel])
        shift = fill(factors[2, channel])
        first = (pack * channels + channel) * height * width
        at = gradient + (pack * channels + channel) * over * BYTES
        direct, product = fill(numba.float32(0)), fill(numba.float32(0))
        if pooled:
            for row in range(height // 2):
                for column in range(width // 2):
                    i = first + 2 * row * width + 2 * column
                    g = load(at + (row * (width // 2) + column) * BYTES)
                    g0, g1, g2, g3 = _shared(
                        z, i, width, g, low, scale, shift, bottom, gain, key, least
                    )
                    direct = plus(direct, plus(plus(g0, g1), plus(g2, g3)))
                    product = fma(g0, at_least(load(z + i * BYTES), low), product)
                    product = fma(g1, at_least(load(z + (i + 1) * BYTES), low), product)
                    i += width
                    product = fma(g2, at_least(load(z + i * BYTES), low), product)
                    product = fma(g3, at_least(load(z + (i + 1) * BYTES), low), product)
        else:
            for j in range(height * width):
                i = first + j
                there = load(z + i * BYTES)
                g = load(at + j * BYTES)
                g = _opened(there, i, g, low, scale, shift, bottom, gain, key, least)
                direct = plus(direct, g)
                product = fma(g, at_least(there, low), product)
        sums[channel, 0] += total(direct)
        sums[channel, 1] += total(product)


@_compiled
def add_gradient_moments(first, last, activation, gradient, sums):
    """Add to sums [C, 2], over packs, what the way back through a norm needs of a gradient."""
    for pack in range(first, last):
        _add_gradient_moments(pack, activation, gradient, sums)


@_compiled
def _combined(z, g, low, by_gradient, by_z, constant, images):
    """Return by_gradient · g + by_z · max(z, low) + constant, and 0 where z ≤ low."""
    value = fma(by_gradient, g, fma(by_z, at_least(z, low), constant))
    return of_images(where_above(z, low, value), images)


@_compiled
def _go_back(pack, images, activation, gradient, factors_back, out, channel_step, row_step, sums):
    """Write the gradient of z, from that of its activation; add it up to sums [C]."""
    z, channels, height, width, factors, floor, gain, key, least, pooled = activation
    bottom, none = fill(floor), fill(numba.float32(0))
    there = min(LANES, images - pack * LANES)
    half = width // 2
    over = height // 2 * half if pooled else height * width
    for channel in range(channels):
        low, scale = fill(factors[0, channel]), fill(factors[1, channel])
        shift = fill(factors[2, channel])
        by_g, by_z = fill(factors_back[0, channel]), fill(factors_back[1, channel])
        constant = fill(factors_back[2, channel])
        first = (pack * channels + channel) * height * width
        at = gradient + (pack * channels + channel) * over * BYTES
        so_far = none
        for row in range(0, height, 2 if pooled else 1):
            to = out + channel * channel_step + row * row_step
            i = first + row * width
            if pooled and row + 1 < height:
                for column in range(half):
                    j = i + 2 * column
                    g = load(at + (row // 2 * half + column) * BYTES)
                    g0, g1, g2, g3 = _shared(
                        z, j, width, g, low, scale, shift, bottom, gain, key, least
                    )
                    a = _combined(load(z + j * BYTES), g0, low, by_g, by_z, constant, there)
                    j += 1
                    b = _combined(load(z + j * BYTES), g1, low, by_g, by_z, constant, there)
                    j += width
                    d = _combined(load(z + j * BYTES), g3, low, by_g, by_z, constant, there)
                    j -= 1
                    c = _combined(load(z + j * BYTES), g2, low, by_g, by_z, constant, there)
                    k = to + 2 * column * BYTES
                    store(k, a)
                    store(k + BYTES, b)
                    store(k + row_step, c)
                    store(k + row_step + BYTES, d)
                    so_far = plus(so_far, plus(plus(a, b), plus(c, d)))
                start, rows = 2 * half, 2  # a column that pooling left over
            else:
                start, rows = 0, 1
            for extra in range(rows):
                for column in range(start, width):
                    j = i + extra * width + column
                    here, g = load(z + j * BYTES), none
                    if not pooled:
                        g = load(at + (row * width + column) * BYTES)
                        g = _opened(here, j, g, low, scale, shift, bottom, gain, key, least)
                    value = _combined(here, g, low, by_g, by_z, constant, there)
                    store(to + extra * row_step + column * BYTES, value)
                    so_far = plus(so_far, value)
        sums[channel] += total(so_far)


@_compiled
def go_back(first, last, images, activation, gradient, factors_back, out, sums):
    """Write the gradient of z, of packs, as a packed array."""
    channels, height, width = activation[1:4]
    for pack in range(first, last):
        to = out + pack * channels * height * width * BYTES
        _go_back(
            pack, images, activation, gradient, factors_back, to, height * width * BYTES,
            width * BYTES, sums,
        )  # fmt: skip


@_compiled
def _correlate(x, gradient, sums, g, back):
    """Add a group's sums of products of inputs and gradients to `sums`.

    So many rows of the gradient at once that they stay in the cache while they meet every input.
    """
    row_step, channel_step = g.columns * BYTES, g.rows * g.columns * BYTES
    row_back, channel_back = back.columns * BYTES, back.rows * back.columns * BYTES
    taps = g.kernel_height * g.kernel_width
    x_row, x_place = g.step_y * row_step, g.step_x * BYTES
    row = 0
    while row < g.height:
        count = min(g.rows_at_once, g.height - row)
        channel = 0
        for part in g.output_parts:
            at = gradient + channel * channel_back + row * row_back
            to = sums + channel * g.inputs * taps * _FOLDED
            i = 0
            for neighbours in g.input_parts:  # of 1×1 kernels, where neighbours are channels
                add_correlation(
                    neighbours, part, x + i * channel_step + row * x_row, at, to + i * _FOLDED,
                    count, g.width, x_row, x_place, channel_step, row_back, BYTES,
                    channel_back, g.inputs * _FOLDED,
                )  # fmt: skip
                i += neighbours
            for tap in range(0 if i else g.inputs * g.kernel_height):
                i, down = tap // g.kernel_height, tap % g.kernel_height * g.apart_y * row_step
                add_correlation(
                    g.kernel_width, part, x + i * channel_step + row * x_row + down, at,
                    to + tap * g.kernel_width * _FOLDED,
                    count, g.width, x_row, x_place, g.apart_x * BYTES, row_back, BYTES,
                    channel_back, g.inputs * taps * _FOLDED,
                )  # fmt: skip
            channel += part
        row += count


@_compiled
def convolve_back(
    first, last, images, before, after, gradient, factors_back, g, back, scratch, scratch_back,
    kernel_back, to_kernel, to_before, sums, bias_sums,
):  # fmt: skip
    """Go back, with packs, through the activation after a convolution and the convolution.

    `gradient` is that of the activation after it. Adds to `to_kernel` [outputs, inputs of a
    group, height, width, FOLD]; writes the gradient of the activation before it to `to_before`
    (zeros so far, where there are phases), unless that is 0, and adds to `sums` what
    `add_gradient_moments` does. `kernel_back` has for each phase [groups, outputs, high, wide,
    inputs]; scratches are as in `convolve`.
    """
    row_step, channel_step = g.columns * BYTES, g.rows * g.columns * BYTES
    row_back, channel_back = back.columns * BYTES, back.rows * back.columns * BYTES
    inner = scratch_back + (back.top * back.columns + back.left) * BYTES
    of_group = g.outputs * g.kernel_height * g.kernel_width * g.inputs
    size = back.height * back.width * BYTES
    for pack in range(first, last):
        _go_back(
            pack, images, after, gradient, factors_back, inner, channel_back, row_back, bias_sums
        )
        to = scratch + (g.top * g.columns + g.left) * BYTES
        _activate(pack, before, to, channel_step, row_step)
        for group in range(g.groups):
            x = scratch + group * g.inputs * channel_step
            ahead = group * g.outputs * channel_back
            _correlate(x, inner + ahead, to_kernel + group * of_group * _FOLDED, g, back)
            for i in range(len(back.phases) if to_before else 0):
                phase = back.phases[i]
                high, wide, apart_y, apart_x = phase[0], phase[1], phase[2], phase[3]
                row, column, height, width = phase[4], phase[5], phase[6], phase[7]
                top, left, at = phase[8], phase[9], phase[10]
                _convolve_group(
                    scratch_back + ahead + (row * back.columns + column) * BYTES,
                    kernel_back + 4 * (at + group * g.outputs * high * wide * g.inputs),
                    to_before + (pack * g.groups + group) * g.inputs * size
                    + (top * back.width + left) * BYTES,
                    g.outputs, g.inputs, high, wide, height, width, channel_back, row_back, BYTES,
                    apart_y * row_back, apart_x * BYTES, size, g.step_y * back.width * BYTES,
                    g.step_x * BYTES,
                )  # fmt: skip
        if to_before and len(sums):
            _add_gradient_moments(pack, before, to_before, sums)
