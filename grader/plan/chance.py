"""Values made of random numbers alone, and what they are on average.

Noise that is added or multiplied in training is a regulariser, as dropout is: evaluation goes on
with its mean. So `x + 0.1 * randn_like(x)` becomes x, and so does `x * (1 + 0.1 * randn_like(x))`.
"""

from __future__ import annotations

from grader.plan.arguments import argument, name_of, reads, words
from grader.plan.constants import Constants, value_of
from grader.plan.path import Trace, is_number
from grader.plan.schema import Node, Ref, Value

_MANY = 32  # sources of noise that one value may come from; with more nothing is known of it
_LEAST = 1e-3  # a mean so small is next to nothing beside the noise around it

_PASSED_ON = words(
    """view reshape flatten unflatten squeeze unsqueeze expand expand_as broadcast_to repeat permute
    transpose slice to _to_copy type_as contiguous clone detach alias"""
)
_SUMS = words("add sub subtract rsub")
_PRODUCTS = words("mul multiply")
_QUOTIENTS = words("div divide true_divide")
_POINTWISE = _PASSED_ON | _PRODUCTS | _QUOTIENTS | words("neg abs std sqrt square exp softplus")
_NORMAL = words("randn randn_like normal normal_")
_UNIFORM = words("rand rand_like uniform_")
_MASKS = words("bernoulli bernoulli_")


class Chance:
    """What is random in a graph.

    `means` holds every value made of random numbers and known ones alone, with its mean (None if
    that is not known); `centred` are those of mean zero, also when scaled by what they have nothing
    to do with.
    """

    def __init__(self, trace: Trace) -> None:
        """Follow the random numbers through a graph, in its order."""
        self.means: dict[str, float | None] = {}
        self.centred: set[str] = set()
        self._trace, self._asked = trace, 0
        self._sources: dict[str, frozenset[str]] = {}
        for node in trace.flow.nodes:
            self._add(node, name_of(node))

    def mean(self, value: Value) -> float | None:
        """Return what an argument is on average, where that is one known number."""
        if isinstance(value, Ref) and value.ref in self.means:
            mean = self.means[value.ref]
            return None if mean is not None and 0 < abs(mean) < _LEAST else mean
        return value_of(value, self._trace.constants)

    def is_noise_on(self, name: str, other: str) -> bool:
        """Tell whether a value is noise that is scaled by nothing but what another is made of.

        Noise scaled by a branch of its own would train what evaluation does not have.
        """
        self._asked += 1
        if name not in self.centred or self._asked > _MANY:
            return False
        nodes, made_of = self._trace.nodes, self._behind(other)
        pending, seen = [name], set[str]()
        while pending:
            each = pending.pop()
            if each in seen or each in made_of or each in self.means or each not in nodes:
                continue
            seen.add(each)
            if name_of(nodes[each]) not in _POINTWISE:
                return False
            pending.extend(self._trace.edges[each])
        return True

    def _behind(self, name: str) -> set[str]:
        found: set[str] = set()
        pending = [name]
        while pending:
            each = pending.pop()
            if each not in found:
                found.add(each)
                pending.extend(self._trace.edges.get(each, ()))
        return found

    def _add(self, node: Node, name: str) -> None:
        if name in _NORMAL | _UNIFORM | _MASKS:
            self._sources[node.name] = frozenset([node.name])
            mean = _drawn(node, name, self._trace.constants)
            if node.name not in self._trace.seen:
                self.means[node.name] = mean
        else:
            behind = [self._sources[each] for each in reads(node) if each in self._sources]
            if not behind or node.name in self._trace.constants:
                return
            self._sources[node.name] = frozenset().union(*behind)
            if self._is_pure(node):
                self.means[node.name] = self._mean(node, name)
        if self.means.get(node.name) == 0 or self._is_centred(node, name):
            self.centred.add(node.name)

    def _is_pure(self, node: Node) -> bool:
        """Tell whether nothing but random and known numbers goes into a value."""
        nodes, constants = self._trace.nodes, self._trace.constants
        return all(
            each in self.means or each in constants or (each in nodes and is_number(nodes[each]))
            for each in self._trace.edges[node.name]
        )

    def _mean(self, node: Node, name: str) -> float | None:
        if name in _PASSED_ON:
            return self.mean(node.args[0]) if node.args else None
        left, right = (self.mean(argument(node, key)) for key in ("self", "other"))
        if left is None or right is None or argument(node, "alpha", 1) != 1:
            return None
        if name in _SUMS:
            signs = {"add": (1, 1), "rsub": (-1, 1)}.get(name, (1, -1))
            return signs[0] * left + signs[1] * right
        if name in _PRODUCTS and self._are_apart(node):
            return left * right
        constant = value_of(argument(node, "other"), self._trace.constants)
        return left / constant if name in _QUOTIENTS and constant else None

    def _is_centred(self, node: Node, name: str) -> bool:
        chosen = [each in self.centred for each in reads(node)]
        if name in _SUMS:
            return len(chosen) == 2 and all(chosen)
        if name in _PRODUCTS:
            return any(chosen) and self._are_apart(node)
        if name in _QUOTIENTS:
            return chosen[:1] == [True] and self._are_apart(node)
        return name in _PASSED_ON and chosen[:1] == [True]

    def _are_apart(self, node: Node) -> bool:
        """Tell whether the operands come from different random numbers, as far as is followed."""
        behind = [self._sources.get(each, frozenset()) for each in reads(node)]
        whole = frozenset().union(*behind)
        return len(whole) <= _MANY and len(whole) == sum(map(len, behind))


def _drawn(node: Node, name: str, constants: Constants) -> float | None:
    """Return the mean of numbers drawn with the arguments a node gives; None if it is not known."""
    given = [value_of(value, constants) for value in node.args]
    if name == "normal":
        return given[0] if given else None
    if name == "normal_":
        return given[1] if len(given) > 1 else 0.0
    if name == "uniform_":
        low, high = given[1:3] if len(given) > 2 else (0.0, 1.0)
        return None if low is None or high is None else (low + high) / 2
    if name in _MASKS:
        return given[1] if len(given) > 1 else given[0] if given else None
    return 0.5 if name in _UNIFORM else 0.0
