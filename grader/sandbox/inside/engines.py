"""Stands for ignite, skorch and accelerate: the part of them that trains one network.

Runs in the sandbox. The loops are those that their documentation describes.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from data import Loader
from placeholders import Quiet
from torch import nn
from torch.utils.data import Dataset, TensorDataset

Json = dict[str, Any]
NAMES = ("ignite", "skorch", "accelerate")


class _Event(str):
    """A moment of a run; `every` of them, or `once`, are the same moment here."""

    def __call__(self, *args: object, **options: object) -> _Event:
        return self


class _Events:
    def __getattr__(self, name: str) -> _Event:
        return _Event(name)


class _Metrics(dict[str, Any]):
    def __missing__(self, name: str) -> float:
        return 0.0


class Engine:
    """Stands for ignite's: runs a function over the batches, and tells others of it."""

    def __init__(self, process: Callable[[Any, Any], Any]) -> None:
        """Run `process(engine, batch)`."""
        self._process = process
        self._handlers: list[tuple[str, Callable[..., Any], tuple[Any, ...], Json]] = []
        self.state = types.SimpleNamespace(
            epoch=0, iteration=0, output=0.0, metrics=_Metrics(), max_epochs=1, batch=None
        )
        self.logger = Quiet("ignite.logger")

    def on(self, event: str, *args: Any, **options: Any) -> Callable[..., Any]:
        """Decorate a function that is to be told of an event."""

        def added(handler: Callable[..., Any]) -> Callable[..., Any]:
            self.add_event_handler(event, handler, *args, **options)
            return handler

        return added

    def add_event_handler(self, event: str, handler: Any, *args: Any, **options: Any) -> None:
        """Tell somebody of an event."""
        self._handlers.append((event, handler, args, options))

    def run(self, data: Any, max_epochs: int = 1, **options: Any) -> Any:
        """Go over the data again and again."""
        self.state.max_epochs = max_epochs
        self._tell("STARTED")
        with Loader.watch.fitting(max_epochs):
            for epoch in range(1, max_epochs + 1):
                self.state.epoch = epoch
                self._tell("EPOCH_STARTED")
                for batch in data:
                    self.state.iteration, self.state.batch = self.state.iteration + 1, batch
                    self._tell("ITERATION_STARTED")
                    self.state.output = self._process(self, batch)
                    self._tell("ITERATION_COMPLETED")
                self._tell("EPOCH_COMPLETED")
        self._tell("COMPLETED")
        return self.state

    def _tell(self, event: str) -> None:
        for wanted, handler, args, options in self._handlers:
            if wanted == event:
                takes = isinstance(handler, types.LambdaType | types.MethodType)
                first = [self] if takes and _takes_one_more(handler, len(args)) else []
                handler(*first, *args, **options)


def _takes_one_more(handler: Any, given: int) -> bool:
    code = handler.__func__.__code__ if hasattr(handler, "__func__") else handler.__code__
    own = code.co_argcount - hasattr(handler, "__func__")
    return bool(own > given or code.co_flags & 4)  # 4: it takes any number


def supervised_trainer(
    model: nn.Module, optimizer: Any, loss_fn: Any, *args: Any, **options: Any
) -> Engine:
    """Stand for `create_supervised_trainer`."""

    def step(engine: Engine, batch: Any) -> float:
        model.train()
        optimizer.zero_grad()
        images, labels = batch
        loss = loss_fn(model(images), labels)
        loss.backward()
        optimizer.step()
        return float(loss)

    return Engine(step)


def supervised_evaluator(model: nn.Module, *args: Any, **options: Any) -> Engine:
    """Stand for `create_supervised_evaluator`."""

    def step(engine: Engine, batch: Any) -> Any:
        model.eval()
        with torch.no_grad():
            return model(batch[0]), batch[1]

    return Engine(step)


