"""Stands for a package of transforms that is not installed: remembers what is asked of it."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import types
from collections.abc import Sequence
from typing import Any

import torch

Json = dict[str, Any]

PACKAGES = ("albumentations",)


class Recorded:
    """A call of something in the package: its name there, and its arguments."""

    def __init__(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.name = name
        self.args = args
        self.options = options

    def __getattr__(self, name: str) -> Any:
        """Give what transforms are asked for most; nothing else is known."""
        if name == "transforms" and self.args:
            return self.args[0]
        raise AttributeError(name)

    def __call__(self, *args: Any, **options: Any) -> Json:
        """Do what transforms do to an image, as far as its shape goes."""
        image = torch.as_tensor(options.get("image", args[0] if args else None))
        pixels = image.float() / 255
        return {"image": pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1)}

    def argument(self, name: str, position: int | None = None, default: Any = None) -> Any:
        """Return an argument by its name, or by its place."""
        if name in self.options:
            return self.options[name]
        return (
            self.args[position] if position is not None and position < len(self.args) else default
        )


class RecordedPackage(types.ModuleType):
    """A module in which every name is a callable whose calls are recorded."""

    def __init__(self, name: str) -> None:
        """Stand for the module called `name`."""
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        """Give a module for a lower-case name, a recorder for any other."""
        if name.startswith("__"):
            raise AttributeError(name)
        if name[0].islower():
            return RecordedPackage(f"{self.__name__}.{name}")
        return lambda *args, **options: Recorded(name, args, options)


class RecordedFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked after all others: gives the stand-ins for packages that are not installed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Answer for the packages above and all that is inside them."""
        known = name.partition(".")[0] in PACKAGES
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if known else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Make the stand-in."""
        return RecordedPackage(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Do nothing: it has no code."""
