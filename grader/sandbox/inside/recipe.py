"""The parts of a recipe become the JSON of `grader.plan.schema`. Runs in the box.

A part that cannot be used is the fault of that part alone: what the file declares for the grader
by name becomes a flaw, which the checks that need the recipe report; what was only inferred from
the file's own training is left to the default recipe, with a note.
"""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from capture import loss_json
from data import asked
from explain import explain
from schedules import (
    BY_BATCH,
    Simulation,
    constant,
    optimizer_json,
    plateau_json,
    plateau_note,
    summary,
)
from tensors import CannotCapture
from torch import nn
from torch.optim import lr_scheduler
from transforms import transforms_json

Json = dict[str, Any]

_LARGEST = 1e6  # as grader.plan.schema has it


NAMES = {
    "EPOCHS": "epochs", "BATCH_SIZE": "batch_size", "PLAIN_EPOCHS": "plain_epochs",
    "AVERAGED_EPOCHS": "averaged_epochs", "EMA_DECAY": "ema_decay", "loss": "loss",
    "train_transform": "train_transform", "test_transform": "test_transform",
    "optimizer": "optimizer", "scheduler": "scheduler",
}  # fmt: skip
_HOOKS = ("optimizer", "scheduler", "loss")


@dataclass(frozen=True)
class Part:
    """Something the file says for the grader by name: the thing itself, its text and its place."""

    thing: Any
    source: str
    where: str


def parts_of(
    namespace: Json, bound: dict[str, tuple[str, str]], *, declared: bool
) -> dict[str, Part]:
    """Find what the file says by name; `bound` gives the text and the place of each name.

    In a file that does not speak to the grader (`declared`), a variable that happens to be called
    `loss` is none of it.
    """
    found = {}
    for name, key in NAMES.items():
        thing = namespace.get(name)
        hook = key not in _HOOKS or inspect.isfunction(thing) or declared
        if name in namespace and hook:
            found[key] = Part(thing, *bound.get(name, (name, "")))
    return found


