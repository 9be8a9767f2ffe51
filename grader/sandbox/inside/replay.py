"""A step that was seen is done again: its loss as a function, and a plain loop beside it."""

from __future__ import annotations

import contextlib
import copy
import math
import random
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import torch
from capture import _pick_output
from noted import Batch, Call, State
from tensors import CannotCapture, owners, put, set_mode, weights_of
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map
from trained import Training

Json = dict[str, Any]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Code = Callable[[torch.Tensor], torch.Tensor]  # labels [B] become what a loss is given of them
_EVALUATING = "the model is in evaluation mode: model.train() is missing"


class Penalty(Exception):
    """The loss depends on more than what the model returns and the labels."""


def loss_of(batch: Batch) -> tuple[Loss, Call | None]:
    """Return the loss of a batch as a function of output and target, and the call that names it.

    Raises Penalty if it holds a parameter, CannotCapture if it cannot be followed.
    """
    if batch.loss is None or not batch.outputs:
        raise CannotCapture("the loss is not made of what the model returns")
    output = next((t for t in map(_picked, reversed(batch.outputs)) if _leads(batch, t)), None)
    target = _target(batch.content)
    if output is None or target is None:
        raise CannotCapture("the loss is not made of what the model returns")
    read = {id(t): t for call in batch.calls for t in _tensors(call)}
    codes = {key: code for key, t in read.items() if (code := _code(t, target)) is not None}
    calls = _slice(batch.calls, batch.loss, {id(output), *codes})
    _check_leaves(calls, output)
    named = [call for call in calls if _is_loss(call)]
    return _Replayed(calls, output, codes, batch.loss), named[-1] if named else None


def _picked(result: Any) -> torch.Tensor | None:
    try:
        return _pick_output(result)
    except CannotCapture:
        return None


def _leads(batch: Batch, output: torch.Tensor | None) -> bool:
    """Tell whether an output is read on the way to the loss."""
    if output is None or batch.loss is None:
        return False
    read = {id(t) for call in _slice(batch.calls, batch.loss) for t in _tensors(call)}
    return id(output) in read or output is batch.loss


def _target(content: Any) -> torch.Tensor | None:
    """Return the labels of a batch: whole numbers, or those that rows or floats stand for."""
    tensors = [t for t in tree_leaves(content) if isinstance(t, torch.Tensor)]
    ordered = [*tensors[1:], *tensors[:1]]  # labels most often come second
    flat = [t.flatten() if t.numel() == len(t) else t for t in ordered if t.dim() in (1, 2)]
    read = [t.argmax(1) if t.dim() == 2 else t.long() for t in flat]
    coded = (r for r in read if any(_code(t, r) is not None for t in ordered))
    return next((t for t in ordered if not t.is_floating_point()), next(coded, None))


def _code(given: torch.Tensor, labels: torch.Tensor) -> Code | None:
    """Return how a tensor follows from the labels, by what is in it, however it was made.

    It holds them themselves, in any type, or a row for each with one number at its class and
    another elsewhere.
    """
    rows, kind = len(labels), given.dtype
    if given.requires_grad or labels.numel() != rows or given.shape[:1] != (rows,):
        return None
    labels, shape = labels.flatten().long(), given.shape[1:]
    if given.numel() == rows:
        if not torch.equal(given.flatten().double(), labels.double()):
            return None
        return lambda other: _alike(other, kind, shape)
    if given.dim() != 2 or int(labels.max()) >= (width := given.shape[1]):
        return None
    at = nn.functional.one_hot(labels, width).bool()
    on, off = ({float(n) for n in given[where].tolist()} for where in (at, ~at))
    if len(on) != 1 or len(off) != 1 or on == off:
        return None
    low = off.pop()
    step = on.pop() - low
    return lambda other: (nn.functional.one_hot(other, width) * step + low).to(kind)


def _slice(
    calls: list[Call], loss: torch.Tensor, known: AbstractSet[int] = frozenset()
) -> list[Call]:
    """Keep the calls that lead to the loss from what is `known`, by identity."""
    needed, kept = {id(loss)}, []
    for call in reversed(calls):
        made = {id(t) for t in tree_leaves(call.result) if isinstance(t, torch.Tensor)}
        if made & needed:
            kept.append(call)
            needed |= {id(t) for t in _tensors(call)} - known
    return kept[::-1]


