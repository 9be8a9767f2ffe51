"""Whether evaluation runs the network that was trained.

Both graphs are brought to a common form: dropout and operations without effect are left out,
batch norm uses its running statistics, and noise of training is replaced by its mean. Then every
value has one identity in both graphs, made of its operation and the identities of its arguments,
and the outputs must be identical.
"""

from __future__ import annotations

import difflib
import math

import msgspec

from grader.plan.arguments import (
    argument,
    first_read,
    flag,
    name_of,
    number,
    reads,
    reference,
    with_argument,
    words,
)
from grader.plan.chance import Chance
from grader.plan.constants import value_of
from grader.plan.evidence import shape_of
from grader.plan.noise import DROPOUTS, RECURRENT, drops
from grader.plan.path import Trace, is_number
from grader.plan.schema import Node, Ref, Value
from grader.plan.sizes import per_image

_WITHOUT_EFFECT = words("alias detach contiguous clone lift_fresh lift_fresh_copy")
_SCALES = words("div divide true_divide mul multiply")
_SUMS = words("add sub subtract")
_SHOWN = 40  # lines of a difference, and characters of a line
_WIDTH = 160


def difference(train: Trace, evaluation: Trace) -> list[str]:
    """Return what differs: `-` is done in training only, `+` in evaluation only; empty if equal."""
    identities: dict[tuple[str, ...], int] = {}
    before = _Canonical(train, identities, training=True)
    after = _Canonical(evaluation, identities, training=False)
    if before.output == after.output:
        return []
    lines = [
        line[0] + " " + line[1:]
        for line in difflib.unified_diff(before.lines(), after.lines(), lineterm="", n=0)
        if not line.startswith(("---", "+++", "@@"))
    ]
    return lines[:_SHOWN] or ["the same operations are connected in another way"]


