"""From what a submission calls its model to an instance of it. Runs in the box."""

from __future__ import annotations

import inspect
from typing import Any

from modules import evaluate
from tensors import CannotCapture
from torch import nn

Json = dict[str, Any]


def build_model(program: Json, namespace: Json) -> nn.Module:
    """Build the model a Program names; CannotCapture if that is none."""
    thing = evaluate(program["model"], namespace, {"device": "cpu"})
    source = program["model"]["source"]
    if not isinstance(thing, nn.Module) and callable(thing):
        if needed := _required(thing):
            raise CannotCapture(
                f"{source} needs {', '.join(needed)} to be built",
                f"add a line with its arguments: MODEL = {source}(...)",
            )
        thing = thing()
    if isinstance(thing, nn.Module):
        return thing
    raise CannotCapture(
        f"{source} gives a {type(thing).__name__}, not an nn.Module",
        "end the file with MODEL = YourNetwork()",
    )


def _required(maker: Any) -> list[str]:
    """Return the parameters without which a class or function cannot be called."""
    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in optional]
