"""Evaluation is the trained network.

With dropout passed through, batch norm on its running statistics and noise at its mean, the
training graph gives the scores of the evaluation graph, and evaluation leaves nothing to chance.
"""

from __future__ import annotations

import difflib
import math
import statistics
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from grader.errors import SubmissionError
from grader.measure.chance import Chance
from grader.measure.laboratory import DRAWS, LEAST, Laboratory, distance, spread
from grader.measure.running import Operation, differs, frozen, parts, replaced
from grader.plan.arguments import DROPOUTS, flag, name_of, words
from grader.plan.drawing import Drawing, lengths
from grader.plan.schema import Graph, Node, Ref

_TRIES = 64  # draws of the noise, of which its mean is taken
_CERTAIN = 5  # standard errors of that mean within which the true one lies
_ALIASES = words("alias detach contiguous clone lift_fresh lift_fresh_copy")
_NEAR = 10 * LEAST  # what a dropout of one value in a thousand takes away on average
_SHOWN, _WIDTH = 40, 160  # lines of a difference, and characters of a line


def difference(laboratory: Laboratory, train: Drawing, evaluation: Drawing) -> list[str]:
    """Return what differs: `-` is done in training only, `+` in evaluation only; empty if same."""
    left = Chance(laboratory, "eval")
    if left.random:
        drawn = [n for n in evaluation.graph.nodes if n.name in left.random & evaluation.wired]
        if drawn and not _is_settled(laboratory):
            return [f"+ {_line(evaluation, node)}" for node in drawn[:_SHOWN]]
    if is_alike(train, evaluation) or all(_agree(laboratory, index) for index in DRAWS):
        return []
    both = _lines(train, frozen(train.graph)), _lines(evaluation, evaluation.graph)
    lines = [
        line[0] + " " + line[1:]
        for line in difflib.unified_diff(*both, lineterm="", n=0)
        if not line.startswith(("---", "+++", "@@"))
    ]
    return lines[:_SHOWN] or ["the same operations give other scores"]


def _is_settled(laboratory: Laboratory) -> bool:
    """Tell whether evaluation gives the same scores once more."""
    draw = laboratory.draw(DRAWS[0])
    scores = (laboratory.scores("eval", draw, seed=draw.seed + n) for n in (0, 1))
    return not differs(*scores)


def _agree(laboratory: Laboratory, index: int) -> bool:
    """Tell whether both graphs give an image the same scores, up to what noise leaves unknown.

    Images are digits in noise, and not those that the running statistics are of.
    """
    draw = laboratory.draw(index)
    images = laboratory.draw(index + 1).images
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(draw.seed))
    draw = laboratory.with_images(draw, images + 0.5 * noise)
    expected = laboratory.scores("eval", draw)
    try:
        one, other = (laboratory.scores("frozen", draw, hook) for hook in _hooks(laboratory))
    except SubmissionError:  # what is random has no mean that could stand in its place
        return False
    scale = spread(expected) or float(expected.abs().max()) or 1.0
    unsure = distance(one, other, otherwise=scale)
    return distance(expected, one, otherwise=scale) <= _NEAR * scale + unsure


def _hooks(laboratory: Laboratory) -> Iterator[Any]:
    """Yield what puts its mean in the place of each value that is random and no more.

    Twice, and for the second time all means are as much larger as they may be in truth.
    """
    chance = Chance(laboratory, "frozen")
    noise = chance.random & chance.alone
    means: dict[str, list[float]] = {name: [] for name in noise}
    for number in range(1, _TRIES + 1) if noise else ():
        for name, value in chance.again(number, ()).items():
            if name in noise:
                means[name].append(float(next(parts(value)).double().mean()))
    for errors in (0.0, _CERTAIN):
        at = {
            name: statistics.fmean(each) + errors * statistics.stdev(each) / math.sqrt(len(each))
            for name, each in means.items()
        }
        yield partial(_at_its_mean, at)


def _at_its_mean(means: dict[str, float], op: Operation) -> object:
    """Carry a node out; noise becomes its mean, and a choice by noise a mixture."""
    name, args = name_of(op.node), op.args
    chosen = args[0 if name == "where" else 1] if len(args) == 3 else None
    if (
        name in ("where", "masked_fill")
        and isinstance(chosen, torch.Tensor)
        and chosen.is_floating_point()
    ):
        yes, no = (args[1], args[2]) if name == "where" else (args[2], args[0])
        return chosen * yes + (1 - chosen) * no
    result = op()
    if op.node.name not in means or not isinstance(result, torch.Tensor):
        return result
    if not result.is_floating_point() and result.dtype != torch.bool:
        return result
    dtype = result.dtype if result.is_floating_point() else torch.get_default_dtype()
    return replaced(op.node, result, torch.full(result.shape, means[op.node.name], dtype=dtype))


def is_alike(train: Drawing, evaluation: Drawing) -> bool:
    """Tell whether evaluation does, call by call, what training does without dropout and so on."""
    return _calls(train, frozen(train.graph)) == _calls(evaluation, evaluation.graph)


def _calls(drawing: Drawing, graph: Graph) -> list[object]:
    nodes = (node for node in graph.nodes if node.name in drawing.wired)
    return [graph.output, *((n.name, n.op, n.args, n.kwargs) for n in nodes)]


def _lines(drawing: Drawing, graph: Graph) -> list[str]:
    """Describe, in order, the operations that the output needs, but for those that pass it on."""
    return [
        _line(drawing, node)
        for node in graph.nodes
        if node.name in drawing.wired and node.shape is not None
        if name_of(node) not in _ALIASES
        and not (name_of(node).removesuffix("_") in DROPOUTS and _is_off(node))
    ]


def _is_off(node: Node) -> bool:
    return not flag(node, "train")


def _line(drawing: Drawing, node: Node) -> str:
    shown = ", ".join(_readable(drawing, value) for value in node.args)
    place = ", ".join(filter(None, (node.module, node.where)))
    made = lengths(drawing.shape(node.name))
    return f"{name_of(node)}({shown}) → {made}{f'  ({place})' if place else ''}"[:_WIDTH]


def _readable(drawing: Drawing, value: object) -> str:
    if isinstance(value, Ref):
        return "·" if value.ref in drawing.nodes else value.ref
    if isinstance(value, list):
        return f"[{', '.join(_readable(drawing, each) for each in value)}]"
    return str(value)
