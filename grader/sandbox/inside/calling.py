"""A function `train` that the file says for the grader, called with what its parameters name."""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

import torch
from data import Loader, asked
from recipe import Part, call_by_name
from tensors import CannotCapture
from torch import nn
from watch import Watch

Json = dict[str, Any]

_NAMES = {
    "model": "model net network cnn mymodel my_model",
    "train_loader": "train_loader trainloader train_dataloader loader dataloader data_loader"
    " train_dl traindl train_data_loader train_iterator train_iter trn_loader",
    "test_loader": "test_loader testloader test_dataloader test_dl testdl val_loader valloader"
    " valid_loader validloader validation_loader val_dataloader val_dl valid_dl test_data_loader",
    "optimizer": "optimizer optim opt optimiser",
    "scheduler": "scheduler lr_scheduler sched scheduler_",
    "device": "device dev",
    "epoch": "epoch curr_epoch current_epoch epoch_number epoch_num ep",
    "epochs": "epochs num_epochs n_epochs max_epochs nb_epochs no_of_epochs total_epochs EPOCHS",
    "loss": "criterion loss_fn loss_func loss_function loss_criterion crit loss",
    "batch_size": "batch_size batchsize bs",
    "log_interval": "log_interval print_every log_every interval",
}
_ROLES = {name: role for role, names in _NAMES.items() for name in names.split()}


class Training:
    """One training by the file's own `train`, ready to run."""

    def __init__(
        self, function: Any, model: nn.Module, parts: dict[str, Part], namespace: Json,
        defaults: Json, watch: Watch,
    ) -> None:  # fmt: skip
        """Make the loaders, the optimiser and the scheduler; raises what the submission raises."""
        self.function, self.namespace, self.watch = function, namespace, watch
        self.epochs = int(_said(parts, "epochs", defaults["epochs"]))
        size = int(_said(parts, "batch_size", defaults["batch_size"]))
        self.loader = Loader(asked.images(transform=_said(parts, "train_transform", None)), size)
        transform = _said(parts, "test_transform", None)
        test = Loader(asked.images(train=False, transform=transform), size)
        given: Json = {
            "model": model, "train_loader": self.loader, "test_loader": test, "log_interval": 100,
            "device": torch.device("cpu"), "epochs": self.epochs, "batch_size": size,
            "steps_per_epoch": len(self.loader), "total_steps": self.epochs * len(self.loader),
        }  # fmt: skip
        given["optimizer"] = _hook(parts, "optimizer", given) or _default(model, defaults)
        given["scheduler"] = _hook(parts, "scheduler", given)
        loss = _said(parts, "loss", nn.functional.cross_entropy)
        given["loss"] = loss() if isinstance(loss, type) else loss
        self.given = given

    def run(self) -> None:
        """Call it once a pass, or only once if it makes all the passes by itself."""
        scheduler = self.given["scheduler"]
        for turn in range(self.epochs):
            begun, moved = len(self.watch.passes), self._moves()
            self.given["epoch"] = turn + 1
            result = self.function(**self._arguments())
            self._take(result)
            passes = [p for p in self.watch.passes[begun:] if p.loader is self.loader]
            if len(passes) != 1 or "epochs" in self._roles().values():
                return
            if self._moves() == moved:
                self._move(scheduler)

    def _move(self, scheduler: Any) -> None:
        """Do what the file does after its call, as far as it can be known."""
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(self._measured(scheduler.mode))
        elif scheduler is not None:
            scheduler.step()

    def _measured(self, mode: str) -> float:
        """Return the loss on images that nothing is learned from, or with `max` the accuracy."""
        model, values = self.given["model"].eval(), []
        with torch.no_grad():
            for images, labels in self.given["test_loader"]:
                scores = model(images)
                right = (scores.argmax(1) == labels).float().mean()
                values.append(float(right if mode == "max" else self.given["loss"](scores, labels)))
        model.train()
        return sum(values) / len(values)

    def _moves(self) -> int:
        return sum(len(made.moves) for made in self.watch.schedulers)

    def _roles(self) -> dict[str, str]:
        names = inspect.signature(self.function).parameters
        return {name: _ROLES[name] for name in names if name in _ROLES}

    def _arguments(self) -> Json:
        """Give each parameter what it names: a role, a name of the file, or its default."""
        roles, arguments = self._roles(), {}
        for name, parameter in inspect.signature(self.function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            if name in roles:
                arguments[name] = self.given[roles[name]]
            elif name in self.namespace:
                arguments[name] = self.namespace[name]
            elif parameter.default is parameter.empty:
                raise CannotCapture(f"train has a parameter {name} that nothing gives a value")
        return arguments

    def _take(self, result: Any) -> None:
        """Take over the weights of another model that the function returns, if it is alike."""
        model = self.given["model"]
        for thing in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(thing, nn.Module) and thing is not model:
                with contextlib.suppress(RuntimeError):
                    model.load_state_dict(thing.state_dict())


def _said(parts: dict[str, Part], key: str, default: Any) -> Any:
    return parts[key].thing if key in parts else default


def _hook(parts: dict[str, Part], key: str, given: Json) -> Any:
    thing = _said(parts, key, None)
    return call_by_name(thing, given) if inspect.isfunction(thing) else thing


def _default(model: nn.Module, defaults: Json) -> Any:
    kind = getattr(torch.optim, defaults["optimizer"]["name"])
    return kind(model.parameters(), **defaults["optimizer"]["options"])
