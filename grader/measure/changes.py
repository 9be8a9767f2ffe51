"""What is done to a value to see what follows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch

from grader.measure.laboratory import Changing, Laboratory
from grader.measure.running import Hook, Operation, copied, replaced
from grader.plan.schema import Node

Change = Callable[[torch.Tensor], torch.Tensor]


def exchanged(value: torch.Tensor) -> torch.Tensor:
    """Give each image another image's numbers: such as the layer really makes."""
    return value.roll(1, 0) if value.dim() else value


def noisy(value: torch.Tensor) -> torch.Tensor:
    """Add noise of the value's own scale."""
    scale = value.std(correction=0) or value.abs().mean() or 1.0
    return value + torch.randn(value.shape, generator=_own(), dtype=value.dtype) * scale


def halved(value: torch.Tensor) -> torch.Tensor:
    """Drop half of the numbers: how likely a dropout does so is known already."""
    return value * (torch.rand(value.shape, generator=_own()) < 0.5)


def at(names: Collection[str], change: Change) -> Changing:
    """Return what changes the results of the nodes called so, and what they were written into."""

    def hook(op: Operation) -> object:
        return _changed(op.node, op(), change) if op.node.name in names else op()

    return lambda *_: hook


def into(name: str, change: Change) -> Changing:
    """Return what changes what comes into the node called `name`, for this node alone."""

    def hook(op: Operation) -> object:
        return op(change(op.args[0]), *op.args[1:]) if op.node.name == name else op()

    return lambda *_: hook


def alike(names: Sequence[str], change: Change, held: Collection[str] = ()) -> Changing:
    """Return what changes results that are the numbers of the first, and keeps `held` as they were.

    All are changed in the same way, also where one is made of another: what they were is changed.
    What is `held` is so from the first of them on.
    """

    def made(laboratory: Laboratory, mode: str, index: int) -> Hook:
        usual = laboratory.values(mode, laboratory.draw(index))
        one = usual[names[0]].flatten()
        same = {n for n in names if _is_near(usual[n].flatten(), one)}  # a gate may be shut here
        behind: set[str] = set()

        def hook(op: Operation) -> object:
            node, result = op.node, op()
            if node.name in same:
                behind.update(held)
                return replaced(node, result, change(usual[node.name]))
            held_at = node.name in behind
            return replaced(node, result, copied(usual[node.name])) if held_at else result

        return hook

    return made


def _is_near(value: torch.Tensor, other: torch.Tensor) -> bool:
    return value.shape == other.shape and bool(
        (value - other).abs().max() <= 1e-4 * other.abs().max()
    )


def _changed(node: Node, result: Any, change: Change) -> Any:  # noqa: ANN401
    if isinstance(result, tuple | list):
        return type(result)([_changed(node, part, change) for part in result])
    if not isinstance(result, torch.Tensor) or not result.is_floating_point():
        return result
    return replaced(node, result, change(result)) if result.numel() else result


def _own() -> torch.Generator:
    """Return random numbers apart from the graph's: a dropout further on must not notice."""
    return torch.Generator().manual_seed(1)
