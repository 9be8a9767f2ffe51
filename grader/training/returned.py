"""Weights that came out of the box: taken only if they are what the Plan says a network holds."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from grader.errors import SubmissionError
from grader.plan import schema
from grader.sandbox.trainee import junk

State = dict[str, torch.Tensor]

_HEADER = 400  # bytes that describe a tensor, beside its name


def held(model: schema.Model) -> list[schema.Tensor]:
    """Return the tensors that a submission's own model holds: constants belong to the graph."""
    return [tensor for tensor in model.tensors if tensor.role != "constant"]


def room(model: schema.Model) -> int:
    """Return how many bytes the weights of a network take at most, as safetensors."""
    numbers = sum(torch.Size(tensor.shape).numel() for tensor in held(model))
    return 16 * numbers + sum(6 * len(t.name) + _HEADER for t in held(model)) + 1_000


def read_weights(model: schema.Model, content: bytes) -> State:
    """Return the tensors by name; SubmissionError unless all are there, as agreed and finite."""
    try:
        found = load(content)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise junk(f"weights that cannot be read: {error}"[:300]) from None
    agreed = {tensor.name: tensor for tensor in held(model)}
    if odd := sorted(agreed.keys() ^ found.keys()):
        state = "missing" if odd[0] in agreed else "not the model's"
        raise junk(f"a tensor {odd[0][:200]!r} that is {state}")
    for name, tensor in found.items():
        stated = agreed[name]
        if list(tensor.shape) != stated.shape or str(tensor.dtype) != stated.dtype:
            raise junk(
                f"{name}: {tensor.dtype} of shape {list(tensor.shape)} instead of "
                f"{stated.dtype} of shape {stated.shape}"
            )
        if not bool(tensor.isfinite().all()):
            raise _not_finite(name)
    return found


def _not_finite(name: str) -> SubmissionError:
    return SubmissionError(
        "the training left weights that are not finite", expected="numbers",
        found=f"NaN or infinity in {name}", where="train",
        help="lower the learning rate, or add batch norm before the activations",
    )  # fmt: skip
