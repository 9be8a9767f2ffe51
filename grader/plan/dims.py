"""Dimensions as rows of factors, and how they pass through views and elementwise operations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from grader.plan.sizes import BATCH


class Factor(NamedTuple):
    """A part of a dimension.

    `copy` is one value spread over many places, `weight` a dimension of a parameter, `mixed` holds
    parts of the batch, and `unknown` is what no rule has a name for.
    """

    label: str
    size: int


Dim = tuple[Factor, ...]
Axes = tuple[Dim, ...]

SPACE = ("height", "width", "depth")


def size(factors: Dim) -> int:
    """Return the size of a dimension."""
    return math.prod(factor.size for factor in factors)


def holds_batch(dim: Dim) -> bool:
    """Tell whether different positions along a dimension may belong to different images."""
    return any(factor.label in ("batch", "mixed") for factor in dim)


def labelled(label: str, length: int) -> Dim:
    """Return a dimension of one factor; of size 1, none."""
    return () if length == 1 else (Factor(label, length),)


def unknown(length: int) -> Dim:
    """Name a dimension nothing is known of."""
    return labelled("batch" if length % BATCH == 0 else "unknown", length)


def resized(dim: Dim, length: int, label: str = "") -> Dim:
    """Return a dimension cut, padded or pooled to another length."""
    if size(dim) == length:
        return dim
    if holds_batch(dim) or length % BATCH == 0:
        return labelled("batch", length)
    return labelled(label or (dim[0].label if dim else "copy"), length)


def fitted(axes: Axes, sizes: Sequence[int]) -> Axes:
    """Make a result agree with the shape in the Plan where a rule does not fit."""
    if len(axes) != len(sizes):
        return tuple(map(unknown, sizes))
    return tuple(map(resized, axes, sizes))


def regrouped(axes: Axes, sizes: Sequence[int]) -> Axes:
    """Return the dimensions of a view: the factors in order, dealt out anew.

    Where a new dimension cuts across factors, it and all after it lose their names; those that
    may hold a part of the batch are "mixed".
    """
    pending = [factor for dim in reversed(axes) for factor in reversed(dim)]
    if any(factor.size == 0 for factor in pending):
        return ()
    result: list[Dim] = []
    for length in sizes:
        dim: list[Factor] = []
        while size(tuple(dim)) < length and pending:
            need, factor = length // size(tuple(dim)), pending.pop()
            if need % factor.size == 0:
                dim.append(factor)
            elif need and factor.size % need == 0:
                dim.append(Factor(factor.label, need))
                pending.append(Factor(factor.label, factor.size // need))
            else:
                return _scrambled(result, sizes, [*dim, factor, *pending])
        result.append(tuple(dim))
    return tuple(result)


def _scrambled(good: list[Dim], sizes: Sequence[int], rest: list[Factor]) -> Axes:
    label = "mixed" if any(factor.label in ("batch", "mixed") for factor in rest) else "unknown"
    return (*good, *(labelled(label, length) for length in sizes[len(good) :]))


def merged(operands: Sequence[Axes], sizes: Sequence[int]) -> Axes:
    """Return the dimensions of an elementwise result, aligned at the right.

    Images name a dimension before repeated values do, and those before parameters.
    """
    first = operands[0] if operands else ()
    result: list[Dim] = []
    for back, length in zip(range(-len(sizes), 0), sizes, strict=True):
        fitting = [a[back] for a in operands if len(a) >= -back and size(a[back]) == length]
        nearest = resized(first[back], length) if len(first) >= -back else unknown(length)
        result.append(min(fitting, key=rank) if fitting else nearest)
    return tuple(result)


def rank(dim: Dim) -> int:
    """Order dimensions by how much they say of an image: the least says most."""
    labels = {factor.label for factor in dim}
    return 2 if "weight" in labels else 1 if "copy" in labels else 0
