"""Stands for PyTorch Lightning: the part of it that a training of one network needs.

Runs in the sandbox. The loop is the one that its documentation describes for automatic
optimisation (lightning.ai, "LightningModule", pseudocode of `fit`).
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable
from typing import Any

import torch
from data import Loader
from placeholders import Quiet
from torch import nn

Json = dict[str, Any]
NAMES = ("pytorch_lightning", "lightning", "lightning_fabric")


class _Remembering:
    """Keeps what it was made with."""

    @property
    def hparams(self) -> Any:
        """Return what `save_hyperparameters` kept."""
        return vars(self).setdefault("_kept", Kept())

    @hparams.setter
    def hparams(self, kept: Any) -> None:
        vars(self)["_kept"] = kept

    def save_hyperparameters(self, *args: Any, **options: Any) -> None:
        """Keep the arguments of the constructor that calls it."""
        frame = inspect.currentframe()
        names = frame.f_back.f_locals if frame is not None and frame.f_back is not None else {}
        self.hparams.update({k: v for k, v in names.items() if k not in ("self", "__class__")})


class LightningModule(_Remembering, nn.Module):
    """A module that says how it is trained."""

    def __init__(self, *args: object, **options: object) -> None:
        """Take any arguments, as the real one does."""
        super().__init__()
        self.trainer: Any = None
        self.current_epoch = self.global_step = 0

    def log(self, *args: object, **options: object) -> None:
        """Do nothing."""

    log_dict = prepare_data = setup = log

    def training_step_end(self, result: Any) -> Any:
        """Give back what `training_step` returned."""
        return result

    @property
    def device(self) -> torch.device:
        """Return the CPU."""
        return torch.device("cpu")


class Kept(dict[str, Any]):
    """Arguments, also as attributes."""

    __setattr__ = dict.__setitem__

    def __getattr__(self, name: str) -> Any:
        """Return an argument."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class LightningDataModule(_Remembering):
    """Says where the data comes from."""

    def __init__(self, *args: object, **options: object) -> None: ...

    @staticmethod
    def add_argparse_args(parser: Any, **options: object) -> Any:
        """Add nothing."""
        return parser

    @classmethod
    def from_argparse_args(cls, args: object, **options: Any) -> Any:
        """Make one with the options of the command line that it takes."""
        return from_arguments(cls, args, **options)

    def prepare_data(self) -> None:
        """Do nothing."""

    def setup(self, stage: str | None = None) -> None:
        """Do nothing."""


class Trainer:
    """Fits a module, epoch by epoch."""

    def __init__(self, *args: object, max_epochs: int | None = None, **options: Any) -> None:
        self.max_epochs = 1_000 if max_epochs is None else max_epochs
        self.clip = options.get("gradient_clip_val")
        self.accumulate = int(options.get("accumulate_grad_batches") or 1)
        self.logger: Any = None
        self.callback_metrics: dict[str, Any] = {}

    add_argparse_args = LightningDataModule.add_argparse_args

    def __getattr__(self, name: str) -> Any:
        """Say no to whatever else it is asked: `use_ddp`, `fast_dev_run`, `is_global_zero`."""
        if name.startswith("__"):
            raise AttributeError(name)
        return Quiet(f"Trainer.{name}")

    @classmethod
    def from_argparse_args(cls, args: object, **options: Any) -> Any:
        """Make one with the options of the command line that it takes."""
        return from_arguments(cls, args, **options)

    def fit(
        self, model: Any, train_dataloaders: Any = None, val_dataloaders: Any = None,
        datamodule: Any = None, **options: Any,
    ) -> None:  # fmt: skip
        """Train the module."""
        data = datamodule or (train_dataloaders if _is_module(train_dataloaders) else model)
        for each in dict.fromkeys([data, model]):
            each.prepare_data()
            _setup(each.setup)
        loader = train_dataloaders if train_dataloaders is not None else data.train_dataloader()
        loader = data.train_dataloader() if _is_module(loader) else loader
        model.trainer = self
        optimizers, schedulers = _configured(model.configure_optimizers())
        with Loader.watch.fitting(self.max_epochs):
            for epoch in range(self.max_epochs):
                model.current_epoch = epoch
                model.train()
                for index, batch in enumerate(loader):
                    for optimizer in optimizers:
                        self._step(model, optimizer, batch, index)
                    _move(schedulers, "step")
                _move(schedulers, "epoch")

    def _step(self, model: Any, optimizer: Any, batch: Any, index: int) -> None:
        result = model.training_step_end(model.training_step(batch, index))
        loss = result["loss"] if isinstance(result, dict) else result
        if loss is None:
            return
        if index % self.accumulate == 0:
            optimizer.zero_grad()
        (loss / self.accumulate if self.accumulate > 1 else loss).backward()
        if self.clip:
            nn.utils.clip_grad_norm_(model.parameters(), self.clip)
        if (index + 1) % self.accumulate == 0:
            optimizer.step()

    def _nothing(self, *args: object, **options: object) -> list[Any]:
        return []

    test = validate = predict = tune = save_checkpoint = _nothing


