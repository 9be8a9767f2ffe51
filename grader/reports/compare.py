"""Two submissions side by side: `render(left, right, rubric) -> text`."""

from __future__ import annotations

import difflib
from collections import Counter

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from grader.escape import escaped
from grader.record import Accuracy, Facts, Finding, Layer, Record
from grader.reports.layers import drawn, field_text, kind_text, shape_text
from grader.reports.text import Item, rendered, titled
from grader.rubric import Rubric

_NUMBERS = ("epochs", "batch_size", "drop_last")


def render(
    left: Record, right: Record, rubric: Rubric, *, width: int = 120, color: bool = False
) -> str:
    """Return requirements, layers, recipes and what changed, two columns beside each other.

    A record without a model shows why there is none.
    """
    left, right = escaped(left), escaped(right)
    parts: list[RenderableType] = [_requirements(left, right, rubric)]
    if left.model is not None and right.model is not None:
        parts += [_layers(left.model, right.model), _recipes(left, right)]
        parts += [Text("What changed", style="bold")]
        lines = changes(left.model, right.model) + _recipe_changes(left, right)
        parts += [Item("", line) for line in lines or ["nothing that the graphs show"]]
    return rendered(parts, width=width, color=color)


def _requirements(left: Record, right: Record, rubric: Rubric) -> Table:
    table = titled("Metric", left.submission.name, right.submission.name, "Target")
    limits = rubric.limits
    targets = {
        "Test accuracy": f"at least {limits.asked}%",
        "Parameters": f"fewer than {limits.parameters:,}",
        "Epochs": f"fewer than {limits.epochs}",
    } | dict.fromkeys(("Batch normalisation", "Dropout", "Global average pooling"), "required")
    columns = [_metrics(record) for record in (left, right)]
    for name in (*targets, "Multiply-accumulates", "Output"):
        table.add_row(name, *(column.get(name, "") for column in columns), targets.get(name, ""))
    return table


def _accuracy(accuracy: Accuracy) -> str:
    finished, runs = sum(run.finished for run in accuracy.runs), len(accuracy.runs)
    if accuracy.deviation is None:
        return f"{accuracy.judged:.2f}%{'' if finished else ', not finished'}"
    many = f"{runs} runs" if finished == runs else f"{finished} of {runs} runs"
    return f"{accuracy.judged:.3f} ± {accuracy.deviation:.3f}%, {many}"


def _metrics(record: Record) -> dict[str, str]:
    """Return what a record says of each metric; without a model, why there is none."""
    facts = record.model
    if facts is None or record.recipe is None:
        return {"Test accuracy": record.problem.message if record.problem else "not known"}
    accuracy = _accuracy(record.accuracy) if record.accuracy else "not trained"
    return {
        "Test accuracy": accuracy, "Parameters": f"{facts.parameters:,}",
        "Epochs": str(record.recipe.epochs),
        "Batch normalisation": _mark(facts.batch_norm),
        "Dropout": _mark(facts.dropout),
        "Global average pooling": _mark(facts.global_average_pooling),
        "Multiply-accumulates": f"{facts.macs:,}", "Output": facts.output,
    }  # fmt: skip


def _mark(findings: list[Finding]) -> str:
    """Return how many act, or why what there is does not."""
    acting = sum(f.counts for f in findings)
    if acting:
        return f"✓ {acting}"
    return f"✗ {findings[0].why}" if findings else "✗ none"


def _layers(left: Facts, right: Facts) -> Table:
    """Put layers of the same kind beside each other, in their order."""
    titles = [(side.class_name, "output", "parameters", "sees") for side in (left, right)]
    table = titled(*titles[0], *titles[1], right=(1, 2, 3, 5, 6, 7))
    table.title, table.title_justify = "Layers", "left"
    for pair in _aligned(drawn(left.layers), drawn(right.layers)):
        table.add_row(*(cell for layer in pair for cell in _cells(layer)))
    return table


