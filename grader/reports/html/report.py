"""The report of a submission: one page, made of its record and of what lies beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from markupsafe import Markup

from grader.answers import answers_of
from grader.escape import escaped
from grader.files import UNREADABLE
from grader.record import Accuracy, Check, Facts, Record
from grader.reports import told
from grader.reports.advice import advice
from grader.reports.given import Graded, Results
from grader.reports.grades import grade
from grader.reports.html import plots
from grader.reports.html.diagram import diagram
from grader.reports.html.page import page
from grader.reports.html.pictures import picture
from grader.reports.layers import drawn, field_text, kind_text, shape_text
from grader.reports.registry import Files
from grader.reports.terminal import accuracy_lines, score_line
from grader.rubric import Limits, Rubric

_DIGITS = 60  # wrong answers that are shown
_ROWS = 200  # layers in the table
_PAIRS = 8  # of classes that are taken for each other
_POINTS = 400  # of a plot
_LIMIT_AT = 75  # per cent of a gauge's width at which its limit stands


class _Schedule(msgspec.Struct):
    """What is looked at of a plan: the learning rate of every step, of each parameter group."""

    lr: list[list[float]]
    plateau: msgspec.Raw | None = None


class _Recipe(msgspec.Struct):
    schedule: _Schedule


class _Plan(msgspec.Struct):
    recipe: _Recipe


@dataclass(frozen=True)
class Gauge:
    """A figure against its limit: `share` is per cent of the gauge's width."""

    title: str
    value: str
    limit: str
    share: float
    outcome: str


@dataclass(frozen=True)
class Digit:
    """An image that got a wrong answer."""

    picture: str
    number: int
    label: str
    answer: str
    sure: float


@dataclass(frozen=True)
class Mistakes:
    """What a network got wrong: images, the surest answers first, and how often which for which.

    `others` says that some answers are no class; they have the last column.
    """

    tested: int
    wrong: int
    digits: Sequence[Digit]
    confusion: Sequence[Sequence[int]]
    pairs: Sequence[tuple[str, str, int]]
    largest: int
    others: bool


@dataclass(frozen=True)
class Network:
    """What is told of a network."""

    diagram: object
    rows: Sequence[tuple[str, ...]]
    left_out: int
    advice: Sequence[str]
    fields: Markup | None
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Certainty:
    """How noisy a verdict is: a drawing, and the words that the terminal has."""

    plot: Markup
    lines: Sequence[tuple[str, str]]


def files(graded: Graded, results: Results) -> Files:
    """Return the page."""
    return {"report.html": render(graded, results)}


def render(graded: Graded, results: Results) -> bytes:
    """Return the page of one of the results."""
    record, rubric = escaped(graded.record), results.rubric
    tone, word = _verdict(record)
    failed = told.failed(record)
    mistakes = _mistakes(graded, results)
    return page(
        "report.html", record=record, rubric=rubric, tone=tone, word=word, failed=failed,
        score=score_line(record) if tone == "open" else "",
        handed_on=grade(graded.record, rubric),
        said=_sentence(record, failed),
        points=None if record.status in ("running", "interrupted") else record.score,
        of=told.possible(record),
        details=told.details, found=told.found, untold=told.untold(record),
        gauges=_gauges(record, rubric), network=_network(record, rubric),
        training=_training(record, graded.folder, rubric), certainty=_certainty(record, rubric),
        mistakes=mistakes if isinstance(mistakes, Mistakes) else None,
        why_no_mistakes=mistakes if isinstance(mistakes, str) else "",
        classes=rubric.data.classes, limit_at=_LIMIT_AT,
    )  # fmt: skip


def _verdict(record: Record) -> tuple[str, str]:
    """Return the tone of the page, and the verdict in a word or two."""
    if why := told.why_unscored(record):
        return "open", "Not a whole verdict" if record.status == "partial" else f"No score: {why}"
    if record.checks and all(check.outcome == "passed" for check in record.checks):
        return "passed", "Passed"
    return ("failed", "Not passed yet") if told.failed(record) else ("open", "Not judged in full")


def _sentence(record: Record, failed: Sequence[Check]) -> str:
    """Say in one sentence what is left to do."""
    if failed:
        names = ", ".join(check.title for check in failed)
        return f"{len(failed)} of {len(record.checks)} checks failed: {names}."
    open_ = [check.title for check in record.checks if check.outcome == "not_judged"]
    if open_:
        return f"Not judged: {', '.join(open_)}."
    return "Every check passed." if record.checks else "No check was made."


def _gauges(record: Record, rubric: Rubric) -> list[Gauge]:
    """Return the figures that have a limit, as far as they are known."""
    limits, made = rubric.limits, []
    outcomes = {check.id: check.outcome for check in record.checks}
    if record.accuracy is not None and "test_accuracy" in outcomes:
        made.append(_accuracy_gauge(record.accuracy, limits, outcomes["test_accuracy"]))
    parameters = record.model.parameters if record.model else None
    epochs = record.recipe.epochs if record.recipe else None
    for name, title, value, limit in (
        ("parameter_count", "Parameters", parameters, limits.parameters),
        ("epoch_budget", "Epochs", epochs, limits.epochs),
    ):
        if value is not None and name in outcomes:
            made.append(Gauge(
                title, f"{value:,}", f"fewer than {limit:,}", _share(value, limit), outcomes[name]
            ))  # fmt: skip
    return made


