"""A graph run one operation after another, where a hook may change what goes in or comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import torch

from grader.plan import schema
from grader.plan.arguments import (
    DROPOUTS,
    flag,
    is_in_place,
    name_of,
    reference,
    with_argument,
    words,
)
from grader.training.network import OPERATION_ERRORS, CompiledGraph, failure


@dataclass(frozen=True)
class Operation:
    """A node with what it is to be carried out on; called, it gives its result."""

    node: schema.Node
    function: Callable[..., Any]
    args: list[Any]
    kwargs: dict[str, Any]

    def __call__(self, *args: object) -> Any:  # noqa: ANN401 - results are of any type
        """Carry it out, on other arguments if there are any."""
        return self.function(*(args or self.args), **self.kwargs)


Hook = Callable[[Operation], object]
"""Is handed each operation; what it returns is what the graph goes on with."""

RECURRENT = words("lstm gru rnn_tanh rnn_relu")
_WIDER = {
    "torch.float16": "torch.float64",
    "torch.bfloat16": "torch.float64",
    "torch.float32": "torch.float64",
    "torch.complex64": "torch.complex128",
}


def plainly(op: Operation) -> object:
    """Carry it out as it stands: the hook that changes nothing."""
    return op()


class Runnable(CompiledGraph):
    """A graph whose tensors, by `names`, are handed to it at each run."""

    def __init__(self, graph: schema.Graph, names: list[str]) -> None:
        super().__init__(graph, dict.fromkeys(names, torch.empty(0)), torch.device("cpu"))
        self._names = names

    def run(
        self, state: Mapping[str, torch.Tensor], images: torch.Tensor, hook: Hook = plainly
    ) -> object:
        """Run it on the tensors themselves; raises SubmissionError when that cannot be done."""
        values = self._blank.copy()
        values[: self._inputs + len(self._names)] = [images, *(state[n] for n in self._names)]
        for step in self._steps:
            try:
                op = Operation(step.node, step.function, *step.filled(values))
                values[step.result] = hook(op)
            except OPERATION_ERRORS as error:
                raise failure("network", step.node, error) from None
            for slot in step.done_with:
                values[slot] = None
        return values[self._output]


def replaced(node: schema.Node, result: Any, by: Any) -> Any:  # noqa: ANN401
    """Let the graph go on with another value, also where the node has written into its argument."""
    if is_in_place(node) and isinstance(result, torch.Tensor):
        return result.copy_(by)
    return by


def parts(value: object) -> Iterator[torch.Tensor]:
    """Yield the tensors a result is made of, and numbers as tensors."""
    if isinstance(value, tuple | list):
        for each in value:
            yield from parts(each)
    elif isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, int | float):
        yield torch.tensor(value)


def copied(value: Any) -> Any:  # noqa: ANN401
    """Return a result that no later operation in place can change."""
    if isinstance(value, tuple | list):
        return [copied(each) for each in value]
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def differs(one: object, other: object) -> bool:
    """Tell whether two results are not the same, but for rounding."""
    pairs = list(zip(parts(one), parts(other), strict=False))
    return any(a.shape != b.shape or not _is_near(a, b) for a, b in pairs)


def _is_near(one: torch.Tensor, other: torch.Tensor) -> bool:
    if not one.is_floating_point() or torch.equal(one, other):
        return torch.equal(one, other)
    close = 1e-12 if one.dtype == torch.float64 else 1e-6
    gap = (one - other).abs()
    return bool((gap.nan_to_num(0.0) <= close * one.abs().nan_to_num(0.0).amax()).all()) and bool(
        (one.isfinite() == other.isfinite()).all()
    )


def frozen(graph: schema.Graph, *, live: bool = False) -> schema.Graph:
    """Return a graph with batch norm on its running statistics, and dropout passed through.

    Dropout stays on in one that is `live`.
    """
    nodes = [_settled(node) if live else _passed(_settled(node)) for node in graph.nodes]
    return msgspec.structs.replace(graph, nodes=nodes)


def _settled(node: schema.Node) -> schema.Node:
    name = name_of(node)
    if name == "batch_norm" and reference(node, "running_mean"):
        return with_argument(node, "training", False)
    if name == "instance_norm" and reference(node, "running_mean"):
        return with_argument(node, "use_input_stats", False)
    return node


def _passed(node: schema.Node) -> schema.Node:
    name = name_of(node).removesuffix("_")
    if name in DROPOUTS:
        return with_argument(node, "train", False)
    if name in RECURRENT:
        return with_argument(with_argument(node, "train", False), "dropout", 0.0)
    if name == "scaled_dot_product_attention":
        return with_argument(node, "dropout_p", 0.0)
    return with_argument(node, "training", False) if name == "rrelu" else node


def widened(graph: schema.Graph) -> schema.Graph:
    """Let a graph convert to float64 wherever it converts to a narrower type."""
    nodes = [
        msgspec.structs.replace(
            node,
            args=[_wider(value) for value in node.args],
            kwargs={key: _wider(value) for key, value in node.kwargs.items()},
        )
        for node in graph.nodes
    ]
    return msgspec.structs.replace(graph, nodes=nodes)


def _wider(value: Any) -> Any:  # noqa: ANN401 - the depth of a list is kept
    if isinstance(value, list):
        return [_wider(item) for item in value]
    return _WIDER.get(value, value) if isinstance(value, str) else value


def uses_batch_statistics(node: schema.Node) -> bool:
    """Tell whether a batch norm normalises by the batch in front of it."""
    return flag(node, "training") or reference(node, "running_mean") is None
