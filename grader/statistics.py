"""What a few trainings say about all trainings of the same network: pure functions of numbers.

A run is a number of wrong answers out of a fixed number of test images. Across seeds these numbers
are taken for normally distributed, of unknown mean and spread; hence Student's t. Which method
stands where, and why: docs/decisions/009-verdicts-are-statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist, fmean, stdev
from typing import Literal

LEVEL = 0.95
Decision = Literal["passed", "failed", "undecided"]
_KNOWN = 6
"""How many degrees of freedom what is known of the spread between seeds counts for: so few that a
decision keeps its rate for the least steady network known (benchmarks/evidence.py)."""
_VARIANCE = 0.42
"""Variance between seeds for each error that is allowed: 5 errors of 60, as networks of 3,254 to
19,862 parameters spread (3.2 to 7.3 errors; benchmarks/experiments.jsonl)."""
_ROUNDING = 12**-0.5
"""Standard deviation of a whole number about the real one it was rounded from, in errors."""


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion, in per cent.

    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927), 209-212.
    """
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    p = successes / trials
    centre = p + z * z / (2 * trials)
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    scale = 100 / (1 + z * z / trials)
    return (scale * (centre - half), scale * (centre + half))


def mean_interval(errors: Sequence[int]) -> tuple[float, float]:
    """Return Student's t interval of the mean of two or more runs, in errors."""
    count = len(errors)
    half = t_quantile(0.5 + LEVEL / 2, count - 1) * _spread(errors) / math.sqrt(count)
    return (fmean(errors) - half, fmean(errors) + half)


def p_value(errors: Sequence[int], most: float) -> float:
    """Return how likely a mean at least so good were, if the true mean were at the limit `most`.

    The one-sided t test of two or more runs: a small value says that the mean over all seeds is
    on the good side of the limit.
    """
    shortage = fmean(errors) - most
    return t_cdf(shortage * math.sqrt(len(errors)) / _spread(errors), len(errors) - 1)


def chance(errors: Sequence[int], most: int) -> float:
    """Return the chance, 0 to 1, that one more run has at most `most` errors.

    The predictive t distribution after one run or more: it holds both the spread of a run and how
    little so few runs say about the mean, which draws it towards a half. Errors are whole numbers,
    so the border lies half an error above `most`.
    """
    deviation, freedom = likely_spread(errors, most)
    scale = deviation * math.sqrt(1 + 1 / len(errors))
    return t_cdf((most + 0.5 - fmean(errors)) / scale, freedom)


def likely_spread(errors: Sequence[int], most: float) -> tuple[float, int]:
    """Return the standard deviation between seeds, in errors, and its degrees of freedom.

    What runs of other networks spread, at a limit of `most` errors, pooled with what these do.
    """
    known, own = _VARIANCE * max(most, 1), max(len(errors) - 1, 0)
    mean = fmean(errors) if errors else 0.0
    pooled = _KNOWN * known + sum((each - mean) ** 2 for each in errors)
    return math.sqrt(pooled / (_KNOWN + own)), _KNOWN + own


def decision(errors: Sequence[int], most: float, *, rate: float, looks: int) -> Decision:
    """Say whether runs show that their true mean is at most `most` errors, or that it is not.

    To be asked after each of up to `looks` runs. A true mean on the other side of the limit, or at
    it, is called so by one of these looks with a chance of at most `rate`: each may err with its
    share of that (Bonferroni), in the t test with the spread of `likely_spread`.
    """
    deviation, freedom = likely_spread(errors, most)
    away = (fmean(errors) - most) * math.sqrt(len(errors)) / deviation
    if abs(away) < _threshold(rate / looks, freedom):
        return "undecided"
    return "passed" if away < 0 else "failed"


@cache
def _threshold(rate: float, freedom: int) -> float:
    return t_quantile(1 - rate, freedom)


def _spread(errors: Sequence[int]) -> float:
    """Return the sample standard deviation, but no less than rounding to whole errors hides."""
    return max(stdev(errors), _ROUNDING)


def t_cdf(t: float, freedom: int) -> float:
    """Return the chance that Student's t, of so many degrees of freedom, is at most `t`.

    Source: M. Abramowitz and I. Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and
    26.7.4: finite sums, since degrees of freedom are whole numbers here.
    """
    angle = math.atan(abs(t) / math.sqrt(freedom))
    square = math.cos(angle) ** 2
    term = math.cos(angle) if freedom % 2 else 1.0
    total = 0.0
    for k in range(2 + freedom % 2, freedom + 1, 2):
        total += term
        term *= square * (k - 1) / k
    within = math.sin(angle) * total
    if freedom % 2:
        within = 2 / math.pi * (angle + within)
    return 0.5 + math.copysign(min(within, 1.0), t) / 2


def t_quantile(p: float, freedom: int) -> float:
    """Return the value that Student's t stays below with chance `p`, 0.5 to just under 1."""
    low, high = 0.0, 1.0
    while t_cdf(high, freedom) < p:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if t_cdf(middle, freedom) < p else (low, middle)
    return high
