"""A live `nn.Module` becomes the JSON of `grader.plan.schema.Model`. Runs in the box."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from data import asked
from nodes import size
from recorder import BATCH, Recorder
from shadow import Shadow, ValueAsked
from tensors import (
    CONSTANTS,
    CannotCapture,
    list_tensors,
    owners,
    set_mode,
    tensor_json,
    undo_overrides,
)
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves

Json = dict[str, Any]

_PADDED = 4  # pixels that networks of old add to 28, or resize them by
_LOSS_NUMBERS = 1_000  # that a loss may hold, such as one weight a class
_CANNOT = "forward does something that cannot be written as a graph of PyTorch's operations"
_HELP = (
    "use PyTorch's functions on tensors only: no NumPy, no other libraries, and no if, while or "
    "index that depends on what is in an image"
)


@dataclass(frozen=True)
class Captured:
    """A model as JSON, names of its tensors by `id`, scores an image gets, remarks."""

    json: Json
    names: dict[int, str]
    classes: int
    notes: list[str]


class Tensors:
    """The tensors of a model, and those that its graphs turn out to hold, as JSON by name."""

    def __init__(self, model: nn.Module) -> None:
        """List what `model` holds."""
        listed = list_tensors(model)
        self.entries: dict[str, Json] = {entry["name"]: entry for entry, _ in listed}
        self.names: dict[int, str] = {id(tensor): entry["name"] for entry, tensor in listed}

    def copy(self) -> Tensors:
        """Return another that can grow on its own."""
        new = Tensors.__new__(Tensors)
        new.entries, new.names = dict(self.entries), dict(self.names)
        return new

    def name(self, tensor: torch.Tensor) -> str:
        """Name a tensor; one that is not the model's own is a constant, entered once."""
        if id(tensor) in self.names:
            return self.names[id(tensor)]
        entry = tensor_json("", "constant", "constant", tensor, nn.Identity())
        same = (e["name"] for e in self.entries.values() if {**e, "name": ""} == entry)
        name: str = next(same, f"constant_{len(self.entries)}")
        self.entries[name] = {**entry, "name": name}
        return name


def capture(
    model: nn.Module, class_name: str, where: str, files: set[str], shape: list[int] | None = None,
    given: tuple[int, ...] = (),
) -> Captured:  # fmt: skip
    """Describe `model` as a Plan's `model`, for images of `shape`, or of one that it takes.

    If it was `given` grids, or sequences of rows, [H, W], of an image's numbers, it gets these.
    `files` are the places (`net.ipynb, cell 3`) of the submission: a node's `where` is the
    innermost of them on its stack.

    Raises CannotCapture, or whatever the student's own `forward` raises.
    """
    undo_overrides(model)
    notes = _settled(model)
    module, taken = _accepting(model, [tuple(shape)] if shape else _inputs(), given)
    paths = {id(owner): path for path, owner in owners(model)}
    capturing = _Capturing(module, taken, paths, files, Tensors(model), notes)
    graphs = {mode: capturing.graph(mode) for mode in ("train", "eval")}
    tensors = capturing.tensors
    if sum(len(e["init"].get("values", ())) for e in tensors.entries.values()) > CONSTANTS:
        raise CannotCapture(
            f"buffers and constants hold more than {CONSTANTS:,} numbers",
            "store what the network learns in parameters",
        )
    described = {
        "class_name": class_name,
        "where": where,
        "input_shape": list(taken),
        "tensors": list(tensors.entries.values()),
        "train": graphs["train"],
        "eval": graphs["eval"],
    }
    return Captured(described, tensors.names, capturing.classes, notes)


def _inputs() -> list[tuple[int, ...]]:
    """Return the shapes of images that a network may take: as they come, in colour, or padded."""
    kind = asked.kind
    sides = (kind.size, kind.size + _PADDED)
    return [(channels, side, side) for side in sides for channels in (kind.channels, 3)]


def _settled(model: nn.Module) -> list[str]:
    """Replace what no graph can say by what comes nearest, and tell."""
    norms = [m for _, m in owners(model) if isinstance(m, nn.modules.batchnorm._NormBase)]
    averaging = [norm for norm in norms if norm.momentum is None and norm.track_running_stats]
    for norm in averaging:
        norm.momentum = 0.1
    if not averaging:
        return []
    return [
        f"{type(averaging[0]).__name__}(momentum=None), which averages over all batches, is "
        "trained with PyTorch's own momentum of 0.1"
    ]


