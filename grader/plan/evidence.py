"""What findings of every kind have in common."""

from __future__ import annotations

from grader.plan.arguments import first_read, name_of
from grader.plan.findings import Finding
from grader.plan.path import Trace
from grader.plan.schema import Node
from grader.plan.sizes import per_image


def finding(trace: Trace, node: Node, what: str, why: str, *, counts: bool) -> Finding:
    """Describe one node as evidence for or against a requirement."""
    before = per_image(shape_of(trace, first_read(node)))
    after = per_image(trace.shape(node))
    return Finding(what, title(node), counts, why, before, after, node.where, node.name)


def shape_of(trace: Trace, name: str | None) -> list[int | str] | None:
    """Return the shape of any value of a graph."""
    if name in trace.flow.inputs:
        return ["B", *trace.model.input_shape]
    if name in trace.tensors:
        return [*trace.tensors[name].shape]
    return trace.nodes[name].shape if name in trace.nodes else None


def title(node: Node) -> str:
    """Return how a person would call a node: its module, or else its operation."""
    return node.module or name_of(node)


def off_path(trace: Trace, node: Node) -> str:
    """Say why a node does not act between image and output; empty if it does."""
    if trace.on_path(node):
        return ""
    if node.name not in trace.seen:
        return "no data of the image reaches it"
    if node.name not in trace.wired:
        return "its result is not used for the output: nothing reads it, or what is made of it"
    return (
        "its result is not used for the output: it is taken away again, multiplied by zero, "
        "written over, or cut off"
    )
