"""A graph as a person reads it: what a value is called, its shape, and what it is made of."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from grader.plan.arguments import argument, first_read, name_of, reads
from grader.plan.findings import Finding
from grader.plan.schema import Graph, Model, Node, Shape
from grader.plan.sizes import per_image

IDLE = (
    "its result is not used for the output: it is taken away again, multiplied by zero, rounded or "
    "cut off: whatever the weights are, no score moves against the others when it changes"
)
UNREAD = "its result is not used for the output: nothing reads it, or what is made of it"

UNSEEN = "no data of the image reaches it"


class Drawing:
    """One graph of a model, with its values by name. Shapes are those the Plan states."""

    def __init__(self, model: Model, mode: Literal["train", "eval"]) -> None:
        self.mode = mode
        self.graph: Graph = getattr(model, mode)
        self.nodes = {node.name: node for node in self.graph.nodes}
        self.tensors = {tensor.name: tensor for tensor in model.tensors}
        self.model_input: Shape = ["B", *model.input_shape]

    @cached_property
    def wired(self) -> frozenset[str]:
        """Every value that the output is computed from, whether or not it decides anything."""
        return self.behind(self.graph.output)

    def behind(self, name: str, without: str = "") -> frozenset[str]:
        """Return a value and all that it is computed from, but by way of the one left out."""
        reached = {without}
        pending = [name]
        while pending:
            name = pending.pop()
            if name not in reached:
                reached.add(name)
                pending.extend(reads(self.nodes[name]) if name in self.nodes else ())
        return frozenset(reached)

    @cached_property
    def _firsts(self) -> dict[str, Shape | None]:
        """The shapes of the first of several results."""
        return {
            first_read(node) or "": node.shape
            for node in self.graph.nodes
            if name_of(node) == "getitem" and argument(node, "index") == 0
        }

    def shape(self, name: str | None) -> list[int]:
        """Return the shape of a value for one image."""
        if name in self.graph.inputs:
            return per_image(self.model_input)
        if name in self.tensors:
            return [*self.tensors[name].shape]
        if name not in self.nodes:
            return []
        node = self.nodes[name]
        return per_image(self._firsts.get(node.name) if node.shape is None else node.shape)

    def finding(self, node: Node, what: str, fault: str, why: str = "") -> Finding:
        """Describe a node as evidence for a requirement, or against it if it has a fault."""
        before, after = self.shape(first_read(node)), self.shape(node.name)
        return Finding(
            what, title(node), not fault, fault or why, before, after, node.where, node.name
        )


def title(node: Node) -> str:
    """Return how a person would call a node: its module, or else its operation."""
    return node.module or name_of(node)


def lengths(sizes: list[int] | tuple[int, ...]) -> str:
    """Return sizes as people write them: 10×7×7."""
    return "×".join(map(str, sizes))
