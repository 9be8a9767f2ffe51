"""Values as sums of multiples of other values, so that what is added and taken away is seen.

`(x + 2 * y) - (y + y.detach())` is x, whatever y is. Every value is held as a sum of terms; what
is no sum is a term by itself, and results of the same operation on the same values are one term.
What falls below a float's resolution beside the rest of its sum is no term of it any more.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from grader.plan.arguments import argument, first_read, flag, name_of, number, reads, words
from grader.plan.constants import NOTHING, Constants, value_of
from grader.plan.functional import REREAD, WRITE
from grader.plan.schema import Node, Ref, Shape, Value

LEAST = 1e-5
"""A term this many times smaller than the largest of its sum changes nothing worth counting."""

_MOST = 16  # terms of one sum; a longer one is a term by itself
_SAME = words("alias detach contiguous clone lift_fresh lift_fresh_copy")
_RESHAPED = words(
    """view reshape flatten unflatten squeeze unsqueeze _unsafe_view view_as reshape_as ravel
    expand expand_as broadcast_to"""
)
_DROPOUTS = words("dropout feature_dropout alpha_dropout feature_alpha_dropout")
_SUMS = words("add sub subtract rsub")
_QUOTIENTS = words("div divide true_divide")
_RANDOM = _DROPOUTS | words(
    """native_dropout rand rand_like randn randn_like randint randint_like randperm normal normal_
    bernoulli bernoulli_ multinomial uniform uniform_ exponential exponential_ random random_ rrelu
    rrelu_with_noise scaled_dot_product_attention lstm gru rnn_tanh rnn_relu fractional_max_pool2d
    fractional_max_pool3d"""
)
_REAL = ("torch.float", "torch.bfloat")


@dataclass(frozen=True)
class Sum:
    """`constant` plus each of `terms`, the name of a value, as often as its factor says.

    `lost` tells that something of what was added is gone from the result.
    """

    terms: Mapping[str, float]
    constant: float = 0.0
    lost: bool = False

    @property
    def key(self) -> Hashable:
        """Return what equal sums have in common."""
        return (self.constant, *sorted(self.terms.items()))


class Sums:
    """The sum that each value of a graph is, as far as the graph has been read."""

    def __init__(self, shapes: Mapping[str, Shape | None]) -> None:
        """Begin with the values that are there before the graph runs, and their shapes."""
        self._shapes = dict(shapes)
        self._sums = {name: Sum({name: 1.0}) for name in shapes}
        self._known: dict[Hashable, str] = {}

    def add(self, node: Node, constants: Constants) -> Sum:
        """Read the next node; return what its result is a sum of."""
        self._shapes[node.name] = node.shape
        total = self._sum(node, constants) if node.dtype.startswith(_REAL) else None
        if total is None or len(total.terms) > _MOST:
            total = Sum({self._named(node): 1.0})
        self._sums[node.name] = total
        return total

    def _named(self, node: Node) -> str:
        """Return the first value that is the same as this one: its own name if there is none."""
        if name_of(node) in _RANDOM:
            return node.name
        values = [(key, node.kwargs[key]) for key in sorted(node.kwargs)]
        key = (node.op, node.dtype, self._keys(node.args), self._keys(values))
        return self._known.setdefault(key, node.name)

    def _keys(self, value: object) -> Hashable:
        if isinstance(value, Ref):
            known = self._sums.get(value.ref)
            return known.key if known is not None else value.ref
        if isinstance(value, list | tuple):
            return tuple(map(self._keys, value))
        return (type(value), value)

    def _sum(self, node: Node, constants: Constants) -> Sum | None:
        name = name_of(node)
        if name in (WRITE, REREAD):
            return None
        if name in _SUMS:
            return self._added(node, name, constants)
        if name in ("mul", "multiply"):
            return self._times(node, constants)
        if name in _QUOTIENTS and argument(node, "rounding_mode") is None:
            by = self._constant(node, "other", constants)
            return self._scaled(node, "self", 1 / by) if by else None
        if name in ("neg", "negative"):
            return self._scaled(node, None, -1.0)
        return self._same(node, name)

    def _same(self, node: Node, name: str) -> Sum | None:
        """Return the sum that a node hands on as it is."""
        source = self._sums.get(first_read(node) or "")
        if source is None:
            return None
        idle = name in _DROPOUTS and (not flag(node, "train") or number(node, "p", 0.5) == 0)
        if name in _SAME or idle or name in ("to", "_to_copy", "type_as"):
            return source
        if name in _RESHAPED and node.shape == self._shapes.get(first_read(node) or ""):
            return source
        if name == "where":
            chosen = [self._sums.get(each) for each in reads(node)[1:]]
            same = len(chosen) == 2 and chosen[0] is not None and chosen[0] == chosen[1]
            return chosen[0] if same else None
        return None

    def _constant(self, node: Node, key: str, constants: Constants) -> float | None:
        return value_of(argument(node, key), constants)

    def _times(self, node: Node, constants: Constants) -> Sum | None:
        left = self._constant(node, "self", constants)
        right = self._constant(node, "other", constants)
        if right is not None:
            return self._scaled(node, "self", right)
        return self._scaled(node, "other", left) if left is not None else None

    def _scaled(self, node: Node, key: str | None, by: float) -> Sum | None:
        value = argument(node, key) if key else next(iter(node.args), None)
        source = self._sums.get(value.ref) if isinstance(value, Ref) else None
        return None if source is None else _total([(source, by)])

    def _added(self, node: Node, name: str, constants: Constants) -> Sum | None:
        """Add two values, one of them `alpha` times."""
        alpha = number(node, "alpha", 1.0)
        factors = {"rsub": (-alpha, 1.0), "add": (1.0, alpha)}.get(name, (1.0, -alpha))
        operands = [
            (self._operand(argument(node, key), constants), factor)
            for key, factor in zip(("self", "other"), factors, strict=True)
        ]
        known = [(part, factor) for part, factor in operands if part is not None]
        return _total(known) if len(known) == 2 else None

    def _operand(self, value: Value, constants: Constants) -> Sum | None:
        constant = value_of(value, constants)
        if constant is not None:
            return Sum({}, constant)
        return self._sums.get(value.ref) if isinstance(value, Ref) else None


def _total(parts: Iterable[tuple[Sum, float]]) -> Sum:
    """Add multiples of sums, and leave out the terms that come to nothing."""
    terms: dict[str, float] = {}
    constant, largest = 0.0, 0.0
    for part, factor in parts:
        constant += factor * part.constant
        largest = max(largest, abs(factor * part.constant))
        for name, times in part.terms.items():
            terms[name] = terms.get(name, 0.0) + factor * times
    most = max(map(abs, terms.values()), default=0.0)
    kept = {
        name: times
        for name, times in terms.items()
        if abs(times) > LEAST * most and abs(times) > NOTHING * largest
    }
    return Sum(kept, constant, lost=len(kept) < len(terms))
