"""A live `nn.Module` becomes the JSON of `grader.plan.schema.Model`. Runs in the box."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

Json = dict[str, Any]

BATCH = 4  # the batch size of the traced example; it stays symbolic in the graph
_INPUTS = ((1, 28, 28), (3, 28, 28), (1, 32, 32), (3, 32, 32))
_CONSTANTS = 100_000  # numbers that may be baked into a graph, as grader.plan.schema has it
_ASSERTIONS = ("_assert_scalar", "_assert_async", "sym_constrain", "_assert_tensor_metadata")


class CannotCapture(Exception):
    """The model does not fit into a Plan; the message says why, in the student's terms."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help


@dataclass(frozen=True)
class Captured:
    """A model as JSON; the names of its tensors by `id`; how many scores an image gets."""

    json: Json
    names: dict[int, str]
    classes: int


def capture(model: nn.Module, class_name: str, where: str, files: set[str]) -> Captured:
    """Describe `model` as a Plan's `model`.

    `files` are the places (`cell 3`) that belong to the submission: a node's `where` is the
    innermost of them on its stack.

    Raises CannotCapture, or whatever the student's own `forward` raises.
    """
    _undo_overrides(model)
    module, shape = _accepting(model)
    tensors = _tensors(model)
    names = {id(tensor): entry["name"] for entry, tensor in tensors}
    entries = {entry["name"]: entry for entry, _ in tensors}
    graphs = {}
    for mode in ("train", "eval"):
        module.train(mode == "train")
        graphs[mode], classes = _graph(module, shape, names, entries, files)
    if sum(len(e["init"].get("values", ())) for e in entries.values()) > _CONSTANTS:
        raise CannotCapture(
            f"buffers and constants hold more than {_CONSTANTS:,} numbers",
            "keep what the network knows in parameters",
        )
    described = {
        "class_name": class_name,
        "where": where,
        "input_shape": list(shape),
        "tensors": list(entries.values()),
        "train": graphs["train"],
        "eval": graphs["eval"],
    }
    return Captured(described, names, classes)


class _Flat(nn.Module):
    """Hands images to a model that wants rows of 784 numbers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> Any:
        return self.model(x.flatten(1))


def _accepting(model: nn.Module) -> tuple[nn.Module, tuple[int, ...]]:
    """Return the model, wrapped if it wants flat rows, and the image shape it accepts.

    The first call also makes lazy modules and weights that are created in `forward`.
    """
    candidates = [(model, shape) for shape in _INPUTS] + [(_Flat(model), (1, 28, 28))]
    first: Exception | None = None
    for candidate, shape in candidates:
        try:
            with torch.no_grad():
                for mode in (True, False):
                    candidate.train(mode)(torch.rand(BATCH, *shape))
        except Exception as error:  # the student's forward may raise anything
            first = first or error
        else:
            return candidate, shape
    assert first is not None
    raise first


# What a model may override to hide parameters from whoever counts them.
_TABLES = (
    "parameters", "named_parameters", "buffers", "named_buffers", "modules", "named_modules",
    "children", "named_children", "_named_members", "state_dict", "__dir__",
)  # fmt: skip


def _undo_overrides(model: nn.Module) -> None:
    """Give a model back PyTorch's own ways to list what it holds."""
    for _, module in _owners(model):
        for owner in (module, *type(module).__mro__):
            if owner is module or not owner.__module__.startswith(("torch.", "builtins")):
                for name in _TABLES:
                    if name in vars(owner):
                        delattr(owner, name)


