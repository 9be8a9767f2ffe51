"""Which tensors start otherwise than PyTorch makes them.

The values a submission starts with never leave the box. What does is how they are spread, and the
grader draws its own from that: weights that somebody trained before are lost on the way. A tensor
still tells one number, around which it is spread. A network of a thousand tensors of one weight
each would tell them all, so beyond a few the tensors that tell something are drawn from one common
distribution.
"""

from __future__ import annotations

import math
import statistics

import msgspec

from grader.plan.schema import Constant, Init, KaimingUniform, Model, Normal, Tensor, Values
from grader.plan.tables import FEW, rounded

_DRAWN = ("Conv1d", "Conv2d", "Conv3d", "ConvTranspose2d", "Linear")
_NORMS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
_SHOWN = 4
_TOLD = 64  # different numbers that parameters may start around
_CHANCE = 8  # standard errors of a mean that chance does not reach


def drawn_together(model: Model) -> Model:
    """Return the model with tensors that tell too many numbers drawn from what they have in common.

    One in which parameters start around a few numbers, as all honest ones do, stays as it is.
    """
    told = {tensor.name: _told(tensor) for tensor in model.tensors}
    centres = {centre for centre in told.values() if centre is not None}
    if len(centres) <= _TOLD:
        return model
    common = Normal(statistics.fmean(centres), statistics.pstdev(centres))
    tensors = [
        msgspec.structs.replace(t, init=common) if told[t.name] is not None else t
        for t in model.tensors
    ]
    return msgspec.structs.replace(model, tensors=tensors)


def kept_short(model: Model) -> Model:
    """Return the model with large fixed tables kept to a few digits.

    A formula's table loses nothing that matters, and one of trained weights half of what it holds.
    """
    tensors = [
        msgspec.structs.replace(t, init=Values(rounded(t.init.values)))
        if isinstance(t.init, Values) and len(t.init.values) > FEW and "float" in t.dtype
        else t
        for t in model.tensors
    ]
    return msgspec.structs.replace(model, tensors=tensors)


def _told(tensor: Tensor) -> float | None:
    """Return the number around which a parameter starts, if that is more than chance."""
    match tensor.init:
        case Constant(value) if tensor.role == "parameter":
            return value
        case Normal(mean, std) if abs(mean) * math.sqrt(math.prod(tensor.shape)) > _CHANCE * std:
            return mean
        case _:
            return None


def notes_on_initialisation(model: Model) -> list[str]:
    """Name the layers with an initialisation of their own, and say what becomes of it."""
    own = [tensor for tensor in model.tensors if _is_own(tensor)]
    if not own:
        return []
    shown = ", ".join(f"{tensor.name} ({_words(tensor.init)})" for tensor in own[:_SHOWN])
    more = f" and {len(own) - _SHOWN} more" if len(own) > _SHOWN else ""
    return [
        f"initialised by the submission: {shown}{more}; the grader draws its own values, with "
        "the same means and deviations"
    ]


def _is_own(tensor: Tensor) -> bool:
    """Tell whether a parameter of a standard layer starts otherwise than that layer makes it."""
    kind = tensor.name.rpartition(".")[2]
    if tensor.role != "parameter" or kind not in ("weight", "bias"):
        return False
    if tensor.owner in _NORMS:
        return tensor.init != Constant(1.0 if kind == "weight" else 0.0)
    single = math.prod(tensor.shape) < 2  # one number tells nothing of how it was drawn
    return tensor.owner in _DRAWN and not single and not isinstance(tensor.init, KaimingUniform)


def _words(init: Init) -> str:
    match init:
        case Constant(value):
            return f"all {value:.3g}"
        case Normal(mean, std):
            return f"mean {mean:.2g}, spread {std:.2g}"
        case _:
            return "numbers of its own"
