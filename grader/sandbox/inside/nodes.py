"""One operation of an exported graph as the JSON of `grader.plan.schema.Node`. Runs in the box."""

from __future__ import annotations

import math
import operator
import re
from typing import Any

import torch

Json = dict[str, Any]


def size(dim: Any) -> int | str:
    """Give a size as a number, or as a formula in which the batch size is called B."""
    return dim if isinstance(dim, int) else re.sub(r"\bs\d+\b", "B", str(dim.node.expr))


def node_json(node: torch.fx.Node, refs: dict[str, str], files: set[str]) -> Json:
    """Describe one call; `refs` maps graph names to the plan's, `files` are the submission's."""
    value: Any = node.meta.get("val")
    is_tensor = isinstance(value, torch.Tensor)
    return {
        "name": node.name,
        "op": _op_name(node.target),
        "args": [_value(a, refs) for a in node.args],
        "kwargs": {k: _value(v, refs) for k, v in node.kwargs.items()},
        "shape": [size(d) for d in value.shape] if is_tensor else None,
        "dtype": str(value.dtype) if is_tensor else type(value).__name__,
        "module": _module_path(node),
        "where": _where(node, files),
    }


def _op_name(target: Any) -> str:
    if isinstance(target, torch._ops.OpOverload):
        return f"{target.namespace}.{target._schema.name.split('::')[1]}.{target._overloadname}"
    if getattr(target, "__module__", "") in (operator.__name__, "_operator"):
        return f"operator.{target.__name__}"
    name = getattr(target, "__name__", str(target))
    return f"{getattr(target, '__module__', '')}.{name}"  # refused by the allow-list, with its name


def _value(value: Any, refs: dict[str, str]) -> Any:
    if isinstance(value, torch.fx.Node):
        return {"ref": refs[value.name]}
    if isinstance(value, (list, tuple)):
        return [_value(v, refs) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return f"float:{value}"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, torch.device):
        return "device"
    return str(value)  # torch.float32, torch.contiguous_format, torch.strided


def _module_path(node: torch.fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    path = paths[-1].removeprefix("L['self']").removeprefix(".") if paths else ""
    return "" if path.startswith("_empty") else path


def _where(node: torch.fx.Node, files: set[str]) -> str:
    frames = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    inner = [f"{file}, line {line}" for file, line in frames if file in files]
    return inner[-1] if inner else ""
