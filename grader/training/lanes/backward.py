"""The ways back through what `forward` does, compiled.

Gradients lie as their arrays do, and an activation comes as the same tuple.
"""

from __future__ import annotations

import numba

from grader.training.lanes.blocks import FOLD, add_correlation
from grader.training.lanes.forward import activate, bent, compiled, convolve_group
from grader.training.lanes.vectors import (
    BYTES,
    LANES,
    at_least,
    fill,
    fma,
    larger,
    load,
    of_images,
    plus,
    store,
    total,
    where_above,
    where_equal,
)  # fmt: skip

_FOLDED = 4 * FOLD  # bytes of a sum of products


@compiled
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


@compiled
def _opened(z, number, gradient, low, scale, shift, floor, gain, key, least):
    """Return the part of a gradient that an activation lets through to the norm's output."""
    return bent(z, gradient, number, low, scale, shift, floor, gain, key, least)[1]


@compiled
def _shared(z, i, width, gradient, low, scale, shift, floor, gain, key, least):
    """Return what of a pooled gradient goes to each of four: the first that is the largest."""
    none = fill(numba.float32(0))
    j1, j2, j3 = i + 1, i + width, i + width + 1
    v0, g0 = bent(load(z + i * BYTES), gradient, i, low, scale, shift, floor, gain, key, least)
    v1, g1 = bent(load(z + j1 * BYTES), gradient, j1, low, scale, shift, floor, gain, key, least)
    v2, g2 = bent(load(z + j2 * BYTES), gradient, j2, low, scale, shift, floor, gain, key, least)
    v3, g3 = bent(load(z + j3 * BYTES), gradient, j3, low, scale, shift, floor, gain, key, least)
    best = larger(larger(v0, v1), larger(v2, v3))
    # What an earlier one has is not there for the later ones.
    g1, g2, g3 = (
        where_equal(v0, best, none, g1), where_equal(v0, best, none, g2),
        where_equal(v0, best, none, g3),
    )  # fmt: skip
    g2, g3 = where_equal(v1, best, none, g2), where_equal(v1, best, none, g3)
    g3 = where_equal(v2, best, none, g3)
    return (
        where_equal(v0, best, g0, none), where_equal(v1, best, g1, none),
        where_equal(v2, best, g2, none), where_equal(v3, best, g3, none),
    )  # fmt: skip


@compiled
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


@compiled
def add_gradient_moments(first, last, activation, gradient, sums):
    """Add to sums [C, 2], over packs, what the way back through a norm needs of a gradient."""
    for pack in range(first, last):
        _add_gradient_moments(pack, activation, gradient, sums)


@compiled
def _combined(z, g, low, by_gradient, by_z, constant, images):
    """Return by_gradient · g + by_z · max(z, low) + constant, and 0 where z ≤ low."""
    value = fma(by_gradient, g, fma(by_z, at_least(z, low), constant))
    return of_images(where_above(z, low, value), images)


@compiled
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


@compiled
def go_back(first, last, images, activation, gradient, factors_back, out, sums):
    """Write the gradient of z, of packs, as a packed array."""
    channels, height, width = activation[1:4]
    for pack in range(first, last):
        to = out + pack * channels * height * width * BYTES
        _go_back(
            pack, images, activation, gradient, factors_back, to, height * width * BYTES,
            width * BYTES, sums,
        )  # fmt: skip


@compiled
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


@compiled
def convolve_back(
    first, last, images, before, after, gradient, factors_back, g, back, scratch, scratch_back,
    kernel_back, to_kernel, to_before, sums, bias_sums,
):  # fmt: skip
    """Go back, with packs, through the activation after a convolution and the convolution.

    `gradient` is that of the activation after it. Adds to `to_kernel` [outputs, inputs of a
    group, height, width, FOLD]; writes the gradient of the activation before it to `to_before`
    (zeros so far, where a stride leaves inputs out), unless that is 0, and adds to `sums` what
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
        activate(pack, before, to, channel_step, row_step)
        for group in range(g.groups):
            x = scratch + group * g.inputs * channel_step
            ahead = group * g.outputs * channel_back
            _correlate(x, inner + ahead, to_kernel + group * of_group * _FOLDED, g, back)
            for i in range(len(back.phases) if to_before else 0):
                phase = back.phases[i]
                high, wide, apart_y, apart_x = phase[0], phase[1], phase[2], phase[3]
                row, column, height, width = phase[4], phase[5], phase[6], phase[7]
                top, left, at = phase[8], phase[9], phase[10]
                convolve_group(
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
