"""Runs a Program and describes what it makes: the JSON of `grader.plan.schema.Description`."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from capture import capture
from modules import PlaceholderFinder, Submission, evaluate
from recipe import Recipe
from tensors import CannotCapture
from torch import nn

Json = dict[str, Any]


def describe(program: Json, defaults: Json, files: set[str]) -> Json:
    """Describe a Program's model, and of its recipe what it has.

    Raises CannotCapture, or whatever the submission's code raises.
    """
    sys.meta_path.append(PlaceholderFinder(program["placeholders"]))
    submission = Submission(program["modules"])
    namespace = vars(submission.load("__submission__"))
    model = _build(evaluate(program["model"], namespace, {"device": "cpu"}), program)
    class_name = program["class_name"] or type(model).__name__
    captured = capture(model, class_name, program["model"]["where"], files)
    recipe = Recipe(program, namespace, model, defaults, files, submission.failures)
    found = recipe.describe(captured.names, captured.classes)
    return {
        "model": captured.json,
        **found,
        "provenance": recipe.facts,
        "notes": captured.notes + recipe.notes,
        "flaws": recipe.flaws,
    }


def _build(thing: Any, program: Json) -> Any:
    source = program["model"]["source"]
    if not isinstance(thing, nn.Module) and callable(thing):
        if needed := _required(thing):
            raise CannotCapture(
                f"{source} needs {', '.join(needed)} to be built",
                f"say with which: MODEL = {source}(...)",
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