class Net:
    """Stands for skorch's `NeuralNet` and its relatives."""

    def __init__(
        self, module: Any, criterion: Any = nn.NLLLoss, optimizer: Any = torch.optim.SGD,
        lr: float = 0.01, max_epochs: int = 10, batch_size: int = 128, callbacks: Any = (),
        **options: Any,
    ) -> None:  # fmt: skip
        """Take what skorch takes; `part__option` is an option of a part."""
        self.module, self.criterion, self.optimizer, self.lr = module, criterion, optimizer, lr
        self.max_epochs, self.batch_size, self.callbacks = max_epochs, batch_size, callbacks
        self.options = options
        self.history: Any = Quiet("skorch.history")

    def _of(self, part: str) -> Json:
        head = f"{part}__"
        return {k.removeprefix(head): v for k, v in self.options.items() if k.startswith(head)}

    def initialize(self) -> Any:
        """Make the module, the loss and the optimiser."""
        made = isinstance(self.module, nn.Module)
        self.module_ = self.module if made else self.module(**self._of("module"))
        loss = self.criterion
        self.criterion_ = loss(**self._of("criterion")) if isinstance(loss, type) else loss
        options = {"lr": self.lr} | self._of("optimizer")
        self.optimizer_ = self.optimizer(self.module_.parameters(), **options)
        return self

    def fit(self, data: Any, labels: Any = None, **options: Any) -> Any:
        """Train."""
        self.initialize()
        if not isinstance(data, Dataset):
            images = torch.as_tensor(np.asarray(data))
            data = TensorDataset(images, torch.as_tensor(np.asarray(labels)))
        loader = Loader(data, self.batch_size, **self._of("iterator_train"))
        schedulers = [
            policy(self.optimizer_, **rest)
            for policy, rest in map(_policy, self.callbacks or ()) if policy is not None
        ]  # fmt: skip
        with Loader.watch.fitting(self.max_epochs):
            for _ in range(self.max_epochs):
                self.module_.train()
                for images, targets in loader:
                    self.optimizer_.zero_grad()
                    scores = self.module_(images)
                    if isinstance(self.criterion_, nn.NLLLoss):  # of probabilities, says skorch
                        scores = torch.log(scores + 1e-8)
                    self.criterion_(scores, targets).backward()
                    self.optimizer_.step()
                for scheduler in schedulers:
                    scheduler.step()
        return self

    def __getattr__(self, name: str) -> Any:
        """Give a method that does nothing: `predict`, `score`, `save_params`."""
        if name.startswith("__"):
            raise AttributeError(name)
        return Quiet(f"skorch.{name}")


class LRScheduler:
    """Stands for skorch's callback."""

    def __init__(self, policy: Any = None, **options: Any) -> None:
        """Keep what scheduler it is, and its options."""
        for name in ("monitor", "event_name", "step_every"):
            options.pop(name, None)
        self.policy, self.options = policy, options


def _policy(callback: Any) -> tuple[Any, Json]:
    callback = callback[1] if isinstance(callback, tuple) else callback
    if not isinstance(callback, LRScheduler):
        return None, {}
    policy = callback.policy
    named = getattr(torch.optim.lr_scheduler, policy, None) if isinstance(policy, str) else policy
    return named, callback.options


class Accelerator:
    """Stands for accelerate's: this process is the only one."""

    is_main_process = is_local_main_process = sync_gradients = True
    num_processes, process_index = 1, 0

    def __init__(self, *args: object, **options: object) -> None:
        """Take anything."""
        self.device = torch.device("cpu")

    def prepare(self, *things: Any, **options: Any) -> Any:
        """Return what is given."""
        return things[0] if len(things) == 1 else things

    def backward(self, loss: Any, **options: Any) -> None:
        """Work out the gradients."""
        loss.backward()

    def clip_grad_norm_(self, *args: Any, **options: Any) -> Any:
        """Clip them."""
        return nn.utils.clip_grad_norm_(*args, **options)

    def unwrap_model(self, model: Any, *args: Any) -> Any:
        """Return the model."""
        return model

    gather = gather_for_metrics = reduce = unwrap_model

    def __getattr__(self, name: str) -> Any:
        """Give something that does nothing."""
        if name.startswith("__"):
            raise AttributeError(name)
        return Quiet(f"accelerate.{name}")


def fill(module: types.ModuleType) -> None:
    """Give a stand-in module what a submission imports from it."""
    nets = dict.fromkeys(("NeuralNet", "NeuralNetClassifier"), Net)
    known: dict[str, Json] = {
        "ignite": {
            "Engine": Engine, "Events": _Events(),
            "create_supervised_trainer": supervised_trainer,
            "create_supervised_evaluator": supervised_evaluator,
        },
        "skorch": {**nets, "LRScheduler": LRScheduler},
        "accelerate": {"Accelerator": Accelerator},
    }  # fmt: skip
    vars(module).update(known[module.__name__.partition(".")[0]])