def _owners(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Walk modules by their raw tables: `named_modules` may be overridden."""
    seen: set[int] = set()
    todo = [("", model)]
    while todo:
        path, module = todo.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield path, module
        children = reversed(list(module._modules.items()))
        todo += [(f"{path}.{k}" if path else k, m) for k, m in children if m is not None]


def _tensors(model: nn.Module) -> list[tuple[Json, torch.Tensor]]:
    """List every parameter and buffer once, under the name that comes first."""
    found: list[tuple[Json, torch.Tensor]] = []
    seen: set[int] = set()
    for path, module in _owners(model):
        tables = (("parameter", module._parameters), ("buffer", module._buffers))
        for role, table in tables:
            for key, tensor in table.items():
                if tensor is None or id(tensor) in seen:
                    continue
                seen.add(id(tensor))
                name = f"{path}.{key}" if path else key
                found.append((_tensor_json(name, role, key, tensor, module), tensor))
    return found


def _tensor_json(name: str, role: str, key: str, tensor: torch.Tensor, owner: nn.Module) -> Json:
    is_norm = isinstance(owner, nn.modules.batchnorm._NormBase)
    state = is_norm and key in ("running_mean", "running_var", "num_batches_tracked")
    return {
        "name": name,
        "role": role,
        "shape": [int(n) for n in tensor.shape],
        "dtype": str(tensor.dtype),
        "owner": type(owner).__name__,
        "trainable": role == "parameter" and bool(tensor.requires_grad),
        "state": state,
        "init": _state_init(key) if state else _init_json(role, key, tensor, owner),
    }


def _state_init(key: str) -> Json:
    return {"type": "constant", "value": 1.0 if key == "running_var" else 0.0}


def _init_json(role: str, key: str, tensor: torch.Tensor, owner: nn.Module) -> Json:
    flat = tensor.detach().to(torch.float64).flatten()
    if flat.numel() == 0:
        return {"type": "constant", "value": 0.0}
    if not bool(flat.isfinite().all()):
        raise CannotCapture(f"{role} {key!r} of {type(owner).__name__} is not finite")
    if bool((flat == flat[0]).all()):
        return {"type": "constant", "value": float(flat[0])}
    if role != "parameter":
        return {"type": "values", "values": flat.tolist()[: _CONSTANTS + 1]}
    bound = _default_bound(owner, key)
    if bound is not None and _looks_uniform(flat, bound):
        return {"type": "kaiming_uniform", "bound": bound}
    return {"type": "normal", "mean": float(flat.mean()), "std": float(flat.std())}


def _default_bound(owner: nn.Module, key: str) -> float | None:
    """Return b of the U(-b, b) that PyTorch gives this tensor, or None if it has no such rule.

    Source: `reset_parameters` in torch.nn.modules.{conv,linear,rnn}.
    """
    weight = owner._parameters.get("weight")
    if isinstance(owner, (nn.modules.conv._ConvNd, nn.Linear)) and weight is not None:
        fan_in = weight[0].numel()
        return 1 / math.sqrt(fan_in) if fan_in else None
    if isinstance(owner, nn.Bilinear):
        return 1 / math.sqrt(owner.in1_features)
    if isinstance(owner, nn.RNNBase):
        return 1 / math.sqrt(owner.hidden_size)
    if isinstance(owner, nn.MultiheadAttention) and key == "in_proj_weight":
        return math.sqrt(6 / (4 * owner.embed_dim))
    return None


def _looks_uniform(flat: torch.Tensor, bound: float) -> bool:
    """Tell whether `flat` may come from U(-bound, bound): a custom initialisation does not."""
    if float(flat.abs().max()) > bound * 1.0001:
        return False
    ratio = float(flat.pow(2).mean().sqrt()) / (bound / math.sqrt(3))
    return abs(ratio - 1) < 4 / math.sqrt(flat.numel())


def _graph(
    module: nn.Module,
    shape: tuple[int, ...],
    names: dict[int, str],
    entries: dict[str, Json],
    files: set[str],
) -> tuple[Json, int]:
    example = torch.rand(BATCH, *shape)
    exported = _export(module, (example,))
    refs = _placeholders(exported, module, ["x"], names, entries)
    nodes, output, result = _nodes(exported.graph, refs, files)
    classes = _classes(result)
    return {"inputs": ["x"], "nodes": nodes, "output": output}, classes


def loss_json(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], classes: int, files: set[str]
) -> Json:
    """Describe a loss as a graph of `output` (B, classes) and `target` (B,), both of one batch.

    Raises CannotCapture, or whatever the loss raises.
    """

    class Loss(nn.Module):
        def forward(self, output: torch.Tensor, target: torch.Tensor) -> Any:
            return loss(output, target)

    example = (torch.rand(BATCH, classes).log_softmax(1), torch.arange(BATCH))
    exported = _export(Loss().train(), example)
    entries: dict[str, Json] = {}
    refs = _placeholders(exported, exported.module(), ["output", "target"], {}, entries)
    if entries:
        raise CannotCapture("the loss holds tensors of its own", "use numbers or a function")
    nodes, output, result = _nodes(exported.graph, refs, files)
    if not isinstance(result, torch.Tensor) or result.dim() != 0:
        raise CannotCapture("the loss does not return one number", "return the mean over a batch")
    return {"inputs": ["output", "target"], "nodes": nodes, "output": output}


def _export(module: nn.Module, example: tuple[torch.Tensor, ...]) -> torch.export.ExportedProgram:
    dynamic = tuple({0: torch.export.Dim.AUTO} for _ in example)
    return torch.export.export(module, example, dynamic_shapes=dynamic)


def _placeholders(
    exported: torch.export.ExportedProgram,
    module: nn.Module,
    inputs: list[str],
    names: dict[int, str],
    entries: dict[str, Json],
) -> dict[str, str]:
    """Map what the graph starts from to names: `inputs` in their order, and tensors.

    Constants the graph holds are added to `entries`.
    """
    kinds = torch.export.graph_signature.InputKind
    given = iter(inputs)
    refs: dict[str, str] = {}
    for spec in exported.graph_signature.input_specs:
        graph_name = spec.arg.name
        if spec.kind == kinds.USER_INPUT:
            refs[graph_name] = next(given)
        elif spec.kind in (kinds.PARAMETER, kinds.BUFFER):
            refs[graph_name] = names[id(_lookup(module, str(spec.target)))]
        elif spec.kind == kinds.CONSTANT_TENSOR:
            refs[graph_name] = _add_constant(exported.constants[str(spec.target)], names, entries)
        else:
            raise CannotCapture(f"forward uses a {spec.kind.name.lower()} the grader cannot read")
    return refs


def _lookup(module: nn.Module, path: str) -> object:
    *parents, leaf = path.split(".")
    for parent in parents:
        module = module._modules[parent]  # type: ignore[assignment] # export saw it there
    return module._parameters.get(leaf) if leaf in module._parameters else module._buffers[leaf]


def _add_constant(tensor: Any, names: dict[int, str], entries: dict[str, Json]) -> str:
    """Enter a tensor that is baked into the graph, once even if both graphs hold it."""
    if id(tensor) not in names:
        role_json = _tensor_json("", "constant", "constant", tensor, nn.Identity())
        same = (e["name"] for e in entries.values() if {**e, "name": ""} == role_json)
        name = next(same, f"constant_{len(entries)}")
        entries[name] = {**role_json, "name": name}
        names[id(tensor)] = name
    return names[id(tensor)]


def _nodes(
    graph: torch.fx.Graph, refs: dict[str, str], files: set[str]
) -> tuple[list[Json], str, Any]:
    """Write the graph's calls as JSON; also return the output's name and example value."""
    nodes: list[Json] = []
    for node in graph.nodes:
        if node.op == "call_function" and not any(a in str(node.target) for a in _ASSERTIONS):
            nodes.append(_node_json(node, refs, files))
            refs[node.name] = node.name
        elif node.op == "get_attr":
            raise CannotCapture(
                "forward holds a block the grader cannot read",
                "torch.no_grad, torch.cond and checkpoints inside forward are not supported",
            )
    chosen = _pick_output(next(n for n in graph.nodes if n.op == "output").args[0])
    return nodes, refs[chosen.name], chosen.meta.get("val")


def _pick_output(results: Any) -> torch.fx.Node:
    """Take the model's only result, or the first of several that looks like class scores."""
    nodes = [r for r in results if isinstance(r, torch.fx.Node)]
    if not nodes:
        raise CannotCapture("forward returns no tensor", "return the scores of the ten classes")
    for node in nodes:
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor) and value.dim() == 2:
            return node
    return nodes[0]


