"""Which part of the image each result sees.

A unit at place i of a result sees the pixels i·jump + low … i·jump + high. That interval follows
from kernel, stride, padding and dilation; where branches meet it is the union. What averages,
multiplies or flattens a whole map sees everything. Statistics that a normalisation takes over a
map are left aside, as is usual for receptive fields.

Source of the arithmetic: Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural
Networks", Distill, 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

from grader.plan.arguments import (
    argument,
    dimensions,
    first_read,
    name_of,
    reads,
    words,
)
from grader.plan.axes import (
    PRODUCTS,
    RECURRENT,
    REDUCTIONS,
    einsum_letters,
    reduced,
)
from grader.plan.dims import SPACE, Axes, Dim, size
from grader.plan.geometry import (
    ADAPTIVE_AVG_POOLS,
    ADAPTIVE_MAX_POOLS,
    TRANSPOSED,
    Geometry,
    axes_count,
    geometry,
)
from grader.plan.path import Trace
from grader.plan.schema import Node

_SCANS = words(
    """softmax log_softmax cumsum cumprod cummax cummin logcumsumexp sort argsort flip roll topk
    special_softmax special_log_softmax"""
)
_PADDED = words("pad constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d "
                "replication_pad2d")  # fmt: skip
_SMOOTH = words("upsample_bilinear2d upsample_bicubic2d upsample_linear1d")
_SHUFFLED = words("pixel_shuffle pixel_unshuffle")
_SAMPLED = words("grid_sampler grid_sampler_2d")  # places that the image itself may choose
_CUTS = words("slice narrow")


_FAR = 2**20  # a jump, in pixels, behind which no unit sees less than the whole image
_FINEST = 2**40  # parts of a pixel; what is finer is not followed


@dataclass(frozen=True)
class Window:
    """The pixels along one axis that a unit at place 0 sees, and the step to the next unit's."""

    low: Fraction = Fraction(0)
    high: Fraction = Fraction(0)
    jump: Fraction = Fraction(1)

    @property
    def width(self) -> int:
        """How many pixels lie in it."""
        return math.ceil(self.high - self.low) + 1


Field = dict[str, Window | None]
"""For `height` and `width`: a window, or None for the whole image. Empty: sees no image."""


def fields_of(trace: Trace, axes: dict[str, Axes]) -> dict[str, Field]:
    """Return what each value sees; a value that no data of the image reaches is missing."""
    start: Field = dict.fromkeys(("height", "width"), Window())
    if len(trace.model.input_shape) < 3:
        start = dict.fromkeys(("height", "width"))
    found: dict[str, Field] = dict.fromkeys(trace.flow.inputs, start)
    for node in trace.flow.nodes:
        sources = [found[name] for name in trace.edges[node.name] if name in found]
        if sources:
            field = _union(sources)
            found[node.name] = _through(trace, node, field, axes)
    return found


def _union(fields: list[Field]) -> Field:
    joined = fields[0]
    for field in fields[1:]:
        joined = {axis: _hull(joined[axis], field[axis]) for axis in joined}
    return joined


def _hull(one: Window | None, other: Window | None) -> Window | None:
    if one is None or other is None:
        return None
    low, high = min(one.low, other.low), max(one.high, other.high)
    return Window(low, high, max(one.jump, other.jump))


def _through(trace: Trace, node: Node, field: Field, axes: dict[str, Axes]) -> Field:
    """Return what the result of a node sees, given what its inputs see together."""
    source = axes.get(first_read(node) or "", ())
    result = axes.get(node.name, ())
    changed = dict(field)
    for label in _mixed_whole(node, source, axes):
        changed[label] = None
    if name_of(node) == "im2col":
        return _laid_out(trace, node, changed)
    for place in _places(node, source, result):
        label = _label(source[place], result[place], place)
        window = changed.get(label)
        if window is not None:
            slide = _Slide(place, len(source), size(source[place]), size(result[place]))
            moved = _moved(trace, node, window, slide)
            changed[label] = moved if moved is not None and _is_followed(moved) else None
    return changed


def _laid_out(trace: Trace, node: Node, field: Field) -> Field:
    """Return what the windows of a map see that are laid side by side."""
    sliding = geometry(trace, node)
    return {
        axis: None if sliding is None or window is None else _slid(window, sliding, place)
        for (axis, window), place in zip(sorted(field.items()), (0, 1), strict=True)
    }


def _is_followed(window: Window) -> bool:
    parts = (window.low, window.high, window.jump)
    return window.jump < _FAR and all(part.denominator < _FINEST for part in parts)


def _mixed_whole(node: Node, source: Axes, axes: dict[str, Axes]) -> set[str]:
    """Return the spatial labels along which a node mixes whole rows or columns."""
    name = name_of(node)
    dims: list[Dim] = []
    if name in _SAMPLED or name.startswith("fft_"):
        return set(SPACE[:2])
    if name in REDUCTIONS or name in _SCANS:
        dims = [source[i] for i in reduced(node, source)]
    elif name == "flip":
        dims = [source[i] for i in dimensions(node, "dims", len(source)) or ()]
    elif name in ("linear", "scaled_dot_product_attention", *RECURRENT, *PRODUCTS, "einsum"):
        dims = _contracted(node, name, source, axes)
    elif name in ("conv1d", "avg_pool1d", "max_pool1d") and source and len(source[-1]) > 1:
        dims = [source[-1]]
    return {factor.label for dim in dims for factor in dim if factor.label in SPACE[:2]}


