"""Which operands of a concatenation a part cut out of it holds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

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
_JOINS = words("cat concat concatenate stack")

_REACH = 30  # nodes followed, and operands looked at: enough for what people write

Nodes = Mapping[str, Node]


@dataclass(frozen=True)
class _Cut:
    """Where a split cuts, along one dimension: piece i is from `bounds[i]` to `bounds[i + 1]`."""

    axis: int
    bounds: Sequence[int]


class Parts:
    """What the parts of tensors hold, in one graph."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._cut = cache(self._cuts)  # a split is asked for once for each of its pieces

    def sources(self, node: Node, name: str) -> list[str]:
        """Return what a part reads: of tensors that were joined, only those it overlaps."""
        source = _source(node, self._nodes)
        chosen = None
        if name == "getitem" and source is not None and name_of(source) in _SPLITS:
            chosen = self._piece(node, source)
            source = _source(source, self._nodes)
        elif name != "getitem" and source is not None and source.shape is not None:
            chosen = _range(node, name, source)
        joined = _joined(source, self._nodes) if source is not None and chosen is not None else None
        if joined is None or chosen is None or chosen[0] != joined[0]:
            return reads(node)[:1]
        _, start, stop = chosen
        return [part for part, low, high in joined[1] if low < stop and start < high]

    def _piece(self, node: Node, source: Node) -> tuple[int, int, int] | None:
        """Return (dimension, start, stop) of one of the pieces that a split makes."""
        cut, index = self._cut(source.name), argument(node, "index")
        if cut is None or type(index) is not int or not 0 <= index < len(cut.bounds) - 1:
            return None
        return cut.axis, cut.bounds[index], cut.bounds[index + 1]

    def _cuts(self, name: str) -> _Cut | None:
        split = self._nodes[name]
        whole = _source(split, self._nodes)
        sizes = sizes_of(whole.shape) if whole is not None else None
        if not sizes:
            return None
        axis = (dimensions(split, "dim", len(sizes)) or (0,))[0]
        parts, chunks = argument(split, "split_size"), argument(split, "chunks")
        if isinstance(parts, list):
            lengths = [part for part in parts if type(part) is int]
            plain = len(lengths) == len(parts)
            return _Cut(axis, [0, *itertools.accumulate(lengths)]) if plain else None
        step = -(-sizes[axis] // chunks) if type(chunks) is int and chunks > 0 else parts
        if type(step) is not int or step <= 0:
            return None
        return _Cut(axis, range(0, sizes[axis] + step, step))


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


def _joined(node: Node, nodes: Nodes) -> tuple[int, list[tuple[str, int, int]]] | None:
    """Return the dimension a join runs along, and (operand, start, stop) of each operand."""
    rank = len(node.shape or ())
    operands = [*itertools.islice(references(argument(node, "tensors")), _REACH + 1)]
    if name_of(node) not in _JOINS or not rank or len(operands) > _REACH:
        return None
    axis = (dimensions(node, "dim", rank) or (0,))[0]
    if name_of(node) == "stack":
        return axis, [(name, at, at + 1) for at, name in enumerate(operands)]
    parts: list[tuple[str, int, int]] = []
    at = 0
    for name in operands:
        sizes = sizes_of(nodes[name].shape) if name in nodes else None
        if sizes is None or len(sizes) != rank:
            return None
        parts.append((name, at, at + sizes[axis]))
        at += sizes[axis]
    return axis, parts
