"""Commands of click, Typer and fire run with an empty command line, in the mode that trains.

Runs in the sandbox. click and Typer are the real ones: of a group the command that trains is
called, and what an option lacks is put there as for argparse.
"""

from __future__ import annotations

import argparse
import enum
import inspect
import types
from collections.abc import Callable
from typing import Any

import commandline


def let_train(core: types.ModuleType) -> None:
    """Change the module that holds click's commands, or Typer's own copy of them."""
    kind = vars(core)["Command"]
    kind.make_context = _trains(kind.make_context)


def _trains(make_context: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command be called with what it needs, and a group with the command that trains."""

    def made(command: Any, info_name: Any, args: list[str], *rest: Any, **options: Any) -> Any:
        put: dict[str, Any] = {}
        if not args:
            args = [word for parameter in command.params for word in _needed(parameter, put)]
            commands = list(getattr(command, "commands", ()))
            chosen = [c for c in commands if commandline.TRAINS.fullmatch(c) or len(commands) == 1]
            chosen += [c for c in commands if commandline.TRAINS.search(c)]
            args += chosen[:1]
        context = make_context(command, info_name, args, *rest, **options)
        for name, value in put.items():  # texts that nothing may be decided by
            if context.params.get(name) == value[:]:
                context.params[name] = value
        return context

    return made


def _needed(parameter: Any, put: dict[str, Any]) -> list[str]:
    """Return the words that a command line has to have for an option or an argument.

    Texts are `put` down by the name of their parameter as well.
    """
    asks, default = getattr(parameter, "prompt", None), getattr(parameter, "default", None)
    if asks and isinstance(default, str | int | float):
        parameter.prompt = asks = None
    dashed = [name for name in parameter.opts if name.startswith("-")]
    if not (parameter.required or asks) or parameter.nargs == -1:
        return []
    if getattr(parameter, "is_flag", False):
        return dashed[:1]
    told, of_click = getattr(parameter, "type_descriptor", None), getattr(parameter, "type", None)
    for path in (of_click, getattr(told, "parameter_info", None)):
        if getattr(path, "exists", False):
            vars(path)["exists"] = False
    kind: Any = getattr(told, "annotation", None) or _KINDS.get(getattr(of_click, "name", ""), str)
    choices = getattr(of_click, "choices", None)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        choices = [each.value for each in kind]
    value = commandline.put_there(types.SimpleNamespace(
        dest=parameter.name, choices=choices, nargs=None, option_strings=dashed,
        type=kind if kind in (int, float) else None,
    ))  # fmt: skip
    if isinstance(value, commandline.Unset):
        value._used()
    if isinstance(value, commandline.UnsetText):
        put[parameter.name] = value
    return [*dashed[:1], *[value[:] if isinstance(value, str) else str(value)] * parameter.nargs]


_KINDS = {"integer": int, "integer range": int, "float": float, "float range": float}


def fire(component: Any = None, *args: object, **options: object) -> Any:
    """Stand for `fire.Fire`: call a function, or what trains of several, with its defaults."""
    if not inspect.isroutine(component):
        thing = component() if isinstance(component, type) else component
        names = thing if isinstance(thing, dict) else {n: getattr(thing, n) for n in dir(thing)}
        component = next((names[n] for n in names if commandline.TRAINS.fullmatch(n)), None)
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
