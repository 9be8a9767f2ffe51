"""Optimisers, schedulers and losses become the JSON of `grader.plan.schema`. Runs in the box."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable
from typing import Any

import torch
from capture import loss_json
from modules import evaluate
from tensors import CannotCapture
from torch import nn
from torch.optim import lr_scheduler
from transforms import transforms_json

Json = dict[str, Any]

# What the trainer decides for itself: how a step is computed, not what it computes.
_OURS = {"foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay"}
_KNOWN = (
    "SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop", "ASGD",
    "Rprop",
)  # fmt: skip
_STEPS = 1_500_000  # as grader.plan.schema has it
_BY_BATCH = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)


class Recipe:
    """Evaluates the parts of a recipe that a submission has, one after the other.

    `defaults` are the epochs, batch size and optimiser to use where the submission has none;
    `samples` is the number of training images, `classes` the width of the model's output.
    """

    def __init__(
        self, program: Json, namespace: Json, model: nn.Module, defaults: Json, files: set[str]
    ) -> None:
        self.parts: Json = program["recipe"]
        self.scheduler_steps = program["scheduler_steps"]
        self.namespace = namespace
        self.model = model
        self.defaults = defaults
        self.files = files
        self.notes: list[str] = []
        self.facts: list[Json] = []

    def describe(self, names: dict[int, str], classes: int) -> Json:
        """Return what the submission says of its recipe; what it leaves open is absent."""
        found: Json = {}
        for key in ("epochs", "batch_size", "plain_epochs"):
            if key in self.parts:
                found[key] = self._whole_number(key)
        if averaging := self._averaging():
            found["averaging"] = averaging
        if "drop_last" in self.parts:
            found["drop_last"] = bool(self._get("drop_last"))
        for key in ("train_transform", "test_transform"):
            if key in self.parts:
                found[key] = transforms_json(self._get(key), self.notes)
                self._fact(key, " → ".join(step["type"] for step in found[key]))
        if "loss" in self.parts:
            found["loss"] = self._loss(classes)
        if "optimizer" in self.parts or "scheduler" in self.parts:
            found |= self._steps(names, found)
        return found

    def _get(self, key: str, **given: Any) -> Any:
        part = self.parts[key]
        thing = evaluate(part, self.namespace, {"model": self.model, "device": "cpu", **given})
        if part["how"] == "hook":
            return call_by_name(thing, {"model": self.model, "device": "cpu", **given})
        return thing

    def _fact(self, key: str, value: str) -> None:
        self.facts.append({"about": key, "value": value[:2000], "where": self.parts[key]["where"]})

    def _whole_number(self, key: str) -> int:
        value = self._get(key)
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            value = value.item()
        least = 0 if key == "plain_epochs" else 1
        most = self.defaults["samples"] if key == "batch_size" else 1_000_000
        if not _is_number(value) or value != int(value) or not least <= value <= most:
            raise CannotCapture(
                f"{key} is {value!r} ({self.parts[key]['where']}); "
                f"expected a whole number from {least} to {most:,}",
            )
        self._fact(key, str(int(value)))
        return int(value)

    def _averaging(self) -> Json | None:
        """Describe which mean of the weights the submission asks for, if it does."""
        if {"averaged_epochs", "ema_decay"} <= self.parts.keys():
            raise CannotCapture("there are both AVERAGED_EPOCHS and EMA_DECAY", "keep one of them")
        if "averaged_epochs" in self.parts:
            return {"type": "tail", "epochs": self._whole_number("averaged_epochs")}
        if "ema_decay" not in self.parts:
            return None
        decay = self._get("ema_decay")
        if not _is_number(decay) or not 0 <= decay < 1:
            where = self.parts["ema_decay"]["where"]
            raise CannotCapture(f"ema_decay is {decay!r} ({where}); expected from 0 to below 1")
        self._fact("ema_decay", str(float(decay)))
        return {"type": "exponential", "decay": float(decay)}

    def _loss(self, classes: int) -> Json:
        part = self.parts["loss"]
        loss: Any = evaluate(part, self.namespace, {"model": self.model})
        if isinstance(loss, type) and issubclass(loss, nn.Module):
            loss = loss()
        try:
            inspect.signature(loss).bind(None, None)
        except (TypeError, ValueError):
            raise CannotCapture(
                f"the loss ({part['where']}) cannot be called as loss(output, target)",
                "write a function of two parameters",
            ) from None
        self._fact("loss", part["source"])
        described: Json = loss_json(loss, classes, self.files)
        return described

    def _steps(self, names: dict[int, str], found: Json) -> Json:
        """Describe the optimiser, and its learning rate at every step."""
        epochs = found.get("epochs", self.defaults["epochs"])
        batch = found.get("batch_size", self.defaults["batch_size"])
        per_epoch = self.defaults["samples"] / batch
        per_epoch = math.floor(per_epoch) if found.get("drop_last") else math.ceil(per_epoch)
        trained = min(epochs, self.defaults["max_epochs"])  # no more epochs than that are run
        sizes = {"epochs": epochs, "steps_per_epoch": per_epoch, "batch_size": batch}
        optimizer = self._optimizer(sizes)
        described = optimizer_json(optimizer, names)
        if "optimizer" in self.parts:
            self._fact("optimizer", _summary(described))
        scheduler, by_batch = self._scheduler(optimizer, sizes)
        steps = Simulation(optimizer, scheduler, by_batch).run(trained, per_epoch)
        return {"optimizer": described, "schedule": steps}

    def _optimizer(self, sizes: Json) -> torch.optim.Optimizer:
        if "optimizer" in self.parts:
            optimizer = self._get("optimizer", **sizes)
        else:
            default = self.defaults["optimizer"]
            optimizer = getattr(torch.optim, default["name"])(
                self.model.parameters(), **default["options"]
            )
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise CannotCapture(
                f"optimizer gives a {type(optimizer).__name__}",
                "return an optimiser of torch.optim",
            )
        return optimizer

    def _scheduler(self, optimizer: torch.optim.Optimizer, sizes: Json) -> tuple[Any, bool]:
        """Return the scheduler, or None, and whether it moves after every batch.

        What the file shows decides; without that, the two that count batches by design move
        with batches, and so does whatever a hook made with the number of steps in an epoch.
        """
        if "scheduler" not in self.parts:
            return None, False
        total = sizes["epochs"] * sizes["steps_per_epoch"]
        loader = range(sizes["steps_per_epoch"])  # for code that asks len(train_loader)
        given = {"optimizer": optimizer, "total_steps": total, "train_loader": loader, **sizes}
        scheduler = self._get("scheduler", **given)
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            self.notes.append(
                "ReduceLROnPlateau is not reproduced: the learning rate stays where it starts"
            )
            return None, False
        if scheduler is not None and not callable(getattr(scheduler, "step", None)):
            raise CannotCapture(
                f"scheduler gives a {type(scheduler).__name__}",
                "return a scheduler of torch.optim.lr_scheduler",
            )
        if scheduler is not None:
            self._fact("scheduler", type(scheduler).__name__)
        asked = self.parts["scheduler"]["how"] == "hook" and _asks_for_steps(
            evaluate(self.parts["scheduler"], self.namespace, {})
        )
        by_batch = isinstance(scheduler, _BY_BATCH) or asked
        if self.scheduler_steps is not None:
            by_batch = self.scheduler_steps == "batch"
        return scheduler, by_batch


def _is_number(value: Any) -> bool:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _asks_for_steps(hook: Callable[..., Any]) -> bool:
    return bool({"steps_per_epoch", "total_steps"} & set(inspect.signature(hook).parameters))


def call_by_name(hook: Callable[..., Any], given: Json) -> Any:
    """Call `hook` with what its parameters name, as pytest does with fixtures.

    A first parameter of another name gets the thing it is about: the optimiser for a scheduler,
    the model otherwise. Raises CannotCapture for a required parameter nobody knows.
    """
    parameters = inspect.signature(hook).parameters.values()
    arguments: Json = {}
    for index, parameter in enumerate(parameters):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in given:
            arguments[parameter.name] = given[parameter.name]
        elif index == 0 and parameter.default is parameter.empty:
            arguments[parameter.name] = given.get("optimizer", given.get("model"))
        elif parameter.default is parameter.empty:
            name = getattr(hook, "__name__", "a hook")
            raise CannotCapture(
                f"{name} asks for {parameter.name!r}, which the grader does not have",
                f"parameters may be named {', '.join(sorted(given))}",
            )
    return hook(**arguments)


def optimizer_json(optimizer: torch.optim.Optimizer, names: dict[int, str]) -> Json:
    """Describe an optimiser of torch.optim; `names` maps parameters by identity.

    Raises CannotCapture for a class of the student's own.
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
        options = {k: _option(v) for k, v in group.items() if k in accepted and k != "params"}
        known = [names[id(p)] for p in group["params"] if id(p) in names]
        groups.append({"parameters": known, "options": options})
    return {"name": kind.__name__, "groups": groups}


