"""Makes code that was written for Colab's GPU run on any machine, for the seconds it runs here."""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
from collections.abc import Callable
from typing import Any, Self

import torch
import torch.utils.checkpoint
from torch import nn
from torch.overrides import TorchFunctionMode

_FOR_GOOD = contextlib.ExitStack()  # closed by nobody, for as long as this process lives


def apply() -> None:
    """Send every device to the CPU, and turn compilers and wrappers into what they wrap."""
    _FOR_GOOD.enter_context(OnCpu())
    for name in ("cuda", "xpu", "ipu", "mps"):
        setattr(nn.Module, name, _itself)
    nn.Module.to = _stay_on_cpu(nn.Module.to)  # type: ignore[method-assign]
    nn.DataParallel = nn.parallel.DataParallel = _itself  # type: ignore[misc, assignment]
    nn.parallel.DistributedDataParallel = _itself  # type: ignore[misc, assignment]
    torch.compile = _decorator  # type: ignore[assignment]
    torch.jit.script = torch.jit.trace = _decorator  # type: ignore[assignment]
    torch.utils.checkpoint.checkpoint = _called  # type: ignore[assignment]
    _no_gpu()
    importlib.reload = _itself  # type: ignore[assignment]
    argparse.ArgumentParser.parse_known_args = _forgiving(  # type: ignore[method-assign]
        argparse.ArgumentParser.parse_known_args
    )
    torch.set_num_threads(1)  # waking others takes longer than running four images


def _forgiving(parse: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command line be parsed that lacks what it requires: that stays None."""

    @functools.wraps(parse)
    def parsed(self: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> Any:
        for action in self._actions:
            action.required = False
            if not action.option_strings and action.nargs is None:
                action.nargs = "?"
        return parse(self, *args, **kwargs)

    return parsed


def _no_gpu() -> None:
    """Answer what is asked of a GPU as if there were one that needs nothing."""
    for name in ("set_device", "synchronize", "reset_peak_memory_stats", "init"):
        setattr(torch.cuda, name, _nothing())
    for name in ("set_default_device", "set_default_tensor_type"):
        setattr(torch, name, _nothing())
    torch.cuda.current_device = lambda: "cpu"  # type: ignore[assignment, return-value]
    torch.cuda.get_device_name = lambda *_: "none"
    torch.autocast = torch.amp.autocast = Autocast  # type: ignore[misc, assignment]
    for kind in (torch.cuda.amp, torch.cpu.amp):
        kind.autocast = Autocast  # type: ignore[attr-defined]


class Autocast(contextlib.ContextDecorator):
    """Stands for `autocast`: the precision is the grader's own affair."""

    def __init__(self, *args: object, **options: object) -> None: ...

    def __enter__(self) -> Self:
        """Change nothing."""
        return self

    def __exit__(self, *error: object) -> None: ...


def _nothing() -> Callable[..., None]:
    """Make a function that does nothing; PyTorch's compiler wants a new one for every name."""
    return lambda *args, **kwargs: None


def _itself(thing: Any, *args: object, **kwargs: object) -> Any:
    return thing


def _called(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Stand for `checkpoint`, which computes the same and saves memory."""
    own = ("use_reentrant", "preserve_rng_state", "context_fn", "determinism_check", "debug")
    return function(*args, **{k: v for k, v in options.items() if k not in own})


def _decorator(thing: Any = None, *args: object, **kwargs: object) -> Any:
    """Stand for a compiler, called directly or as a decorator with options."""
    return thing if thing is not None else _itself


class OnCpu(TorchFunctionMode):
    """Keep every tensor on the CPU, whatever device a function of PyTorch is asked for."""

    def __torch_function__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call `func` without the device, where that is another one."""
        if func in _MOVES:
            return args[0]
        if func is torch.Tensor.to:
            args = tuple(a for a in args if not _is_elsewhere(a))
        named = {k: v for k, v in (kwargs or {}).items() if k != "device" or not _is_elsewhere(v)}
        if func is torch.Tensor.to and len(args) == 1 and not named:
            return args[0]
        return func(*args, **named)


_MOVES = (torch.Tensor.cuda, torch.Tensor.xpu, torch.Tensor.pin_memory)


def _is_elsewhere(device: object) -> bool:
    if isinstance(device, torch.device):
        return device.type not in ("cpu", "meta")
    text = isinstance(device, str) and device.split(":")[0] in ("cuda", "mps", "xpu", "hip")
    return text or (isinstance(device, int) and not isinstance(device, bool))


def _stay_on_cpu(to: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `nn.Module.to`, which reads its arguments where no mode can see them."""

    @functools.wraps(to)
    def moved(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        kept = [a for a in args if not _is_elsewhere(a)]
        named = {k: v for k, v in kwargs.items() if k != "device" or not _is_elsewhere(v)}
        return to(module, *kept, **named) if kept or named else module

    return moved