class Recipe:
    """Works out the parts that the file says by name, one after the other.

    `defaults` are the numbers and the optimiser to use where the submission has none; `seen` is
    what was seen of the training; with `declared` a part that is wrong is a flaw, and otherwise a
    note.
    """

    def __init__(
        self, parts: dict[str, Part], model: nn.Module, defaults: Json, files: set[str],
        seen: Json, *, declared: bool,
    ) -> None:  # fmt: skip
        self.parts, self.model, self.defaults, self.files = parts, model, defaults, files
        self.declared = declared
        self.notes: list[str] = []
        self.facts: list[Json] = []
        self.flaws: list[Json] = []
        self.found: Json = dict(seen)

    def describe(self, names: dict[int, str], classes: int) -> Json:
        """Return what the submission says of its recipe; what it leaves open is absent."""
        readers: dict[str, Callable[[str], Any]] = {
            "epochs": self._whole_number,
            "batch_size": self._whole_number,
            "plain_epochs": self._whole_number,
            "averaged_epochs": self._tail,
            "ema_decay": self._exponential,
            "train_transform": self._transforms,
            "test_transform": self._transforms,
            "loss": lambda key: self._loss(key, classes),
            "optimizer": lambda key: self._optimizer(names),
        }
        for key, read in readers.items():
            if key in self.parts:
                self._take(key, read)
        if "optimizer" in self.parts and "optimizer" in self.found:
            self.found["schedule"] = constant(self.optimizer)
        if "scheduler" in self.parts:
            self._scheduler(names)
        means = [self.found.pop(key, None) for key in ("averaged_epochs", "ema_decay")]
        return self.found | {"averaging": next(filter(None, means), None)}

    def _take(self, key: str, read: Callable[[str], Any]) -> None:
        """Read one part; what is wrong with it is written down, and the part left out."""
        try:
            self.found[key] = within_bounds(key, read(key))
        except Exception as error:  # the submission's code may raise anything
            self._blame(key, explain(error, self.files))
        except SystemExit:
            self._blame(key, {"message": "it ends the program", "where": "", "help": ""})

    def _blame(self, key: str, reason: Json) -> None:
        part = self.parts[key]
        self.facts = [fact for fact in self.facts if fact["about"] != key]
        where = reason["where"] or part.where
        if self.declared:
            flaw = {"about": key, "message": reason["message"], "where": where}
            self.flaws.append({**flaw, "help": reason["help"]})
        else:
            self.notes.append(left_out(key, part.source, reason["message"], where))

    def _get(self, key: str, **given: Any) -> Any:
        part = self.parts[key]
        if key in ("optimizer", "scheduler") and callable(part.thing):
            return call_by_name(part.thing, {"model": self.model, "device": "cpu", **given})
        return part.thing

    def _fact(self, key: str, value: str) -> None:
        self.facts.append({"about": key, "value": value[:2000], "where": self.parts[key].where})

    def _whole_number(self, key: str) -> int:
        value = self._get(key)
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            value = value.item()
        least = 0 if key == "plain_epochs" else 1
        most = asked.kind.train if key == "batch_size" else 1_000_000
        if not _is_number(value) or value != int(value) or not least <= value <= most:
            raise CannotCapture(
                f"{key} is {repr(value)[:80]}; expected a whole number from {least} to {most:,}"
            )
        self._fact(key, str(int(value)))
        return int(value)

    def _tail(self, key: str) -> Json:
        """Describe a mean of the weights over the last epochs."""
        if "ema_decay" in self.parts:
            raise CannotCapture("there are both AVERAGED_EPOCHS and EMA_DECAY", "keep one of them")
        return {"type": "tail", "epochs": self._whole_number(key)}

    def _exponential(self, key: str) -> Json:
        """Describe a running mean of the weights."""
        decay = self._get(key)
        if not _is_number(decay) or not 0 <= decay < 1:
            raise CannotCapture(f"{key} is {repr(decay)[:80]}; expected from 0 to below 1")
        self._fact(key, str(float(decay)))
        return {"type": "exponential", "decay": float(decay)}

    def _transforms(self, key: str) -> list[Json]:
        steps = transforms_json(self._get(key), self.notes)
        self._fact(key, " → ".join(step["type"] for step in steps))
        return steps

    def _loss(self, key: str, classes: int) -> Json:
        loss = self._get(key)
        if isinstance(loss, type) and issubclass(loss, nn.Module):
            loss = loss()
        try:
            inspect.signature(loss).bind(None, None)
        except (TypeError, ValueError):
            raise CannotCapture(
                f"loss is a {type(loss).__name__} that cannot be called as loss(output, target)",
                "write a function of two parameters, or name one: loss = nn.CrossEntropyLoss()",
            ) from None
        described: Json = loss_json(loss, classes, self.files)
        self._fact(key, self.parts[key].source)
        return described

    def _sizes(self) -> Json:
        """Return the numbers of a training that hooks may ask for."""
        epochs: int = self.found.get("epochs") or self.defaults["epochs"]
        size: int = self.found.get("batch_size") or self.defaults["batch_size"]
        rounded = math.floor if self.found.get("drop_last") else math.ceil
        steps = rounded(asked.kind.train / size)
        return {
            "epochs": epochs, "steps_per_epoch": steps, "total_steps": epochs * steps,
            "batch_size": size,
        }  # fmt: skip

    def _optimizer(self, names: dict[int, str]) -> Json:
        self.optimizer = self._get("optimizer", **self._sizes())
        if not isinstance(self.optimizer, torch.optim.Optimizer):
            raise CannotCapture(
                f"optimizer gives a {type(self.optimizer).__name__}",
                "write a function optimizer(model) that returns an optimiser of torch.optim",
            )
        described = optimizer_json(self.optimizer, names)
        self._fact("optimizer", summary(described))
        return described

    def _scheduler(self, names: dict[int, str]) -> None:
        """Replace the constant rates by the scheduler's, if the optimiser can be had."""
        if "optimizer" not in self.parts:
            default = self.defaults["optimizer"]
            kind = getattr(torch.optim, default["name"])
            self.optimizer = kind(self.model.parameters(), **default["options"])
        elif "optimizer" not in self.found:
            self.notes.append("scheduler: left out together with its optimiser")
            return
        described = optimizer_json(self.optimizer, names)
        self._take("scheduler", lambda key: self._rates())
        if schedule := self.found.pop("scheduler", None):
            self.found |= {"optimizer": described, "schedule": schedule}

    def _rates(self) -> Json:
        """Return the learning rate of every step."""
        sizes = self._sizes()
        scheduler = self._get("scheduler", optimizer=self.optimizer, **sizes)
        if scheduler is None:
            return constant(self.optimizer)
        if not callable(getattr(scheduler, "step", None)):
            raise CannotCapture(
                f"scheduler gives a {type(scheduler).__name__}",
                "return a scheduler of torch.optim.lr_scheduler",
            )
        if getattr(scheduler, "optimizer", self.optimizer) is not self.optimizer:
            raise CannotCapture(
                "the scheduler belongs to another optimiser", "write scheduler(optimizer)"
            )
        self._fact("scheduler", type(scheduler).__name__)
        by_batch = self._by_batch(scheduler)
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            self.notes.append(plateau_note(scheduler))
            return {**constant(self.optimizer), "plateau": plateau_json(scheduler, by_batch)}
        # No more epochs than these are run.
        trained = min(sizes["epochs"], self.defaults["max_epochs"])
        simulation = Simulation(self.optimizer, scheduler, by_batch)
        return simulation.run(trained, sizes["steps_per_epoch"])

    def _by_batch(self, scheduler: Any) -> bool:
        """Tell whether the scheduler moves after every batch.

        The two that count batches by design do, and so does whatever a hook made with the number
        of steps in an epoch.
        """
        return isinstance(scheduler, BY_BATCH) or _asks_for_steps(self.parts["scheduler"].thing)


def left_out(key: str, source: str, message: str, where: str) -> str:
    """Write the note about a part of a recipe that is not taken over."""
    return (
        f"{key}: `{source[:80]}` was not taken over, the default is used instead: {message[:300]} "
        f"({where})"
    )


def _is_number(value: Any) -> bool:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return number and math.isfinite(value)


def within_bounds(key: str, part: Any) -> Any:
    """Return a part if it has no number that no plan may hold: infinite, none at all, or huge."""
    todo = [part]
    while todo:
        item = todo.pop()
        if isinstance(item, float) and not abs(item) <= _LARGEST:
            raise CannotCapture(f"{key} holds the number {item}", "use smaller numbers")
        if isinstance(item, (dict, list)):
            todo.extend(item.values() if isinstance(item, dict) else item)
    return part


def _asks_for_steps(hook: Any) -> bool:
    if not callable(hook):
        return False
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
