"""Results have the shapes and types that the graphs state: a claim, until it was seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from grader.measure.bench import Bench
from grader.measure.laboratory import DRAWS, Laboratory
from grader.plan.drawing import Drawing
from grader.plan.schema import Node
from grader.plan.sizes import size_of

_SIZES = (8, 12)
"""Two batches, so that a fixed size cannot pass for a formula of B, nor the reverse. Multiples of
four: a network may normalise a batch in parts."""
_SHOWN = 20


def misshapen(bench: Bench, *drawings: Drawing) -> Iterator[str]:
    """Yield, in words, what is not as the graph states it."""
    laboratory, found = bench.trained, 0
    for drawing in drawings:
        wrong: dict[str, str] = {}
        for size in _SIZES:
            for name, value in _values(laboratory, drawing.mode, size).items():
                node = drawing.nodes.get(name)
                if node is not None and not _agrees(node, value, size):
                    told = f"{_seen(value)} for {size} images"
                    stated = _described(node.shape, node.dtype)
                    wrong.setdefault(
                        name, f"node {name} gives {told} where the description says {stated}"
                    )
        for line in list(wrong.values())[: _SHOWN - found]:
            found += 1
            yield line


def _values(laboratory: Laboratory, mode: str, size: int) -> dict[str, object]:
    draw = laboratory.draw(DRAWS[0])
    images = draw.images.repeat(-(-size // len(draw.images)), *[1] * (draw.images.dim() - 1))
    return laboratory.values(mode, laboratory.with_images(draw, images[:size]))


def _agrees(node: Node, result: object, batch: int) -> bool:
    """Compare a result with its description; a size whose formula cannot be read may be any."""
    if node.shape is None or not isinstance(result, torch.Tensor):
        return node.shape is None and not isinstance(result, torch.Tensor)
    sizes = [size_of(dim, batch) for dim in node.shape]
    return (
        len(sizes) == result.dim()
        and all(s in (None, n) for s, n in zip(sizes, result.shape, strict=True))
        and node.dtype == str(result.dtype)
    )


def _seen(result: object) -> str:
    if not isinstance(result, torch.Tensor):
        return "no tensor"
    return _described(result.shape, str(result.dtype))


def _described(shape: Sequence[int | str] | None, dtype: str) -> str:
    if shape is None:
        return "no tensor"
    return f"{'×'.join(map(str, shape)) or 'one number'} {dtype.removeprefix('torch.')}"
