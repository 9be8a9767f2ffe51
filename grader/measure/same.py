"""Evaluation is the trained network.

With dropout passed through, batch norm on its running statistics and noise at its mean, the
training graph gives the scores of the evaluation graph, and evaluation leaves nothing to chance.
"""

from __future__ import annotations

import difflib
import math
import statistics
from collections.abc import Iterator, Mapping
from functools import cache, partial

import torch

from grader.errors import SubmissionError
from grader.measure.bench import Bench
from grader.measure.chance import Chance, first
from grader.measure.laboratory import DRAWS, LEAST, Laboratory, distance, spread
from grader.measure.running import Hook, Operation, differs, frozen, replaced
from grader.plan.arguments import DROPOUTS, flag, name_of, words
from grader.plan.drawing import Drawing, lengths
from grader.plan.schema import Graph, Node, Ref

_TRIES = 256  # draws of the noise, of which its mean is taken
_CERTAIN = 5  # standard errors of that mean within which the true one lies
_ALIASES = words("alias detach contiguous clone lift_fresh lift_fresh_copy")
_NEAR = 10 * LEAST  # what a dropout of one value in a thousand takes away on average
_LIVE = 3  # runs with dropout on, in which none is seen in the scores
_SIZES = (1.0, 100.0)  # of the images: a bound on the scores shows in large ones
_SHOWN, _WIDTH = 40, 160  # lines of a difference, and characters of a line


def difference(
    bench: Bench, train: Drawing, evaluation: Drawing, many: torch.Tensor
) -> list[str]:  # fmt: skip
    """Return what differs: `-` is done in training only, `+` in evaluation only; empty if same.

    `many` are as many images as are tested at once.
    """
    left = bench.chance(bench.close, "eval")
    if left.random:
        drawn = [n for n in evaluation.graph.nodes if n.name in left.random & evaluation.wired]
        if drawn and not _is_settled(bench.close):
            return [f"+ {_line(evaluation, node)}" for node in drawn[:_SHOWN]]
    if is_alike(train, evaluation) or _agree(bench, many):
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


def _agree(bench: Bench, many: torch.Tensor) -> bool:
    """Tell whether both graphs give an image the same scores, up to what noise leaves unknown.

    Images are digits in noise, and not those that the running statistics are of. On few images,
    weak ones and such as give large scores; in a batch of testing; and late in the training.
    """
    close = bench.close
    looks = [
        (close, index, close.draw(index + 1).images, size) for index in DRAWS for size in _SIZES
    ]
    looks += [(each, DRAWS[0], each.draw(DRAWS[1]).images, 1.0) for each in bench.others]
    if not bench.chance(
        close, "frozen"
    ).random:  # the mean of a sum of noise is that of one batch size
        looks += [(bench.trained, DRAWS[0], many, 1.0)]
    hooks = cache(lambda laboratory: list(_hooks(laboratory, bench.chance(laboratory, "frozen"))))
    return all(_agrees(hooks(look[0]), *look) for look in looks)


def _agrees(
    pairs: list[tuple[Hook, Hook]],
    laboratory: Laboratory,
    index: int,
    images: torch.Tensor,
    size: float,
) -> bool:
    draw = laboratory.draw(index)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(draw.seed))
    draw = laboratory.with_images(draw, size * (images + 0.5 * noise.to(images.dtype)))
    expected = laboratory.scores("eval", draw)
    if size > 1 and not expected.isfinite().all():
        return True
    scale = spread(expected) or float(expected.abs().max()) or 1.0
    for hooks in pairs:
        try:
            one, other = (laboratory.scores("frozen", draw, hook) for hook in hooks)
        except SubmissionError:  # what is random has no mean that could stand in its place
            continue
        unsure = distance(one, other, otherwise=scale)
        if distance(expected, one, otherwise=scale) <= _NEAR * scale + unsure:
            return True
    live = (laboratory.scores("live", draw, seed=draw.seed + number) for number in range(_LIVE))
    return all(distance(expected, scores, otherwise=scale) <= LEAST * scale for scores in live)


def _hooks(laboratory: Laboratory, chance: Chance) -> Iterator[tuple[Hook, Hook]]:
    """Yield what takes chance out of the training graph: in the middle, and at the latest.

    Noise at its mean, and then at that of a larger one, as far as it may be in truth. Or masks by
    hand that drop nothing, as a dropout that is passed through.
    """
    noise = chance.random & chance.alone
    means: dict[str, list[float]] = {name: [] for name in noise}
    for number in range(1, _TRIES + 1) if noise else ():
        for name, value in chance.again(number, ()).items():
            if name in noise:
                means[name].append(float(first(value).double().mean()))
    middle, latest = (
        {
            name: statistics.fmean(each) + errors * statistics.stdev(each) / math.sqrt(len(each))
            for name, each in means.items()
        }
        for errors in (0.0, _CERTAIN)
    )
    yield partial(_at_its_mean, middle), partial(_at_its_mean, latest)
    nodes = [n for n in laboratory.nodes("frozen") if n.name in chance.random & chance.sources]
    shares = chance.shares(nodes)
    sources = {n.name: chance.source(n) for n in nodes if shares[n.name] > 0 and _masks(chance, n)}
    if any(sources.values()):
        yield (partial(_open, sources),) * 2


def _masks(chance: Chance, node: Node) -> bool:
    """Tell whether all that a node does not drop is scaled by one number."""
    result = first(chance.values[node.name])
    source = first(chance.values.get(chance.source(node) or ""))
    if result.shape != source.shape:
        return False
    kept = (result != 0) & (source != 0)
    factors = (result / source)[kept]
    if not len(factors):
        return False
    return float(factors.max() - factors.min()) <= _NEAR * abs(float(factors.max()))


def _open(sources: Mapping[str, str | None], op: Operation) -> object:
    """Let a node that drops hand on what it drops from."""
    source = Ref(sources.get(op.node.name) or "")
    found = [v for ref, v in zip(op.node.args, op.args, strict=False) if ref == source]
    return found[0] if found else op()


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
