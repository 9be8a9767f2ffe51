"""Stands for a package of transforms that is not installed: remembers what is asked of it."""

from __future__ import annotations

import types
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


def are_recorded(name: str) -> bool:
    """Tell whether it is a package whose calls are recorded, or a module in one."""
    return name.partition(".")[0] in PACKAGES
