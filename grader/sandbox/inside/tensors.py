"""Every tensor a model holds, as the JSON of `grader.plan.schema.Tensor`. Runs in the box."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

Json = dict[str, Any]

CONSTANTS = 100_000  # numbers that may be baked into a graph, as grader.plan.schema has it


class CannotCapture(Exception):
    """The model does not fit into a Plan; the message says why, in the student's terms."""

    def __init__(self, message: str, help: str = "", where: str = "") -> None:
        """Take `where` for an error that shows only after the line at fault has run."""
        super().__init__(message)
        self.help = help
        self.where = where


# What a model may override to hide parameters from whoever counts them.
_TABLES = (
    "parameters", "named_parameters", "buffers", "named_buffers", "modules", "named_modules",
    "children", "named_children", "_named_members", "state_dict", "__dir__",
)  # fmt: skip


def undo_overrides(model: nn.Module) -> None:
    """Give a model back PyTorch's own ways to list what it holds."""
    for _, module in owners(model):
        for owner in (module, *type(module).__mro__):
            if owner is module or not owner.__module__.startswith(("torch.", "builtins")):
                for name in _TABLES:
                    if name in vars(owner):
                        delattr(owner, name)


def set_mode(model: nn.Module, training: bool) -> None:
    """Set the mode, also of a network whose own `train` is something else: one that trains it."""
    own = type(model).train.__code__
    sets = "train" in own.co_names or own.co_varnames[1:2] == ("mode",)
    usual = sets and not {"backward", "step", "zero_grad"} & set(own.co_names)
    (type(model) if usual else nn.Module).train(model, training)


@contextlib.contextmanager
def single_precision(model: nn.Module) -> Iterator[None]:
    """Let a network be one of single precision for a while: the precision is the grader's own."""
    double = [each.tensor for each in held(model) if each.tensor.dtype == torch.float64]
    for tensor in double:
        tensor.grad, tensor.data = None, tensor.data.float()
    try:
        yield
    finally:
        for tensor in double:
            tensor.grad, tensor.data = None, tensor.data.double()


def owners(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Walk modules, each once, by their raw tables: `named_modules` may be overridden."""
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


class Held(NamedTuple):
    """A parameter or a buffer: its whole name, its role, its name in its owner, and that owner."""

    name: str
    role: str
    key: str
    tensor: torch.Tensor
    owner: nn.Module


def held(model: nn.Module) -> Iterator[Held]:
    """Yield every parameter and buffer once, under the name that comes first.

    A lazy one that no call has given a shape is left out: it holds no numbers, so it counts as
    none, as an `nn.Linear` that is never made counts as none.
    """
    seen: set[int] = set()
    for path, module in owners(model):
        tables = (("parameter", module._parameters), ("buffer", module._buffers))
        for role, table in tables:
            for key, tensor in table.items():
                if tensor is None or id(tensor) in seen or nn.parameter.is_lazy(tensor):
                    continue
                seen.add(id(tensor))
                yield Held(f"{path}.{key}" if path else key, role, key, tensor, module)


def list_tensors(model: nn.Module) -> list[tuple[Json, torch.Tensor]]:
    """Describe everything that is held; raises CannotCapture for what is not finite."""
    return [(tensor_json(*each), each.tensor) for each in held(model)]


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copy every parameter and buffer."""
    return {
        each.name: each.tensor.detach().clone(memory_format=torch.contiguous_format)
        for each in held(model)
    }


def put(model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Write weights into the parameters and buffers of these names whose shapes they have."""
    with torch.no_grad():
        for each in held(model):
            if each.name in weights and weights[each.name].shape == each.tensor.shape:
                each.tensor.copy_(weights[each.name])


def tensor_json(name: str, role: str, key: str, tensor: torch.Tensor, owner: nn.Module) -> Json:
    """Describe one tensor; raises CannotCapture when it is not finite."""
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
        return {"type": "values", "values": flat.tolist()[: CONSTANTS + 1]}
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
