"""Stands for packages that are not installed here, and for what is asked of them: in the box."""

from __future__ import annotations

import dis
import inspect
import os
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, Self

FOREIGN = {
    "tensorflow": "TensorFlow", "keras": "Keras", "jax": "JAX", "flax": "Flax", "fastai": "fastai",
    "mxnet": "MXNet", "paddle": "PaddlePaddle", "tflearn": "TFLearn",
}  # fmt: skip


class MissingPackage(ImportError):
    """Code that runs uses a package that is not installed here."""

    def __init__(self, name: str, where: str = "") -> None:
        self.package, self.where = name.partition(".")[0], where
        if self.package in FOREIGN:
            told = f"this is {FOREIGN[self.package]}; the assignment asks for PyTorch"
            self.help = "write the network with PyTorch"
        else:
            told = (
                f"{name} is used, but {self.package!r} was not handed in and is not installed here"
            )
            self.help = "submit the folder that holds it, or build the model without it"
        super().__init__(told)


USED: dict[str, str] = {}
"""What was used of packages that are missing, where it stood for nothing, and on which line."""


class Placeholder(types.ModuleType):
    """Stands for a missing package, or for something in it: whatever is done with it does nothing.

    Except inside a model: what a network computes cannot be nothing.
    """

    known: Callable[..., Any] = staticmethod(lambda name, /, *args, **options: None)
    """Gives what a function of a missing package returns for its arguments, or None."""

    def __init__(self, name: str) -> None:
        """Stand for the package or thing called `name`."""
        super().__init__(name)
        self.__path__: list[str] = []  # so that modules inside it can be imported too

    def __getattr__(self, name: str) -> Any:
        """Give a placeholder for something in it."""
        if name == "__version__":
            self._use()
            return "0"
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return type(self)(f"{self.__name__}.{name}")

    def __call__(self, *args: object, **options: object) -> Any:
        """Do nothing, and give back a function that is decorated, or more of nothing."""
        if (made := self.known(self.__name__, *args, **options)) is not None:
            return made
        self._use()
        alone = len(args) == 1 and not options and inspect.isfunction(args[0])
        return args[0] if alone else type(self)(self.__name__)

    def _use(self) -> None:
        """Note that it is used; raises MissingPackage where that cannot be nothing."""
        if self.__name__.partition(".")[0] in FOREIGN or in_a_model():
            raise MissingPackage(self.__name__)
        USED.setdefault(self.__name__, line_of_submission())

    def __mro_entries__(self, bases: tuple[object, ...]) -> Any:
        """Raise MissingPackage: a class of it would be another."""
        raise MissingPackage(self.__name__)

    def __iter__(self) -> Iterator[Any]:
        """Give as many of nothing as are unpacked: `figure, axes = plt.subplots()`."""
        return iter([self] * unpacked(sys._getframe(1)))

    def __enter__(self) -> Self:
        """Do nothing."""
        return self

    def __exit__(self, *error: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def __len__(self) -> int:
        """Hold nothing."""
        return 0

    def _itself(self, *_: object) -> Self:
        return self

    def _zero(self) -> int:
        self._use()
        return 0

    def _no(self, *_: object) -> bool:
        return False

    def __format__(self, spec: str) -> str:
        """Show nothing."""
        return ""

    def __float__(self) -> float:
        """Be no number that matters."""
        return float(self._zero())

    __int__ = __index__ = _zero
    __lt__ = __le__ = __gt__ = __ge__ = _no
    __rtruediv__ = __floordiv__ = __rfloordiv__ = __pow__ = __mod__ = __round__ = __abs__ = _itself
    __getitem__ = __deepcopy__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = _itself
    __rmul__ = __truediv__ = __or__ = __and__ = __neg__ = __matmul__ = _itself


def unpacked(frame: types.FrameType) -> int:
    """Return how many things a frame unpacks right now: 2 for `x, y = pair`, or 0."""
    code = frame.f_code.co_code
    unpacks = dis.opname[code[frame.f_lasti]] == "UNPACK_SEQUENCE"
    return code[frame.f_lasti + 1] if unpacks else 0


def line_of_submission() -> str:
    """Return the innermost line of the submission, whose files have no absolute path."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith("<") and not os.path.isabs(file):  # noqa: PTH117 - no file
            return f"{file}, line {frame.f_lineno}"
        frame = frame.f_back
    return ""


class Quiet(Placeholder):
    """Stands for a package that shows or logs."""

    def _use(self) -> None:
        """Do nothing, wherever it is."""

    def __mro_entries__(self, bases: tuple[object, ...]) -> Any:
        """Let a class inherit from nothing."""
        return ()


def in_a_model() -> bool:
    """Tell whether a module is being made, or called."""
    from torch import nn

    frame = sys._getframe(1)
    while frame is not None:
        first = frame.f_code.co_varnames[:1]
        if first == ("self",) and isinstance(frame.f_locals.get("self"), nn.Module):
            return True
        frame = frame.f_back  # type: ignore[assignment] # None at the bottom ends the loop
    return False
