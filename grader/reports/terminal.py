"""The results summary a person sees at the end of a run. `render(record, rubric) -> text`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from grader.escape import escaped
from grader.record import Accuracy, Check, Facts, Problem, Record, TrainingRun
from grader.reports import layers, told
from grader.reports.advice import advice
from grader.reports.text import Item, rendered
from grader.rubric import Limits, Rubric

_FAULTS = {
    "error": "error of the submission", "no-code": "no code", "time-out": "timeout",
    "out-of-memory": "out of memory", "flooded": "too much output", "crashed": "crashed",
    "suspicious": "suspicious",
    "grader": "fault of the grader", "usage": "wrong usage", "stopped": "not finished",
}  # fmt: skip
_SANDBOXED = (
    "sandboxed: the submission's own loop trained the network in the sandbox, on images that the "
    "grader handed out and counted; the grader tested the weights it returned"
)
_SANDBOXED_LATER = (
    "sandboxed: the submission's own loop trains the network, in the sandbox; this run did not "
    "train it"
)
_LEAST_P = 1e-6
_STYLES = {"passed": "green", "failed": "red", "not_judged": "yellow"}


def render(
    record: Record, rubric: Rubric, *, width: int = 100, color: bool = False, verbosity: int = 0
) -> str:
    """Return the summary as text, at most `width` columns wide, with ANSI colours if `color`.

    What failed, and the score, stand last: nearest to the prompt. With a `verbosity` of 1 it tells
    of the layers and the recipe as well, with -1 not even the notes: what pytest's -v and -q say.
    """
    shown = escaped(record)
    parts = [*_network(shown, rubric), *_recipe(shown)] if verbosity > 0 else []
    if verbosity >= 0:
        parts += [*_differences(shown.model), *_level(shown), *_notes(shown)]
    return rendered([*parts, *_results(shown, rubric)], width=width, color=color)


def _notes(record: Record) -> Iterator[RenderableType]:
    yield from (Item("note:", note) for note in record.notes)
    yield from (Item("for the instructor:", remark) for remark in record.remarks)
    if record.notes or record.remarks:
        yield Text()


def _results(record: Record, rubric: Rubric) -> list[RenderableType]:
    parts: list[RenderableType] = [Item("Results for", record.submission.name), Text()]
    parts += [*map(_line, record.checks), Text()]
    for failure in told.failures(record):
        parts += _failure(failure) if isinstance(failure, Check) else _problem(failure)
    if record.accuracy is not None:
        parts += [Item(*line) for line in accuracy_lines(record.accuracy, rubric.limits)]
    parts.append(Text(score_line(record), style="bold"))
    return parts


def _network(record: Record, rubric: Rubric) -> Iterator[RenderableType]:
    if record.model is not None:
        yield Text("The network")
        yield layers.table(record.model.layers)
        yield from (Item("advice:", text) for text in advice(record.model, rubric.data.subject))


def _level(record: Record) -> Iterator[RenderableType]:
    if record.level == "sandboxed":
        trained = record.accuracy is not None or record.training is not None
        yield Item("level", _SANDBOXED if trained else _SANDBOXED_LATER)
        yield Text()


def _recipe(record: Record) -> Iterator[RenderableType]:
    if record.recipe is not None:
        yield Text("\nThe recipe")
        for fact in record.recipe.facts:
            yield Item(f"  {fact.about}:", f"{fact.value} ({fact.where})", indent=4)
    if record.set_aside:
        yield Item("not run:", _aside(record))
    yield Text()


def _differences(facts: Facts | None) -> Iterator[RenderableType]:
    """Show where the network tested is not the one trained, line by line."""
    if facts is None or facts.same_network:
        return
    yield Text("In evaluation the network is another (- only in training, + only in evaluation):")
    styles = {"-": "red", "+": "green"}
    for line in facts.difference:
        yield Item(f"  {line[:1]}", line[1:].lstrip(), style=styles.get(line[:1], ""))
    yield Text()


def _failure(check: Check) -> Iterator[RenderableType]:
    """Tell what is wrong, and what to do."""
    yield Item("failed:", f"{check.title}: {check.message}", style="red")
    yield from _details(check)
    yield Text()


def _problem(problem: Problem) -> Iterator[RenderableType]:
    """Tell what ended a stage, where no check that failed says it."""
    yield Item(f"{_FAULTS[problem.fault]} ({problem.stage}):", problem.message)
    yield from _details(problem)
    yield Text()


def _details(failure: Check | Problem) -> Iterator[RenderableType]:
    for label, text in told.details(failure):
        yield Item(f"  {label}:", text, indent=12)


def score_line(record: Record) -> str:
    """Return the points; where checks were left out, of how many points."""
    if record.score is None:
        return f"score: none, because {told.why_unscored(record)}"
    judged = told.judged(record)
    left = record.max_score - judged
    if record.status == "partial":
        return f"score: {record.score:g} of {judged:g} points judged; {left:g} not judged"
    lost = f"; {left:g} of them could not be judged" if left else ""
    return f"score: {record.score:g} of {record.max_score:g} points{lost}"


def _line(check: Check) -> Item:
    """Return a paragraph: no columns, which are read across by who cannot see them."""
    points = f"{check.points:g}/{check.max_points:g}"
    label = f"  {check.outcome.replace('_', ' '):<10} {points:>7}  "
    passed = f"; expected {check.expected}" if check.outcome == "passed" and check.expected else ""
    text = f"{check.title}: {told.found(check)}{passed}"
    return Item(label, text, style=_STYLES[check.outcome], indent=len(label))


def accuracy_lines(accuracy: Accuracy, limits: Limits) -> Iterator[tuple[str, str]]:
    """Say how sure the runs are: a verdict near the limit may turn out differently next time."""
    low, high = accuracy.interval
    runs = accuracy.runs
    finished = sum(run.finished for run in runs)
    judged = f"{accuracy.judged:.2f}%{'' if finished else ' so far'}"
    if accuracy.deviation is not None:
        judged = f"mean of {finished} runs {accuracy.judged:.3f}%, standard deviation "
        judged += f"{accuracy.deviation:.3f}"
    noise = f"; the limit of {limits.asked}% lies within this noise" * accuracy.unsure(
        limits.accuracy
    )
    yield "accuracy:", f"{judged}, 95% interval {low:.2f} to {high:.2f}%{noise}"
    if len(runs) == 1 and accuracy.odds:
        yield "another seed:", f"would pass with a chance of {accuracy.odds}"
    if len(runs) > 1:
        yield "errors of each run (seed):", ", ".join(map(_run, runs))
    if accuracy.p_value is not None:
        passing = sum(run.passed is True for run in runs)
        yield (
            "passes:",
            f"{passing} of {len(runs)}; the chance that one run passes is {accuracy.odds}; if the "
            f"true mean is {limits.asked}%, a mean this high has p {_p(accuracy.p_value)}",
        )


def _p(value: float) -> str:
    """Write a p value; one so small has no digits that could be believed."""
    return f"= {value:.2g}" if value >= _LEAST_P else f"under {_LEAST_P:g}"


def _run(run: TrainingRun) -> str:
    errors = "none known" if run.errors is None else f"{run.errors:,}"
    return f"{errors}{'' if run.finished else ', not finished'} ({run.seed})"


def _aside(record: Record) -> str:
    named = ", ".join(f"`{s.text[:60]}` ({s.where})" for s in record.set_aside[:3])
    count = len(record.set_aside)
    return f"{count} statement{'s' if count != 1 else ''}, among them {named}"