def _tensors(call: Call) -> list[torch.Tensor]:
    leaves = tree_leaves([call.args, call.options])
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def _check_leaves(calls: list[Call], output: torch.Tensor) -> None:
    made = {id(output)}
    for call in calls:
        if any(t.requires_grad and id(t) not in made for t in _tensors(call)):
            raise Penalty
        made |= {id(t) for t in tree_leaves(call.result)}


def _is_loss(call: Call) -> bool:
    name = getattr(call.function, "__name__", "")
    return "loss" in name or "cross_entropy" in name


def _alike(labels: torch.Tensor, kind: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    """Return labels in another type, and with more dimensions of length one."""
    typed = labels if labels.dtype == kind else labels.to(kind)
    return typed.reshape(-1, *shape) if shape else typed


class _Replayed:
    """A loss as the calls that made it, with another output and other labels.

    A number that is the size of the batch is that of the other one.
    """

    def __init__(
        self, calls: list[Call], output: torch.Tensor, codes: dict[int, Code], loss: torch.Tensor
    ) -> None:
        self._calls, self._output, self._loss = calls, output, loss
        read = {id(t) for call in calls for t in _tensors(call)}
        self._codes = {key: code for key, code in codes.items() if key in read}

    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> Any:
        """Work out the loss."""
        known: dict[int, Any] = {key: code(target) for key, code in self._codes.items()}
        known[id(self._output)] = output
        rows = len(self._output)

        def now(value: Any) -> Any:
            if type(value) is int and value == rows:
                return output.shape[0]
            if type(value) is range and value == range(rows):
                return torch.arange(output.shape[0])
            return known.get(id(value), value) if isinstance(value, torch.Tensor) else value

        for call in self._calls:
            result = call.function(*tree_map(now, call.args), **tree_map(now, call.options))
            pairs = zip(tree_leaves(call.result), tree_leaves(result), strict=True)
            known |= {id(old): new for old, new in pairs if isinstance(old, torch.Tensor)}
        return known[id(self._loss)]


def _known(name: str, call: Callable[..., Any], reduction: str) -> tuple[str, Loss]:
    return f"{name}, {reduction}", lambda output, target: call(output, target, reduction=reduction)


def _of_rows(call: Callable[..., Any]) -> Callable[..., Any]:
    """Let a loss of rows be one of labels."""

    def of_labels(output: torch.Tensor, target: torch.Tensor, reduction: str) -> Any:
        rows = nn.functional.one_hot(target, output.shape[1]).to(output.dtype)
        return call(output, rows, reduction=reduction)

    return of_labels


_CALLS: dict[str, Callable[..., Any]] = {
    "nll_loss": nn.functional.nll_loss,
    "cross_entropy": nn.functional.cross_entropy,
    "nll_loss of the logarithm": lambda o, t, **r: nn.functional.nll_loss(o.log(), t, **r),
    "mse_loss": _of_rows(nn.functional.mse_loss),
    "binary_cross_entropy_with_logits": _of_rows(nn.functional.binary_cross_entropy_with_logits),
}
_KNOWN = [_known(name, call, how) for name, call in _CALLS.items() for how in ("mean", "sum")]


def known_loss(training: Training) -> tuple[str, Loss] | None:
    """Return which of the usual losses, of what the model returns, does all kept steps again.

    It has the value that was seen and moves the weights alike, however the file works it out.
    """
    kept = [batch for batch in training.batches if batch.before and batch.steps]

    def agrees(loss: Loss) -> bool:
        for batch in kept:
            assert batch.before is not None
            assert batch.after is not None
            assert batch.loss is not None
            value, after = _step(training, batch, batch.before, loss)
            if not (torch.allclose(value, batch.loss.detach()) and _same(after, batch.after)):
                return False
        return True

    for name, loss in _KNOWN if kept else ():
        with contextlib.suppress(Exception):  # of what does not fit such a loss
            if agrees(loss):
                return name, loss
    return None


def not_plain(training: Training, loss: Loss | None) -> str:
    """Say what a training does that a plain loop of its recipe would not; "" if it is plain."""
    batches = training.batches
    evaluated = [batch for batch in batches if not batch.was_training]
    if not training.optimizers:
        return "no optimiser is ever stepped"
    if len(training.optimizers) > 1 and not _one_after_another(training):
        return "it steps several optimisers"
    signs = {
        "it takes more or fewer steps than it draws batches": any(
            len(batch.steps) != 1 or batch.backwards != 1 for batch in training.drawn
        ),
        "it clips gradients": any(batch.clipped for batch in batches),
        _EVALUATING: bool(evaluated) and not any(b.before for b in evaluated),
        "its loss is more than a function of scores and labels": loss is None,
    }
    found = [sign for sign, holds in signs.items() if holds]
    if found or loss is None:
        return found[0]
    kept = ((batch, batch.before, batch.after) for batch in batches)
    try:
        for batch, before, after in kept:
            if before is None or after is None:
                continue
            if not _same(after, _step(training, batch, before, loss)[1]):
                return _what_differs(training, batch, before, after, loss)
    except Exception as error:  # of the submission's code, on its own data
        return f"a step cannot be done again: {type(error).__name__}"
    return ""


def _one_after_another(training: Training) -> bool:
    """Tell whether several optimisers are as good as one whose rate changes between passes.

    They are, if they have nothing to remember, and the same options otherwise.
    """
    stepped = [{id(o) for b in each.batches for o, _ in b.steps} for each in training.passes]
    moved = ("params", "lr", "initial_lr")
    options = [
        [
            {k: v for k, v in group.items() if k not in moved} | {"of": [*map(id, group["params"])]}
            for group in optimizer.param_groups
        ]
        for optimizer in training.optimizers
    ]
    plain = all(type(optimizer) is torch.optim.SGD for optimizer in training.optimizers)
    alone = all(len(optimizers) == 1 for optimizers in stepped)
    same = all(groups == options[0] for groups in options)
    return plain and alone and same and not any(group["momentum"] for group in options[0])


def _what_differs(
    training: Training, batch: Batch, before: State, after: dict[str, torch.Tensor], loss: Loss
) -> str:
    """Say why a step is none of a plain loop: two slips are common."""
    if not batch.was_training:
        return _EVALUATING
    if _same(after, _step(training, batch, before, loss, clear=False)[1]):
        return "it keeps the gradients of earlier batches: optimizer.zero_grad() is missing"
    return "a step changes the weights in another way than a plain one"


def _step(
    training: Training, batch: Batch, before: State, loss: Loss, *, clear: bool = True
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Do the step of a batch again, plainly; return its loss, and the weights after it."""
    model = copy.deepcopy(training.model)
    optimizer, groups = batch.steps[0]
    twin = _twin(optimizer, training.model, model)
    twin.load_state_dict(copy.deepcopy(before.optimizer))
    put(model, before.weights)
    for group, seen in zip(twin.param_groups, groups, strict=True):
        group.update(seen)
    torch.set_rng_state(before.random[0])
    random.setstate(before.random[1])
    np.random.set_state(before.random[2])
    images, labels = images_of(batch.content), _target(batch.content)
    assert labels is not None
    set_mode(model, True)
    if not clear:
        for name, parameter in nn.Module.named_parameters(model):
            parameter.grad = before.gradients.get(name)
    own = any(batch.model is module for _, module in owners(training.model))
    shape = batch.shape if own else tuple(images.shape[1:])
    given = _as_given(images, shape).to(next(nn.Module.parameters(model)).dtype)
    value = loss(_pick_output(model(given)), labels)
    value.backward()  # type: ignore[no-untyped-call] # of PyTorch's own
    twin.step()
    return value.detach(), weights_of(model)


def _as_given(images: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Return images in the shape in which the model was given them: rows, or more channels."""
    if math.prod(images.shape[1:]) == math.prod(shape):
        return images.reshape(len(images), *shape)
    return images.expand(len(images), *shape) if images.dim() == len(shape) + 1 else images


def images_of(content: Any) -> torch.Tensor:
    """Return the images of a batch; StopIteration if it has none."""
    tensors = [t for t in tree_leaves(content) if isinstance(t, torch.Tensor)]
    return next(t for t in tensors if t.is_floating_point())


def _twin(optimizer: Any, model: nn.Module, other: nn.Module) -> Any:
    """Return an optimiser of the same kind for a copy of its model."""
    pairs = zip(nn.Module.parameters(model), nn.Module.parameters(other), strict=True)
    twins = {id(old): new for old, new in pairs}
    twin = copy.copy(optimizer)
    twin.state = type(optimizer.state)(optimizer.state.default_factory)
    twin.param_groups = [
        {**group, "params": [twins.get(id(p), p) for p in group["params"]]}
        for group in optimizer.param_groups
    ]
    return twin


def _same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Tell whether two states are alike within a few roundings: the operations are the same."""
    if left.keys() != right.keys():
        return False
    pairs = ((left[name].double(), right[name].double()) for name in left)
    return all(a.shape == b.shape and torch.allclose(a, b, rtol=3e-7, atol=1e-9) for a, b in pairs)
