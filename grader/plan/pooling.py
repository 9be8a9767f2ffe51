"""Where a network averages a whole map, in whatever words, and where it only seems to."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import msgspec

from grader.plan.arguments import argument, first_read, flag, name_of, number, reads, words
from grader.plan.axes import PRODUCTS, einsum_letters, reduced
from grader.plan.cuts import kept
from grader.plan.dims import SPACE, Axes, Dim, Factor, size
from grader.plan.evidence import finding, off_path
from grader.plan.findings import Finding
from grader.plan.geometry import (
    ADAPTIVE_AVG_POOLS,
    ADAPTIVE_MAX_POOLS,
    AVG_POOLS,
    CONVOLUTIONS,
    MAX_POOLS,
    Geometry,
    axes_count,
    geometry,
    weight_sizes,
)
from grader.plan.path import Trace
from grader.plan.schema import Node, Ref
from grader.plan.sizes import per_image

_PRODUCTS = words("mul multiply")
_QUOTIENTS = words("div divide true_divide")
_CARRIED = words(
    """view reshape flatten unflatten squeeze unsqueeze permute transpose t contiguous clone detach
    alias to _to_copy view_as ravel"""
)
_MAXIMA = ADAPTIVE_MAX_POOLS | MAX_POOLS | words("amax max")


_HALF = 0.5
"""Of a map cut to this share or less, the average is no average of the map."""


class _Reduction(NamedTuple):
    """The dimensions an operation reduces whole, and its result as a multiple of their mean."""

    dims: list[Dim]
    times: float


@dataclass(frozen=True)
class _Average:
    """A map on its way to its mean: `times` is the value so far as a multiple of it."""

    start: Node
    before: tuple[int, ...]  # lengths of the axes of the map
    times: float


def poolings(trace: Trace, axes: dict[str, Axes]) -> tuple[list[Finding], frozenset[str]]:
    """Return what averages a map, or looks like it, and the names of the nodes that do."""
    walk = _Walk(trace, axes)
    for node in trace.flow.nodes:
        walk.visit(node)
    return walk.findings(), frozenset(node.name for node, _ in walk.whole)


def in_evaluation(trained: list[Finding], evaluated: list[Finding]) -> list[Finding]:
    """Return what averages a map in training; it counts if evaluation averages one as well."""
    if any(each.counts for each in evaluated):
        return trained
    why = "it is not used for the output in evaluation mode"
    return [
        msgspec.structs.replace(each, counts=False, why=why) if each.counts else each
        for each in trained
    ]


class _Walk:
    """Follows maps through the graph until they are averaged whole."""

    def __init__(self, trace: Trace, axes: dict[str, Axes]) -> None:
        self.whole: list[tuple[Node, _Average]] = []
        self._missed: list[tuple[Node, str]] = []
        self._trace, self._axes, self._kept = trace, axes, kept(trace, axes)
        self._under_way: dict[str, _Average] = {}
        self._started: dict[str, Node] = {}
        self._scaled: dict[str, float] = {}  # maps that a known number was multiplied with
        self._taken: set[str] = set()  # poolings of which the first of several results was read

    def visit(self, node: Node) -> None:
        """Take one operation into account."""
        source = first_read(node) or ""
        name = name_of(node)
        average = self._under_way.get(source)
        if name in _PRODUCTS | _QUOTIENTS:
            self._scale(node, name)
        elif name in _CARRIED:
            if average:
                self._under_way[node.name] = average
        elif name == "getitem":
            pooled = self._trace.nodes.get(source)
            first = pooled is not None and name_of(pooled) in _MAXIMA and source not in self._taken
            if pooled is not None and first and argument(node, "index") == 0:
                self._taken.add(source)
                self._reduce(pooled, self._axes.get(node.name, ()), None)
        elif node.shape is not None and (name in _MAXIMA or name in _AVERAGES):
            self._reduce(node, self._axes.get(node.name, ()), average)

    def findings(self) -> list[Finding]:
        """Describe every candidate, in the order of the graph."""
        place = {node.name: i for i, node in enumerate(self._trace.flow.nodes)}
        done = {average.start.name for _, average in self.whole}
        rest = [
            (node, "it averages or sums only a part of the map, or is not divided by its size")
            for name, node in self._started.items()
            if name not in done
        ]
        found = [(node, self._finding(node, average)) for node, average in self.whole]
        found += [
            (node, finding(self._trace, node, _called(node), why, counts=False))
            for node, why in self._missed + rest
        ]
        return [each for _, each in sorted(found, key=lambda pair: place[pair[0].name])]

    def _scale(self, node: Node, name: str) -> None:
        by = _known_factor(self._trace, node)
        if not by:
            return
        factor = by if name in _PRODUCTS else 1 / by
        operands = [self._under_way[each] for each in reads(node) if each in self._under_way]
        if operands:
            self._go_on(node, replace(operands[0], times=operands[0].times * factor))
        else:
            self._scaled[node.name] = factor * self._scaled.get(first_read(node) or "", 1.0)

    def _reduce(self, node: Node, after: Axes, average: _Average | None) -> None:
        name = name_of(node)
        before = self._axes.get(first_read(node) or "", ())
        reduction = _reduction(self._trace, node, name, before, after)
        if isinstance(reduction, str):
            self._missed.append((node, reduction))
            return
        if reduction is None:
            return
        space = _space(before)
        fault = _fault(node, name, reduction, before, space)
        share = self._kept.get(first_read(node) or "", 1.0)
        if fault is None and share <= _HALF:
            fault = f"it averages only {share:.0%} of the map: the rest was cut off"
        if fault is None:
            before_it = average.times if average else self._scaled.get(first_read(node) or "", 1.0)
            is_sum = reduction.times != 1  # the mean of a scaled map is a mean all the same
            times = reduction.times * (before_it if average or is_sum else 1.0)
            start = average.start if average else node
            lengths = average.before if average else tuple(factor.size for factor in space)
            self._started[start.name] = start
            self._go_on(node, _Average(start, lengths, times))
        elif fault:
            self._missed.append((node, fault))

    def _go_on(self, node: Node, average: _Average) -> None:
        """Note how far the map is: whole if no axis of it is left and nothing is to divide by."""
        left = [f for dim in self._axes.get(node.name, ()) for f in dim if f.label in SPACE]
        if not left and math.isclose(average.times, 1, rel_tol=0.01):
            self.whole.append((node, average))
        else:
            self._under_way[node.name] = average

    def _finding(self, node: Node, average: _Average) -> Finding:
        fault = off_path(self._trace, node)
        if not fault and node.name not in self._learned:
            fault = "it averages the image itself, before any layer that learns"
        if not fault and node.name not in self._unspread:
            fault = (
                "its result only scales or shifts a larger map again (as in squeeze-and-excitation)"
            )
        lengths = "×".join(map(str, average.before))
        found = finding(self._trace, average.start, _called(average.start), "", counts=not fault)
        why = fault or f"averages the whole {lengths} map"
        return msgspec.structs.replace(found, why=why, after=per_image(node.shape))

    @cached_property
    def _learned(self) -> frozenset[str]:
        """Everything that a parameter has part in."""
        reached = {name for name, t in self._trace.tensors.items() if t.role == "parameter"}
        for node in self._trace.flow.nodes:
            if not reached.isdisjoint(self._trace.edges[node.name]):
                reached.add(node.name)
        return frozenset(reached)

    @cached_property
    def _unspread(self) -> frozenset[str]:
        """Everything that reaches the output without being spread over a map again."""
        reached: set[str] = set()
        pending = [self._trace.flow.output]
        while pending:
            name = pending.pop()
            spread = any(f.label in SPACE for dim in self._axes.get(name, ()) for f in dim)
            if name not in reached and not spread:
                reached.add(name)
                pending.extend(self._trace.edges.get(name, ()))
        return frozenset(reached)


_AVERAGES = (
    ADAPTIVE_AVG_POOLS
    | AVG_POOLS
    | PRODUCTS
    | CONVOLUTIONS
    | words("mean nanmean sum nansum einsum linear")
)


def _called(node: Node) -> str:
    return name_of(node).replace("_", " ")


def _known_factor(trace: Trace, node: Node) -> float:
    """Return the number a value is multiplied by or divided by; 0 if there is none."""
    value = argument(node, "other")
    known = trace.constants.get(value.ref) if isinstance(value, Ref) else number(node, "other", 0.0)
    return known or 0.0


def _space(axes: Axes) -> list[Factor]:
    """Return the axes of the map; in a shape [B, C, H, W] of unknown origin, the last two."""
    named = [factor for dim in axes for factor in dim if factor.label in SPACE]
    if named or len(axes) != 4:
        return named
    return [factor for dim in axes[2:] for factor in dim if factor.label == "unknown"]


def _fault(
    node: Node, name: str, reduction: _Reduction, before: Axes, space: list[Factor]
) -> str | None:
    """Return why a reduction is no average over the map; empty if it has nothing to do with one."""
    factors = [factor for dim in reduction.dims for factor in dim]
    labels = {factor.label for factor in factors}
    is_map = "pool" in name or (len(before) == 4 and name == "mean")
    if not factors:
        return "the map is 1×1 already: there is nothing to average" if is_map else ""
    if labels == {"copy"}:
        return "the map holds one value, repeated or spread out from one place"
    if not any(factor in space for factor in factors):
        made = is_map and labels == {"channel"} and reduction.dims == [*before[2:]]
        return "what it averages are no places of the image: a layer made them of channels" * made
    if name in _MAXIMA:
        return "it takes the maximum of the map, not the average"
    if "batch" in labels:
        return "it averages over the images of the batch as well"
    outside = [f for f in factors if f.label not in SPACE and f not in space and f.label != "copy"]
    return "it averages over the channels as well" if outside else None


def _reduction(
    trace: Trace, node: Node, name: str, before: Axes, after: Axes
) -> _Reduction | str | None:
    """Return what an operation reduces whole; a text if it pools a map but only in part."""
    if name in ("mean", "nanmean", "amax", "max", "sum", "nansum"):
        dims = [before[i] for i in reduced(node, before)]
        is_sum = name in ("sum", "nansum")
        return _Reduction(dims, float(math.prod(map(size, dims))) if is_sum else 1.0)
    if name == "einsum":
        return _summed(trace, node, before)
    if name in PRODUCTS or name == "linear":
        return _weighed(trace, node, before)
    count = axes_count(name)
    if not count or len(before) <= count or len(before) != len(after):
        return None
    return _pooled(trace, node, name, (before[-count:], after[-count:]))


def _pooled(
    trace: Trace, node: Node, name: str, maps: tuple[Axes, Axes]
) -> _Reduction | str | None:
    """Return what a pooling or convolution makes one value of; `maps` are before and after it."""
    before, after = maps
    sliding = geometry(trace, node)
    if name in MAX_POOLS and any(after):
        return None
    if sliding is None or name in MAX_POOLS:
        return _left_over(before, after, 1.0)
    if name in CONVOLUTIONS:
        return _convolved(trace, node, sliding, maps)
    return _windows(node, sliding, before, after)


def _summed(trace: Trace, node: Node, before: Axes) -> _Reduction | None:
    """Return what an einsum of one map sums over, or of a map and a tensor of one number."""
    letters = einsum_letters(node)
    weights = [trace.constants.get(each) for each in reads(node)[1:]]
    if letters is None or len(letters[0]) != len(weights) + 1:
        return None
    times = 1.0
    for weight in weights:
        if weight is None:
            return None
        times *= weight
    pairs = zip(letters[0][0], before, strict=False)
    dims = [dim for letter, dim in pairs if letter not in letters[1]]
    return _Reduction(dims, times * math.prod(map(size, dims)))


def _weighed(trace: Trace, node: Node, before: Axes) -> _Reduction | None:
    """Return what a product with a tensor of one number sums over."""
    weight = trace.constants.get((reads(node) + [""] * 2)[1])
    if weight is None or not before or len(reads(node)) > 2:
        return None
    return _Reduction([before[-1]], weight * size(before[-1]))


def _convolved(
    trace: Trace, node: Node, sliding: Geometry, maps: tuple[Axes, Axes]
) -> _Reduction | str | None:
    """Return what a convolution sums over whose kernels, one a channel, are one number."""
    weight, sizes = trace.constants.get((reads(node) + [""] * 2)[1]), weight_sizes(trace, node)
    if weight is None or len(reads(node)) > 2 or sizes[1:2] != (1,):
        return None
    found = _windows(node, sliding, *maps)
    if not isinstance(found, _Reduction):
        return found
    return found._replace(times=weight * math.prod(map(size, found.dims)))


def _left_over(before: Axes, after: Axes, times: float) -> _Reduction | str | None:
    """Return the axes of which one value is left, if none is left in part."""
    pairs = list(zip(before, after, strict=True))
    if any(new and size(new) != size(old) for old, new in pairs):
        return f"it leaves a {_lengths(after)} map: one value a channel makes it global"
    gone = [old for old, new in pairs if not new]
    return _Reduction(gone, times) if gone else None


def _windows(node: Node, sliding: Geometry, before: Axes, after: Axes) -> _Reduction | str | None:
    """Return the axes that one window covers, if every axis is covered or left alone."""
    unpadded = not flag(node, "count_include_pad", default=True)
    axes = zip(sliding.kernel, sliding.padding, before, strict=True)
    if not all(k == 1 or (k - p >= size(dim) and unpadded >= (p > 0)) for k, p, dim in axes):
        window = "×".join(map(str, sliding.kernel))
        border = " with a border of zeros" if any(sliding.padding) else ""
        return f"it averages windows of {window} on a map of {_lengths(before)}{border}"
    override = number(node, "divisor_override", 0.0)
    times = math.prod(sliding.kernel) / override if override else 1.0
    return _left_over(before, after, times)


def _lengths(axes: Axes) -> str:
    return "×".join(str(size(dim)) for dim in axes)
