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
import types
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from fitting import Kept

Json = dict[str, Any]
NAMES = ("hydra", "omegaconf")
_REFERENCE = re.compile(r"\$\{([^${}]*)\}")
_DEEPEST = 20

Import = Callable[..., Any]
IMPORT: list[Import] = [__import__]
"""Imports as the submission does."""


def _config(thing: Any, root: Any = None, depth: int = 0) -> Any:
    """Turn mappings into settings, also by attribute, and put in what they refer to."""
    root = thing if root is None else root
    if dataclasses.is_dataclass(thing):
        thing = dataclasses.asdict(thing() if isinstance(thing, type) else thing)
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


def _read(path: PurePosixPath) -> Json:
    import yaml

    with open(path if path.suffix else f"{path}.yaml", encoding="utf-8") as file:  # noqa: PTH123
        return yaml.safe_load(file) or {}


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
    parts = [p for p in PurePosixPath(config_path or "").parts if p not in ("..", ".", "/")]

    def decorated(function: Callable[..., Any]) -> Callable[[], Any]:
        def called(*given: Any) -> Any:
            settings = given or [_config(_composed(PurePosixPath(*parts, str(config_name))))]
            return function(*settings)

        return functools.wraps(function)(called)

    return decorated


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
        "main": _main, "OmegaConf": OmegaConf, "DictConfig": Kept, "ListConfig": list,
        "open_dict": contextlib.nullcontext, "utils": types.SimpleNamespace(**made),
    }  # fmt: skip
    vars(module).update(known | made)
