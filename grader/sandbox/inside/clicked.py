"""Commands of click, Typer and fire run with an empty command line, in the mode that trains.

Runs in the sandbox. click and Typer are the real ones: of a group the command that trains is
called, and what an option lacks is put there as for argparse.
"""

from __future__ import annotations

import argparse
import inspect
import types
from collections.abc import Callable
from typing import Any

import patches


def let_train(core: types.ModuleType) -> None:
    """Change the module that holds click's commands, or Typer's own copy of them."""
    kind = vars(core)["Command"]
    kind.make_context = _trains(kind.make_context, vars(core)["types"].STRING)


def _trains(make_context: Callable[..., Any], text: Any) -> Callable[..., Any]:
    def made(command: Any, info_name: Any, args: list[str], *rest: Any, **options: Any) -> Any:
        commands = list(getattr(command, "commands", ()))
        chosen = [c for c in commands if patches.TRAINS.search(c) or len(commands) == 1]
        for parameter in command.params:
            parameter.prompt = None
            if parameter.required:
                parameter.required = False
                parameter.default = patches.put_there(_as_option(parameter))
                parameter.type = text if isinstance(parameter.default, str) else parameter.type
        return make_context(command, info_name, args or chosen[:1], *rest, **options)

    return made


def _as_option(parameter: Any) -> types.SimpleNamespace:
    """Return a parameter as argparse has it."""
    kinds = {"integer": int, "integer range": int, "float": float, "float range": float}
    return types.SimpleNamespace(
        dest=parameter.name, choices=getattr(parameter.type, "choices", None), nargs=None,
        type=kinds.get(parameter.type.name), option_strings=parameter.opts,
    )  # fmt: skip


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
