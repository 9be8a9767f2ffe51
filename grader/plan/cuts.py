"""How much of a map is left where places were cut off it."""

from __future__ import annotations

import math

from grader.plan.arguments import first_read, name_of, reads, words
from grader.plan.axes import PRODUCTS, RECURRENT
from grader.plan.dims import SPACE, Axes
from grader.plan.geometry import SLIDING, geometry
from grader.plan.path import Trace
from grader.plan.schema import Node

_CUTS = words("slice narrow select getitem index_select")
_JOINS = words("cat concat concatenate stack")
_LOOK_AROUND = PRODUCTS | RECURRENT | words("linear einsum scaled_dot_product_attention")


def kept(trace: Trace, axes: dict[str, Axes]) -> dict[str, float]:
    """Return for each map of which places were cut off the share that is left.

    A layer that looks around (a convolution of more than one place) makes a new map, and joined
    pieces add up. Values with all of their places are missing.
    """
    found: dict[str, float] = {}
    for node in trace.flow.nodes:
        share = _share(trace, node, axes, found)
        if share < 1:
            found[node.name] = share
    return found


def _share(trace: Trace, node: Node, axes: dict[str, Axes], found: dict[str, float]) -> float:
    name = name_of(node)
    maps = [each for each in reads(node) if _places(axes.get(each, ())) > 1]
    shares = [found.get(each, 1.0) for each in maps]
    if not any(each in found for each in maps) and name not in _CUTS:
        return 1.0
    sliding = geometry(trace, node) if name in SLIDING else None
    if not maps or name in _LOOK_AROUND or (sliding and max(sliding.kernel) > 1):
        return 1.0
    if name in _JOINS:
        return min(sum(shares), 1.0)
    before, after = (_places(axes.get(each, ())) for each in (first_read(node) or "", node.name))
    return max(shares) * (after / before if name in _CUTS and 0 < after < before else 1.0)


def _places(axes: Axes) -> int:
    return math.prod(factor.size for dim in axes for factor in dim if factor.label in SPACE)
