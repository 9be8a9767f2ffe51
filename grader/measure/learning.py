"""Which numbers of a network act: what moves a score, what learns, what training cannot change."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from grader.measure.laboratory import DRAWS, LEAST, Laboratory, distance, spread
from grader.plan.schema import Model

_NOTHING = 1e-9  # of the steepest slope: no more than rounding


@dataclass(frozen=True)
class Learning:
    """Names of parameters: which act on a score, which of these do in evaluation alone (`idle`).

    `cut` act and are trainable but get no gradient; `ends` are the operations at which it ends.
    """

    used: set[str]
    idle: set[str]
    cut: set[str]
    ends: list[str]


def learning(laboratory: Laboratory, model: Model) -> Learning:
    """Find them by gradients, and by a change where there is none.

    A bias in front of a batch norm is idle: it acts on no score in training, though one would
    change if it were changed in evaluation, where the running statistics do not follow.
    """
    names = [tensor.name for tensor in model.tensors if tensor.role == "parameter"]
    trained, ends = laboratory.steepest("train", names)
    still, _ = laboratory.steepest("frozen", names)
    felt = {n for n in names if max(trained.get(n, 0.0), still.get(n, 0.0)) > 0}
    used = felt | {n for n in names if n not in felt and _moves(laboratory, n)}
    least = _NOTHING * max(trained.values(), default=0.0)
    flat = {n for n in felt if trained.get(n, 0.0) <= least}
    idle = {n for n in flat if still.get(n, 0.0) > _NOTHING * max(still.values())}
    trainable = {tensor.name for tensor in model.tensors if tensor.trainable}
    return Learning(used, idle, (used - felt) & trainable, ends)


def _moves(laboratory: Laboratory, name: str) -> bool:
    """Tell whether a score moves, in either graph, when one parameter is another."""
    for mode in ("train", "eval"):
        draw = laboratory.draw(DRAWS[0])
        usual = laboratory.usual(mode, DRAWS[0])
        tensor = draw.state[name]
        if not tensor.is_floating_point():
            return True
        noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1))
        state = draw.state | {name: tensor + noise.to(tensor.dtype)}
        scores = laboratory.scores(mode, laboratory.with_state(draw, state))
        scale = spread(usual)
        if scale is not None and distance(usual, scores, otherwise=scale) > LEAST * scale:
            return True
    return False
