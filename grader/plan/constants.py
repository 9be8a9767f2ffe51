"""Values whose every element is one known number at every step of training.

Multiplying by such a zero, or scaling by next to nothing, cuts the way of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from grader.plan.arguments import argument, first_read, flag, name_of, number, reads, words
from grader.plan.functional import REREAD, WRITE
from grader.plan.schema import Node, Ref, Value

NOTHING = 2.0**-23
"""A factor below float32's resolution: a sum with what it scales stays as it is."""

_SAME_VALUE = words(
    """alias detach view reshape flatten unflatten squeeze unsqueeze permute transpose t expand
    expand_as broadcast_to repeat contiguous clone to _to_copy type_as lift_fresh lift_fresh_copy
    select slice narrow movedim swapaxes tile getitem chunk split split_with_sizes"""
)
_CREATED = {"zeros": 0.0, "zeros_like": 0.0, "new_zeros": 0.0, "zero_": 0.0, "zero": 0.0,
            "ones": 1.0, "ones_like": 1.0, "new_ones": 1.0}  # fmt: skip

Constants = Mapping[str, float]


def value_of(value: Value, constants: Constants) -> float | None:
    """Return the one number an argument holds, if it is known."""
    if isinstance(value, Ref):
        return constants.get(value.ref)
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else None


def is_nothing(value: float | None) -> bool:
    """Tell whether a factor is known and too small to let anything through."""
    return value is not None and abs(value) < NOTHING


def constant(node: Node, constants: Constants) -> float | None:
    """Return the number that every element of a result is, if it is known."""
    name = name_of(node)
    if name in _CREATED:
        return _CREATED[name]
    for group, rule in _RULES:
        if name in group:
            return rule(node, constants)
    return None


def _written(node: Node, constants: Constants) -> float | None:
    values = {constants.get(part) for part in reads(node)}
    return values.pop() if len(values) == 1 else None


def _same(node: Node, constants: Constants) -> float | None:
    return constants.get(first_read(node) or "")


def _filled(node: Node, constants: Constants) -> float | None:
    keys = ("fill_value", "value", "src")
    value = next((v for key in keys if (v := argument(node, key)) is not None), None)
    return value_of(value, constants)


def _dropped(node: Node, constants: Constants) -> float | None:
    if not flag(node, "train"):
        return _same(node, constants)
    return 0.0 if number(node, "p", 0.0) >= 1 else None


def _operands(node: Node, constants: Constants) -> tuple[float | None, float | None]:
    second = node.args[1] if len(node.args) > 1 else argument(node, "other")
    first = value_of(node.args[0], constants) if node.args else None
    return first, value_of(second, constants)


def _product(node: Node, constants: Constants) -> float | None:
    left, right = _operands(node, constants)
    if is_nothing(left) or is_nothing(right):
        return 0.0
    both = left is not None and right is not None and name_of(node) in ("mul", "multiply")
    return left * right if both and left is not None and right is not None else None


def _quotient(node: Node, constants: Constants) -> float | None:
    left, right = _operands(node, constants)
    if is_nothing(left) or (right is not None and abs(right) > 1 / NOTHING):
        return 0.0
    return left / right if left is not None and right else None


def _power(node: Node, constants: Constants) -> float | None:
    return 1.0 if _operands(node, constants)[1] == 0 else None


def _clamped(node: Node, constants: Constants) -> float | None:
    low, high = (value_of(argument(node, key), constants) for key in ("min", "max"))
    return low if low == high else None


def _negated(node: Node, constants: Constants) -> float | None:
    value = _operands(node, constants)[0]
    return None if value is None else -value


_RULES: tuple[tuple[frozenset[str], Callable[[Node, Constants], float | None]], ...] = (
    (words(WRITE), _written),
    (_SAME_VALUE | words(REREAD), _same),
    (words("full full_like new_full fill fill_ copy copy_"), _filled),
    (words("dropout feature_dropout"), _dropped),
    (words("mul multiply matmul mm bmm mv dot"), _product),
    (words("div divide true_divide"), _quotient),
    (words("pow"), _power),
    (words("clamp clip"), _clamped),
    (words("neg negative"), _negated),
)
