"""The Plan's optimiser: a class of `torch.optim` by name, driven by the schedule's numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from grader.errors import SubmissionError
from grader.plan import schema
from grader.training.network import OPERATION_ERRORS
from grader.training.tuning import spare_the_compiler

_CLASSES: dict[str, Callable[[list[dict[str, Any]]], torch.optim.Optimizer]] = {
    name: getattr(torch.optim, name)
    for name in (
        "SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop",
        "ASGD", "Rprop",
    )
}  # fmt: skip


# A training compiles nothing; see also `Optimizer.step`.
spare_the_compiler(torch.optim.Optimizer)


class Optimizer:
    """Steps the network's tensors; the learning rate and momentum of each step are the Plan's.

    Raises SubmissionError when the Plan's options or parameters do not fit.
    """

    def __init__(
        self,
        optimizer: schema.Optimizer,
        schedule: schema.Schedule,
        state: dict[str, torch.Tensor],
    ) -> None:
        self._lr, self._momentum = schedule.lr, schedule.momentum
        if not all(len(s) == len(optimizer.groups) for s in (self._lr, self._momentum) if s):
            raise SubmissionError("the schedule has not one list for each parameter group")
        try:
            groups = [
                {"params": [state[name] for name in group.parameters], **group.options}
                for group in optimizer.groups
            ]
            self._optimizer = _CLASSES[optimizer.name](groups)
        except OPERATION_ERRORS as error:
            raise SubmissionError(
                f"the optimiser {optimizer.name} cannot be made: {error}", where="optimizer"
            ) from None
        # The step itself, without what is wrapped around it for the compiler's sake.
        self._advance = inspect.unwrap(type(self._optimizer).step)
        self._step = 0
        self.lr = self._lr[0][0]
        self._plateau = schedule.plateau
        if schedule.plateau is not None:
            self._scheduled()
            self._reducer = _reducer(self._optimizer, schedule.plateau)

    def step(self, loss: torch.Tensor) -> None:
        """Work out the gradients of `loss` and change the parameters once."""
        if self._plateau is None:
            self._scheduled()
        self.lr = float(self._optimizer.param_groups[0]["lr"])
        self._step += 1
        self._optimizer.zero_grad()
        try:
            torch.autograd.backward(loss)
            with torch.no_grad():
                self._advance(self._optimizer)
        except OPERATION_ERRORS as error:
            raise SubmissionError(f"a training step failed: {error}") from None

    def remembered(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return all that later steps depend on: tensors by name, and plain values."""
        tensors: dict[str, torch.Tensor] = {}
        plain: dict[str, Any] = {}
        for number, parameter in enumerate(self._parameters()):
            for name, value in self._optimizer.state[parameter].items():
                held = tensors if isinstance(value, torch.Tensor) else plain
                held[f"optimizer.{number}.{name}"] = value
        return tensors, {
            "state": plain,
            "step": self._step,
            "lr": [group["lr"] for group in self._optimizer.param_groups],
            "plateau": self._reducer.state_dict() if self._plateau else None,
        }

    def recall(self, tensors: Mapping[str, torch.Tensor], plain: Mapping[str, Any]) -> None:
        """Take over what `remembered` returned."""
        parameters = self._parameters()
        for key, value in {**tensors, **plain["state"]}.items():
            kind, _, rest = key.partition(".")
            if kind == "optimizer":
                number, _, name = rest.partition(".")
                parameter = parameters[int(number)]
                moved = value.to(parameter.device) if name != "step" and key in tensors else value
                self._optimizer.state[parameter][name] = moved
        self._step = plain["step"]
        for group, lr in zip(self._optimizer.param_groups, plain["lr"], strict=True):
            group["lr"] = lr
        if self._plateau:
            self._reducer.load_state_dict(plain["plateau"])

    def _parameters(self) -> list[torch.Tensor]:
        return [each for group in self._optimizer.param_groups for each in group["params"]]

    def _scheduled(self) -> None:
        """Set learning rate and momentum to the numbers of this step."""
        for index, group in enumerate(self._optimizer.param_groups):
            group["lr"] = _at(self._lr[index], self._step)
            if self._momentum:
                _set_momentum(group, _at(self._momentum[index], self._step))

    def follow(self, every: str, loss: float, accuracy: float) -> None:
        """Let a plateau see how training goes, of one batch or of one epoch (`every`)."""
        if self._plateau is not None and self._plateau.every == every:
            self._reducer.step(loss if self._plateau.mode == "min" else accuracy)


def _reducer(
    optimizer: torch.optim.Optimizer, plateau: schema.Plateau
) -> torch.optim.lr_scheduler.ReduceLROnPlateau:
    options = {name: getattr(plateau, name) for name in plateau.__struct_fields__}
    del options["every"]
    try:
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    except ValueError as error:
        raise SubmissionError(f"ReduceLROnPlateau cannot be made: {error}") from None


def _at(steps: list[float], step: int) -> float:
    """Return the number of this step; a list that is shorter holds its last one."""
    return steps[min(step, len(steps) - 1)]


def _set_momentum(group: dict[str, Any], momentum: float) -> None:
    """Set what PyTorch's own schedulers call momentum: the first beta of the Adam kinds."""
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum
