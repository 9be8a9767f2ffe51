"""What one run, or several, say about the accuracy the assignment asks for."""

from __future__ import annotations

from collections.abc import Sequence

from grader import statistics
from grader.record import Accuracy, TrainingRun, percent
from grader.rubric import Limits
from grader.statistics import Decision

_ROUNDED = 1e-6  # the last digit that `record.percent` leaves, in points


def reached(accuracy: Accuracy, limits: Limits) -> bool:
    """Tell whether the runs are good enough, by their mean or by their number.

    A run that failed by the submission's doing has no accuracy: no mean makes up for it.
    """
    if limits.judged_by == "passes":
        return _passing(accuracy) >= limits.passes
    if limits.judged_by == "evidence":
        decided = decision(accuracy.runs, limits)
        return decided == "passed" or (decided == "undecided" and limits.doubt == "student")
    return accuracy.judged >= limits.accuracy and all(run.finished for run in accuracy.runs)


def decision(runs: Sequence[TrainingRun], limits: Limits) -> Decision:
    """Say what the finished runs show, as `grader.statistics.decision` does after each of them.

    A run that failed by the submission's doing decides.
    """
    if any(run.passed is False and not run.finished for run in runs):
        return "failed"
    errors = [run.errors for run in runs if run.finished and run.errors is not None]
    if not errors:
        return "undecided"
    most = runs[0].tested * (1 - limits.accuracy / 100)
    return statistics.decision(errors, most, rate=limits.error_rate, looks=limits.most_runs)


def expected(limits: Limits, runs: int = 1) -> str:
    """Say what is asked for of so many runs."""
    least = f"at least {limits.asked}%"
    if limits.judged_by == "passes" and runs > 1:
        return f"{least} in {limits.passes} of {runs} runs"
    if limits.judged_by == "evidence":
        return f"{least} in the mean of all seeds, for certain ({100 * limits.error_rate:g}% error)"
    return f"{least} in the mean of {runs} runs" if runs > 1 else least


def found(accuracy: Accuracy, limits: Limits) -> str:
    """Say what came out, and how far it can be trusted."""
    judged = f"{accuracy.judged:.{_digits(accuracy, limits)}f}"
    if limits.judged_by == "evidence":
        count = len(accuracy.runs)
        after = f"{count} runs" if count > 1 else "one run"
        return f"{judged}% in the mean of {after}: {decision(accuracy.runs, limits)}"
    if len(accuracy.runs) == 1:
        return f"{judged}% ({accuracy.errors} errors in {accuracy.tested:,})"
    low, high = accuracy.interval
    spread = "" if accuracy.deviation is None else f" ± {accuracy.deviation:.3f}"
    return f"{judged}{spread}%, 95% interval {low:.2f} to {high:.2f}%; {passing(accuracy)}"


def _digits(accuracy: Accuracy, limits: Limits) -> int:
    """Return how many digits tell the accuracy from the limit: two of one run, three of a mean."""
    digits, apart = 2 if len(accuracy.runs) == 1 else 3, abs(accuracy.judged - limits.accuracy)
    while apart > _ROUNDED and round(apart, digits) == 0:
        digits += 1
    return digits


def passing(accuracy: Accuracy) -> str:
    """Count the runs that reach the limit; give the chance that one more does."""
    text = f"{_passing(accuracy)} of {len(accuracy.runs)} runs pass"
    return f"{text}, the chance that one run passes is {accuracy.odds}" if accuracy.odds else text


def shortage(accuracy: Accuracy, limits: Limits) -> str:
    """Say what is missing, and whether it may be chance."""
    failed = [
        f for number, run in enumerate(accuracy.runs, start=1) if (f := _failure(number, run))
    ]
    if limits.judged_by == "passes" and len(accuracy.runs) > 1:
        text = f"{limits.passes - _passing(accuracy)} more of the runs should reach the limit"
    elif limits.judged_by == "evidence" and accuracy.judged >= limits.accuracy and not failed:
        text = "its runs leave in doubt whether the mean of all seeds reaches the limit"
    elif accuracy.judged < limits.accuracy:
        what = "network" if len(accuracy.runs) == 1 else "mean of its runs"
        short = f"{limits.accuracy - accuracy.judged:.{_digits(accuracy, limits)}f}"
        text = f"the {what} is {short} percentage points short"
        if accuracy.unsure(limits.accuracy):
            text += f", which is within the noise: {noise(accuracy)}"
    else:
        text = "not all of its runs finished"
    return "; ".join([text, *failed])


def was_better(accuracy: Accuracy, limit: float) -> bool:
    """Tell whether a run that did not pass was good enough after an earlier epoch."""
    return any(
        percent(min(run.curve), run.tested) >= limit
        for run in accuracy.runs
        if run.curve and run.passed is not True
    )


def first_help(accuracy: Accuracy) -> str:
    """Return what to do about the first run that failed, if one did."""
    return next((run.problem.help for run in accuracy.runs if run.problem), "")


def noise(accuracy: Accuracy) -> str:
    """Say where the true accuracy may lie."""
    low, high = accuracy.interval
    return f"its 95% interval is {low:.2f} to {high:.2f}%"


def _passing(accuracy: Accuracy) -> int:
    return sum(run.passed is True for run in accuracy.runs)


def _failure(number: int, run: TrainingRun) -> str:
    return f"run {number} (seed {run.seed}): {run.problem.message}" if run.problem else ""
