"""The arithmetic of verdicts: against published tables, by properties, and by simulation."""

from __future__ import annotations

import random
from statistics import NormalDist, fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader import statistics

ERRORS = st.lists(st.integers(0, 10_000), min_size=2, max_size=12)


def test_wilson_interval_agrees_with_a_published_example() -> None:
    """For 81 of 263 the 95 % interval is 25.5 % to 36.6 % (Newcombe 1998, Statist. Med. 17)."""
    low, high = statistics.wilson(81, 263)

    assert (round(low, 1), round(high, 1)) == (25.5, 36.6)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share_and_stays_within_bounds(case: tuple[int, int]) -> None:
    """The interval lies in 0 to 100 % and holds the observed share."""
    successes, trials = case
    low, high = statistics.wilson(successes, trials)

    assert -1e-9 <= low <= 100 * successes / trials + 1e-9
    assert 100 * successes / trials <= high + 1e-9
    assert high <= 100 + 1e-9


@pytest.mark.parametrize(
    ("p", "freedom", "published"),
    [
        (0.975, 1, 12.706), (0.975, 2, 4.303), (0.975, 4, 2.776), (0.975, 9, 2.262),
        (0.95, 5, 2.015), (0.995, 30, 2.750), (0.9, 120, 1.289),
    ],
)  # fmt: skip
def test_quantiles_of_t_agree_with_the_printed_table(
    p: float, freedom: int, published: float
) -> None:
    """Student's table, as in any textbook, to its three decimals."""
    assert statistics.t_quantile(p, freedom) == pytest.approx(published, abs=6e-4)


@given(st.floats(-30, 30), st.integers(1, 400))
def test_t_is_a_symmetric_distribution(t: float, freedom: int) -> None:
    """The chances of t and -t add up to one, and lie between 0 and 1."""
    chance = statistics.t_cdf(t, freedom)

    assert 0 <= chance <= 1
    assert chance + statistics.t_cdf(-t, freedom) == pytest.approx(1)


@given(st.floats(0.5, 0.999), st.integers(1, 60))
def test_quantile_and_distribution_undo_each_other(p: float, freedom: int) -> None:
    """The chance of staying below the p-quantile is p."""
    assert statistics.t_cdf(statistics.t_quantile(p, freedom), freedom) == pytest.approx(p)


@pytest.mark.parametrize("t", [-2.5, -0.3, 0.0, 1.0, 1.96])
def test_t_of_many_degrees_is_normal(t: float) -> None:
    """With a hundred thousand degrees of freedom t is the normal distribution."""
    assert statistics.t_cdf(t, 100_000) == pytest.approx(NormalDist().cdf(t), abs=1e-5)


def test_interval_of_the_mean_agrees_with_an_example_worked_by_hand() -> None:
    """Of 44, 48 and 52: mean 48, deviation 4, so 48 ± 4.303 · 4 / √3."""
    low, high = statistics.mean_interval([44, 48, 52])

    assert (low, high) == pytest.approx((48 - 9.937, 48 + 9.937), abs=1e-3)


@given(ERRORS)
def test_interval_holds_the_mean_and_has_a_width(errors: list[int]) -> None:
    """Also runs that agree to the last error leave some doubt."""
    low, high = statistics.mean_interval(errors)

    assert low < fmean(errors) < high


@given(ERRORS, st.integers(0, 10_000), st.integers(0, 100))
def test_a_milder_limit_is_passed_more_often(errors: list[int], most: int, more: int) -> None:
    """Chance grows and p-value falls as more errors are allowed; both lie between 0 and 1."""
    strict, mild = (statistics.chance(errors, m) for m in (most, most + more))
    doubt, less = (statistics.p_value(errors, m) for m in (most, most + more))

    assert 0 <= strict <= mild + 1e-12
    assert mild <= 1
    assert 1 >= doubt >= less >= 0