def _classes(value: Any) -> int:
    """Return the width of an output of shape [B, classes]; refuse any other shape."""
    shape = tuple(value.shape) if isinstance(value, torch.Tensor) else ()
    if shape and isinstance(shape[0], int) and shape[0] == BATCH:
        raise CannotCapture(
            f"forward works for a batch of {BATCH} and no other size",
            "write x.size(0), or -1, where a batch size stands as a number",
        )
    if len(shape) != 2 or not _is_batch_size(shape[0]) or not _at_least_ten(shape[1]):
        raise CannotCapture(
            f"forward returns shape [{', '.join(str(_dim(d)) for d in shape)}] for a batch of B "
            "images; expected [B, 10]",
            "average or flatten the last feature map so that ten numbers an image are left",
        )
    return int(value.shape[1])


def _is_batch_size(size: Any) -> bool:
    return isinstance(size, torch.SymInt) and size.node.expr.is_Symbol


def _at_least_ten(size: Any) -> bool:
    return isinstance(size, int) and size >= 10


def _dim(dim: Any) -> int | str:
    """Give a size as a number, or as a formula in which the batch size is called B."""
    return dim if isinstance(dim, int) else re.sub(r"\bs\d+\b", "B", str(dim.node.expr))


def _node_json(node: torch.fx.Node, refs: dict[str, str], files: set[str]) -> Json:
    value: Any = node.meta.get("val")
    is_tensor = isinstance(value, torch.Tensor)
    return {
        "name": node.name,
        "op": _op_name(node.target),
        "args": [_value(a, refs) for a in node.args],
        "kwargs": {k: _value(v, refs) for k, v in node.kwargs.items()},
        "shape": [_dim(d) for d in value.shape] if is_tensor else None,
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
