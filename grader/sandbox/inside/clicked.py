"""Stands for click and fire: what they call gets its options from an empty command line.

Runs in the sandbox.
"""

from __future__ import annotations

import argparse
import inspect
import types
from collections.abc import Callable
from typing import Any

import patches

Json = dict[str, Any]


class Choice:
    """One of several words."""

    def __init__(self, choices: Any, **options: object) -> None:
        """Take the words."""
        self.choices = list(choices)


class Command:
    """A function that is called with its options; of a group, also the command that trains."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Take the function under its options."""
        self._function = function
        self._commands: dict[str, Command] = {}

    def command(self, name: Any = None, **options: object) -> Callable[..., Command]:
        """Decorate one of a group."""

        def added(function: Callable[..., Any]) -> Command:
            called = name if isinstance(name, str) else function.__name__
            made = self._commands[called] = Command(function)
            return made

        return added

    def __call__(self, *args: Any, **given: Any) -> Any:
        """Call it, and the command of its group that trains."""
        parser = argparse.ArgumentParser()
        for names, options in reversed(vars(self._function).get("_asked", [])):
            parser.add_argument(*names, **options)
        result = self._function(*args, **(vars(parser.parse_args()) | given))
        few = list(self._commands.items())
        chosen = [c for name, c in few if patches.TRAINS.fullmatch(name) or len(few) == 1]
        return chosen[0]() if chosen else result


def _asking(*names: str, **options: Any) -> Callable[[Any], Any]:
    """Stand for `option` and `argument`."""

    def asked(thing: Any) -> Any:
        function = thing._function if isinstance(thing, Command) else thing
        vars(function).setdefault("_asked", []).append((_plain(names), _kept(names, options)))
        return thing

    return asked


def _plain(names: tuple[str, ...]) -> list[str]:
    """Return the names of an option as argparse takes them."""
    return [name.partition("/")[0] for name in names if name.startswith("-")] or [*names]


def _kept(names: tuple[str, ...], options: Json) -> Json:
    """Return what argparse has as well."""
    kept: Json = {key: options[key] for key in ("default", "required") if key in options}
    kind, dashed = options.get("type"), any(name.startswith("-") for name in names)
    bare = [name for name in names if not name.startswith("-")]
    if not dashed:
        return {key: value for key, value in kept.items() if key == "default"}
    if bare:
        kept["dest"] = bare[0]
    if options.get("is_flag") or "/" in names[0]:
        return {**kept, "action": "store_true", "default": options.get("default", False)}
    if isinstance(kind, Choice):
        kept["choices"] = kind.choices
    elif kind in (int, float, str):
        kept["type"] = kind
    return kept


def fill(module: types.ModuleType) -> None:
    """Give the stand-in module what a submission uses of click to run."""
    made = {"command": _commanding, "group": _commanding, "option": _asking, "argument": _asking}
    vars(module).update({**made, "Choice": Choice})


def fire(component: Any = None, *args: object, **options: object) -> Any:
    """Stand for `fire.Fire`: call a function, or what trains of several, with its defaults."""
    if not inspect.isroutine(component):
        thing = component() if isinstance(component, type) else component
        names = thing if isinstance(thing, dict) else {n: getattr(thing, n) for n in dir(thing)}
        component = next((names[n] for n in names if patches.TRAINS.fullmatch(n)), None)
    if component is None:
        return None
    parser = argparse.ArgumentParser()
    for name, parameter in inspect.signature(component).parameters.items():
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            needed = parameter.default is parameter.empty
            parser.add_argument(
                f"--{name}", required=needed, default=None if needed else parameter.default
            )
    return component(**vars(parser.parse_args()))


def _commanding(name: Any = None, **options: object) -> Any:
    return Command(name) if isinstance(name, types.FunctionType) else Command
