"""Runs a Program and describes what it makes: the JSON of `grader.plan.schema.Description`."""

from __future__ import annotations

import sys
from typing import Any

from building import build_model
from capture import capture
from modules import PlaceholderFinder, Submission
from recipe import Recipe
from recorded import RecordedFinder

Json = dict[str, Any]


def describe(program: Json, defaults: Json, files: set[str]) -> Json:
    """Describe a Program's model, and of its recipe what it has.

    Raises CannotCapture, or whatever the submission's code raises.
    """
    sys.meta_path += [RecordedFinder(), PlaceholderFinder(program["placeholders"])]
    submission = Submission(program["modules"])
    namespace = vars(submission.load("__submission__"))
    model = build_model(program, namespace)
    class_name = program["class_name"] or type(model).__name__
    where, shape = program["model"]["where"], defaults.get("input_shape")
    captured = capture(model, class_name, where, files, shape)
    recipe = Recipe(program, namespace, model, defaults, files, submission.failures)
    found = recipe.describe(captured.names, captured.classes)
    return {
        "model": captured.json,
        **found,
        "provenance": recipe.facts,
        "notes": captured.notes + recipe.notes,
        "flaws": recipe.flaws,
    }
