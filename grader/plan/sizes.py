"""Sizes that depend on the batch, as whole numbers.

A shape in a Plan holds formulas of the batch size (`2*B`). The facts put a large prime in its
place: then every size is a whole number, and which sizes hold the batch is a matter of division.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

BATCH = 1_000_003
"""The prime that stands for the batch size; no size of an image network comes near it."""

MAX_FORMULAS = 1_000
"""Different formulas in one graph; ordinary networks have a handful."""

_FORMULA = re.compile(r"[0-9B+*/() -]+")
_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


@lru_cache(maxsize=4 * MAX_FORMULAS)
def size_of(dim: int | str, batch: int = BATCH) -> int | None:
    """Return a size with `batch` for `B`; None for a formula that is no plain arithmetic."""
    if isinstance(dim, int):
        return dim
    if not _FORMULA.fullmatch(dim):
        return None
    try:
        return _evaluate(ast.parse(dim, mode="eval").body, batch)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _evaluate(tree: ast.expr, batch: int) -> int:
    match tree:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id="B"):
            return batch
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_evaluate(left, batch), _evaluate(right, batch))
    raise ValueError("not a formula of the batch size")


def sizes_of(shape: Sequence[int | str] | None) -> tuple[int, ...] | None:
    """Return all sizes of a shape, or None if one of them is unknown or there is no shape."""
    sizes = [size_of(dim) for dim in shape] if shape is not None else [None]
    known = tuple(size for size in sizes if size is not None and size >= 0)
    return known if len(known) == len(sizes) else None


def per_image(shape: Sequence[int | str] | None) -> list[int]:
    """Return a shape without the batch: `[B, 10, 7, 7]` gives `[10, 7, 7]`."""
    sizes = sizes_of(shape) or ()
    return [size // BATCH if size % BATCH == 0 else size for size in sizes if size != BATCH]
