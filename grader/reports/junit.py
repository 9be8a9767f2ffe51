"""What a check adds to its case in pytest's JUnit report (`--junitxml`), as properties."""

from __future__ import annotations

from grader.record import Check, Record


def properties(check: Check, record: Record) -> list[tuple[str, object]]:
    """Return the points of a check, and the figure that it is about: names and values."""
    about = {
        "test_accuracy": ("accuracy", record.accuracy and record.accuracy.judged),
        "parameter_count": ("parameters", record.model and record.model.parameters),
        "epoch_budget": ("epochs", record.recipe and record.recipe.epochs),
    }
    points: list[tuple[str, object]] = [("points", check.points), ("max_points", check.max_points)]
    name, value = about.get(check.id, ("", None))
    return points + [(name, value)] * (value is not None)
