"""One batch in both ways, before a training: with images in lanes, and by PyTorch's own operations.

A wrong result of either would become a wrong grade. Where they disagree, the training is done
without what is in doubt, which takes longer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import msgspec
import torch

from grader.errors import SubmissionError
from grader.plan import schema
from grader.plan.arguments import DROPOUTS, name_of
from grader.training.calls import resolve
from grader.training.lanes.chain import Keys
from grader.training.network import OPERATION_ERRORS, CompiledGraph, Network

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
State = Mapping[str, torch.Tensor]

# Honest differences are of rounding: some 1e-6 of a result, and at most 1e-4 where a norm divides
# by almost nothing. Those of gradients are larger where rounding decides between two values of a
# max-pooling, or on which side of zero one lies. What computes wrongly is off by far more.
_SHARE, _LEAST = 1e-2, 1e-3
_OF_GRADIENT, _OF_ALL_GRADIENTS = 0.05, 5e-3

_WITHOUT_ONEDNN = (
    "this PyTorch's convolutions by oneDNN compute something else than its other ones, so that the "
    "network was trained without oneDNN"
)
_WITHOUT_LANES = (
    "the grader's compiled layers compute something else than PyTorch's operations, so that the "
    "network was trained by the latter, which takes longer"
)


@dataclass(frozen=True)
class _Outcome:
    """What a training step and a test of one batch leave: scores and buffers, and gradients."""

    values: list[torch.Tensor]
    gradients: list[torch.Tensor]


def settle(
    network: Network, model: schema.Model, loss: Loss, images: torch.Tensor, target: torch.Tensor
) -> list[str]:
    """Let a network that has lanes compute by what can be trusted; return remarks on that.

    Neither its tensors nor any random numbers are changed. Dropout is off, and networks with other
    random operations are left as they are: no two runs of those are alike.
    """
    if not network.packs(images) or any(map(_is_random, model.train.nodes)):
        return []
    with torch.random.fork_rng(devices=[]):
        run = partial(_outcome, model, network.state, loss, images, target)
        packed, plain = run(Keys(0)), run(None)
        if plain is None or (packed and _agree(packed, plain)):
            return []
        torch._C._set_mkldnn_enabled(False)
        plain = run(None)
        if packed and plain and _agree(packed, plain):
            return [_WITHOUT_ONEDNN]
    network.unpack()
    return [_WITHOUT_LANES]


def _is_random(node: schema.Node) -> bool:
    tags = getattr(resolve(node.op), "tags", ())
    return torch.Tag.nondeterministic_seeded in tags and not _drops(node)


def _drops(node: schema.Node) -> bool:
    return name_of(node).removesuffix("_") in DROPOUTS


def _without_dropout(node: schema.Node) -> schema.Node:
    if "p" in node.kwargs:
        return msgspec.structs.replace(node, kwargs={**node.kwargs, "p": 0.0})
    return msgspec.structs.replace(node, args=[node.args[0], 0.0, *node.args[2:]])


def _outcome(
    model: schema.Model, state: State, loss: Loss, images: torch.Tensor, target: torch.Tensor,
    keys: Keys | None,
) -> _Outcome | None:  # fmt: skip
    """Compute a step, without changing a weight, and a test; None where that fails."""
    torch.manual_seed(0)
    own = {
        name: tensor.detach().clone().requires_grad_(tensor.requires_grad)
        for name, tensor in state.items()
    }
    nodes = [_without_dropout(node) if _drops(node) else node for node in model.train.nodes]
    graph = msgspec.structs.replace(model.train, nodes=nodes)
    try:
        with torch.no_grad():
            tested = CompiledGraph(model.eval, own, images.device, keys)(images.clone())
        scores = CompiledGraph(graph, own, images.device, keys)(images.clone())
        error = loss(scores, target)
        torch.autograd.backward(error)
    except (SubmissionError, *OPERATION_ERRORS):
        return None
    gradients = [tensor.grad for tensor in own.values() if tensor.grad is not None]
    buffers = [tensor.detach() for tensor in own.values() if tensor.is_floating_point()]
    return _Outcome([tested, scores.detach(), error.detach(), *buffers], gradients)


def _agree(first: _Outcome, second: _Outcome) -> bool:
    """Tell whether two outcomes are equal but for rounding, or both no numbers at all."""
    pairs = list(zip(first.gradients, second.gradients, strict=False))
    every = sum(float(b.norm()) ** 2 for _, b in pairs) ** 0.5
    return (
        len(first.gradients) == len(second.gradients)
        and all(_alike(a, b) for a, b in zip(first.values, second.values, strict=True))
        and all(
            _finite_alike(a, b)
            and not float((a - b).norm())
            > _OF_GRADIENT * float(b.norm()) + _OF_ALL_GRADIENTS * every
            for a, b in pairs
        )
    )


def _alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape or not _finite_alike(a, b):
        return False
    finite = b.isfinite()
    largest = float(b[finite].abs().max()) if finite.any() else 0.0
    return not bool(((a - b).abs() > _SHARE * largest + _LEAST)[finite].any())


def _finite_alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.isfinite(), b.isfinite())
