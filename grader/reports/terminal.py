"""The results summary a person sees at the end of a run. `render(record, rubric) -> text`."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from grader.record import Accuracy, Check, Facts, Problem, Record, TrainingRun
from grader.reports import layers
from grader.reports.advice import advice
from grader.reports.text import rendered, safe
from grader.rubric import Limits, Rubric

_FAULTS = {
    "error": "error of the submission", "time-out": "time-out", "out-of-memory": "out of memory",
    "flooded": "flooded", "crashed": "crashed", "suspicious": "suspicious",
    "grader": "fault of the grader",
}  # fmt: skip
_SANDBOXED = (
    "level sandboxed: the submission's own loop trained the network, in the box, on images it was "
    "handed and counted for; the grader tested the weights it gave back"
)
_UNPROBED = (
    "batch norm, dropout and pooling were judged by the network's graph alone; whether they change "
    "any score is measured before a training, and what changes none fails then"
)
_LEAST_P = 1e-6
_MARKS = {"passed": ("✓", "green"), "failed": ("✗", "red"), "not_judged": ("–", "yellow")}


def render(record: Record, rubric: Rubric, *, width: int = 100, color: bool = False) -> str:
    """Return the summary as text, at most `width` columns wide, with ANSI colours if `color`."""
    return rendered(_parts(record, rubric), width=width, color=color)


def _parts(record: Record, rubric: Rubric) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if record.model is not None:
        parts += [Text("The network"), layers.table(record.model.layers)]
        parts += _differences(record.model)
        parts += [Text(f"advice: {safe(text)}") for text in advice(record.model)]
    if record.level == "sandboxed":
        parts.append(Text(_SANDBOXED))
    if record.recipe is not None:
        parts += [
            Text(f"{f.about}: {safe(f.value)} ({safe(f.where)})") for f in record.recipe.facts
        ]
    if record.set_aside:
        parts.append(Text(_aside_line(record)))
    parts += [Text(f"note: {safe(note)}") for note in record.notes]
    parts += [Text(f"\nResults for {safe(record.submission.name)}"), _table(record)]
    if _is_unprobed(record):
        parts.append(Text(_UNPROBED))
    if record.accuracy is not None:
        lines = _accuracy_lines(record.accuracy, rubric.limits)
        parts += [Text(line) for line in lines]
    parts += [Text(_problem_line(record.problem))] if record.problem else []
    parts.append(Text(_score_line(record), style="bold"))
    return parts


def _differences(facts: Facts) -> list[Text]:
    """Show where the network tested is not the one trained, line by line."""
    if facts.same_network:
        return []
    heading = "In evaluation the network is another (- only in training, + only in evaluation):"
    styles = {"-": "red", "+": "green"}
    lines = [Text(f"  {safe(line)}", style=styles.get(line[:1], "")) for line in facts.difference]
    return [Text(heading), *lines, Text("")]


def _is_unprobed(record: Record) -> bool:
    """Tell whether layers passed that no run of the network has confirmed."""
    layers = ("batch_normalization", "dropout", "global_average_pooling")
    passed = any(check.id in layers and check.outcome == "passed" for check in record.checks)
    return passed and record.probe is None


def _problem_line(problem: Problem) -> str:
    return f"{_FAULTS[problem.fault]} ({problem.stage}): {safe(problem.message)}"


def _score_line(record: Record) -> str:
    if record.score is None:
        return "score: none, because the fault is the grader's"
    return f"score: {record.score:g} of {record.max_score:g} points"


def _table(record: Record) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    for name in ("Check", "Found", "Expected", "Points"):
        table.add_column(name, justify="right" if name == "Points" else "left")
    for check in record.checks:
        mark, style = _MARKS[check.outcome]
        table.add_row(
            Text(f"{mark} {check.title}", style=style), safe(_found(check)), safe(check.expected),
            f"{check.points:g}/{check.max_points:g}",
        )  # fmt: skip
    return table


def _found(check: Check) -> str:
    """Return what a check found, or why it could not be judged."""
    if check.outcome != "not_judged":
        return check.found
    return f"{check.message}: {check.found}" if check.found else check.message


def _accuracy_lines(accuracy: Accuracy, limits: Limits) -> Iterator[str]:
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
    yield f"accuracy: {judged}, 95% interval {low:.2f} to {high:.2f}%{noise}"
    if len(runs) > 1:
        yield "errors of each run (seed): " + ", ".join(map(_run, runs))
    if accuracy.p_value is not None:
        passing = sum(run.passed is True for run in runs)
        yield (
            f"{passing} of {len(runs)} runs pass; the chance that one run passes is "
            f"{accuracy.odds}; a mean so good has p {_p(accuracy.p_value)} if the true one is "
            f"{limits.asked}%"
        )


def _p(value: float) -> str:
    """Write a p value; one so small has no digits that could be believed."""
    return f"= {value:.2g}" if value >= _LEAST_P else f"under {_LEAST_P:g}"


def _run(run: TrainingRun) -> str:
    errors = "none known" if run.errors is None else f"{run.errors:,}"
    return f"{errors}{'' if run.finished else ', not finished'} ({run.seed})"


def _aside_line(record: Record) -> str:
    named = ", ".join(f"`{safe(s.text)[:60]}` ({safe(s.where)})" for s in record.set_aside[:3])
    count = len(record.set_aside)
    return f"not run: {count} statement{'s' if count != 1 else ''}, among them {named}"