@dataclass
class _Capturing:
    """Records a module in both modes; `tensors` and `notes` grow by what the recordings find."""

    module: nn.Module
    shape: tuple[int, ...]
    paths: dict[int, str]
    files: set[str]
    tensors: Tensors
    notes: list[str]
    classes: int = 0

    def graph(self, mode: str) -> Json:
        """Record it in one mode; on real values, and twice, if it asks for values."""
        set_mode(self.module, mode == "train")
        before = self.tensors
        try:
            return self._recorded(mode, before, None)
        except ValueAsked:
            return self._agreed(mode, before)

    def _agreed(self, mode: str, before: Tensors) -> Json:
        """Record it on two batches of images, and return the graph if it is the same."""
        shadow = Shadow(1.0)
        try:
            first = self._recorded(mode, before, shadow), self.tensors.entries
            second = self._recorded(mode, before, Shadow(-3.0)), self.tensors.entries
        except CannotCapture:
            raise ValueAsked(shadow.asked[-1][1] if shadow.asked else "") from None
        if first != second:
            pairs = enumerate(zip(first[0]["nodes"], second[0]["nodes"], strict=False))
            parted = next((i for i, (one, other) in pairs if one != other), len(first[0]["nodes"]))
            asked = [where for count, where in shadow.asked if count <= parted]
            raise ValueAsked(asked[-1] if asked else "")
        return second[0]

    def _recorded(self, mode: str, before: Tensors, shadow: Shadow | None) -> Json:
        self.tensors = before.copy()
        recorder = Recorder(
            self.tensors.name, self.paths, self.files, gradients=mode == "train",
            taken=set(before.entries), shadow=shadow,
        )  # fmt: skip
        with _restored(self.module, recorder), _told(), self._guesses_noted(recorder):
            result = recorder.record(self.module, x=(self.shape, torch.float32))
        scores = _pick_output(result)
        self.classes = _classes(scores, recorder.nodes)
        return {"inputs": ["x"], "nodes": recorder.nodes, "output": recorder.name(scores)}

    @contextlib.contextmanager
    def _guesses_noted(self, recorder: Recorder) -> Iterator[None]:
        """Note a softmax without `dim`: PyTorch warns, and guesses."""
        guessed: list[int] = []

        def show(message: Warning | str, *_: Any) -> None:
            if str(message).startswith("Implicit dimension choice for"):
                guessed.append(len(recorder.nodes))

        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = show  # type: ignore[assignment] # more arguments than it needs
            yield
        for node in (recorder.nodes[index] for index in guessed):
            name, place = node["op"].split(".")[1], node["where"] or node["module"]
            note = f"{name} is called without dim ({place}), so PyTorch guesses it: write dim=1"
            self.notes.extend([note] if note not in self.notes else [])


