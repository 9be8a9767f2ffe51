"""Global average pooling: a value that equals the mean of a map over all its places.

It counts in whatever words it is written, if the map has more than one place, its places look at
different parts of the image, something learned stands before it, none of the map was cut off
before, and the value moves the scores against each other by a way that is not spread over a map
again, in training and in evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import msgspec
import torch

from grader.measure.bench import Bench
from grader.measure.changes import alike, exchanged, noisy
from grader.measure.explain import VIEWS, cut_to, near_misses
from grader.measure.laboratory import DRAWS, Laboratory, spread
from grader.measure.places import Places, places_of
from grader.measure.running import Operation, differs, replaced
from grader.measure.same import is_alike
from grader.plan.arguments import name_of
from grader.plan.drawing import IDLE, UNREAD, Drawing, lengths
from grader.plan.findings import Finding
from grader.plan.schema import Node
from grader.plan.sizes import size_of

LEAST_SHARE = 0.5
"""Of a map cut to this share or less, the average is no average of the map."""

_CHOICES = 64  # runs at most, in each of which images and channels have a largest number elsewhere


@dataclass(frozen=True)
class Average:
    """A node whose result is the mean of a map: of the value `map`, whose places are `dims`.

    `same` are all nodes that hold these numbers, this one among them.
    """

    node: Node
    map: str
    dims: tuple[int, ...]
    same: list[str]


def poolings(bench: Bench, train: Drawing, evaluation: Drawing) -> tuple[list[Finding], set[str]]:
    """Return what averages a map, or looks like it, and the names of the nodes that do."""
    places = places_of(bench.close, "frozen")
    averages = list(_averages(bench.close, train, places))
    found = [_finding(train, a, _fault(bench, "train", train, a, places)) for a in averages]
    if any(f.counts for f in found):
        if is_alike(train, evaluation):
            acting = (a for a, f in zip(averages, found, strict=True) if f.counts)
            acts = any(not _idleness(bench, "eval", evaluation, a, places) for a in acting)
        else:
            there = places_of(bench.close, "eval")
            others = _averages(bench.close, evaluation, there)
            acts = any(not _fault(bench, "eval", evaluation, a, there) for a in others)
        if not acts:
            why = "it is not used for the output in evaluation mode"
            found = [msgspec.structs.replace(f, counts=False, why=why) for f in found]
    whole = {_steps(train, a)[-1].name for a, f in zip(averages, found, strict=True) if f.counts}
    order = {node.name: place for place, node in enumerate(train.graph.nodes)}
    share = partial(_share, bench, "frozen", train, places=places)
    taken = {f.node for f in found} | {n.name for a in averages for n in _steps(train, a)}
    missed = near_misses(train, places, taken, share)
    return sorted([*found, *missed], key=lambda f: order[f.node]), whole


def _averages(laboratory: Laboratory, drawing: Drawing, places: Places) -> Iterator[Average]:
    """Yield the first node of each mean of a map; it must be the mean whatever the weights are.

    Of maps with the same mean it is the largest's, and of such the last one's.
    """
    runs = [_numbers(laboratory, _frozen(drawing), index) for index in DRAWS[1:3]]
    later = {name: place for place, name in enumerate(runs[0])}
    taken: set[str] = set()
    count = {name: _count(drawing, name, places) for name in runs[0]}
    for name in sorted(runs[0], key=lambda name: (-count[name], -later[name])):
        dims = places.get(name, ())
        if count[name] < 2 or name not in runs[1]:
            continue
        mean, other = (run[name].mean(dims) for run in runs)
        if spread(mean.reshape(len(mean), -1) if mean.dim() else mean[None, None]) is None:
            continue
        behind = (n for n in runs[0].keys() - taken if later[n] > later[name])
        same = [n for n in behind if _equal(mean, runs[0][n]) and _equal(other, runs[1].get(n))]
        same.sort(key=later.__getitem__)
        if same and same[0] in drawing.nodes:
            taken.update(same)
            yield Average(drawing.nodes[same[0]], name, dims, same)


def _numbers(laboratory: Laboratory, mode: str, index: int) -> dict[str, torch.Tensor]:
    """Return the finite values of a run that have dimensions, in the order of the graph."""
    return {
        name: value
        for name, value in laboratory.values(mode, laboratory.draw(index)).items()
        if isinstance(value, torch.Tensor) and value.dim() and value.is_floating_point()
        if bool(value.isfinite().all())
    }


def _equal(mean: torch.Tensor, value: torch.Tensor | None) -> bool:
    if value is None or value.numel() != mean.numel():
        return False
    close = 1e-9 if value.dtype == torch.float64 else 1e-5
    gap = (mean.reshape(-1) - value.reshape(-1)).abs().max()
    return bool(gap <= close * mean.abs().max())


def _frozen(drawing: Drawing) -> str:
    return "frozen" if drawing.mode == "train" else drawing.mode


def _fault(bench: Bench, mode: str, drawing: Drawing, average: Average, places: Places) -> str:
    """Return why a mean of a map is no global average pooling that acts; empty if it is one."""
    name = average.node.name
    if name not in drawing.wired:
        return UNREAD
    if not _is_learned(bench.close, _frozen(drawing), average.map):
        return "it averages the image itself, before any layer that learns"
    share = _share(bench, _frozen(drawing), drawing, name, average.map, places=places)
    share = min(share, _picked(bench.close, drawing, average, places))
    if share <= LEAST_SHARE:
        return cut_to(share)
    return _idleness(bench, mode, drawing, average, places)


def _idleness(
    bench: Bench, mode: str, drawing: Drawing, average: Average, places: Places
) -> str:  # fmt: skip
    """Return how it comes that a mean moves no score, or only by way of another map."""
    changes = (exchanged, noisy)
    maps = {n for n, node in drawing.nodes.items() if places.get(n) and len(node.shape or ()) > 2}
    maps -= {*average.same}
    if bench.moves("pooling", mode, *(alike(average.same, change, maps) for change in changes)):
        return ""
    if not bench.moves("average", mode, *(alike(average.same, change) for change in changes)):
        return IDLE
    return "its result only scales or shifts a larger map again (as in squeeze-and-excitation)"


def _is_learned(laboratory: Laboratory, mode: str, name: str) -> bool:
    """Tell whether a value is another one, of the same images, with other weights."""
    one, other = (laboratory.draw(index) for index in DRAWS[:2])
    same = laboratory.with_images(other, one.images)
    values = (laboratory.values(mode, draw, seed=one.seed)[name] for draw in (one, same))
    return differs(*values)


def _share(
    bench: Bench, mode: str, drawing: Drawing, name: str, source: str = "", *, places: Places
) -> float:
    """Return of how much of the maps before `source` a value is made: the least, over all of them.

    That is of how many rows and columns, from the first to the last, some number has a say in it.
    Pieces are no maps: what goes past them does the rest.
    """
    laboratory = bench.close
    before = drawing.behind(source or name)
    slopes = laboratory.slopes(mode, name, [n for n in before if places.get(n)])
    shares = {n: _extent(slope, places[n]) for n, slope in slopes.items() if n != name}
    (image,) = drawing.graph.inputs
    return min(
        (
            share
            for n, share in shares.items()
            if share <= LEAST_SHARE
            and image not in drawing.behind(name, without=n)
            and _is_learned(laboratory, mode, n)
        ),
        default=1.0,
    )


def _picked(
    laboratory: Laboratory, drawing: Drawing, average: Average, places: Places
) -> float:  # fmt: skip
    """Return how large a part of an earlier map the averaged one is, if its numbers are in it."""
    values = _numbers(laboratory, _frozen(drawing), DRAWS[1])
    few = torch.unique(values[average.map])
    sample = few[few != 0][:: max(1, len(few) // 64)]
    count, shares = _count(drawing, average.map, places), [1.0]
    for name, value in values.items():
        if name == average.map:
            break
        share = count / max(_count(drawing, name, places), 1)
        share = max(share, values[average.map].numel() / max(value.numel(), 1))
        if share <= LEAST_SHARE and len(sample) > 1 and bool(torch.isin(sample, value).all()):
            shares.append(_eligible(laboratory, _frozen(drawing), average.map, name, places))
    return min(shares)


def _eligible(
    laboratory: Laboratory, mode: str, later: str, name: str, places: Places
) -> float:  # fmt: skip
    """Return the share of a value's places from which a number gets into a later one.

    That is all of them for the largest of each window, and few where the others are cut off. Other
    numbers stand there in each run, so that other places have the largest.
    """
    draw, found = laboratory.draw(DRAWS[1]), dict[str, torch.Tensor]()

    def hook(op: Operation) -> object:
        result = op()
        if op.node.name == name and isinstance(result, torch.Tensor):
            result = replaced(op.node, result, torch.randn_like(result))
        if op.node.name in (name, later) and isinstance(result, torch.Tensor):
            found[op.node.name] = result.clone()
        return result

    taken, share = torch.zeros(()), 0.0
    for number in range(_CHOICES):
        laboratory.scores(mode, draw, hook, seed=draw.seed + number)
        if found.keys() != {name, later}:  # the image itself, which no operation makes
            return 0.0
        got = torch.isin(found[name], found[later])
        taken = taken + got.sum([d for d in range(got.dim()) if d not in places[name]])
        share = float((taken > 0).double().mean())
        if share > LEAST_SHARE:
            break
    return share


def _count(drawing: Drawing, name: str, places: Places) -> int:
    """Return how many places of an image a value has."""
    node = drawing.nodes.get(name)
    shape = [*drawing.model_input] if node is None else node.shape or []
    sizes = [size_of(dim, 1) or 1 for dim in shape]
    return math.prod(sizes[dim] for dim in places.get(name, ()) if dim < len(sizes))


def _extent(slope: torch.Tensor, dims: tuple[int, ...]) -> float:
    share = 1.0
    for dim in dims:
        others = [d for d in range(slope.dim()) if d != dim]
        felt = torch.nonzero((slope != 0).any(others) if others else slope != 0)
        share *= (int(felt.max() - felt.min()) + 1) / slope.shape[dim] if len(felt) else 1.0
    return share


def _steps(drawing: Drawing, average: Average) -> list[Node]:
    """Return the operations on the way from a map to its mean that leave less of it."""
    before, steps = math.prod(drawing.shape(average.map)), []
    way = drawing.behind(average.node.name) - drawing.behind(average.map)
    for node in drawing.graph.nodes:
        after = math.prod(drawing.shape(node.name))
        is_less = after < before and name_of(node) not in VIEWS
        if node.name in way and is_less and average.map in drawing.behind(node.name):
            steps.append(node)
            before = after
    return steps or [average.node]


def _finding(drawing: Drawing, average: Average, fault: str) -> Finding:
    """Describe an average by the first operation on the map, and by what is left in the end."""
    before, first = drawing.shape(average.map), _steps(drawing, average)[0]
    size = lengths([s for s in before if s != 1][-len(average.dims) :])
    why = f"averages the whole {size} map"
    found = drawing.finding(first, name_of(first).replace("_", " "), fault, why)
    after = drawing.shape(average.node.name)
    return msgspec.structs.replace(found, before=before, after=after, node=average.node.name)
