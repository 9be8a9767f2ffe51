"""How many numbers a network is made of, as the limit on parameters counts them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from grader.plan.arguments import name_of, reads, reference
from grader.plan.findings import TensorCount
from grader.plan.path import Trace
from grader.plan.schema import Constant, Graph, Model, Value

_ORDINARY = 128  # different numbers in the operations of a network; EfficientNet-B0 has 22
_STATISTICS = ("running_mean", "running_var")


def count_tensors(model: Model, train: Trace, evaluation: Trace) -> list[TensorCount]:
    """Count every tensor once, and say which counts and which acts on the output."""
    used = acting(train) | acting(evaluation)
    own = _kept_by_norms(model)
    return [
        TensorCount(
            name=tensor.name,
            role=tensor.role,
            layer=tensor.name.rpartition(".")[0],
            owner=tensor.owner,
            shape=tensor.shape,
            count=math.prod(tensor.shape),
            trainable=tensor.trainable,
            counted=tensor.name not in own,
            used=tensor.name in used,
        )
        for tensor in model.tensors
    ]


def count_literals(model: Model) -> list[TensorCount]:
    """Count numbers written into the operations, where they are more than a network needs.

    Sizes, strides, dimensions and the odd factor are numbers too, but a network of any depth has
    few that differ. What exceeds that is memory in another place; long integers hold several.
    """
    graphs = (model.train, model.eval)
    found = {v for g in graphs for n in g.nodes for v in _numbers([*n.args, *n.kwargs.values()])}
    held = sum(max(1, -(-v.bit_length() // 32)) if isinstance(v, int) else 1 for v in found)
    if held <= _ORDINARY:
        return []
    return [
        TensorCount(
            "numbers written into forward",
            "constant",
            "",
            "",
            [held],
            held,
            trainable=False,
            counted=True,
            used=True,
        )
    ]


def _numbers(values: list[Value]) -> Iterator[int | float]:
    pending: list[object] = list(values)
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield value


def acting(trace: Trace) -> frozenset[str]:
    """Return every value from which data flows to the output."""
    reached: set[str] = set()
    pending = [trace.flow.output]
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending.extend(trace.edges.get(name, ()))
    return frozenset(reached)


def _kept_by_norms(model: Model) -> frozenset[str]:
    """Return buffers that hold nothing at the start and serve as running statistics alone.

    What the Plan claims about a buffer is not enough: its uses in both graphs have to agree.
    """
    others = {name for graph in (model.train, model.eval) for name in _other_uses(graph)}
    statistics = {name for graph in (model.train, model.eval) for name in _statistics(graph)}
    return frozenset(
        tensor.name
        for tensor in model.tensors
        if tensor.role == "buffer"
        and isinstance(tensor.init, Constant)
        and (tensor.state or tensor.name in statistics)
        and tensor.name not in others
    )


def _statistics(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        if name_of(node) in ("batch_norm", "instance_norm"):
            names = (reference(node, key) for key in _STATISTICS)
            yield from (name for name in names if name is not None)


def _other_uses(graph: Graph) -> Iterator[str]:
    """Yield what is read other than as running statistics or as a counter of steps."""
    for node in graph.nodes:
        name = name_of(node)
        if name in ("batch_norm", "instance_norm"):
            own = {reference(node, key) for key in _STATISTICS}
            yield from (each for each in reads(node) if each not in own)
        elif not (name == "add_" and len(node.args) == 2 and node.args[1] == 1):
            yield from reads(node)
