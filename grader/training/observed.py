"""One run of a graph, operation by operation as it stands, with every result in view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from grader.plan import schema
from grader.training.network import CompiledGraph

Hook = Callable[[schema.Node, Any], Any]
"""Is handed each node and its result; what it returns is what the graph goes on with."""


def run(
    graph: schema.Graph,
    state: Mapping[str, torch.Tensor],
    images: torch.Tensor,
    hook: Hook,
    seed: int = 0,
) -> torch.Tensor:
    """Run a graph once on the CPU, unfused; neither the state nor the images are changed.

    `seed` is that of PyTorch's own random numbers, which this sets. Raises SubmissionError when
    an operation cannot be carried out.
    """
    torch.manual_seed(seed)
    own = {name: tensor.detach().clone() for name, tensor in state.items()}
    with torch.no_grad():
        return _Observed(graph, own, hook)(images.clone())


class _Observed(CompiledGraph):
    def __init__(self, graph: schema.Graph, state: Mapping[str, torch.Tensor], hook: Hook) -> None:
        super().__init__(graph, state, torch.device("cpu"))
        self._steps = [
            replace(step, function=partial(_observed, step.function, step.node, hook))
            for step in self._steps
        ]


def _observed(
    function: Callable[..., Any], node: schema.Node, hook: Hook, *args: object, **kwargs: object
) -> object:
    return hook(node, function(*args, **kwargs))
