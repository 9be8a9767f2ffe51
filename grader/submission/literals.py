"""The numbers and words in the code of a submission's own training, which may tell it weights."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator

from grader.plan.findings import Fixed
from grader.plan.tables import BITS, compressed_bits, order_bits, width
from grader.submission.program import Program, Statement

FREE = 1_000
"""Numbers that words, and the order of numbers, are told by: free. Long files take some hundred."""

_SMALL = 64  # whole numbers up to this are sizes and counts


def fixed_in_code(program: Program) -> Fixed:
    """Count what the code of a training brings along: numbers that differ, words, their order."""
    constants = [
        (value, statement)
        for module in program.modules
        for statement in module.statements
        for value in _constants(statement)
    ]
    numbers = [value for value, _ in constants if isinstance(value, int | float)]
    different = {value for value in numbers if not (isinstance(value, int) and value <= _SMALL)}
    words = b"\n".join(_as_bytes(value) for value, _ in constants)
    free = math.ceil((order_bits(numbers) + compressed_bits(words)) / BITS) - FREE
    most = max(constants, key=lambda each: len(each[1].source), default=None)
    where = f"{most[1].file}, line {most[1].line}" if most else ""
    count = sum(map(width, different)) + max(0, free)
    return Fixed("numbers and words in the code", "of its own training", count, where)


def _constants(statement: Statement) -> Iterator[object]:
    try:
        tree = ast.parse(statement.source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and not isinstance(node.value, bool | None):
            yield from (
                (node.value.real, node.value.imag)
                if isinstance(node.value, complex)
                else (node.value,)
            )


def _as_bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return value if isinstance(value, bytes) else b""
