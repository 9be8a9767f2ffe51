"""Which operands of a concatenation a part cut out of it holds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from grader.plan.arguments import (
    argument,
    dimensions,
    first_read,
    name_of,
    reads,
    references,
    words,
)
from grader.plan.schema import Node
from grader.plan.sizes import sizes_of

PARTS = words("slice narrow select getitem")
"""Operations that cut a part out of a tensor, or take one of several results."""

_WHOLE = words("slice contiguous clone alias detach")  # where the shape stays as it is
_SPLITS = words("chunk unsafe_chunk split unsafe_split split_with_sizes")
_JOINS = words("cat concat concatenate")

_REACH = 30  # nodes followed, and operands looked at: enough for what people write

Nodes = Mapping[str, Node]


def sources_of_part(node: Node, name: str, nodes: Nodes) -> list[str]:
    """Return what a part reads: of tensors that were joined, only those it overlaps."""
    source = _source(node, nodes)
    chosen = None
    if name == "getitem" and source is not None and name_of(source) in _SPLITS:
        chosen = _piece(node, source, nodes)
        source = _source(source, nodes)
    elif name != "getitem" and source is not None and source.shape is not None:
        chosen = _range(node, name, source)
    joined = _joined(source, nodes) if source is not None and chosen is not None else None
    if joined is None or chosen is None:
        return reads(node)[:1]
    axis, start, stop = chosen
    if axis != joined[0]:
        return reads(node)[:1]
    return [part for part, low, high in joined[1] if low < stop and start < high]


def _source(node: Node, nodes: Nodes) -> Node | None:
    """Return the node whose result a node takes a part of; parts that are the whole are skipped."""
    source = nodes.get(first_read(node) or "")
    for _ in range(_REACH):
        if source is None or name_of(source) not in _WHOLE:
            break
        before = nodes.get(first_read(source) or "")
        if before is None or before.shape != source.shape:
            break
        source = before
    return source


def _range(node: Node, name: str, source: Node) -> tuple[int, int, int] | None:
    """Return (dimension, start, stop) of what slice, narrow or select takes."""
    sizes = sizes_of(source.shape)
    axes = dimensions(node, "dim", len(sizes or ())) or (0,)
    if not sizes:
        return None
    size = sizes[axes[0]]
    start = argument(node, "index" if name == "select" else "start", 0) or 0
    if name == "slice":
        stop = argument(node, "end", size)
        stop = size if stop is None else stop
    else:
        length = argument(node, "length", 1)
        stop = start + length if isinstance(start, int) and isinstance(length, int) else None
    if not isinstance(start, int) or not isinstance(stop, int):
        return None
    if start < 0:
        start, stop = start + size, stop + size if name != "slice" else stop
    return axes[0], start, min(stop + size if stop < 0 else stop, size)


def _piece(node: Node, source: Node, nodes: Nodes) -> tuple[int, int, int] | None:
    """Return (dimension, start, stop) of one of the pieces that a split makes."""
    whole = _source(source, nodes)
    sizes = sizes_of(whole.shape) if whole is not None else None
    index, parts = argument(node, "index"), argument(source, "split_size")
    if not sizes or type(index) is not int:
        return None
    axis = (dimensions(source, "dim", len(sizes)) or (0,))[0]
    if isinstance(parts, list):
        lengths = [part for part in parts if type(part) is int]
        bounds = [0, *itertools.accumulate(lengths)]
        inside = len(lengths) == len(parts) and 0 <= index < len(lengths)
        return (axis, bounds[index], bounds[index + 1]) if inside else None
    chunks = argument(source, "chunks")
    if type(chunks) is int and chunks > 0:
        step = -(-sizes[axis] // chunks)
    elif type(parts) is int:
        step = parts
    else:
        return None
    return axis, index * step, min((index + 1) * step, sizes[axis])


def _joined(node: Node, nodes: Nodes) -> tuple[int, list[tuple[str, int, int]]] | None:
    """Return the dimension a join runs along, and (operand, start, stop) of each operand."""
    rank = len(node.shape or ())
    operands = [*itertools.islice(references(argument(node, "tensors")), _REACH + 1)]
    if name_of(node) not in _JOINS or not rank or len(operands) > _REACH:
        return None
    axis = (dimensions(node, "dim", rank) or (0,))[0]
    parts: list[tuple[str, int, int]] = []
    at = 0
    for name in operands:
        sizes = sizes_of(nodes[name].shape) if name in nodes else None
        if sizes is None or len(sizes) != rank:
            return None
        parts.append((name, at, at + sizes[axis]))
        at += sizes[axis]
    return axis, parts
