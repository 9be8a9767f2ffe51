"""What to say of operations that only look like global average pooling: words, no verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping

from grader.plan.arguments import dimensions, first_read, integers, name_of, words
from grader.plan.drawing import Drawing, lengths
from grader.plan.findings import Finding
from grader.plan.schema import Node

VIEWS = words(
    """view reshape flatten unflatten squeeze unsqueeze permute transpose t contiguous clone detach
    alias to _to_copy view_as ravel slice select narrow split chunk unbind getitem"""
)
_MEANS = words("mean nanmean sum nansum")
_MAXIMA = words("amax max adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d")
_NO_PLACES = (
    "what it averages are no places of the image: the map holds one value, repeated or spread out "
    "from one place, or a layer made it of channels"
)


def cut_to(share: float) -> str:
    """Return what to say of an average of a part."""
    return f"it averages only {share:.0%} of the map: the rest was cut off"


def near_misses(
    drawing: Drawing,
    places: Mapping[str, tuple[int, ...]],
    taken: Collection[str],
    share: Callable[[str], float],
) -> Iterator[Finding]:
    """Yield what pools or averages a map and is not among the nodes `taken`.

    `share` gives of how much of the maps before it a value is made.
    """
    for node in drawing.graph.nodes:
        source = first_read(node) or ""
        fault = "" if node.name in taken else _fault(drawing, node, source, places)
        if fault == _NO_PLACES and (left := share(node.name)) < 1:
            fault = cut_to(left)
        if fault:
            yield drawing.finding(node, name_of(node).replace("_", " "), fault)


def _fault(  # noqa: PLR0911 - one for each reason
    drawing: Drawing, node: Node, source: str, places: Mapping[str, tuple[int, ...]]
) -> str:
    name, before = name_of(node), drawing.shape(source)
    after = drawing.shape(node.name)
    if "pool" in name:
        axes = next((n for n in (1, 2, 3) if f"{n}d" in name), 2)
        old, new = before[-axes:], after[-axes:]
    elif name in _MEANS | _MAXIMA and len(before) == 3:
        dims = dimensions(node, "dim", 4) or (1, 2, 3)
        if 1 in dims and len(dims) > 1:
            return "it averages over the channels as well"
        old, new = before[1:], [1 if dim in dims else before[dim - 1] for dim in (2, 3)]
        if old == new and math.prod(old) > 1:
            return ""
    else:
        return ""
    is_maximum, is_whole = "max" in name, math.prod(new) == 1
    if math.prod(old) == 1:
        return (
            "" if is_maximum else f"the map is {lengths(old)} already: there is nothing to average"
        )
    if is_maximum:
        return "it takes the maximum of the map, not the average" if is_whole else ""
    if is_whole and not places.get(source):
        return _NO_PLACES
    if name.startswith("avg_pool") and is_whole:
        window = lengths(integers(node, "kernel_size", len(old), 1))
        border = any(integers(node, "padding", len(old), 0))
        return f"it averages windows of {window} on a map of {lengths(old)}" + (
            " with a border of zeros" if border else ""
        )
    if "pool" in name:
        return (
            ""
            if is_whole
            else f"it leaves a {lengths(new)} map: one value a channel makes it global"
        )
    return "it averages or sums only a part of the map, or is not divided by its size"
