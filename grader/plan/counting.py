"""How many numbers a network is made of, as the limit on parameters counts them."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

from grader.plan.arguments import first_read, name_of, reads, reference
from grader.plan.findings import TensorCount
from grader.plan.schema import Constant, Graph, Model, Ref, Tensor, Value, Values

_ORDINARY = 128  # different numbers in the operations of a network; EfficientNet-B0 has 22
_CHOICES = 4_000  # operations and items of lists in a graph; networks of 50 layers have some 1,000
_SHORT = 2**32
_LARGEST = 3.4e38  # of 32 bits
_STATISTICS = ("running_mean", "running_var")
_NORMS = ("batch_norm", "instance_norm")


def count_tensors(model: Model) -> list[TensorCount]:
    """Count every tensor once, and say which counts."""
    own = _kept_by_norms(model)
    return [
        TensorCount(
            name=tensor.name,
            role=tensor.role,
            layer=tensor.name.rpartition(".")[0],
            owner=tensor.owner,
            shape=tensor.shape,
            count=_held(tensor),
            trainable=tensor.trainable,
            counted=tensor.name not in own,
        )
        for tensor in model.tensors
    ]


def count_literals(model: Model) -> list[TensorCount]:
    """Count numbers written into the operations, where they are more than a network needs.

    Sizes, strides, dimensions and the odd factor are numbers too, but a network of any depth has
    few that differ. What exceeds that is memory in another place; long integers hold several.
    Which of a few numbers or values an operation takes is memory too, where thousands do: one
    number for each that is more than networks of this size have.
    """
    graphs = (model.train, model.eval)
    found = {v for g in graphs for n in g.nodes for v in _numbers([*n.args, *n.kwargs.values()])}
    held = sum(max(1, -(-v.bit_length() // 32)) if isinstance(v, int) else 1 for v in found)
    chosen = max(_choices(graph) for graph in graphs) - _CHOICES
    return [
        TensorCount(name, "constant", "", "", [count], count, trainable=False, counted=True)
        for name, count, most in (
            ("numbers written into forward", held, _ORDINARY),
            ("choices written into forward", chosen, 0),
        )
        if count > most
    ]


def _choices(graph: Graph) -> int:
    """Count operations, and the values they take in lists."""
    lists = (v for n in graph.nodes for v in (*n.args, *n.kwargs.values()) if isinstance(v, list))
    return len(graph.nodes) + sum(isinstance(item, Ref) for each in lists for item in each)


def _held(tensor: Tensor) -> int:
    """Return how many numbers a tensor holds; one that takes more than 32 bits is two."""
    if isinstance(tensor.init, Values) and tensor.dtype in ("torch.int64", "torch.float64"):
        return sum(1 if _is_short(value) else 2 for value in tensor.init.values)
    return math.prod(tensor.shape)


def _is_short(value: float) -> bool:
    if float(value).is_integer():
        return abs(value) < _SHORT
    return abs(value) < _LARGEST and struct.unpack("f", struct.pack("f", value))[0] == value


def _numbers(values: list[Value]) -> Iterator[int | float]:
    pending: list[object] = list(values)
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield value


def _kept_by_norms(model: Model) -> frozenset[str]:
    """Return buffers that hold nothing at the start and serve as running statistics alone.

    What the Plan claims about a buffer is not enough: its uses in both graphs have to agree. Of an
    input that has nothing of the images there is nothing to keep: such statistics are memory.
    """
    graphs = (model.train, model.eval)
    others = {name for graph in graphs for name in (*_other_uses(graph), *_of_no_image(graph))}
    statistics = {name for graph in graphs for name in running_statistics(graph)}
    return frozenset(
        tensor.name
        for tensor in model.tensors
        if tensor.role == "buffer"
        and tensor.init in (Constant(0.0), Constant(1.0))
        and (tensor.state or tensor.name in statistics)
        and tensor.name not in others
    )


def _of_no_image(graph: Graph) -> Iterator[str]:
    """Yield running statistics of norms whose input does not depend on the images."""
    seen = set(graph.inputs)
    for node in graph.nodes:
        depends = any(name in seen for name in reads(node))
        if not depends and name_of(node) in _NORMS:
            yield from (name for key in _STATISTICS if (name := reference(node, key)) is not None)
        if depends:
            written = first_read(node) if name_of(node).endswith("_") else None
            seen |= {node.name} | ({written} if written is not None else set())


def running_statistics(graph: Graph) -> Iterator[str]:
    """Yield the buffers that norms keep for evaluation."""
    for node in graph.nodes:
        if name_of(node) in _NORMS:
            names = (reference(node, key) for key in _STATISTICS)
            yield from (name for name in names if name is not None)


def _other_uses(graph: Graph) -> Iterator[str]:
    """Yield what is read other than as running statistics or as a counter of steps."""
    for node in graph.nodes:
        name = name_of(node)
        if name in _NORMS:
            own = {reference(node, key) for key in _STATISTICS}
            yield from (each for each in reads(node) if each not in own)
        elif not (name == "add_" and len(node.args) == 2 and node.args[1] == 1):
            yield from reads(node)
