"""Multiply-accumulates and activation memory of a node, for one image.

Counted as `torch.utils.flop_counter` counts (two operations a multiply-accumulate): convolutions,
products of matrices, attention; recurrent layers besides. Additions of a bias, norms, poolings and
activations are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from grader.plan.arguments import flag, name_of, reads, references, words
from grader.plan.axes import PRODUCTS, RECURRENT, einsum_letters
from grader.plan.dims import Axes, size
from grader.plan.geometry import CONVOLUTIONS, TRANSPOSED, weight_sizes
from grader.plan.path import Trace
from grader.plan.schema import Node
from grader.plan.sizes import BATCH, elements

_NO_MEMORY = words(
    """view reshape flatten unflatten squeeze unsqueeze permute transpose t expand expand_as select
    slice narrow chunk split split_with_sizes unbind detach alias contiguous getitem view_as
    lift_fresh movedim swapaxes broadcast_to _unsafe_view"""
)


def activations(trace: Trace, node: Node) -> int:
    """Return how many numbers a node's result holds for one image; views hold none of their own."""
    return 0 if name_of(node) in _NO_MEMORY else elements(trace.shape(node))


def macs(trace: Trace, node: Node, axes: dict[str, Axes]) -> int:
    """Return the multiply-accumulates of a node for one image."""
    operands = [[size(dim) for dim in axes.get(each, ())] for each in reads(node)]
    for group, rule in _RULES:
        if name_of(node) in group and operands and operands[0]:
            return rule(trace, node, operands)
    return 0


Operands = list[list[int]]
"""The sizes of everything a node reads, in order."""


def _fan_in(trace: Trace, node: Node) -> int:
    return math.prod(weight_sizes(trace, node)[1:] or (0,))


def _weighted(trace: Trace, node: Node, _: Operands) -> int:
    return elements(node.shape) * _fan_in(trace, node)


def _transposed(trace: Trace, node: Node, operands: Operands) -> int:
    return _per_image(math.prod(operands[0]) * _fan_in(trace, node))


def _product(_: Trace, node: Node, operands: Operands) -> int:
    return elements(node.shape) * operands[0][-1]


def _added_product(_: Trace, node: Node, operands: Operands) -> int:
    inner = operands[1][-1:] if len(operands) > 1 else []
    return elements(node.shape) * sum(inner)


def _per_image(total: int) -> int:
    return total // BATCH if total % BATCH == 0 else total


def _attention(_: Trace, __: Node, operands: Operands) -> int:
    """Count scores and weighted sum: `[…, q, d] × [d, k]` and `[…, q, k] × [k, v]`."""
    if len(operands) < 3 or len(operands[1]) < 2 or not operands[2]:
        return 0
    query, key, value = operands[:3]
    return _per_image(math.prod(query) * key[-2] + math.prod(query[:-1]) * key[-2] * value[-1])


def _einsum(_: Trace, node: Node, operands: Operands) -> int:
    letters = einsum_letters(node)
    if letters is None or len(operands) < 2:
        return 0
    sizes: dict[str, int] = {}
    for names, lengths in zip(letters[0], operands, strict=False):
        sizes.update(zip(names, lengths, strict=False))
    return _per_image(math.prod(sizes.values()))


def _recurrent(trace: Trace, node: Node, operands: Operands) -> int:
    """Count every weight matrix once a time step."""
    if len(operands[0]) < 2:
        return 0
    steps = operands[0][1 if flag(node, "batch_first") else 0]
    matrices = [
        trace.tensors[name].shape
        for value in node.args
        for name in references(value)
        if name in trace.tensors and len(trace.tensors[name].shape) == 2
    ]
    return steps * sum(math.prod(shape) for shape in matrices)


_RULES: tuple[tuple[frozenset[str], Callable[[Trace, Node, Operands], int]], ...] = (
    (CONVOLUTIONS | words("linear"), _weighted),
    (TRANSPOSED, _transposed),
    (PRODUCTS, _product),
    (words("addmm baddbmm"), _added_product),
    (words("scaled_dot_product_attention"), _attention),
    (words("einsum"), _einsum),
    (RECURRENT, _recurrent),
)
