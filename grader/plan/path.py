"""Which operations lie on the way of data from the images to the output.

An operation counts when a change of the image can reach it and it can reach the output. What is
multiplied by zero, cut off again, or only asked for its size is no way for data.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import cached_property

from grader.plan.arguments import argument, first_read, name_of, number, reads, reference, words
from grader.plan.constants import Constants, constant, is_nothing, value_of
from grader.plan.functional import REREAD, Flow
from grader.plan.joins import PARTS, Parts
from grader.plan.schema import Constant, Model, Node, Shape, Tensor
from grader.plan.sizes import sizes_of
from grader.plan.sums import Sums

_CREATED = words(
    """zeros_like ones_like full_like rand_like randn_like randint_like new_zeros new_ones new_full
    zero_ zero normal_ uniform_ random_ exponential_"""
)
_SHAPE_FROM_SECOND = words("expand_as view_as reshape_as type_as sum_to_size")
_NUMBERS = frozenset(["int", "float", "bool", "SymInt", "SymFloat", "SymBool"])
_LAYERS = words(
    """linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d batch_norm
    instance_norm layer_norm group_norm"""
)


@dataclass(frozen=True)
class Trace:
    """A functional graph with what its analyses share.

    `edges` are the values from which data flows into each node, `inputs` those from which it would
    if nothing were taken away again; `constants` are values whose every element is the same number
    at every step; `path` are the nodes between image and output.
    """

    model: Model
    flow: Flow
    nodes: dict[str, Node]
    tensors: dict[str, Tensor]
    constants: dict[str, float]
    first_items: dict[str, Shape]
    edges: dict[str, tuple[str, ...]]
    inputs: dict[str, tuple[str, ...]]
    seen: frozenset[str]
    path: frozenset[str]

    @cached_property
    def wired(self) -> frozenset[str]:
        """Every value that the output is computed from, whether or not it decides anything."""
        return _backward(self.flow.output, {n.name: tuple(reads(n)) for n in self.flow.nodes})

    def shape(self, node: Node) -> Shape:
        """Return the shape of a result; of several results, the first one's."""
        if node.shape is not None:
            return node.shape
        return self.first_items.get(node.name, [])

    def on_path(self, node: Node) -> bool:
        """Tell whether data flows from the images through this node to the output."""
        return node.name in self.path


def trace(model: Model, flow: Flow, changed: frozenset[str]) -> Trace:
    """Follow the data through a graph; `changed` are tensors that training writes to."""
    nodes = {node.name: node for node in flow.nodes}
    tensors = {tensor.name: tensor for tensor in model.tensors}
    constants = {
        tensor.name: tensor.init.value
        for tensor in model.tensors
        if isinstance(tensor.init, Constant) and not tensor.trainable and tensor.name not in changed
    }
    shapes: dict[str, Shape | None] = {t.name: [*t.shape] for t in model.tensors}
    parts = Parts(nodes)
    sums = Sums(shapes | {name: ["B", *model.input_shape] for name in flow.inputs})
    inputs: dict[str, tuple[str, ...]] = {}
    edges: dict[str, tuple[str, ...]] = {}
    for node in flow.nodes:
        value, total = constant(node, constants), sums.add(node, constants)
        value = total.constant if value is None and not total.terms else value
        known = value is not None
        inputs[node.name] = () if known else tuple(dict.fromkeys(_edges(node, parts, constants)))
        edges[node.name] = inputs[node.name]
        if value is not None:
            constants[node.name] = value
        elif total.lost:
            edges[node.name] = tuple(total.terms)
    firsts = {
        (first_read(node) or ""): node.shape
        for node in flow.nodes
        if name_of(node) == "getitem" and argument(node, "index") == 0 and node.shape is not None
    }
    seen = _forward(flow, edges)
    path = seen & _backward(flow.output, edges)
    return Trace(model, flow, nodes, tensors, constants, firsts, edges, inputs, seen, path)


def _forward(flow: Flow, edges: dict[str, tuple[str, ...]]) -> frozenset[str]:
    seen = set(flow.inputs)
    for node in flow.nodes:
        if not seen.isdisjoint(edges[node.name]):
            seen.add(node.name)
    return frozenset(seen)


def _backward(output: str, edges: dict[str, tuple[str, ...]]) -> frozenset[str]:
    reached: set[str] = set()
    pending = [output]
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending.extend(edges.get(name, ()))
    return frozenset(reached)


def is_number(node: Node) -> bool:
    """Tell whether a result is a size or another number of Python's, and no tensor."""
    if name_of(node).startswith(("operator.", "sym_")):
        return True
    return node.shape is None and node.dtype in _NUMBERS


def _edges(node: Node, parts: Parts, constants: Constants) -> list[str]:
    """Return the values whose numbers decide the result's numbers."""
    if is_number(node) or 0 in (sizes_of(node.shape) or ()):
        return []
    name = name_of(node)
    if name in PARTS:
        return parts.sources(node, name)
    for group, rule in _RULES:
        if name in group:
            unread = rule(node, constants)
            return [each for each in reads(node) if each not in unread]
    return reads(node)


Unread = Set[str | None]
"""The arguments of a node whose numbers do not matter to its result."""


def _created(node: Node, _: Constants) -> Unread:
    return set(reads(node))


def _after_first(node: Node, _: Constants) -> Unread:
    return set(reads(node)[1:])


def _first(node: Node, _: Constants) -> Unread:
    return set(reads(node)[:1])


def _choice(node: Node, constants: Constants) -> Unread:
    """Leave out what `where` never chooses and `lerp` does not move towards."""
    keys = ("other", "self") if name_of(node) == "where" else ("self", "end")
    value = value_of(
        argument(node, "condition" if name_of(node) == "where" else "weight"), constants
    )
    unread = keys[1] if value == 0 else keys[0] if value == 1 else None
    return {reference(node, unread)} if unread else set()


def _sum(node: Node, constants: Constants) -> Unread:
    """Leave out a summand that is scaled to nothing."""
    keys = ("tensor1", "tensor2") if name_of(node).startswith("addc") else ("other",)
    if name_of(node) == "rsub":
        keys = ("self",)
    scale = number(node, "value" if len(keys) == 2 else "alpha", 1.0)
    factors = [value_of(argument(node, key), constants) for key in keys if len(keys) == 2]
    if name_of(node) == "addcdiv":
        factors = factors[:1]
    gone = is_nothing(scale) or any(map(is_nothing, factors))
    return {reference(node, key) for key in keys} if gone else set()


def _layer(node: Node, constants: Constants) -> Unread:
    """Leave out everything but the bias where the weight is zero and stays so."""
    weight = reference(node, "weight")
    if weight is None or not is_nothing(constants.get(weight)):
        return set()
    return set(reads(node)) - {reference(node, "bias")}


_RULES: tuple[tuple[frozenset[str], Callable[[Node, Constants], Unread]], ...] = (
    (_CREATED, _created),
    (_SHAPE_FROM_SECOND | words(REREAD), _after_first),
    (words("fill_ copy_ bernoulli_"), _first),
    (words("where lerp"), _choice),
    (words("add sub subtract rsub addcmul addcdiv"), _sum),
    (_LAYERS, _layer),
)
