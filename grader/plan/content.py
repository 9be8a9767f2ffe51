"""What a Plan computes, apart from how its parts are called and in which order they are written.

A training depends on this alone: the order of tensors (they are drawn in it) and of operations
(dropout draws in it) is made here, and the seed comes from what is left when names, places and
remarks are taken away.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from grader.plan.arguments import is_in_place, reads
from grader.plan.schema import Graph, Group, Model, Node, Plan, Ref, Tensor


def in_order(model: Model) -> Model:
    """Return the model with its tensors and operations in an order that follows from the output.

    Operations come where the output first needs them, and tensors where an operation does. What
    the output does not need comes last, as it stood.
    """
    buffers = {tensor.name for tensor in model.tensors if tensor.role == "buffer"}
    train, evaluation = (_sorted(graph, buffers) for graph in (model.train, model.eval))
    used = [name for graph in (train, evaluation) for node in graph.nodes for name in reads(node)]
    places = {name: place for place, name in enumerate(dict.fromkeys(used))}
    tensors = sorted(model.tensors, key=lambda tensor: places.get(tensor.name, len(places)))
    return replace(model, tensors=tensors, train=train, eval=evaluation)


def _sorted(graph: Graph, buffers: Container[str]) -> Graph:
    """Return the graph in the order in which its output asks for results, if order is free."""
    if not _is_free(graph, buffers):
        return graph
    nodes = {node.name: node for node in graph.nodes}
    order: dict[str, Node] = {}
    for root in (graph.output, *nodes):
        pending = [(root, iter(_asked(root, nodes, order)))]
        while pending:
            name, asked = pending[-1]
            if (needed := next(asked, None)) is not None:
                pending.append((needed, iter(_asked(needed, nodes, order))))
                continue
            pending.pop()
            if name in nodes:
                order.setdefault(name, nodes[name])
    return replace(graph, nodes=list(order.values()))


def _asked(name: str, nodes: Mapping[str, Node], order: Mapping[str, Node]) -> list[str]:
    """Return the operations whose results one needs that has no place yet."""
    return (
        [] if name in order or name not in nodes else [n for n in reads(nodes[name]) if n in nodes]
    )


def _is_free(graph: Graph, buffers: Container[str]) -> bool:
    """Tell whether operations may change places: none changes what another one reads."""
    read = [name for node in graph.nodes for name in reads(node) if name in buffers]
    return len(read) == len(set(read)) and not any(map(is_in_place, graph.nodes))


def content_of(plan: Plan) -> bytes:
    """Return what a plan computes, as JSON without names, places and remarks."""
    model = plan.model
    tensors = _numbered("t", (tensor.name for tensor in model.tensors))
    groups = [
        Group(sorted(tensors[name] for name in group.parameters), group.options)
        for group in plan.recipe.optimizer.groups
    ]
    plain = replace(
        plan,
        model=replace(
            model,
            class_name="Net",
            where="",
            tensors=[_plain_tensor(tensor, tensors) for tensor in model.tensors],
            train=_plain_graph(model.train, tensors),
            eval=_plain_graph(model.eval, tensors),
        ),
        recipe=replace(
            plan.recipe,
            optimizer=replace(plan.recipe.optimizer, groups=groups),
            loss=_plain_graph(plan.recipe.loss, {}),
        ),
        provenance=[],
        notes=[],
        flaws=[],
    )
    return msgspec.json.encode(plain, order="deterministic")


def _numbered(letter: str, names: Iterable[str]) -> dict[str, str]:
    return {name: f"{letter}{number}" for number, name in enumerate(names)}


def _plain_tensor(tensor: Tensor, names: Mapping[str, str]) -> Tensor:
    return replace(tensor, name=names[tensor.name], owner="")


def _plain_graph(graph: Graph, tensors: Mapping[str, str]) -> Graph:
    names = {
        **tensors,
        **_numbered("x", graph.inputs),
        **_numbered("n", (node.name for node in graph.nodes)),
    }
    nodes = [
        replace(
            node,
            name=names[node.name],
            args=[_renamed(value, names) for value in node.args],
            kwargs={key: _renamed(value, names) for key, value in node.kwargs.items()},
            module="",
            where="",
        )
        for node in graph.nodes
    ]
    return Graph([names[name] for name in graph.inputs], nodes, names[graph.output])


def _renamed(value: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - a Value or part of one
    if isinstance(value, Ref):
        return Ref(names[value.ref])
    return [_renamed(item, names) for item in value] if isinstance(value, list) else value
