"""Makes code that was written for Colab's GPU run on any machine, for the seconds it runs here."""

from __future__ import annotations

import argparse
import builtins
import collections
import collections.abc
import contextlib
import functools
import importlib
import operator
import os
import re
import sys
import time
import types
from collections.abc import Callable
from typing import Any, Self

import commandline
import numpy as np
import numpy.char  # which `np.core` no longer loads by itself
import torch
import torch.utils.checkpoint
import torchvision.transforms
from PIL import Image
from placeholders import Placeholder, Quiet
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision.transforms import transforms

_FOR_GOOD = contextlib.ExitStack()  # closed by nobody, for as long as this process lives


def apply() -> None:
    """Send every device to the CPU, and turn compilers and wrappers into what they wrap."""
    _FOR_GOOD.enter_context(OnCpu())
    for name in ("cuda", "xpu", "ipu", "mps", "half", "bfloat16"):
        setattr(nn.Module, name, _itself)
    nn.Module.to = _stay_on_cpu(nn.Module.to)  # type: ignore[method-assign]
    nn.DataParallel = nn.parallel.DataParallel = _itself  # type: ignore[misc, assignment]
    nn.parallel.DistributedDataParallel = _itself  # type: ignore[misc, assignment]
    torch.compile = decorator  # type: ignore[assignment]
    torch.jit.script = torch.jit.trace = decorator  # type: ignore[assignment]
    torch.utils.checkpoint.checkpoint = _called  # type: ignore[assignment]
    _no_gpu()
    importlib.reload = _itself  # type: ignore[assignment]
    argparse.ArgumentParser.parse_known_args = commandline.forgiving(  # type: ignore[method-assign]
        argparse.ArgumentParser.parse_known_args
    )
    _alone()
    _older()
    torch.onnx.export = _nothing()
    os.environ.__class__ = Environment
    torch.set_num_threads(1)  # waking others takes longer than running four images


def _no_gpu() -> None:
    """Answer what is asked of a GPU as if there were one that needs nothing."""
    torch.cuda.is_available = _for_submissions(GPU.seen, torch.cuda.is_available)
    known = types.SimpleNamespace(name="none", total_memory=0, major=8, multi_processor_count=1)
    torch.cuda.get_device_properties = lambda *_: known  # type: ignore[assignment]
    torch.cuda.device_count = _for_submissions(lambda: 1, torch.cuda.device_count)
    for name in ("set_device", "synchronize", "reset_peak_memory_stats", "init"):
        setattr(torch.cuda, name, _nothing())
    for name in ("set_default_device", "set_default_tensor_type"):
        setattr(torch, name, _nothing())
    torch.cuda.current_device = lambda: "cpu"  # type: ignore[assignment, return-value]
    torch.cuda.get_device_name = lambda *_: "none"
    torch.cuda.get_device_capability = lambda *_: (8, 0)
    torch.cuda.Event = Quiet("torch.cuda.Event")  # type: ignore[misc, assignment]
    torch.autocast = torch.amp.autocast = Autocast  # type: ignore[misc, assignment]
    for kind in (torch.cuda.amp, torch.cpu.amp):
        kind.autocast = Autocast  # type: ignore[attr-defined]
        kind.GradScaler = Scaler  # type: ignore[attr-defined]
    torch.amp.GradScaler = Scaler  # type: ignore[misc, assignment]
    torch.Generator = Generator  # type: ignore[misc]
    for name in ("manual_seed", "synchronize", "empty_cache"):
        setattr(torch.mps, name, _nothing())


def _older() -> None:
    """Give back what older versions of the libraries had, and most notebooks still use."""
    for owner, gone in _GONE:
        for name, value in gone.items():
            if name not in vars(owner):
                setattr(owner, name, value)
    vars(np)["__getattr__"] = _under_new_names(vars(np).get("__getattr__", _unknown))
    np.array = _copied_if_needed(np.array)
    torch.autograd.Variable = torch.autograd.variable.Variable = Variable  # type: ignore[misc, assignment, attr-defined]
    normalize = transforms.Normalize.forward
    transforms.Normalize.forward = _as_many(normalize)


