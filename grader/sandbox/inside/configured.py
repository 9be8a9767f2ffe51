"""Stands for Hydra and OmegaConf: settings come from the YAML files that were handed in.

Runs in the sandbox. How `defaults`, groups, references and `_target_` are put together is told in
the documentation of Hydra (hydra.cc, "The Defaults List", "Instantiating objects").
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import sys
import types
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from fitting import Kept

Json = dict[str, Any]
NAMES = ("hydra", "omegaconf")
_REFERENCE = re.compile(r"\$\{([^${}]*)\}")
_POWER = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$")
_SUFFIXES = (".yaml", ".yml")
_DEEPEST = 20
_STORED: dict[PurePosixPath, Any] = {}

Import = Callable[..., Any]
IMPORT: list[Import] = [__import__]
"""Imports as the submission does."""


def _config(thing: Any, root: Any = None, depth: int = 0) -> Any:
    """Turn mappings into settings, also by attribute, and put in what they refer to."""
    root = thing if root is None else root
    if dataclasses.is_dataclass(thing):
        thing = {field.name: _held(thing, field) for field in dataclasses.fields(thing)}
    if isinstance(thing, dict):
        return Kept({key: _config(value, root, depth) for key, value in thing.items()})
    if isinstance(thing, (list, tuple)):
        return [_config(value, root, depth) for value in thing]
    found = _REFERENCE.search(thing) if isinstance(thing, str) and depth < _DEEPEST else None
    if found is None:
        return thing
    value = _looked_up(root, found[1])
    if found[0] != thing:
        value = thing.replace(found[0], "" if value is None else str(value))
    return _config(value, root, depth + 1)


def _held(thing: Any, field: Any) -> Any:
    """Return what a data class, or one of its instances, has in a field; None if nothing."""
    if not isinstance(thing, type):
        return getattr(thing, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.type if dataclasses.is_dataclass(field.type) else None


def _looked_up(root: Any, path: str) -> Any:
    """Return what a dotted name stands for; None for what only the machine of its run knew."""
    for part in path.split("."):
        root = root.get(part) if isinstance(root, dict) else None
    return root


def _merged(first: Any, second: Any) -> Any:
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return second
    shared = {key: _merged(first[key], value) for key, value in second.items() if key in first}
    return Kept({**first, **second, **shared})


@functools.cache
def _numbers() -> Any:
    """Return what reads YAML as OmegaConf does: `1e-3`, a text in YAML 1.1, is a number."""
    import yaml

    class Numbers(yaml.SafeLoader): ...

    Numbers.add_implicit_resolver("tag:yaml.org,2002:float", _POWER, list("-+0123456789."))
    return Numbers


def _file_of(path: PurePosixPath) -> str:
    return str(path if path.suffix in _SUFFIXES else f"{path}.yaml")


def _read(path: PurePosixPath) -> Json:
    stored = next((_STORED[p] for p in (path, *_tails(path)) if p in _STORED), None)
    if stored is not None and not os.path.exists(_file_of(path)):  # noqa: PTH110
        return dict(_config(stored))
    import yaml

    with open(_file_of(path), encoding="utf-8") as file:  # noqa: PTH123
        return yaml.load(file, _numbers()) or {}  # noqa: S506 # it is a safe one


def _tails(path: PurePosixPath) -> list[PurePosixPath]:
    """Return what remains of a path without more and more of its first folders."""
    parts = [part for part in path.parts if part not in ("..", ".", "/")]
    return [PurePosixPath(*parts[first:]) for first in range(len(parts))]


def _composed(path: PurePosixPath, depth: int = 0) -> Any:
    """Read a file of settings, with those that it names as its defaults."""
    own = _read(path)
    found: Any = {}
    listed = own.pop("defaults", []) if depth < _DEEPEST else []
    for each in listed if "_self_" in listed else [*listed, "_self_"]:
        if each == "_self_":
            found = _merged(found, own)
        elif isinstance(each, str):
            found = _merged(found, _composed(path.parent / each, depth + 1))
        else:
            ((group, option),) = each.items()
            group = group.removeprefix("override ").strip("/").partition("@")[0]
            if group.startswith("hydra/"):  # how it is launched and logged
                continue
            for name in option if isinstance(option, list) else [option] * (option is not None):
                part = _composed(path.parent / group / str(name), depth + 1)
                for key in reversed(group.split("/")):
                    part = {key: part}
                found = _merged(found, part)
    return found


def _main(
    config_path: Any = None, config_name: Any = "config", **options: object
) -> Callable[[Callable[..., Any]], Callable[[], Any]]:
    """Stand for `hydra.main`: call a function with its settings."""
    folder = _beside_caller(config_path)
    if folder.suffix in _SUFFIXES:  # as before version 1.0
        folder, config_name = folder.parent, folder.name

    def decorated(function: Callable[..., Any]) -> Callable[[], Any]:
        def called(*given: Any) -> Any:
            return function(*(given or [_compose(config_name, folder=folder)]))

        return functools.wraps(function)(called)

    return decorated


def _beside_caller(path: Any) -> PurePosixPath:
    """Return a folder of settings, which is named as seen from the file that calls."""
    file = sys._getframe(2).f_code.co_filename
    return PurePosixPath(os.path.normpath(PurePosixPath(file).parent / (path or "")))


class _Initialized(contextlib.nullcontext[None]):
    """Stands for `hydra.initialize`: says where `compose` looks for settings."""

    folder = PurePosixPath()

    def __init__(self, config_path: Any = None, *args: object, **options: Any) -> None:
        super().__init__()
        _Initialized.folder = _beside_caller(options.get("config_dir") or config_path)


class ConfigStore:
    """Keeps settings that no file holds."""

    instance = staticmethod(lambda: ConfigStore)

    @staticmethod
    def store(name: str, node: Any, group: Any = None, **options: object) -> None:
        """Keep a data class, or settings, by its name."""
        _STORED[PurePosixPath(group or "", name.removesuffix(".yaml"))] = node


def _compose(
    config_name: Any = "config", overrides: Any = (), *, folder: Any = None, **options: object
) -> Any:
    """Put settings together, with the values that `overrides` (`train.rate=0.1`) give."""
    path = (_Initialized.folder if folder is None else folder) / str(config_name)
    there = (p for p in (path, *_tails(path)) if os.path.exists(_file_of(p)))  # noqa: PTH110
    return _config(functools.reduce(_overridden, overrides, _composed(next(there, path))))


def _overridden(settings: Any, text: str) -> Any:
    """Put in a value as a command line gives it: `train.rate=0.1`."""
    import yaml

    name, _, value = text.lstrip("+").partition("=")
    part = yaml.load(value, _numbers())  # noqa: S506 # it is a safe one
    for key in reversed(name.split(".")):
        part = {key: part}
    return _merged(settings, part)


def _located(name: str) -> Any:
    """Return what a dotted name of the submission, or of a package, stands for."""
    module, _, leaf = name.rpartition(".")
    return getattr(IMPORT[0](module, None, None, [leaf], 0), leaf)


def _instantiated(settings: Any, *args: Any, **options: Any) -> Any:
    """Make what settings describe by `_target_`."""
    if isinstance(settings, list):
        return [_instantiated(each) for each in settings]
    if not isinstance(settings, dict) or "_target_" not in settings:
        return settings
    named = {k: v for k, v in settings.items() if k[:1] != "_"} | options
    if settings.get("_recursive_", True):
        named = {k: _instantiated(v) for k, v in named.items()}
    made = _located(settings["_target_"])
    return (
        functools.partial(made, *args, **named)
        if settings.get("_partial_")
        else made(*args, **named)
    )


class OmegaConf:
    """Reads, makes and merges settings."""

    create = structured = staticmethod(lambda thing=None, **_: _config(thing or {}))
    load = staticmethod(lambda path: _config(_read(PurePosixPath(os.fspath(path)))))
    merge = staticmethod(lambda *all_of: functools.reduce(_merged, map(_config, all_of)))
    from_cli = staticmethod(lambda *_: Kept())
    to_container = to_object = staticmethod(lambda thing, **_: thing)
    to_yaml = staticmethod(lambda *_, **__: "")
    set_struct = set_readonly = resolve = register_new_resolver = staticmethod(
        lambda *_, **__: None
    )


def fill(module: types.ModuleType) -> None:
    """Give a stand-in module what a submission uses of them."""
    made = {
        "instantiate": _instantiated, "call": _instantiated, "get_class": _located,
        "get_method": _located, "get_original_cwd": os.getcwd,
        "to_absolute_path": lambda path: path,
    }  # fmt: skip
    known = {
        "main": _main, "initialize": _Initialized, "initialize_config_dir": _Initialized,
        "compose": _compose, "ConfigStore": ConfigStore,
        "OmegaConf": OmegaConf, "DictConfig": Kept, "ListConfig": list,
        "open_dict": contextlib.nullcontext, "utils": types.SimpleNamespace(**made),
    }  # fmt: skip
    vars(module).update(known | made)