class _Shaped(nn.Module):
    """Hands images to a model that wants rows of 784 numbers, or 28 of 28."""

    def __init__(self, model: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.model, self.shape = model, shape

    def train(self, mode: bool = True) -> _Shaped:
        self.training = mode
        set_mode(self.model, mode)
        return self

    def forward(self, x: torch.Tensor) -> Any:
        return self.model(x.flatten(1) if len(self.shape) == 1 else x.reshape(-1, *self.shape))


def _accepting(
    model: nn.Module, shapes: Sequence[tuple[int, ...]], given: tuple[int, ...]
) -> tuple[nn.Module, tuple[int, ...]]:
    """Return the model, wrapped if it wants other shapes, and the first image shape it accepts.

    The first call also makes lazy modules and weights that are created in `forward`.
    """
    buffers = {n: b.clone() for n, b in nn.Module.named_buffers(model) if not is_lazy(b)}
    forms = [(_Shaped(model, given), s) for s in shapes if math.prod(s) == math.prod(given)]
    flat = _Shaped(model, (math.prod(shapes[0]),))
    candidates = [*forms, *((model, shape) for shape in shapes), (flat, shapes[0])]
    first: Exception | None = None
    for candidate, shape in candidates:
        try:
            with torch.no_grad():
                for mode in (True, False):
                    set_mode(candidate, mode)
                    candidate(torch.rand(BATCH, *shape))
        except Exception as error:  # the student's forward may raise anything
            first = first or error
        else:
            _put_back(model, buffers)
            return candidate, shape
    assert first is not None
    with contextlib.suppress(Exception), torch.no_grad():
        model(torch.rand(1, *shapes[0]))
        first = CannotCapture(
            "forward takes one image at a time, and no batch of several",
            "use x.size(0) or -1 in place of the size of a batch, as in x.flatten(1)",
        ).with_traceback(first.__traceback__)
    if len(shapes) > 1 or isinstance(first, CannotCapture):
        raise first
    reason = next(iter(str(first).strip().splitlines()), type(first).__name__)
    raise CannotCapture(
        f"the network does not take the images that its transforms make, {list(shapes[0])}: "
        f"{reason}",
        "resize the images in the transforms, or make a network for their size",
    ).with_traceback(first.__traceback__)


def _put_back(model: nn.Module, buffers: dict[str, torch.Tensor]) -> None:
    """Let running statistics kept in bare buffers be as they were before the first call."""
    with torch.no_grad():
        for name, buffer in nn.Module.named_buffers(model):
            if name in buffers and buffers[name].shape == buffer.shape:
                buffer.copy_(buffers[name])


def loss_json(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], classes: int, files: set[str]
) -> Json:
    """Describe a loss as a graph of `output` (B, classes) and `target` (B,), both of one batch.

    Raises CannotCapture, or whatever the loss raises.
    """
    recorder = Recorder(lambda tensor: _written(recorder, tensor), {}, files, gradients=True)
    inputs = {"output": ((classes,), torch.float32), "target": ((), torch.int64)}
    result = recorder.record(loss, **inputs)
    if not isinstance(result, torch.Tensor) or result.dim() != 0:
        raise CannotCapture("the loss does not return one number", "return the mean over a batch")
    return {"inputs": list(inputs), "nodes": recorder.nodes, "output": recorder.name(result)}


def _written(recorder: Recorder, tensor: torch.Tensor) -> str:
    """Write a tensor that a loss holds, such as the weights of classes, into its graph."""
    if tensor.numel() > _LOSS_NUMBERS:
        raise CannotCapture(
            f"the loss holds more than {_LOSS_NUMBERS} numbers", "use numbers or a function"
        )
    return recorder.write_out(tensor)


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
    try:
        yield
        for owner, _, held in before:
            for key, buffer in held["_buffers"].items():
                now = owner._buffers.get(key)
                if buffer is not None and now is not None and now is not buffer:
                    recorder.copy(buffer, now)
    finally:
        _restore(before)


def _restore(before: list[tuple[nn.Module, Json, dict[str, Json]]]) -> None:
    for owner, attributes, held in before:
        vars(owner).clear()
        vars(owner).update(attributes)
        for table, content in held.items():
            vars(owner)[table].clear()
            vars(owner)[table].update(content)


def _pick_output(results: Any) -> torch.Tensor:
    """Take the model's only result, or the first of several that looks like class scores."""
    tensors = [r for r in tree_leaves(results) if isinstance(r, torch.Tensor)]
    if not tensors:
        raise CannotCapture(
            "forward returns no tensor", f"return the scores of the {asked.kind.classes} classes"
        )
    return next((t for t in tensors if t.dim() == 2), tensors[0])


def _classes(scores: torch.Tensor, nodes: list[Json]) -> int:
    """Return the width of an output of shape [B, classes]; refuse any other shape."""
    shape = [size(d) for d in scores.shape]
    if shape and shape[0] == BATCH:
        fixed = (n["where"] for n in nodes if n["shape"] and n["shape"][0] == BATCH)
        raise CannotCapture(
            f"forward works for a batch of {BATCH} and no other size",
            "use x.size(0) or -1 instead of a fixed batch size, and no loop over images",
            next(fixed, ""),
        )
    classes = shape[1] if len(shape) == 2 and shape[0] == "B" else 0
    if not isinstance(classes, int) or classes < asked.kind.classes:
        raise CannotCapture(
            f"forward returns shape [{', '.join(map(str, shape))}] for a batch of B images; "
            f"expected [B, {asked.kind.classes}]",
            "average or flatten the last feature map so that a score for each class remains",
            nodes[-1]["where"] if nodes else "",
        )
    return classes
