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
from collections.abc import Callable, Sequence
from typing import Any, Self

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
    argparse.ArgumentParser.parse_known_args = _forgiving(  # type: ignore[method-assign]
        argparse.ArgumentParser.parse_known_args
    )
    _alone()
    _older()
    torch.onnx.export = _nothing()
    os.environ.__class__ = Environment
    torch.set_num_threads(1)  # waking others takes longer than running four images


_MODES = re.compile(r"(\w+_)?(mode|phase|action|command|cmd|task|stage|job)", re.I)
TRAINS = re.compile(r"(do_?|is_?|run_?)?(train|fit|training|learn|learning)", re.I)
_USAGE = re.compile(
    r"len\(sys\.argv\)\s*(==\s*1|<=?\s*[12])\s*:\s*\n(.*\n){0,3}?.*(exit|print_help|usage)"
)
_OTHERWISE = ("test", "eval", "evaluate", "predict", "inference", "infer", "demo", "validate")


def _forgiving(parse: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command line be parsed that asks for a training, and lacks what is required."""

    @functools.wraps(parse)
    def parsed(self: argparse.ArgumentParser, args: Any = None, *more: Any, **options: Any) -> Any:
        for action in self._actions:
            positional = not action.option_strings and action.nargs not in ("?", "*")
            action.default = _to_train(action)
            if action.default is None:
                action.default = _in_commands(action)
            if (action.required or positional) and action.default is None:
                action.default = put_there(action)
            action.required = False
            if not action.option_strings and action.nargs is None:
                action.nargs = "?"
        return parse(self, [] if args is None else args, *more, **options)

    return parsed


GIVEN: dict[str, str] = {}
"""Options of the command line that have no default, and what was put there."""
NUMBERS: dict[str, int] = {}
"""The grader's own `epochs` and `batch_size`."""
_NUMBERS = {
    "epochs": re.compile(r"((num|n|nb|no|number|max|train|total)_?(of_?)?)?epochs?", re.I),
    "batch_size": re.compile(r"(train_?)?(batch_?size|batch|bs|bsz)", re.I),
}
_CHOOSES = re.compile(r"model|net|arch|version|variant", re.I)
SETTINGS: list[str] = []
"""The files of settings that were handed in."""
SUFFIXES = (".yaml", ".yml", ".json")
_OF_SETTINGS = re.compile(
    r"(.*_)?(config|cfg|conf|settings|yaml|experiment)(_?(file|path|name))?", re.I
)


def put_there(action: Any) -> Any:
    """Return what stands for an option without a default, as argparse or alike describes it.

    That is what the grader's own recipe has, the first choice, or a text that can be written and
    opened. What the network may depend on, as a file of settings, is not guessed at, where there is
    more than one choice.
    """
    found: Any = None
    choices = list(action.choices or ())
    if choices and (len(choices) == 1 or not _CHOOSES.search(action.dest)):
        words = [word for word in choices if str(word).lower() == "mnist"]
        found = (words or choices)[0]
    elif action.type in (int, float):
        numbers = (NUMBERS.get(n) for n, name in _NUMBERS.items() if name.fullmatch(action.dest))
        found = next(numbers, None)
    elif SETTINGS and _OF_SETTINGS.fullmatch(action.dest):  # what they say decides
        found = SETTINGS[0] if len(SETTINGS) == 1 else None
        choices = SETTINGS
    elif action.type in (None, str) and action.nargs in (None, "?"):
        action.type = None  # of which it would become a plain text
        found = UnsetText(action.dest)
        found.choices = choices
    if found is None:
        return Unset(action.dest, choices)
    GIVEN[action.dest] = repr(found)
    return found


COMMANDS: list[tuple[str, str]] = []
"""The command that runs the file, and the script or README that it stands in."""


RUNS = re.compile(r"\bpython[\d.]*\s+(?:.*\\\n)*.*")


def _in_commands(action: argparse.Action) -> Any:
    """Return what a shell script that was handed in gives for an option; None if nothing."""
    names = "|".join(map(re.escape, action.option_strings))
    for text, command in COMMANDS if names and action.nargs is None else ():
        if found := re.search(rf"(?:^|\s)(?:{names})[ =]+[\"']?([^\s\"'\\`]+)", command):
            variable = re.search(rf"^{re.escape(found[1][1:])}=(\S+)", text, re.M)
            word = variable[1] if variable and found[1].startswith("$") else found[1]
            with contextlib.suppress(Exception):  # of its own type
                value = action.type(word) if callable(action.type) else word
                if word[0] not in "-<{[$" and value in (action.choices or [value]):
                    GIVEN[action.dest] = repr(value)
                    return value
    return None


TYPED: dict[str, str] = {}
"""What was asked of a person, and the answer."""
_MENU = re.compile(r"\b(\d)\b\s*[:.)=-]?\s*(?:to |for )?train|train\w*\W{0,4}(\d)\b", re.I)
_YES = re.compile(r"\by(es)?\W{1,3}no?\b", re.I)
_MOST_TYPED = 10  # times that a question is answered


def typed(prompt: object = "", *_: object) -> str:
    """Stand for `input`: the grader's own number, what trains of a menu, or the first choice."""
    asked, numbers = str(prompt), {"epoch": "epochs", "batch": "batch_size"}
    known = (str(NUMBERS[name]) for word, name in numbers.items() if word in asked.lower())
    chosen = (found[1] or found[2] for found in _MENU.finditer(asked))
    counted = _ASKED[asked] = _ASKED.get(asked, 0) + 1
    if counted > _MOST_TYPED:
        raise EOFError(f"nobody answers {asked[:80]!r}")
    TYPED[asked] = next(known, next(chosen, "y" if _YES.search(asked) else "1"))
    return TYPED[asked]


_ASKED: dict[str, int] = {}


def _to_train(action: argparse.Action) -> Any:
    """Return what an option is when the file trains: its default, unless it says otherwise."""
    words = [word for word in action.choices or () if str(word).lower() == "train"]
    if isinstance(action, argparse._StoreTrueAction) and TRAINS.fullmatch(action.dest):
        return True
    if str(action.default).lower() in _OTHERWISE or action.default is None:
        if words:
            return words[0]
        if _MODES.fullmatch(action.dest) and (action.default is not None or action.required):
            return "train"
    return action.default


def command_line(texts: list[str]) -> list[str]:
    """Return the words of the command line by which a file trains that reads them by itself."""
    if any(_USAGE.search(text) for text in texts):
        return ["train"]
    words = (re.findall(r"sys\.argv.*==\s*['\"](-{0,2}train)['\"]", text) for text in texts)
    return next(filter(None, words), [])[:1]


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


class Unset:
    """Stands for an option that the command line has to give: whoever uses it learns that."""

    def __init__(self, name: str, choices: Sequence[Any] = ()) -> None:
        self._name = name
        self._one_of = f" ({', '.join(map(str, choices))[:200]})" if choices else ""

    def _used(self, *_: object) -> Any:
        raise UnsetOption(
            f"`{self._name}` of the command line has no value{self._one_of}: give it a default, or "
            "the network cannot be known"
        )

    __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = __bool__ = __index__ = __int__ = _used
    __float__ = __add__ = __radd__ = __mul__ = __rmul__ = __sub__ = __rsub__ = __fspath__ = _used
    __iter__ = __len__ = __getitem__ = __call__ = __hash__ = __contains__ = _used
    __truediv__ = __rtruediv__ = __floordiv__ = __pow__ = __neg__ = __mod__ = __rmod__ = _used


class UnsetText(str):
    """Stands for such an option where it is a text: a path, but nothing to decide by."""

    choices: Sequence[Any] = ()

    def _used(self, *_: object) -> Any:
        return Unset(self[:], self.choices)._used()

    __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = __contains__ = __hash__ = _used
    __int__ = __float__ = __index__ = _used

    def _itself(self, *_: object) -> UnsetText:
        return self

    lower = upper = strip = casefold = title = _itself


class CommandLine(list[str]):
    """The command line, in which a word that is missing is a text, unless that is expected."""

    def __init__(self, words: list[str], is_expected: Callable[[str, int], bool]) -> None:
        """Take the words there are; `is_expected` tells by the line that asks for another."""
        super().__init__(words)
        self._is_expected = is_expected

    def __getitem__(self, index: Any) -> Any:
        """Return a word."""
        try:
            return super().__getitem__(index)
        except IndexError:
            frame = sys._getframe(1)
            if self._is_expected(frame.f_code.co_filename, frame.f_lineno):
                raise
        name = f"argv{index}"
        GIVEN[name] = repr(name)
        return UnsetText(name)


class UnsetOption(Exception):
    """The submission uses an option that the command line has to give."""


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