_GONE: tuple[tuple[types.ModuleType, dict[str, Any]], ...] = (
    (np, {
        "asfarray": lambda a, dtype=float: np.asarray(a, dtype), "asscalar": lambda a: a.item(),
        "bool8": np.bool_, "cumproduct": np.cumprod, "in1d": np.isin, "product": np.prod,
    }),
    (torch, {"set_deterministic": lambda *_: None}),
    (torchvision.transforms, {
        "Scale": transforms.Resize, "RandomSizedCrop": transforms.RandomResizedCrop,
    }),
    (Image, {"ANTIALIAS": Image.Resampling.LANCZOS}),
    (collections, {name: getattr(collections.abc, name) for name in collections.abc.__all__}),
    (time, {"clock": time.perf_counter}),
)  # fmt: skip
"""What is gone of a package without a word of what has taken its place."""
_NEW_NAME = re.compile(r"`(-?)(?:np|numpy)\.([\w.]+)` instead|the builtin `(\w+)`")


def _under_new_names(unknown: Callable[[str], Any]) -> Callable[[str], Any]:
    """Let NumPy give what has another name by now, which is told by its own error."""

    def found(name: str) -> Any:
        try:
            return unknown(name)
        except AttributeError as error:
            told = _NEW_NAME.search(str(error))
            if told is None:
                raise
        if told[3]:
            return getattr(builtins, told[3])
        value = operator.attrgetter(told[2])(np)
        return -value if told[1] else value

    return found


def _unknown(name: str) -> Any:
    raise AttributeError(name)


def _copied_if_needed(array: Callable[..., Any]) -> Callable[..., Any]:
    """Let `np.array(copy=False)` copy where it must, as it was before NumPy 2."""

    @functools.wraps(array)
    def made(*args: Any, copy: Any = True, **options: Any) -> Any:
        return array(*args, copy=None if copy is False else copy, **options)

    return made


def _alone() -> None:
    """Let a training that is spread over processes be the only one of them."""
    import torch.distributed
    import torch.multiprocessing

    for name in ("init_process_group", "destroy_process_group", "barrier", "broadcast"):
        setattr(torch.distributed, name, _nothing())
    torch.distributed.all_reduce = _itself  # type: ignore[assignment]
    torch.distributed.get_rank = lambda *_: 0
    torch.distributed.get_world_size = lambda *_: 1
    vars(torch.multiprocessing)["spawn"] = _spawned


def _spawned(function: Callable[..., Any], args: tuple[Any, ...] = (), *_: Any, **__: Any) -> None:
    function(0, *args)


class Gpu:
    """The GPU that submissions see: `without` quotes the error for which there is none."""

    asked = False  # for, in the statement that is under way
    without = ""

    def seen(self) -> bool:
        """Tell a submission whether there is one."""
        self.asked = True
        return not self.without


GPU = Gpu()


