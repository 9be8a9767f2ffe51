"""Optimisers and schedulers become numbers: the JSON of `grader.plan.schema`. Runs in the box."""

from __future__ import annotations

import contextlib
import inspect
import math
import numbers
from typing import Any

import torch
from tensors import CannotCapture
from torch.optim import lr_scheduler

Json = dict[str, Any]

# What the trainer decides for itself: how a step is computed, not what it computes.
_OURS = {"foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay"}
_KNOWN = (
    "SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop", "ASGD",
    "Rprop",
)  # fmt: skip
BY_BATCH = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)  # by design
MOST_STEPS = 1_500_000  # as grader.plan.schema has it


def optimizer_json(optimizer: torch.optim.Optimizer, names: dict[int, str]) -> Json:
    """Describe an optimiser of torch.optim; `names` maps parameters by identity.

    Raises CannotCapture for a class of the student's own, and for one of another model.
    """
    kind = type(optimizer)
    if kind.__name__ not in _KNOWN or getattr(torch.optim, kind.__name__, None) is not kind:
        raise CannotCapture(
            f"optimiser {kind.__name__} is not one of torch.optim's that the grader can run",
            f"use one of {', '.join(_KNOWN)}",
        )
    accepted = set(inspect.signature(kind.__init__).parameters) - _OURS
    groups = []
    for group in optimizer.param_groups:
        options = {k: _option(k, v) for k, v in group.items() if k in accepted and k != "params"}
        known = [names[id(p)] for p in group["params"] if id(p) in names]
        groups.append({"parameters": known, "options": options})
    if not any(group["parameters"] for group in groups):
        raise CannotCapture(
            f"the optimiser {kind.__name__} holds no parameter of the model",
            "make it of the model that is graded: optimizer(model)",
        )
    return {"name": kind.__name__, "groups": groups}


def _option(name: str, value: Any) -> Any:
    """Return an option as JSON writes it: numbers of NumPy's and tensors are numbers too."""
    if isinstance(value, (tuple, list)):
        return [float(v) for v in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, (torch.Tensor, numbers.Real)):
        return float(value)
    raise CannotCapture(f"{name} is a {type(value).__name__}", "give the optimiser a number")


def summary(described: Json) -> str:
    """Write an optimiser as a person would, with the options that matter."""
    shown = ("lr", "momentum", "betas", "weight_decay", "nesterov")
    options = described["groups"][0]["options"]
    # The scheduler may have moved these already: what is quoted is the starting point.
    text = ", ".join(f"{k}={options[k]}" for k in shown if options.get(k) not in (None, 0, False))
    return f"{described['name']}({text})"


def constant(optimizer: torch.optim.Optimizer) -> Json:
    """Return the `Schedule` in which every learning rate stays where it is."""
    return {"lr": [[float(group["lr"])] for group in optimizer.param_groups], "momentum": None}


def plateau_note(scheduler: lr_scheduler.ReduceLROnPlateau) -> str:
    """Say what the trainer replays it by."""
    watched = "loss" if scheduler.mode == "min" else "accuracy"
    return (
        f"ReduceLROnPlateau follows the training {watched} here, whatever the file hands to its "
        "step()"
    )


def plateau_json(scheduler: lr_scheduler.ReduceLROnPlateau, by_batch: bool) -> Json:
    """Describe what the trainer has to replay, since it depends on how the training goes."""
    return {
        "every": "batch" if by_batch else "epoch",
        "mode": scheduler.mode,
        "factor": float(scheduler.factor),
        "patience": int(scheduler.patience),
        "threshold": float(scheduler.threshold),
        "threshold_mode": scheduler.threshold_mode,
        "cooldown": int(scheduler.cooldown),
        "min_lr": [float(rate) for rate in scheduler.min_lrs],
        "eps": float(scheduler.eps),
    }


class Simulation:
    """Steps a scheduler through a whole training that never happens, and writes down the rates.

    By `early`, it moves in each batch ahead of the optimiser.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, scheduler: Any, by_batch: bool, early: bool = False
    ) -> None:
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.by_batch, self.early = by_batch, early
        self.lr: list[list[float]] = [[] for _ in optimizer.param_groups]
        self.momentum: list[list[float]] = [[] for _ in optimizer.param_groups]

    def run(self, epochs: int, steps_per_epoch: int) -> Json:
        """Return the `Schedule` of `epochs` epochs."""
        if epochs * steps_per_epoch > MOST_STEPS:
            raise CannotCapture(
                f"{epochs} epochs of {steps_per_epoch} steps are more than {MOST_STEPS:,} steps",
                "use a larger batch size",
            )
        vars(self.optimizer)["step"] = lambda *a, **k: None  # there are no gradients
        self.optimizer._opt_called = True  # type: ignore[attr-defined] # or schedulers warn
        for _ in range(epochs):
            if not self.by_batch:
                self._note(steps_per_epoch)
                self.scheduler.step()
            else:
                self._batches(steps_per_epoch)
        moving = any(len(set(m)) > 1 for m in self.momentum)
        return {
            "lr": [shortest(r) for r in self.lr],
            "momentum": [shortest(m) for m in self.momentum] if moving else None,
        }

    def _batches(self, steps: int) -> None:
        for _ in range(steps):
            if not self.early:
                self._note(1)
            with contextlib.suppress(ValueError):  # OneCycleLR's at its end
                self.scheduler.step()
            if self.early:
                self._note(1)

    def _note(self, steps: int) -> None:
        for index, group in enumerate(self.optimizer.param_groups):
            rate = float(group["lr"])
            if not math.isfinite(rate):
                raise CannotCapture(f"the scheduler sets a learning rate of {rate}")
            self.lr[index] += [rate] * steps
            momentum = group.get("momentum", (group.get("betas") or (0.0,))[0])
            self.momentum[index] += [float(momentum)] * steps


def shortest(values: list[float]) -> list[float]:
    """Return rates, one of them where all are the same."""
    return values[:1] if len(set(values)) == 1 else values
