"""Is a submission's own training the plain loop of its recipe? Runs in the box.

It is called on a few random images, and beside it the plain loop on the same images, from the
same weights and random numbers. If both leave the same weights, it is plain, and the grader's own
loop stands for it. Whoever lies here gets the stricter level.
"""

from __future__ import annotations

import copy
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from building import build_model
from calling import Training, load, state_of
from explain import explain
from standins import Batch, Loader, be_quiet
from torch import nn

Json = dict[str, Any]

_BATCH = 4  # images; batch norm needs more than one
_FIRST, _LATER = 4, 2  # batches of the first pass, and of later ones
_MOST = 100  # batches a training is given before it counts as endless
_SECONDS = 20
_CLIPS = ("clip_grad_norm_", "clip_grad_value_", "clip_grad_norm", "clip_grads_with_norm_")


class Enough(BaseException):
    """The training goes on and on."""


class TooSlow(BaseException):
    """The training takes far longer than a few images can."""


def judge(program: Json, described: Json, defaults: Json, files: set[str]) -> tuple[str, list[str]]:
    """Return the level a submission with a training of its own is graded at, and notes.

    The trial is no process of its own: PyTorch does not survive a fork reliably.
    """
    name = program["train"]["function"]["source"]
    trial = _Trial(program, described, defaults)
    try:
        with _time_limit():
            plain = trial.is_plain()
    except BaseException as error:  # whatever the submission raises: SystemExit too
        told = explain(error, files)
        reason = told["message"].partition("\n")[0][:300]
        where = told["where"] and f", {told['where']}"
        return "rebuilt", [
            f"`{name}` cannot be called here ({reason}{where}): the training is"
            " rebuilt from its recipe, and what else it does is ignored"
        ]
    if plain:
        return "rebuilt", []
    return "sandboxed", [f"`{name}` does more than a plain training loop, so it runs as it is"]


class _Trial:
    def __init__(self, program: Json, described: Json, defaults: Json) -> None:
        self.program, self.described = program, described
        epochs = described.get("epochs", defaults["epochs"])
        batch = int(described.get("batch_size") or defaults["batch_size"])
        drop_last = described.get("drop_last", False)
        self.samples = defaults["samples"]
        generator = torch.Generator().manual_seed(0)
        shape = described["model"]["input_shape"]
        self.images = torch.randn(_MOST, _BATCH, *shape, generator=generator)
        self.labels = torch.randint(10, (_MOST, _BATCH), generator=generator)
        self.drawn: list[int] = []  # batches of each pass
        self.loader = Loader(self._batches, self.samples, batch, drop_last)
        self.test = Loader(lambda: [self._batch(0)], 10_000, batch)
        self.sizes = {
            "epochs": epochs, "batch_size": batch, "steps_per_epoch": len(self.loader),
            "optimizer": defaults["optimizer"], "by_batch": False, "plateau": False,
        }  # fmt: skip
        self.sizes["by_batch"] = self._by_batch()

    def is_plain(self) -> bool:
        """Train both ways and compare; raises what the submission raises."""
        be_quiet()
        with _clipping() as clipped:
            namespace = load(self.program)
            model = build_model(self.program, namespace)
            with torch.no_grad():
                self._call(model.train(), self.images[0])  # lazy layers take their shapes
            other = copy.deepcopy(model)
            training = self._training(namespace, model)
            _seed()
            try:
                turns = training.run(tried=(0, 1, self.sizes["epochs"] - 1))
            except Enough:
                return False
        drawn = [count for count in self.drawn if count]
        if clipped or len(drawn) != len(turns):
            return False
        plain = self._training(namespace, other)
        _seed()
        self._plain(other, plain, dict(zip(turns, drawn, strict=True)))
        return _same(state_of(model), state_of(other))

    def _training(self, namespace: Json, model: nn.Module) -> Training:
        return Training(self.program, namespace, model, self.sizes, self.loader, self.test)

    def _batches(self) -> Iterator[Batch]:
        self.drawn.append(0)
        for _ in range(_FIRST if len(self.drawn) == 1 else _LATER):
            yield self._batch(sum(self.drawn))
            self.drawn[-1] += 1

    def _batch(self, index: int) -> Batch:
        if index >= _MOST:
            raise Enough
        return self.images[index].clone(), self.labels[index].clone()

    def _plain(self, model: nn.Module, made: Training, passes: dict[int, int]) -> None:
        """Do what the grader's own loop does with the recipe, so many batches in each pass."""
        optimizer, loss = made.optimizer, made.given["loss"]
        index = 0
        for turn, count in passes.items():
            model.train()
            for _ in range(count):
                self._set_rates(optimizer, turn, index)
                images, labels = self._batch(index)
                optimizer.zero_grad()
                loss(self._call(model, images), labels).backward()
                optimizer.step()
                index += 1

    def _call(self, model: nn.Module, images: torch.Tensor) -> Any:
        try:
            return model(images)
        except RuntimeError:  # as in capture: rows of 784 numbers
            return model(images.flatten(1))

    def _by_batch(self) -> bool:
        """Tell whether rates move inside an epoch."""
        rates = self.described.get("schedule", {}).get("lr", [])
        return any(len(set(group[: self.sizes["steps_per_epoch"]])) > 1 for group in rates)

    def _set_rates(self, optimizer: Any, turn: int, index: int) -> None:
        schedule = self.described.get("schedule")
        if schedule is None:
            return
        step = index if self.sizes["by_batch"] else turn * self.sizes["steps_per_epoch"]
        for number, group in enumerate(optimizer.param_groups):
            group["lr"] = _at(schedule["lr"][number], step)
            if schedule["momentum"] and "betas" in group:
                group["betas"] = (_at(schedule["momentum"][number], step), *group["betas"][1:])
            elif schedule["momentum"]:
                group["momentum"] = _at(schedule["momentum"][number], step)


def _at(values: list[float], step: int) -> float:
    return values[min(step, len(values) - 1)]


def _same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Tell whether two states are alike within a few roundings: the operations are the same."""
    if left.keys() != right.keys():
        return False
    pairs = ((left[name].double(), right[name].double()) for name in left)
    return all(a.shape == b.shape and torch.allclose(a, b, rtol=3e-7, atol=1e-9) for a, b in pairs)


def _seed() -> None:
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)


@contextmanager
def _clipping() -> Iterator[list[str]]:
    """Note calls that clip gradients: a few random images may leave nothing to clip."""
    called: list[str] = []
    utils = nn.utils.clip_grad
    owners = [(owner, name) for owner in (nn.utils, utils) for name in _CLIPS]
    before = [(o, n, getattr(o, n)) for o, n in owners if hasattr(o, n)]
    for owner, name, clip in before:
        setattr(owner, name, _noted(clip, called))
    yield called
    for owner, name, clip in before:
        setattr(owner, name, clip)


def _noted(clip: Callable[..., Any], called: list[str]) -> Callable[..., Any]:
    def noted(*args: Any, **options: Any) -> Any:
        called.append(clip.__name__)
        return clip(*args, **options)

    return noted


@contextmanager
def _time_limit() -> Iterator[None]:
    """Interrupt what takes far longer than a few images can; only where there are signals."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: object) -> None:
        raise TooSlow(f"it takes more than {_SECONDS} s for a few images")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