def _option(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return float(value)
    return [float(v) for v in value] if isinstance(value, (tuple, list)) else value


def _summary(described: Json) -> str:
    shown = ("lr", "momentum", "betas", "weight_decay", "nesterov")
    options = described["groups"][0]["options"]
    # The scheduler may have moved these already: what is quoted is the starting point.
    text = ", ".join(f"{k}={options[k]}" for k in shown if options.get(k) not in (None, 0, False))
    return f"{described['name']}({text})"


class Simulation:
    """Steps a scheduler through a whole training that never happens, and writes down the rates."""

    def __init__(self, optimizer: torch.optim.Optimizer, scheduler: Any, by_batch: bool) -> None:
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.by_batch = by_batch
        self.lr: list[list[float]] = [[] for _ in optimizer.param_groups]
        self.momentum: list[list[float]] = [[] for _ in optimizer.param_groups]

    def run(self, epochs: int, steps_per_epoch: int) -> Json:
        """Return the `Schedule` of `epochs` epochs."""
        if epochs * steps_per_epoch > _STEPS:
            raise CannotCapture(
                f"{epochs} epochs of {steps_per_epoch} steps are more than {_STEPS:,} steps",
                "use a larger batch size",
            )
        vars(self.optimizer)["step"] = lambda *a, **k: None  # there are no gradients
        self.optimizer._opt_called = True  # type: ignore[attr-defined] # or schedulers warn
        for _ in range(epochs):
            if self.scheduler is None or not self.by_batch:
                self._note(steps_per_epoch)
            else:
                self._batches(steps_per_epoch)
            if self.scheduler is not None and not self.by_batch:
                self.scheduler.step()
        moving = any(len(set(m)) > 1 for m in self.momentum)
        return {
            "lr": [_shortest(r) for r in self.lr],
            "momentum": [_shortest(m) for m in self.momentum] if moving else None,
        }

    def _batches(self, steps: int) -> None:
        for _ in range(steps):
            self._note(1)
            try:
                self.scheduler.step()
            except ValueError:  # OneCycleLR at its end: the next rate is never used
                continue

    def _note(self, steps: int) -> None:
        for index, group in enumerate(self.optimizer.param_groups):
            rate = float(group["lr"])
            if not math.isfinite(rate):
                raise CannotCapture(f"the scheduler sets a learning rate of {rate}")
            self.lr[index] += [rate] * steps
            momentum = group.get("momentum", (group.get("betas") or (0.0,))[0])
            self.momentum[index] += [float(momentum)] * steps


def _shortest(values: list[float]) -> list[float]:
    return values[:1] if len(set(values)) == 1 else values