def _accuracy_gauge(accuracy: Accuracy, limits: Limits, outcome: str) -> Gauge:
    most = accuracy.tested * (1 - limits.accuracy / 100)
    words = f"{accuracy.errors:,} wrong of {accuracy.tested:,}; at most {int(most + 1e-6):,}"
    return Gauge(
        "Test accuracy", f"{accuracy.judged:.2f}%", f"{words} for {limits.asked}%",
        _share(accuracy.errors, most), outcome,
    )  # fmt: skip


def _share(value: float, limit: float) -> float:
    return round(min(100.0, _LIMIT_AT * value / limit), 1) if limit else 100.0 * bool(value)


def _network(record: Record, rubric: Rubric) -> Network | None:
    facts, data = record.model, rubric.data
    if facts is None:
        return None
    rows = [
        (
            layer.name, kind_text(layer), shape_text(layer.shape), f"{layer.parameters:,}",
            f"{layer.macs:,}", field_text(layer), layer.where, "" if layer.on_path else "not used",
        )
        for layer in facts.layers[:_ROWS]
    ]  # fmt: skip
    counted = {
        "Class": facts.class_name, "Parameters": f"{facts.parameters:,}",
        "Multiply-accumulates for an image": f"{facts.macs:,}",
        "Activations for an image": f"{facts.activations:,}",
        "Output": f"{facts.classes} {facts.output}",
    }  # fmt: skip
    if facts.unused:
        counted["Parameters that move no score"] = f"{facts.unused:,}"
    return Network(
        diagram(facts, data.shape), rows, len(facts.layers) - len(rows),
        advice(facts, data.subject), _fields(facts, rubric), list(counted.items()),
    )  # fmt: skip


def _fields(facts: Facts, rubric: Rubric) -> Markup | None:
    shown = [layer for layer in drawn(facts.layers) if layer.receptive_field][:60]
    if not shown:
        return None
    sizes = [max(layer.receptive_field or (0,)) for layer in shown]
    names = [layer.name for layer in shown]
    return plots.fields(names, sizes, rubric.data.subject, rubric.data.size)


def _training(record: Record, folder: Path, rubric: Rubric) -> list[Markup]:
    """Return the plots of a training, as far as there is anything to plot."""
    training, accuracy = record.training, record.accuracy
    if training is None or not training.epochs:
        return []
    epochs = training.epochs
    runs = accuracy.runs if accuracy else []
    tests = [[100 * (1 - wrong / run.tested) for wrong in run.curve] for run in runs if run.curve]
    limit = rubric.limits.accuracy if "test_accuracy" in rubric.points else None
    made = [
        plots.accuracies([100 * epoch.train_accuracy for epoch in epochs], tests, limit),
        plots.losses([epoch.train_loss for epoch in epochs], [epoch.test_loss for epoch in epochs]),
    ]
    if rates := _rates(record, folder):
        made.append(plots.rates(*zip(*rates, strict=True)))
    return made


def _rates(record: Record, folder: Path) -> list[tuple[float, float]]:
    """Return epochs, whole or not, and the learning rates there: of each step if the plan tells."""
    training = record.training
    assert training is not None
    with contextlib.suppress(*UNREADABLE):
        plan = msgspec.json.decode((folder / "plan.json").read_bytes(), type=_Plan)
        steps = plan.recipe.schedule.lr[0]
        if len(steps) > 1 and plan.recipe.schedule.plateau is None and record.level == "rebuilt":
            done = steps[: training.planned_epochs * training.steps_per_epoch]
            every = max(1, len(done) // _POINTS)
            return [(n / training.steps_per_epoch, done[n]) for n in range(0, len(done), every)]
    return [(epoch.epoch, epoch.lr) for epoch in training.epochs if epoch.lr is not None]


def _certainty(record: Record, rubric: Rubric) -> Certainty | None:
    accuracy, limits = record.accuracy, rubric.limits
    if accuracy is None:
        return None
    each = [
        100 * (1 - run.errors / run.tested)
        for run in accuracy.runs
        if run.finished and run.errors is not None and run.tested
    ]
    plot = plots.certainty(accuracy.judged, accuracy.interval, limits.accuracy, each)
    lines = [(label.rstrip(":"), text) for label, text in accuracy_lines(accuracy, limits)]
    return Certainty(plot, lines)


def _mistakes(graded: Graded, results: Results) -> Mistakes | str:
    """Return what the network got wrong, or why that is not known."""
    rubric = results.rubric
    others = [(each.record, each.folder) for each in results.graded]
    found = answers_of((graded.record, graded.folder), others, rubric, results.data_dir)
    if isinstance(found, str):
        return escaped(found)
    images, classes = results.test_images, rubric.data.classes
    names = [*classes, "no class"]
    digits = [
        Digit(
            picture(images[wrong.number]), wrong.number, names[wrong.label],
            names[wrong.answer if 0 <= wrong.answer < len(classes) else -1], wrong.sure,
        )
        for wrong in found.wrong[:_DIGITS]
    ]  # fmt: skip
    misses = [
        (names[label], names[answer], count)
        for label, row in enumerate(found.confusion)
        for answer, count in enumerate(row)
        if count and answer != label
    ]
    misses.sort(key=lambda each: -each[2])
    others_ = any(row[-1] for row in found.confusion)
    return Mistakes(
        found.tested, len(found.wrong), digits,
        [row if others_ else row[:-1] for row in found.confusion], misses[:_PAIRS],
        misses[0][2] if misses else 1, others_,
    )  # fmt: skip
