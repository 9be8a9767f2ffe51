"""A live `nn.Module` becomes the JSON of `grader.plan.schema.Model`. Runs in the box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from nodes import node_json, size
from tensors import CONSTANTS, CannotCapture, list_tensors, tensor_json, undo_overrides
from torch import nn

Json = dict[str, Any]

BATCH = 4  # the batch size of the traced example; it stays symbolic in the graph
_INPUTS = ((1, 28, 28), (3, 28, 28), (1, 32, 32), (3, 32, 32))
_ASSERTIONS = ("_assert_scalar", "_assert_async", "sym_constrain", "_assert_tensor_metadata")


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
    undo_overrides(model)
    module, shape = _accepting(model)
    tensors = list_tensors(model)
    names = {id(tensor): entry["name"] for entry, tensor in tensors}
    entries = {entry["name"]: entry for entry, _ in tensors}
    graphs = {}
    for mode in ("train", "eval"):
        module.train(mode == "train")
        graphs[mode], classes = _graph(module, shape, names, entries, files)
    if sum(len(e["init"].get("values", ())) for e in entries.values()) > CONSTANTS:
        raise CannotCapture(
            f"buffers and constants hold more than {CONSTANTS:,} numbers",
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
        role_json = tensor_json("", "constant", "constant", tensor, nn.Identity())
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
            nodes.append(node_json(node, refs, files))
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
            f"forward returns shape [{', '.join(str(size(d)) for d in shape)}] for a batch of B "
            "images; expected [B, 10]",
            "average or flatten the last feature map so that ten numbers an image are left",
        )
    return int(value.shape[1])


def _is_batch_size(size: Any) -> bool:
    return isinstance(size, torch.SymInt) and size.node.expr.is_Symbol


def _at_least_ten(size: Any) -> bool:
    return isinstance(size, int) and size >= 10
