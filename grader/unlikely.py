"""Remarks on what is too good to be true: for the instructor to look at, and never a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean

from grader.datasets.known import MNIST
from grader.record import Record, TrainingRun
from grader.statistics import likely_spread

_FAR = 4.0  # standard deviations: noise goes so far once in 30,000 trainings
_BEST = ((3_648, 52.4), (18_962, 45.0), (19_862, 37.8))
"""Parameters, and mean errors of the best network known with no more than so many, over its ten
seeds or twenty (`smallest`, `unhurried` and `most_accurate` in benchmarks/experiments.jsonl)."""
_FIRST = 91
"""The fewest errors of all those trainings after their first epoch."""


def remarks_on(record: Record, others: Sequence[int]) -> Iterator[str]:
    """Say where a training did far better than can be expected of it.

    `others` are the errors that trainings of the same network and recipe ended with before.
    """
    for number, run in enumerate(record.accuracy.runs if record.accuracy else (), start=1):
        if run.finished and run.curve:
            for why in _of(run, record, others):
                yield f"run {number} looks too good to be true: {why}; look at it yourself"


def _of(run: TrainingRun, record: Record, others: Sequence[int]) -> Iterator[str]:
    if others:
        usual = fmean(others)
        deviation, _ = likely_spread(others, usual)
        if run.curve[-1] < usual - _FAR * deviation * math.sqrt(1 + 1 / len(others)):
            yield (
                f"{run.curve[-1]} errors, where the same network and recipe made {usual:.0f} "
                f"before (n = {len(others)})"
            )
    if record.data.sha256 != MNIST.digest or record.model is None:
        return
    size = record.model.parameters
    best = next((errors for parameters, errors in _BEST if size <= parameters), None)
    if best is not None and run.curve[-1] < best - _FAR * likely_spread([], best)[0]:
        yield (
            f"{run.curve[-1]} errors, where the best that is known of networks of this size makes "
            f"{best:.0f}"
        )
    if best is not None and run.curve[0] < _FIRST - _FAR * math.sqrt(_FIRST):
        yield f"{run.curve[0]} errors after one epoch, where the best that is known made {_FIRST}"
