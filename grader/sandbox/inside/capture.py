"""A live `nn.Module` becomes the JSON of `grader.plan.schema.Model`. Runs in the box."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from nodes import size
from recorder import BATCH, Recorder
from tensors import CONSTANTS, CannotCapture, list_tensors, owners, tensor_json, undo_overrides
from torch import nn
from torch.utils._pytree import tree_leaves

Json = dict[str, Any]

_INPUTS = ((1, 28, 28), (3, 28, 28), (1, 32, 32), (3, 32, 32))
_CANNOT = "forward does something that cannot be written as a graph of PyTorch's operations"
_HELP = (
    "use PyTorch's functions on tensors only: no NumPy, no other libraries, and no if, while or "
    "index that depends on what is in an image"
)


@dataclass(frozen=True)
class Captured:
    """A model as JSON; the names of its tensors by `id`; how many scores an image gets."""

    json: Json
    names: dict[int, str]
    classes: int


class Tensors:
    """The tensors of a model, and those that its graphs turn out to hold, as JSON by name."""

    def __init__(self, model: nn.Module | None = None) -> None:
        """List what `model` holds."""
        listed = list_tensors(model) if model is not None else []
        self.entries: dict[str, Json] = {entry["name"]: entry for entry, _ in listed}
        self.names: dict[int, str] = {id(tensor): entry["name"] for entry, tensor in listed}

    def name(self, tensor: torch.Tensor) -> str:
        """Name a tensor; one that is not the model's own is a constant, entered once."""
        if id(tensor) in self.names:
            return self.names[id(tensor)]
        entry = tensor_json("", "constant", "constant", tensor, nn.Identity())
        same = (e["name"] for e in self.entries.values() if {**e, "name": ""} == entry)
        name: str = next(same, f"constant_{len(self.entries)}")
        self.entries[name] = {**entry, "name": name}
        return name


def capture(model: nn.Module, class_name: str, where: str, files: set[str]) -> Captured:
    """Describe `model` as a Plan's `model`.

    `files` are the places (`cell 3`) that belong to the submission: a node's `where` is the
    innermost of them on its stack.

    Raises CannotCapture, or whatever the student's own `forward` raises.
    """
    undo_overrides(model)
    module, shape = _accepting(model)
    tensors = Tensors(model)
    paths = {id(owner): path for path, owner in owners(model)}
    graphs = {}
    for mode in ("train", "eval"):
        module.train(mode == "train")
        recorder = Recorder(
            tensors.name, paths, files, gradients=mode == "train", taken=set(tensors.entries)
        )
        graphs[mode], classes = _graph(recorder, module, shape)
    if sum(len(e["init"].get("values", ())) for e in tensors.entries.values()) > CONSTANTS:
        raise CannotCapture(
            f"buffers and constants hold more than {CONSTANTS:,} numbers",
            "keep what the network knows in parameters",
        )
    described = {
        "class_name": class_name,
        "where": where,
        "input_shape": list(shape),
        "tensors": list(tensors.entries.values()),
        "train": graphs["train"],
        "eval": graphs["eval"],
    }
    return Captured(described, tensors.names, classes)


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


def _graph(recorder: Recorder, module: nn.Module, shape: tuple[int, ...]) -> tuple[Json, int]:
    with _restored(module, recorder), _told():
        result = recorder.record(module, x=(shape, torch.float32))
    scores = _pick_output(result)
    classes = _classes(scores, recorder.nodes)
    return {"inputs": ["x"], "nodes": recorder.nodes, "output": recorder.name(scores)}, classes


def loss_json(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], classes: int, files: set[str]
) -> Json:
    """Describe a loss as a graph of `output` (B, classes) and `target` (B,), both of one batch.

    Raises CannotCapture, or whatever the loss raises.
    """
    tensors = Tensors()
    recorder = Recorder(tensors.name, {}, files, gradients=True)
    inputs = {"output": ((classes,), torch.float32), "target": ((), torch.int64)}
    result = recorder.record(loss, **inputs)
    if tensors.entries:
        raise CannotCapture("the loss holds tensors of its own", "use numbers or a function")
    if not isinstance(result, torch.Tensor) or result.dim() != 0:
        raise CannotCapture("the loss does not return one number", "return the mean over a batch")
    return {"inputs": list(inputs), "nodes": recorder.nodes, "output": recorder.name(result)}


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Say what an error means in a forward that runs on images, and does not without contents."""
    try:
        yield
    except CannotCapture:
        raise
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), "")
        message = f"{_CANNOT}: {type(error).__name__}: {reason}"
        raise CannotCapture(message, _HELP).with_traceback(error.__traceback__) from None


@contextlib.contextmanager
def _restored(module: nn.Module, recorder: Recorder) -> Iterator[None]:
    """Undo what a forward assigns to modules; an assigned buffer becomes a copy into it."""
    tables = ("_buffers", "_parameters", "_modules")
    modules = [owner for _, owner in owners(module)]
    before = [(m, dict(vars(m)), {t: dict(vars(m)[t]) for t in tables}) for m in modules]
    yield
    for owner, attributes, held in before:
        for key, buffer in held["_buffers"].items():
            now = owner._buffers.get(key)
            if buffer is not None and now is not None and now is not buffer:
                recorder.copy(buffer, now)
        vars(owner).clear()
        vars(owner).update(attributes)
        for table, content in held.items():
            vars(owner)[table].clear()
            vars(owner)[table].update(content)


def _pick_output(results: Any) -> torch.Tensor:
    """Take the model's only result, or the first of several that looks like class scores."""
    tensors = [r for r in tree_leaves(results) if isinstance(r, torch.Tensor)]
    if not tensors:
        raise CannotCapture("forward returns no tensor", "return the scores of the ten classes")
    return next((t for t in tensors if t.dim() == 2), tensors[0])


def _classes(scores: torch.Tensor, nodes: list[Json]) -> int:
    """Return the width of an output of shape [B, classes]; refuse any other shape."""
    shape = [size(d) for d in scores.shape]
    if shape and shape[0] == BATCH:
        fixed = (n["where"] for n in nodes if n["shape"] and n["shape"][0] == BATCH)
        raise CannotCapture(
            f"forward works for a batch of {BATCH} and no other size",
            "write x.size(0), or -1, where a batch size is a number, and no loop over images",
            next(fixed, ""),
        )
    classes = shape[1] if len(shape) == 2 and shape[0] == "B" else 0
    if not isinstance(classes, int) or classes < 10:
        raise CannotCapture(
            f"forward returns shape [{', '.join(map(str, shape))}] for a batch of B images; "
            "expected [B, 10]",
            "average or flatten the last feature map so that ten numbers an image are left",
            nodes[-1]["where"] if nodes else "",
        )
    return classes