class _Canonical:
    """One graph in the common form."""

    def __init__(
        self, trace: Trace, identities: dict[tuple[str, ...], int], *, training: bool
    ) -> None:
        self._trace = trace
        self._training = training
        self._identities = identities
        self._dropped = {drop.node.name: drop.p for drop in drops(trace) if training}
        self._unscaled: dict[str, float] = {}  # shares kept that have still to be divided by
        self._chance = Chance(trace) if training else None
        self._ids: dict[str, int] = {}
        self._kept: dict[int, Node] = {}
        for name in (*trace.flow.inputs, *trace.tensors):
            self._ids[name] = self._identity("tensor", name)
        for node in trace.flow.nodes:
            self._ids[node.name] = self._of(node)
        self.output = self._ids.get(trace.flow.output, -1)

    def lines(self) -> list[str]:
        """Describe, in order, the operations that the output needs."""
        needed: set[str] = set()
        pending = [self._trace.flow.output]
        while pending:
            name = pending.pop()
            if name not in needed and name in self._trace.nodes:
                needed.add(name)
                pending.extend(reads(self._trace.nodes[name]))
        shown = {id(node) for node in self._kept.values()}
        return [
            self._line(node)
            for node in self._trace.flow.nodes
            if node.name in needed and id(node) in shown and node.shape is not None
            if node.name not in self._means()
        ]

    def _of(self, node: Node) -> int:
        """Return a node's identity: that of its input if it does nothing in evaluation."""
        passed = self._passed(node)
        if passed is not None:
            return self._ids[passed]
        common = self._numbers_last(self._frozen(node))
        parts = [self._text(value) for value in common.args]
        parts += [f"{key}={self._text(value)}" for key, value in sorted(common.kwargs.items())]
        identity = self._identity(common.op, *parts)
        self._kept.setdefault(identity, node)
        return identity

    def _passed(self, node: Node) -> str | None:
        """Return the input that a node hands on unchanged in evaluation, if it does."""
        name, source = name_of(node), first_read(node)
        if name in _WITHOUT_EFFECT or (name == "to" and self._dtype(source) == node.dtype):
            return source
        if node.name in self._dropped and name in (*DROPOUTS, "mul", "multiply"):
            kept = next((each for each in reads(node) if each in self._trace.seen), source)
            if name not in DROPOUTS:
                self._unscaled[node.name] = 1 - self._dropped[node.name]
            return kept
        if name in DROPOUTS and (not flag(node, "train") or number(node, "p", 0.5) == 0):
            return source
        if source in self._unscaled and self._rescales(node, name, source):
            if isinstance(argument(node, "other"), Ref):
                self._unscaled[node.name] = self._unscaled[source]
            return source
        return self._neutral(node, name)

    def _neutral(self, node: Node, name: str) -> str | None:
        """Return what is scaled by 1, or has nothing added to it, if the shape stays."""
        left, right = argument(node, "self"), argument(node, "other")
        if name not in _SCALES and name not in _SUMS:
            return None
        idle = self._is_one if name in _SCALES else self._is_zero
        kept = left if idle(right, left) else None
        if kept is None and name in ("mul", "multiply", "add") and idle(left, right):
            kept = right
        if isinstance(kept, Ref) and shape_of(self._trace, kept.ref) == node.shape:
            return kept.ref
        return None

    def _is_one(self, value: Value, _: Value) -> bool:
        mean = self._mean(value)
        return mean is not None and math.isclose(mean, 1, rel_tol=1e-3)

    def _is_zero(self, value: Value, other: Value) -> bool:
        """Tell whether a value adds nothing to another in evaluation."""
        if self._mean(value) == 0:
            return True
        if self._chance is None or not (isinstance(value, Ref) and isinstance(other, Ref)):
            return False
        return self._chance.is_noise_on(value.ref, other.ref)

    def _mean(self, value: Value) -> float | None:
        """Return the number that evaluation goes on with for a value, if there is one."""
        if self._chance:
            return self._chance.mean(value)
        return value_of(value, self._trace.constants)

    def _rescales(self, node: Node, name: str, source: str) -> bool:
        """Tell whether a node divides by the share that a dropout written by hand has kept."""
        other = argument(node, "other")
        if isinstance(other, Ref) and name in _SCALES:
            return self._is_count(other.ref)
        by = number(node, "other", 0.0)
        share = by if name in ("div", "divide", "true_divide") else 1 / by if by else 0.0
        return name in _SCALES and math.isclose(share, self._unscaled[source], rel_tol=1e-3)

    def _is_count(self, name: str) -> bool:
        """Tell whether a value is a size, or made of random numbers alone: how many were kept."""
        sized = name in self._trace.nodes and is_number(self._trace.nodes[name])
        return sized or (self._chance is not None and name in self._chance.means)

    def _frozen(self, node: Node) -> Node:
        """Return a node as evaluation should have it."""
        name = name_of(node)
        if name in ("batch_norm", "instance_norm") and reference(node, "running_mean"):
            node = with_argument(node, "momentum", 0.0)
            live = "training" if name == "batch_norm" else "use_input_stats"
            return with_argument(node, live, False) if self._training else node
        if name in RECURRENT and (self._training or not flag(node, "train")):
            return with_argument(with_argument(node, "dropout", 0.0), "train", False)
        if name == "scaled_dot_product_attention":
            kept = with_argument(node, "dropout_p", 0.0) if self._training else node
            return _without_defaults(kept)
        if name == "rrelu" and (self._training or not flag(node, "training")):
            bounds = [number(node, "lower", 1 / 8), number(node, "upper", 1 / 3)]
            return msgspec.structs.replace(node, args=[*node.args[:1], *bounds])
        return node

    def _numbers_last(self, node: Node) -> Node:
        """Return `noise * x` as `x * noise`, so that it agrees with `x * 0.5`."""
        if name_of(node) not in ("mul", "multiply", "add"):
            return node
        known = [isinstance(v, Ref) and v.ref in self._means() for v in node.args]
        return (
            msgspec.structs.replace(node, args=node.args[::-1]) if known == [True, False] else node
        )

    def _dtype(self, name: str | None) -> str:
        known = self._trace.nodes.get(name or "") or self._trace.tensors.get(name or "")
        return known.dtype if known else "torch.float32"

    def _means(self) -> dict[str, float | None]:
        return self._chance.means if self._chance else {}

    def _identity(self, *parts: str) -> int:
        return self._identities.setdefault(parts, len(self._identities))

    def _text(self, value: object) -> str:
        if isinstance(value, Ref):
            mean = self._mean(value) if value.ref in self._means() else None
            return f"%{self._ids[value.ref]}" if mean is None else repr(mean)
        if isinstance(value, list):
            return f"[{', '.join(map(self._text, value))}]"
        return repr(value)

    def _line(self, node: Node) -> str:
        common = self._frozen(node)
        shown = ", ".join(self._readable(value) for value in common.args)
        place = ", ".join(filter(None, (node.module, node.where)))
        shape = "×".join(map(str, per_image(node.shape)))
        return f"{name_of(node)}({shown}) → {shape}{f'  ({place})' if place else ''}"[:_WIDTH]

    def _readable(self, value: object) -> str:
        if isinstance(value, Ref):
            return "·" if value.ref in self._trace.nodes else value.ref
        if isinstance(value, list):
            return f"[{', '.join(map(self._readable, value))}]"
        return str(value)


def _without_defaults(node: Node) -> Node:
    """Leave out arguments at the end that say nothing, as the exporter does."""
    arguments = list(node.args)
    while arguments and arguments[-1] in (None, 0.0, False):
        arguments.pop()
    return msgspec.structs.replace(node, args=arguments)