def _aligned(left: list[Layer], right: list[Layer]) -> list[tuple[Layer | None, Layer | None]]:
    """Pair layers by kind; what has no partner stands alone."""
    matcher = difflib.SequenceMatcher(
        None, [la.kind for la in left], [la.kind for la in right], autojunk=False
    )
    pairs: list[tuple[Layer | None, Layer | None]] = []
    for _, a, b, c, d in matcher.get_opcodes():
        rows = max(b - a, d - c)
        pairs += zip(_filled(left[a:b], rows), _filled(right[c:d], rows), strict=True)
    return pairs


def _filled(layers: list[Layer], rows: int) -> list[Layer | None]:
    return [*layers, *[None] * (rows - len(layers))]


def _cells(layer: Layer | None) -> tuple[str, str, str, str]:
    if layer is None:
        return ("", "", "", "")
    name = f"{layer.name} ({kind_text(layer)})"
    return (name, shape_text(layer.shape), f"{layer.parameters:,}", field_text(layer))


def _recipes(left: Record, right: Record) -> Table:
    table = titled("Recipe", left.submission.name, right.submission.name)
    sides = [_recipe_of(record) for record in (left, right)]
    for about in dict.fromkeys([*sides[0], *sides[1]]):
        table.add_row(about, *(side.get(about, "") for side in sides))
    return table


def changes(left: Facts, right: Facts) -> list[str]:
    """Return what is different from left to right, one sentence a difference."""
    lines = []
    for name, a, b in (
        ("parameters", left.parameters, right.parameters),
        ("multiply-accumulates", left.macs, right.macs),
        ("activations", left.activations, right.activations),
    ):
        if a != b:
            lines.append(f"{name}: {a:,} → {b:,} ({_ratio(a, b)})")
    for name, before, after in (
        ("batch norm", left.batch_norm, right.batch_norm),
        ("dropout", left.dropout, right.dropout),
        ("global average pooling", left.global_average_pooling, right.global_average_pooling),
    ):
        a, b = (sum(f.counts for f in found) for found in (before, after))
        if a != b:
            lines.append(f"{name}: {a} → {b} that act on the output")
    if left.output != right.output:
        lines.append(f"output: {left.output} → {right.output}")
    return [*lines, *_field_change(left, right), *_layer_changes(left, right)]


def _field_change(left: Facts, right: Facts) -> list[str]:
    """Say what the last layers that do not see the whole image see of it."""
    seen = [
        [la for la in facts.layers if la.on_path and la.receptive_field] for facts in (left, right)
    ]
    a, b = (field_text(rows[-1]) if rows else "all" for rows in seen)
    return [f"receptive field before the whole image is taken in: {a} → {b}"] if a != b else []


def _layer_changes(left: Facts, right: Facts) -> list[str]:
    """Count the layers of each kind that one has and the other has not."""
    a, b = (Counter(la.kind for la in facts.layers if la.on_path) for facts in (left, right))
    told = ("batch norm", "dropout", "global average pool")
    return [
        f"layers of kind {kind}: {a[kind]} → {b[kind]}"
        for kind in sorted({*a, *b})
        if a[kind] != b[kind] and kind not in told
    ]


def _recipe_changes(left: Record, right: Record) -> list[str]:
    """Say what of the recipes differs: numbers with their values, the rest by name."""
    a, b = _recipe_of(left), _recipe_of(right)
    differing = [about for about in dict.fromkeys([*a, *b]) if a.get(about) != b.get(about)]
    numbers = [f"{name}: {a.get(name)} → {b.get(name)}" for name in differing if name in _NUMBERS]
    others = [name for name in differing if name not in (*_NUMBERS, "model")]
    return numbers + ([f"also in the recipe: {', '.join(others)}"] if others else [])


def _recipe_of(record: Record) -> dict[str, str]:
    return {f.about: f.value for f in record.recipe.facts} if record.recipe else {}


def _ratio(a: int, b: int) -> str:
    if min(a, b) == 0:
        return "from or to nothing"
    return f"{a / b:.1f} times fewer" if a > b else f"{b / a:.1f} times more"