@given(ERRORS)
def test_a_mean_at_the_limit_is_as_likely_below_as_above(errors: list[int]) -> None:
    """At the limit itself the one-sided p-value is a half."""
    assert statistics.p_value(errors, fmean(errors)) == pytest.approx(0.5)


def test_two_runs_that_agree_prove_little() -> None:
    """Twice 59 errors of 60 allowed: neither certain to pass again, nor significant at 5 %."""
    assert statistics.chance([59, 59], 60) < 0.98
    assert statistics.p_value([59, 59], 60) > 0.05


def test_what_is_promised_holds_in_simulated_classes() -> None:
    """95 % of the intervals hold the true mean, and chances of 90 % are kept nine in ten times."""
    dice = random.Random(5)
    held, rare = [], []
    for _ in range(4_000):
        *errors, following = (round(dice.gauss(57, 5)) for _ in range(6))
        low, high = statistics.mean_interval(errors)
        held.append(low <= 57 <= high)
        rare.append(statistics.chance(errors, following) > 0.9)

    assert fmean(held) == pytest.approx(0.95, abs=0.015)
    assert fmean(rare) == pytest.approx(0.1, abs=0.015)


def test_one_run_near_the_limit_is_as_likely_as_not_to_pass_again() -> None:
    """One run tells little: the spread that other networks show stands in for its own."""
    assert statistics.chance([60], 60) == pytest.approx(0.53, abs=0.02)
    assert 0.7 < statistics.chance([55], 60) < 0.85


@given(ERRORS, st.integers(1, 200))
def test_the_likely_spread_lies_between_what_is_known_and_what_is_seen(
    errors: list[int], most: int
) -> None:
    """Runs that say little leave it where other networks have it."""
    known, seen = statistics.likely_spread(errors[:1], most)[0], stdev(errors)
    spread, freedom = statistics.likely_spread(errors, most)

    assert min(known, seen) - 1e-9 <= spread <= max(known, seen) + 1e-9
    assert freedom == statistics.likely_spread(errors[:1], most)[1] + len(errors) - 1


@given(ERRORS, st.integers(0, 200), st.floats(0.001, 0.2), st.integers(1, 20))
def test_a_stricter_rate_never_decides_otherwise(
    errors: list[int], most: int, rate: float, looks: int
) -> None:
    """Where a strict test decides, a mild one decides the same; more looks make it stricter."""
    strict = statistics.decision(errors, most, rate=rate / 2, looks=looks)
    mild = statistics.decision(errors, most, rate=rate, looks=looks)
    often = statistics.decision(errors, most, rate=rate, looks=looks + 5)

    assert strict in ("undecided", mild)
    assert often in ("undecided", mild)


@pytest.mark.parametrize("deviation", [3.2, 5.0, 7.3])
def test_a_decision_is_wrong_no_more_often_than_promised(deviation: float) -> None:
    """At the limit itself, looking after each of eight runs, for networks of any usual spread."""
    dice = random.Random(7)
    found = [_decided(dice, 60, deviation) for _ in range(4_000)]

    assert fmean(each == "passed" for each in found) <= 0.01 + 0.005
    assert fmean(each == "failed" for each in found) <= 0.01 + 0.005


def test_what_is_clear_is_decided() -> None:
    """A network 15 errors better than the limit passes, and one 15 worse fails."""
    dice = random.Random(8)

    assert fmean(_decided(dice, 45, 5) == "passed" for _ in range(500)) > 0.99
    assert fmean(_decided(dice, 75, 5) == "failed" for _ in range(500)) > 0.99


def _decided(dice: random.Random, mean: float, deviation: float) -> str:
    """Simulate a submission that is trained until its runs decide, eight times at most."""
    errors: list[int] = []
    decided = "undecided"
    while decided == "undecided" and len(errors) < 8:
        errors.append(max(0, round(dice.gauss(mean, deviation))))
        decided = statistics.decision(errors, 60, rate=0.01, looks=8)
    return decided
