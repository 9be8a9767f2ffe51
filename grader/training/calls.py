"""A node of a graph as a function of this PyTorch, and what its arguments refer to."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from grader.errors import SubmissionError
from grader.plan import schema
from grader.plan.operations import is_allowed


@dataclass(frozen=True)
class Call:
    """One step of a graph: `function` takes the arguments and gives the value of `node`.

    Where several nodes are carried out as one, `node` is the last of them.
    """

    function: Callable[..., Any]
    args: list[schema.Value]
    kwargs: dict[str, schema.Value]
    node: schema.Node

    def references(self) -> Iterator[str]:
        """Yield the names the arguments refer to."""
        pending: list[object] = [*self.args, *self.kwargs.values()]
        while pending:
            value = pending.pop()
            if isinstance(value, schema.Ref):
                yield value.ref
            elif isinstance(value, list):
                pending.extend(value)


def calls(graph: schema.Graph) -> list[Call]:
    """Look every operation of a graph up; raises SubmissionError for one that is not allowed."""
    return [Call(resolve(node.op), node.args, node.kwargs, node) for node in graph.nodes]


def resolve(op: str) -> Callable[..., Any]:
    """Look an allow-listed operation up; raises SubmissionError for any other."""
    if not is_allowed(op):
        raise SubmissionError("the network uses an operation the grader does not allow", found=op)
    library, name, *overload = op.split(".")
    try:
        if library == "operator":
            return getattr(operator, name)  # type: ignore[no-any-return]
        return getattr(getattr(torch.ops.aten, name), overload[0])  # type: ignore[no-any-return]
    except AttributeError:
        raise SubmissionError(
            "the network uses an operation this version of PyTorch does not have",
            found=f"{op} (PyTorch {torch.__version__})",
        ) from None
