"""A submission's own training, called with what its parameters name. Runs in the box."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from typing import Any

import torch
from modules import PlaceholderFinder, Submission, evaluate
from recipe import call_by_name
from standins import Loader
from tensors import owners
from torch import nn

Json = dict[str, Any]


def load(program: Json) -> Json:
    """Run the statements the training needs; give the names of the submission's own module."""
    import sys

    train = program["train"]
    sys.meta_path.append(PlaceholderFinder(train["placeholders"]))
    return vars(Submission(train["modules"]).load("__submission__"))


class Training:
    """One training that is ready to run.

    `sizes` holds `epochs`, `batch_size`, `steps_per_epoch`, whether the scheduler moves
    `by_batch`, whether one that waits for a `plateau` is moved by what recent images say, and the
    `optimizer` to use where the submission has none.
    """

    def __init__(
        self, program: Json, namespace: Json, model: nn.Module, sizes: Json, train: Loader,
        test: Loader,
    ) -> None:  # fmt: skip
        """Make the optimiser and the scheduler; raises what the submission raises."""
        self.train: Json = program["train"]
        self.parts: Json = program["recipe"]
        self.namespace = namespace
        self.model, self.loader, self.sizes = model, train, sizes
        self.given: Json = {
            "model": model, "train_loader": train, "test_loader": test, "log_interval": 100,
            "device": torch.device("cpu"), "train_set": train.dataset, "test_set": test.dataset,
            "total_steps": sizes["epochs"] * sizes["steps_per_epoch"], **sizes,
        }  # fmt: skip
        self.given["optimizer"] = self.optimizer = self._optimizer()
        self.given["scheduler"] = self.scheduler = self._get("scheduler")
        self.given["loss"] = self._loss()
        self._steps = 0
        self._moved = False  # the scheduler, by the function itself
        if self.scheduler is not None:
            self._count_steps()

    def _get(self, key: str) -> Any:
        if key not in self.parts:
            return None
        thing = evaluate(self.parts[key], self.namespace, self.given)
        hook = self.parts[key]["how"] == "hook" and callable(thing)
        return call_by_name(thing, self.given) if hook else thing

    def _optimizer(self) -> Any:
        default = self.sizes["optimizer"]
        made = self._get("optimizer")
        make = getattr(torch.optim, default["name"])
        return made or make(self.model.parameters(), **default["options"])

    def _loss(self) -> Callable[..., torch.Tensor]:
        loss = None
        if "loss" in self.parts:
            loss = evaluate(self.parts["loss"], self.namespace, self.given)
        if isinstance(loss, type):
            loss = loss()
        return loss or nn.functional.cross_entropy

    def _count_steps(self) -> None:
        """Notice when the submission moves its scheduler itself; else move it where it belongs."""
        step = self.scheduler.step

        def counted(*args: Any, **options: Any) -> Any:
            self._steps += 1
            return step(*args, **options)

        self.scheduler.step = counted
        mine = self.parts["scheduler"]["how"] == "hook" and "scheduler" not in self._roles()
        if mine and self.sizes["by_batch"]:
            self.loader.after_batch = self._step_by_batch

    def _roles(self) -> list[str]:
        return list(self.train["roles"].values())

    def run(self, tried: Collection[int] = ()) -> list[int]:
        """Call it once a pass, or only once if it makes all the passes by itself.

        If only some passes are `tried`, others are left out where each is a call, and the
        scheduler not the function's own affair. Returns the passes that should have been made.
        """
        function = evaluate(self.train["function"], self.namespace, self.given)
        every = range(self.sizes["epochs"])
        made: list[int] = []
        for turn in every:
            steps = self._steps
            if made and tried and turn not in tried and not self._moved:
                self._step_by_epoch()
                continue
            begun, finished = self.loader.passes, self.loader.finished
            self.model.train()
            self.given["epoch"] = self.train["first_epoch"] + turn
            self._take(function(**self._arguments()))
            if "epochs" in self._roles() or self.loader.finished > finished + 1:
                return [*every]
            made.append(turn)
            if self.loader.passes == begun:
                break
            self._moved = self._steps > steps
            if not self._moved:
                self._step_by_epoch()
        return made

    def _take(self, result: Any) -> None:
        """Take over the weights of another model that the function returns, if it is alike."""
        for thing in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(thing, nn.Module) and thing is not self.model:
                with contextlib.suppress(RuntimeError):
                    self.model.load_state_dict(thing.state_dict())

    def _step_by_batch(self) -> None:
        with contextlib.suppress(ValueError):  # a one-cycle schedule that is at its end
            self.scheduler.step()

    def _step_by_epoch(self) -> None:
        """Do what the submission does after its call, as far as it can be known."""
        if isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            if self.sizes["plateau"]:
                self.scheduler.step(self._measured(self.scheduler.mode))
        elif self.scheduler is not None:
            self.scheduler.step()

    def _measured(self, mode: str) -> float:
        """Return the loss on recent images, or with `max` the accuracy."""
        self.model.eval()
        values = []
        with torch.no_grad():
            for images, labels in self.loader.recent:
                scores = self.model(images)
                right = (scores.argmax(1) == labels).float().mean()
                values.append(float(right if mode == "max" else self.given["loss"](scores, labels)))
        return sum(values) / len(values)

    def _arguments(self) -> Json:
        passed = {
            name: evaluate(part, self.namespace, self.given)
            for name, part in self.train["arguments"].items()
        }
        return {name: self.given[role] for name, role in self.train["roles"].items()} | passed


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copy every parameter and buffer, each once, by the name that comes first."""
    found: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for path, module in owners(model):
        for table in (module._parameters, module._buffers):
            for key, tensor in table.items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    copy = tensor.detach().clone(memory_format=torch.contiguous_format)
                    found[f"{path}.{key}" if path else key] = copy
    return found
