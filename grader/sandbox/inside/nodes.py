"""Operations, sizes and arguments as `grader.plan.schema` writes them. Runs in the box."""

from __future__ import annotations

import math
import re
from typing import Any

import torch

Json = dict[str, Any]

# How a formula of the batch size is worked out with Python's `operator`.
_FORMULAS = {
    "Add": "add", "Mul": "mul", "FloorDiv": "floordiv", "CleanDiv": "floordiv", "Mod": "mod",
    "PythonMod": "mod", "IntTrueDiv": "truediv", "FloatTrueDiv": "truediv",
}  # fmt: skip


def size(dim: Any) -> int | str:
    """Give a size as a number, or as a formula in which the batch size is called B."""
    if isinstance(dim, int):
        return dim
    expression = dim.node.expr  # a number once a comparison has settled it
    return int(expression) if expression.is_Integer else re.sub(r"\bs\d+\b", "B", str(expression))


def operation(expression: Any) -> str | None:
    """Return the function of `operator` that joins a formula's parts, None if there is none."""
    return _FORMULAS.get(type(expression).__name__)


def op_name(op: torch._ops.OpOverload) -> str:
    """Write an operation as `aten.conv2d.default`."""
    return f"{op.namespace}.{op._schema.name.split('::')[1]}.{op._overloadname}"


def node_json(name: str, op: str, args: list[Any], kwargs: Json, value: Any, place: Json) -> Json:
    """Describe one call, whose arguments are JSON already, and `value`, which it returned."""
    is_tensor = isinstance(value, torch.Tensor)
    return {
        "name": name,
        "op": op,
        "args": args,
        "kwargs": kwargs,
        "shape": [size(d) for d in value.shape] if is_tensor else None,
        "dtype": str(value.dtype) if is_tensor else type(value).__name__,
        **place,
    }


def plain(value: Any) -> Any:
    """Write an argument that is neither a tensor nor a size nor a list."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"float:{value}"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, torch.device):
        return "device"
    return str(value)  # torch.float32, torch.contiguous_format, torch.strided
