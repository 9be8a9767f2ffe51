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
from typing import Any

import torch
from capture import loss_json
from explain import explain
from modules import Failure, evaluate
from schedules import Simulation, constant, optimizer_json, plateau_json, summary
from tensors import CannotCapture
from torch import nn
from torch.optim import lr_scheduler
from transforms import transforms_json

Json = dict[str, Any]

_BY_BATCH = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)
_TEST_IMAGES = 10_000
_LARGEST = 1e6  # as grader.plan.schema has it


class Dataset:
    """Stands for a set of images in a recipe that asks for its length."""

    def __init__(self, images: int) -> None:
        self.images = images

    def __len__(self) -> int:
        """Return how many images it has."""
        return self.images


class Loader:
    """Stands for a loader in a recipe that asks how many batches or images it has."""

    def __init__(self, dataset: Dataset, batch_size: int, drop_last: bool) -> None:
        self.dataset = self.sampler = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __len__(self) -> int:
        """Return how many batches one epoch has."""
        return (math.floor if self.drop_last else math.ceil)(len(self.dataset) / self.batch_size)


class Recipe:
    """Evaluates the parts of a recipe that a submission has, one after the other.

    `defaults` are the epochs, batch size and optimiser to use where the submission has none;
    `samples` is the number of training images, `classes` the width of the model's output.
    `failures` are statements for the recipe alone that raised.
    """

    def __init__(
        self, program: Json, namespace: Json, model: nn.Module, defaults: Json, files: set[str],
        failures: list[Failure],
    ) -> None:  # fmt: skip
        self.parts: Json = program["recipe"]
        self.scheduler_steps = program["scheduler_steps"]
        self.namespace = namespace
        self.model = model
        self.defaults = defaults
        self.files = files
        self.failures = failures
        self.notes: list[str] = []
        self.facts: list[Json] = []
        self.flaws: list[Json] = list(program["flaws"])
        self.found: Json = {}

    def describe(self, names: dict[int, str], classes: int) -> Json:
        """Return what the submission says of its recipe; what it leaves open is absent."""
        readers: dict[str, Callable[[str], Any]] = {
            "epochs": self._whole_number,
            "batch_size": self._whole_number,
            "plain_epochs": self._whole_number,
            "averaged_epochs": self._tail,
            "ema_decay": self._exponential,
            "drop_last": lambda key: bool(self._get(key)),
            "train_transform": self._transforms,
            "test_transform": self._transforms,
            "loss": lambda key: self._loss(key, classes),
            "optimizer": lambda key: self._optimizer(names),
        }
        for key, read in readers.items():
            if key in self.parts:
                self._take(key, read)
        if "optimizer" in self.found:
            self.found["schedule"] = constant(self.optimizer)
        if "scheduler" in self.parts:
            self._scheduler(names)
        means = [self.found.pop(key, None) for key in ("averaged_epochs", "ema_decay")]
        return self.found | {"averaging": next(filter(None, means), None)}

    def _take(self, key: str, read: Callable[[str], Any]) -> None:
        """Read one part; what is wrong with it is written down, and the part left out."""
        try:
            self.found[key] = _within_bounds(key, read(key))
        except Exception as error:  # the submission's code may raise anything
            self._blame(key, explain(self._cause(error), self.files))
        except SystemExit:
            self._blame(key, {"message": "it ends the program", "where": "", "help": ""})

    def _cause(self, error: Exception) -> BaseException:
        """Of a name that is missing, find why the statement that binds it failed."""
        if isinstance(error, NameError):
            for failure in self.failures:
                if error.name in failure.binds:
                    return failure.error
        return error

    def _blame(self, key: str, reason: Json) -> None:
        part = self.parts[key]
        self.facts = [fact for fact in self.facts if fact["about"] != key]
        where = reason["where"] or part["where"]
        if part["declared"]:
            flaw = {"about": key, "message": reason["message"], "where": where}
            self.flaws.append({**flaw, "help": reason["help"]})
        else:
            self.notes.append(
                f"{key}: `{part['source'][:80]}` is not used, the default is used instead: "
                f"{reason['message'][:300]} ({where})"
            )

    def _get(self, key: str, **given: Any) -> Any:
        part = self.parts[key]
        given = {"model": self.model, "device": "cpu", **self._loaders(), **given}
        thing = evaluate(part, self.namespace, given)
        if part["how"] == "hook" and callable(thing):
            return call_by_name(thing, given)
        return thing

    def _loaders(self) -> Json:
        """Return what stands for datasets and loaders."""
        train, test = Dataset(self.defaults["samples"]), Dataset(_TEST_IMAGES)
        size: int = self.found.get("batch_size") or self.defaults["batch_size"]
        return {
            "train_set": train,
            "test_set": test,
            "train_loader": Loader(train, size, self.found.get("drop_last", False)),
            "test_loader": Loader(test, size, False),
        }

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
        part = self.parts[key]
        loss: Any = evaluate(part, self.namespace, {"model": self.model, **self._loaders()})
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
        self._fact(key, part["source"].removeprefix("lambda output, target: "))
        return described

    def _sizes(self) -> Json:
        """Return the numbers of a training that hooks may ask for."""
        epochs: int = self.found.get("epochs") or self.defaults["epochs"]
        loader = self._loaders()["train_loader"]
        return {
            "epochs": epochs,
            "steps_per_epoch": len(loader),
            "total_steps": epochs * len(loader),
            "batch_size": loader.batch_size,
        }

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
            self.notes.append(
                "ReduceLROnPlateau follows the training "
                + ("loss" if scheduler.mode == "min" else "accuracy")
                + " here, whatever the file hands to its step()"
            )
            return {**constant(self.optimizer), "plateau": plateau_json(scheduler, by_batch)}
        # No more epochs than these are run.
        trained = min(sizes["epochs"], self.defaults["max_epochs"])
        simulation = Simulation(self.optimizer, scheduler, by_batch)
        return simulation.run(trained, sizes["steps_per_epoch"])

    def _by_batch(self, scheduler: Any) -> bool:
        """Tell whether the scheduler moves after every batch.

        What the file shows decides; without that, the two that count batches by design move
        with batches, and so does whatever a hook made with the number of steps in an epoch.
        """
        if self.scheduler_steps is not None:
            return bool(self.scheduler_steps == "batch")
        hook = self.parts["scheduler"]["how"] == "hook"
        made = evaluate(self.parts["scheduler"], self.namespace, {}) if hook else None
        return isinstance(scheduler, _BY_BATCH) or _asks_for_steps(made)


def _is_number(value: Any) -> bool:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _within_bounds(key: str, part: Any) -> Any:
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
