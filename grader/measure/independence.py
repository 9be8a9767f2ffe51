"""Images don't mix: an image's scores stay what they are in other company, order and number."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from grader.measure.bench import FEW, Bench
from grader.measure.laboratory import DRAWS, LEAST, Draw, Laboratory, distance, spread
from grader.measure.running import differs, parts, uses_batch_statistics
from grader.plan.arguments import name_of
from grader.plan.drawing import Drawing, title
from grader.plan.findings import Mixing

MANY = 500
"""Images in a batch of test images."""


def mixings(bench: Bench, evaluation: Drawing, many: torch.Tensor) -> list[Mixing]:
    """Name what lets images affect each other in evaluation; `many` are more images than a batch.

    Random numbers are no mixing: where evaluation draws some, order and number are left alone.
    """
    close, draw = bench.close, bench.close.draw(DRAWS[0])
    found = [
        Mixing("write", name, "evaluation changes it, so an image affects those after it")
        for name in _written(close, draw)
    ]
    if any(_moves(bench, many)):
        found.append(_culprit(close, draw, evaluation))
    return found


def _written(laboratory: Laboratory, draw: Draw) -> Iterator[str]:
    """Yield the tensors that a run in evaluation mode changes."""
    after = {name: tensor.clone() for name, tensor in draw.state.items()}
    with torch.no_grad():
        laboratory.run("eval", draw, after)
    yield from (name for name, tensor in draw.state.items() if differs(tensor, after[name]))


def _moves(bench: Bench, many: torch.Tensor) -> Iterator[bool]:
    """Tell, one change of the batch after another, whether the scores of an image move."""
    close = bench.close
    for index in DRAWS[:2]:
        draw = close.draw(index)
        usual = close.scores("eval", draw)
        half = len(usual) // 2
        others = torch.cat([draw.images[:half], 2 * draw.images[half:]])
        yield _differ(usual[:half], close, draw, others)
        if differs(usual, close.scores("eval", draw, seed=draw.seed + 1)):
            return
        yield _differ(usual.flip(0), close, draw, draw.images.flip(0))
        yield _differ(usual[:half], close, draw, draw.images[:half])
    trained = bench.trained
    draw = trained.draw(DRAWS[0])
    few = trained.scores("eval", trained.with_images(draw, draw.images[:FEW]))
    for images in (draw.images, torch.cat([draw.images[:FEW], many])[:MANY]):
        yield _differ(few, trained, draw, images, 1e-2)


def _differ(
    usual: torch.Tensor, laboratory: Laboratory, draw: Draw, images: torch.Tensor,
    least: float = LEAST,
) -> bool:  # fmt: skip
    """Tell whether the first images' scores are others, beside what the images differ by."""
    scores = laboratory.scores("eval", laboratory.with_images(draw, images))
    count = min(len(usual), len(scores))
    scale = spread(usual)
    return (
        scale is not None
        and distance(usual[:count], scores[:count], otherwise=scale) > least * scale
    )


def _culprit(laboratory: Laboratory, draw: Draw, evaluation: Drawing) -> Mixing:
    """Name the first operation whose result for an image depends on the other images."""
    half = len(draw.images) // 2
    others = torch.cat([draw.images[:half], 2 * draw.images[half:]])
    runs = [
        laboratory.values("eval", each, seed=draw.seed)
        for each in (draw, laboratory.with_images(draw, others))
    ]
    for node in evaluation.graph.nodes:
        one, other = (next(parts(run[node.name]), None) for run in runs)
        if one is None or other is None or not one.dim() or len(one) != len(draw.images):
            continue
        if differs(one[:half], other[:half]):
            why = "an image's values depend on the other images of its batch"
            if name_of(node) == "batch_norm" and uses_batch_statistics(node):
                why = "it normalises with the statistics of the test batch"
            return Mixing(name_of(node), title(node), why, node.where)
    output = evaluation.nodes[evaluation.graph.output]
    why = "an image's scores depend on the order or number of the images in its batch"
    return Mixing(name_of(output), title(output), why, output.where)