def _contracted(node: Node, name: str, source: Axes, axes: dict[str, Axes]) -> list[Dim]:
    """Return the dimensions that a product sums over."""
    if name == "einsum":
        letters = einsum_letters(node)
        operands = [axes.get(each, ()) for each in reads(node)]
        if letters is None:
            return [dim for operand in operands for dim in operand]
        pairs = zip(letters[0], operands, strict=False)
        return [
            dim
            for names, operand in pairs
            for letter, dim in zip(names, operand, strict=False)
            if letter not in letters[1]
        ]
    if name == "scaled_dot_product_attention":
        keys = axes.get((reads(node) + [""] * 2)[1], ())
        return list(keys[-2:]) + list(source[-1:])
    if name in RECURRENT:
        return list(source)
    second = axes.get((reads(node) + [""] * 2)[1], ())
    return list(source[-1:]) + (list(second[-2:-1]) if name in PRODUCTS else [])


class _Slide(NamedTuple):
    """One axis: its place counted from the end, the rank, its length before and after."""

    place: int
    rank: int
    before: int
    after: int


def _places(node: Node, source: Axes, result: Axes) -> list[int]:
    """Return the dimensions, counted from the end, that a sliding operation runs along."""
    name = name_of(node)
    if len(source) != len(result):
        return []
    if name in _CUTS or name in _PADDED:
        return list(range(-len(source), 0))
    count = 2 if name in _SHUFFLED else axes_count(name)
    return list(range(-min(count, len(source)), 0))


def _label(before: Dim, after: Dim, place: int) -> str:
    named = [factor.label for dim in (before, after) for factor in dim if factor.label in SPACE]
    unnamed = {-1: "width", -2: "height"} if not before else {}
    return named[0] if named else unnamed.get(place, "")


def _moved(trace: Trace, node: Node, window: Window, slide: _Slide) -> Window | None:
    """Slide a window along one axis."""
    name = name_of(node)
    sliding = geometry(trace, node)
    if sliding is not None:
        if name in TRANSPOSED:
            return _transposed(window, sliding, slide.place)
        whole = "pool" in name and sliding.kernel[slide.place] >= slide.before > 1
        return None if whole else _slid(window, sliding, slide.place)
    if name in _PADDED:
        return _padded(node, window, slide.place)
    if name in _CUTS:
        return _cut(node, window, slide)
    if slide.before and slide.after and slide.before != slide.after:
        return _resampled(name, window, slide)
    return window


def _slid(window: Window, sliding: Geometry, place: int) -> Window:
    kernel, stride, padding, dilation = (part[place] for part in sliding)
    reach = (kernel - 1) * dilation - padding
    low = window.low - padding * window.jump
    return Window(low, window.high + reach * window.jump, window.jump * stride)


def _transposed(window: Window, sliding: Geometry, place: int) -> Window:
    """Return what unit 0 sees: it reads the units i with 0 = i·stride - padding + tap·dilation."""
    kernel, stride, padding, dilation = (part[place] for part in sliding)
    step = window.jump / (stride or 1)
    first = math.ceil(Fraction(padding - (kernel - 1) * dilation, stride or 1))
    last = Fraction(padding, stride or 1)
    return Window(window.low + first * window.jump, window.high + last * window.jump, step)


def _resampled(name: str, window: Window, slide: _Slide) -> Window | None:
    """Follow an adaptive pooling, an upsampling, or a rearrangement of pixels."""
    if name in ADAPTIVE_AVG_POOLS | ADAPTIVE_MAX_POOLS and slide.after == 1:
        return None
    ratio = Fraction(slide.before, slide.after)
    if name in _SMOOTH:
        edge = window.jump * math.ceil(max(ratio, Fraction(1)))
        return Window(window.low - edge, window.high + edge, window.jump * ratio)
    reach = max(math.ceil(ratio) - 1 + (ratio.denominator > 1 and ratio > 1), 0)
    return Window(window.low, window.high + reach * window.jump, window.jump * ratio)


def _padded(node: Node, window: Window, place: int) -> Window:
    """Move the units by what is put before them; amounts are `[left, right, top, bottom]`."""
    amounts = node.args[1] if len(node.args) > 1 else []
    index = -2 * place - 2
    before = amounts[index] if isinstance(amounts, list) and index < len(amounts) else 0
    return _shifted(window, -before if type(before) is int else 0)


def _cut(node: Node, window: Window, slide: _Slide) -> Window:
    if (dimensions(node, "dim", slide.rank) or (0,))[0] != slide.rank + slide.place:
        return window
    start, step = argument(node, "start", 0), argument(node, "step", 1)
    begin = start if type(start) is int else 0
    shifted = _shifted(window, max(begin + slide.before, 0) if begin < 0 else begin)
    return replace(shifted, jump=window.jump * step) if type(step) is int else shifted


def _shifted(window: Window, units: int) -> Window:
    by = units * window.jump
    return Window(window.low + by, window.high + by, window.jump)
