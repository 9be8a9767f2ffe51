"""Finds, in a training graph, what this package runs faster than PyTorch does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch

from grader.plan import schema
from grader.training.calls import Call
from grader.training.convolution import Convolution, is_better_swapped
from grader.training.fused import NormBlock
from grader.training.masks import Dropout, Masks

_RELU = ("aten.relu.default", "aten.relu_.default")
_DROPOUT = ("aten.dropout.default", "aten.dropout_.default")

# Results of these belong to whoever reads them: to write into one disturbs no saved tensor.
_FRESH = ("conv", "linear", "addmm", "batch_norm", "add", "sub", "mul", "cat")


def fuse(
    calls: list[Call], output: str, state: Mapping[str, torch.Tensor], masks: Masks
) -> list[Call]:
    """Return the calls of a training graph with faster ones, some for several, in their place.

    `output` names the value the graph returns; `state` has the model's tensors.
    """
    readers = Counter(name for call in calls for name in call.references())
    readers[output] += 1
    nodes = [call.node for call in calls]
    writers = {node.name: node for node in nodes}
    relu = not any(_may_overwrite(node, writers) for node in nodes)
    before = _rectified(nodes, writers, readers) if relu else {}
    absorbed = {node.name for node in before.values()}
    fused: list[Call] = []
    index = 0
    while index < len(nodes):
        node = nodes[index]
        run = _run(nodes, index, readers, relu)
        if run:
            fused.append(_block(run, before.get(node.name), masks))
        elif _is_dropout(node) and node.op == "aten.dropout.default":
            fused.append(Call(Dropout(masks, _number(node.args[1])), node.args[:1], {}, node))
        elif convolution := _convolution(node, state):
            fused.append(Call(convolution, node.args[:3], {}, node))
        elif node.name not in absorbed:
            fused.append(calls[index])
        index += max(len(run), 1)
    return fused


def _rectified(
    nodes: list[schema.Node], writers: dict[str, schema.Node], readers: Counter[str]
) -> dict[str, schema.Node]:
    """Return, for norms by name, the ReLU that nobody else reads and whose input nobody else does.

    Something else may stand between the two: a norm counts its batches first.
    """
    found: dict[str, schema.Node] = {}
    for node in nodes:
        match node.args:
            case [schema.Ref(name), *_] if _is_training_norm(node) and readers[name] == 1:
                relu = writers.get(name)
                if relu and _is_relu(relu) and _is_own(relu.args[0], writers, readers):
                    found[node.name] = relu
    return found


def _is_own(value: schema.Value, writers: dict[str, schema.Node], readers: Counter[str]) -> bool:
    """Tell whether a value is a node's result that is read once, and not a block's by itself."""
    if not isinstance(value, schema.Ref) or value.ref not in writers:
        return False
    return readers[value.ref] == 1 and not _is_training_norm(writers[value.ref])


def _run(
    nodes: list[schema.Node], start: int, readers: Counter[str], relu: bool
) -> list[schema.Node]:
    """Return the nodes from `start` on that make a block; none if there is no batch norm."""
    if not _is_training_norm(nodes[start]):
        return []
    run = [nodes[start]]
    for matches in (_is_relu, _is_dropout, _is_pool) if relu else ():
        following = start + len(run)
        if following == len(nodes):
            break
        node, before = nodes[following], run[-1].name
        fits = node.args[:1] == [schema.Ref(before)] and readers[before] == 1
        if fits and matches(node) and (matches is not _is_pool or any(map(_is_relu, run))):
            run.append(node)
    return run


def _block(run: list[schema.Node], before: schema.Node | None, masks: Masks) -> Call:
    """Make one call of a norm, what follows it, and the ReLU before it."""
    norm, after = run[0], run[1:]
    p = next((_number(node.args[1]) for node in after if _is_dropout(node)), 0.0)
    function = NormBlock(
        masks=masks,
        momentum=_number(norm.args[6]),
        eps=_number(norm.args[7]),
        rectified=before is not None,
        relu=any(_is_relu(node) for node in after),
        p=p,
        pool=any(_is_pool(node) for node in after),
    )
    x = norm.args[0] if before is None else before.args[0]
    return Call(function, [x, *norm.args[1:5]], {}, run[-1])


def _convolution(node: schema.Node, state: Mapping[str, torch.Tensor]) -> Convolution | None:
    """Match conv2d(x, kernel, bias, stride 1, padding[, dilation 1[, groups 1]])."""
    match node.args:
        case [_, schema.Ref(kernel), _, [1, 1], [int() as y, int() as x], *rest] if (
            node.op == "aten.conv2d.default" and rest in ([], [[1, 1]], [[1, 1], 1])
        ):
            found = state.get(kernel)
            if found is not None and is_better_swapped(found, [y, x]):
                return Convolution([y, x])
    return None


def _is_training_norm(node: schema.Node) -> bool:
    """Match batch_norm(x, weight, bias, mean, variance, training=True, momentum, eps, cudnn)."""
    return (
        node.op == "aten.batch_norm.default"
        and len(node.args) == 9
        and node.args[5] is True
        and all(isinstance(value, float | int) for value in node.args[6:8])
    )


def _is_relu(node: schema.Node) -> bool:
    return node.op in _RELU and len(node.args) == 1


def _is_dropout(node: schema.Node) -> bool:
    match node.args:
        case [schema.Ref(), float() | int() as p, True] if node.op in _DROPOUT:
            return 0 <= p < 1
    return False


def _is_pool(node: schema.Node) -> bool:
    """Match max-pooling of 2×2 with stride 2, without padding, dilation or rounding up."""
    match node.args:
        case [_, [2, 2]] | [_, [2, 2], [2, 2]] | [_, [2, 2], []]:
            return node.op == "aten.max_pool2d.default" and not node.kwargs
    return False


def _number(value: schema.Value) -> float:
    if not isinstance(value, float | int):
        raise TypeError(value)
    return float(value)


def _may_overwrite(node: schema.Node, writers: dict[str, schema.Node]) -> bool:
    """Tell whether a node writes into a tensor that a block might keep for its backward pass."""
    name = node.op.split(".")[1]
    if not name.endswith("_") or name.endswith("__") or not node.args:
        return False
    target = node.args[0]
    writer = writers.get(target.ref) if isinstance(target, schema.Ref) else None
    if writer is None:  # a tensor of the model, or an input
        return False
    follows_norm = node.op in (*_RELU, *_DROPOUT)
    fresh = writer.op.split(".")[1].startswith(_FRESH)
    return not (fresh or (follows_norm and writer.op in _RELU))