def _setup(setup: Callable[..., None]) -> None:
    """Call a hook that once took nothing."""
    setup(*["fit"][: len(inspect.signature(setup).parameters)])


def from_arguments(kind: Any, args: Any, **options: Any) -> Any:
    """Make an instance with those arguments of a command line that it names."""
    named = {"max_epochs", "gradient_clip_val", "accumulate_grad_batches"}
    named |= set(inspect.signature(kind.__init__).parameters)
    given = vars(args) if hasattr(args, "__dict__") else dict(args)
    return kind(**{k: v for k, v in given.items() if k in named} | options)


def _is_module(thing: Any) -> bool:
    return hasattr(thing, "train_dataloader")


def _configured(result: Any) -> tuple[list[Any], list[tuple[Any, str]]]:
    """Read what `configure_optimizers` returns: optimisers, and schedulers with their intervals."""
    if isinstance(result, dict):
        result = [result["optimizer"]], [s for s in [result.get("lr_scheduler")] if s is not None]
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], list):
        optimizers, schedulers = result
    else:
        optimizers, schedulers = _listed(result), []
    return optimizers, [
        (s["scheduler"], s.get("interval", "epoch")) if isinstance(s, dict) else (s, "epoch")
        for s in _listed(schedulers)
    ]


def _listed(thing: Any) -> list[Any]:
    things = list(thing) if isinstance(thing, (list, tuple)) else [thing]
    return [each for each in things if each is not None]


def fit_what_is_not(
    namespace: Json, made: list[Any], lend: Callable[[], Loader], epochs: int
) -> None:
    """Fit the module that a file makes, or else defines, and never fits, if there is but one.

    `made` are the modules that were made. Where the file has no data, it is lent a loader.
    """
    modules = [m for m in made if isinstance(m, LightningModule) and _says_how(m)]
    kinds = _defined(namespace, LightningModule) if not modules else []
    model = modules[-1] if modules else _only([kind for kind in kinds if _says_how(kind)])
    if model is None:
        return
    data = None if _is_module(model) else _only(_defined(namespace, LightningDataModule))
    loader = None if data is not None or _is_module(model) else lend()
    Trainer(max_epochs=epochs).fit(model, loader, datamodule=data)


def _says_how(thing: Any) -> bool:
    return hasattr(thing, "training_step") and hasattr(thing, "configure_optimizers")


def _defined(namespace: Json, base: type[Any]) -> list[type[Any]]:
    kinds = dict.fromkeys(v for v in namespace.values() if isinstance(v, type))
    return [kind for kind in kinds if issubclass(kind, base) and kind is not base]


def _only(kinds: list[type[Any]]) -> Any:
    """Make an instance of the only class that needs no arguments for it."""
    if len(kinds) != 1:
        return None
    try:
        inspect.signature(kinds[0]).bind()
    except TypeError:
        return None
    return kinds[0]()


def _move(schedulers: Iterable[tuple[Any, str]], interval: str) -> None:
    for scheduler, own in schedulers:
        if own == interval:
            plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
            scheduler.step(*([1.0] if plateau else []))


def fill(module: types.ModuleType) -> None:
    """Give a stand-in module what a submission imports from it."""
    known = (LightningModule, LightningDataModule, Trainer)
    vars(module).update({kind.__name__: kind for kind in known})
    vars(module)["from_argparse_args"] = from_arguments
    vars(module)["data_loader"] = lambda function: function  # of 2019
    inner = types.SimpleNamespace(from_argparse_args=from_arguments)
    vars(module)["utilities"] = types.SimpleNamespace(argparse=inner, rank_zero_only=lambda f: f)
    vars(module)["seed_everything"] = lambda seed=0, **_: torch.manual_seed(seed)