def _for_submissions(answer: Callable[[], Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a submission an answer, and PyTorch itself the true one.

    Most submissions were run on a GPU, and say what they do then.
    """

    def answered() -> Any:
        packaged = os.path.isabs(sys._getframe(1).f_code.co_filename)  # noqa: PTH117 - no file
        return function() if packaged else answer()

    return answered


class Environment(os._Environ):  # type: ignore[type-arg]
    """The environment, in which what a submission expects of another machine is empty."""

    def __getitem__(self, name: str) -> Any:
        """Return a variable."""
        try:
            return super().__getitem__(name)
        except KeyError:
            file = sys._getframe(1).f_code.co_filename
            if file.startswith("<") or os.path.isabs(file):  # noqa: PTH117 - no file
                raise
            return {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.get(name, "")


class _OfTensors(type):
    def __instancecheck__(cls, thing: object) -> bool:
        return isinstance(thing, torch.Tensor)


_GENERATOR = torch.Generator


class _OfGenerators(type):
    def __instancecheck__(cls, thing: object) -> bool:
        return isinstance(thing, _GENERATOR)


class Generator(metaclass=_OfGenerators):
    """Stands for PyTorch's: gives one of the CPU, whatever device it is for."""

    def __new__(cls, device: object = None) -> Any:
        """Return it."""
        return _GENERATOR()


class Variable(metaclass=_OfTensors):
    """Stands for what tensors were wrapped in once: gives the tensor itself."""

    def __new__(cls, data: Any = None, requires_grad: bool = False, **options: Any) -> Any:
        """Return the tensor."""
        return data.requires_grad_() if requires_grad else data


def _as_many(normalize: Callable[..., Any]) -> Callable[..., Any]:
    """Normalise an image of one channel by the first of several means, as older versions did."""

    def normalized(step: Any, image: Any) -> Any:
        means = np.ravel(step.mean)
        if len(means) > 1 and getattr(image, "ndim", 0) > 2 and image.shape[-3] == 1:
            step.mean, step.std = [float(means[0])], [float(np.ravel(step.std)[0])]
        return normalize(step, image)

    return normalized


class Scaler:
    """Stands for `GradScaler`: the precision is the grader's own affair."""

    def __init__(self, *args: object, **options: object) -> None: ...

    def scale(self, loss: Any) -> Any:
        """Return the loss as it is."""
        return loss

    def step(self, optimizer: Any, *args: Any, **options: Any) -> Any:
        """Step the optimiser."""
        return optimizer.step(*args, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Give a method that does nothing: `update`, `unscale_`, `state_dict`."""
        known = {"state_dict": {}, "get_scale": 1.0, "is_enabled": False}
        return lambda *args, **options: known.get(name)


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


def decorator(thing: Any = None, *args: object, **kwargs: object) -> Any:
    """Stand for a compiler, called directly or as a decorator with options."""
    return thing if thing is not None else _itself


def note_calls(told: Callable[..., None]) -> None:
    """Tell somebody of every call: the function, its arguments and its result."""
    OnCpu.told = staticmethod(told)


class OnCpu(TorchFunctionMode):
    """Keep every tensor on the CPU, whatever device a function of PyTorch is asked for.

    Half precision is full precision, as under `autocast`.
    """

    told: Callable[..., None] | None = None

    def __torch_function__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call `func` without the device, where that is another one."""
        if func in _MOVES:
            return args[0]
        if func is torch.Tensor.__getitem__ and args[0].dim() == 0 and args[1] == 0:
            return args[0]  # `loss.data[0]`, which was the way before `item()`
        if func in _HALVED:
            func = torch.Tensor.float
        if func in (torch.Tensor.to, torch.Tensor.type):
            args = tuple(_whole(a) for a in args if not _is_elsewhere(a))
        named = {k: v for k, v in (kwargs or {}).items() if k != "device" or not _is_elsewhere(v)}
        if "dtype" in named:
            named["dtype"] = _whole(named["dtype"])
        if func is torch.Tensor.to and len(args) == 1 and not named:
            return args[0]
        result = func(*args, **named)
        if self.told is not None:
            self.told(func, args, named, result)
        return result


def _whole(kind: Any) -> Any:
    """Return the precision of a type of tensors that is the grader's own affair, or what it is."""
    halved = isinstance(kind, torch.dtype) and kind in (torch.float16, torch.bfloat16)
    return torch.float32 if halved else kind


_HALVED = (torch.Tensor.half, torch.Tensor.bfloat16)
_MOVES = (torch.Tensor.cuda, torch.Tensor.xpu, torch.Tensor.pin_memory)


def _is_elsewhere(device: object) -> bool:
    if isinstance(device, torch.device):
        return device.type not in ("cpu", "meta")
    if isinstance(device, Placeholder):
        return True
    text = isinstance(device, str) and device.split(":")[0] in ("cuda", "mps", "xpu", "hip")
    return text or (isinstance(device, int) and not isinstance(device, bool))


def _stay_on_cpu(to: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `nn.Module.to`, which reads its arguments where no mode can see them."""

    @functools.wraps(to)
    def moved(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        kept = [_whole(a) for a in args if not _is_elsewhere(a)]
        named = {k: _whole(v) for k, v in kwargs.items() if k != "device" or not _is_elsewhere(v)}
        return to(module, *kept, **named) if kept or named else module

    return moved
