"""Remarks on a network that no check judges, but its author will want to read."""

from __future__ import annotations

from grader.plan.arguments import name_of, words
from grader.plan.evidence import title
from grader.plan.findings import TensorCount
from grader.plan.path import Trace

_NO_GRADIENT = words(
    """detach argmax argmin argsort eq ne lt le gt ge equal greater less greater_equal less_equal
    not_equal sign floor ceil round trunc one_hot bernoulli logical_and logical_not logical_or
    isfinite isnan floor_divide heaviside randint_like"""
)


def notes_of(train: Trace, tensors: list[TensorCount]) -> list[str]:
    """Name trainable tensors that act on the output and yet never learn, and frozen ones."""
    learning = _learning(train)
    cut = [t.name for t in tensors if t.trainable and t.used and t.name not in learning]
    frozen = [t.name for t in tensors if t.role == "parameter" and t.used and not t.trainable]
    notes: list[str] = []
    if cut:
        places = dict.fromkeys(
            f"{title(node)} ({node.where})" if node.where else title(node)
            for node in train.flow.nodes
            if train.on_path(node) and name_of(node) in _NO_GRADIENT
        )
        notes.append(f"no gradient reaches {_listed(cut)}: it ends at {_listed([*places])}")
    if frozen:
        notes.append(f"frozen, so never trained: {_listed(frozen)}")
    return notes


def _learning(trace: Trace) -> frozenset[str]:
    """Return every value that a gradient from the output reaches."""
    reached: set[str] = set()
    pending = [trace.flow.output]
    while pending:
        name = pending.pop()
        node = trace.nodes.get(name)
        if name not in reached and (node is None or name_of(node) not in _NO_GRADIENT):
            reached.add(name)
            pending.extend(trace.inputs.get(name, ()))
    return frozenset(reached)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
