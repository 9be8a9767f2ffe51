"""What `test_accuracy` makes of one run and of several, as the rubric says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from grader import rubric as rubrics
from grader.events import Metered
from grader.record import Check, Problem, Record, TrainingRun, accuracy_of
from grader.rubric import Rubric
from tests.judging import check_of
from tests.making import accuracy, record, run

DIVERGED = Problem("train", "error", "the loss became nan", help="lower the learning rate")
METERED = Metered(
    samples=60_000, batches=469, past_budget=False, cpu_seconds=1e-3, plain_cpu_seconds=1e-3,
    untrained_errors=9_000, tested=10_000, canary_errors=9_000,
)  # fmt: skip


def rubric(**limits: Any) -> Rubric:
    """Return the default rubric with some limits changed."""
    default = rubrics.load()
    return msgspec.structs.replace(
        default, limits=msgspec.structs.replace(default.limits, **limits)
    )


def of_runs(*runs: TrainingRun) -> Record:
    """Make the record of such runs."""
    return record(60, accuracy=accuracy_of([*runs], "last", 99.4))


def judged(given: Record, **limits: Any) -> tuple[bool, Check]:
    """Let the check judge; return whether it passed, and what it says."""
    check = check_of("test_accuracy", given, rubric(**limits))
    return check.outcome == "passed", check


def failure(name: str, given: Record) -> str:
    """Return what a check that fails has found."""
    check = check_of(name, given)
    assert check.outcome == "failed"
    return check.found


@pytest.mark.parametrize(("errors", "passes"), [(60, True), (61, False)])
def test_one_run_is_judged_by_its_errors(errors: int, passes: bool) -> None:
    """60 errors pass, 61 do not."""
    assert judged(record(errors))[0] is passes


def test_a_failure_within_the_noise_of_one_run_says_so() -> None:
    """63 errors may be bad luck: the message gives the interval, and the help more runs."""
    _, near = judged(record(63))
    _, far = judged(record(300))

    assert "within the noise: its 95% interval is 99.19 to 99.51%" in near.message
    assert "--runs 5" in near.help
    assert "noise" not in far.message
    assert "--runs" not in far.help


@pytest.mark.parametrize(
    ("errors", "by_mean", "by_three"),
    [
        ([50, 50, 50, 90], True, True),
        ([50, 50, 65, 65], True, False),
        ([59, 59, 59, 90], False, True),
        ([61, 61, 61, 50], True, False),
        ([70, 70, 61, 61], False, False),
    ],
)
def test_the_rubric_says_how_several_runs_are_judged(
    errors: list[int], by_mean: bool, by_three: bool
) -> None:
    """By their mean, or by three of four that have to reach the limit."""
    given = record(60, accuracy=accuracy(*([e] for e in errors)))

    assert judged(given)[0] is by_mean
    assert judged(given, judged_by="passes", passes=3)[0] is by_three


def test_several_runs_are_told_with_spread_interval_and_chance() -> None:
    """Mean, standard deviation, interval, passing runs and the chance of one stand in the check."""
    passed, check = judged(record(60, accuracy=accuracy([44], [48], [52])))

    assert passed
    assert check.expected == "at least 99.40% in the mean of 3 runs"
    assert check.found.startswith("99.520 ± 0.040%, 95% interval 99.42 to 99.62%; 3 of 3 runs pass")
    assert "the chance that one run passes is 97%" in check.found


def test_a_run_that_failed_is_not_made_up_for_by_the_others() -> None:
    """By the mean it fails the check, with its own reason; three of four passing runs suffice."""
    given = of_runs(run(40), run(41, seed=2), run(42, seed=3), run(problem=DIVERGED, seed=4,
                    finished=False))  # fmt: skip
    passed, check = judged(given)

    assert not passed
    assert "run 4 (seed 4): the loss became nan" in check.message
    assert check.help == "lower the learning rate"
    assert judged(given, judged_by="passes", passes=3)[0]
    assert not judged(given, judged_by="passes", passes=4)[0]


def test_a_run_without_an_end_is_no_pass() -> None:
    """However good its latest epoch, a run has to be finished to count."""
    assert not judged(of_runs(run(40, finished=False)))[0]


def test_integrity_looks_at_every_run() -> None:
    """Samples that are missing in a second run fail the check as they would in a first."""
    short = msgspec.structs.replace(run(50, 45, seed=2), samples_seen=60_000)
    assert "60,000 samples were drawn instead of 120,000" in failure(
        "integrity", of_runs(run(50, 45), short)
    )


def test_what_was_metered_in_a_second_run_counts() -> None:
    """A loop that behaves in the first run and trains elsewhere in the second is found out."""
    bad = msgspec.structs.replace(METERED, untrained_errors=100)
    given = msgspec.structs.replace(of_runs(run(50), run(50, seed=2, metered=bad)), metered=METERED)
    assert "in run 2 before its first step it made only 100" in failure("integrity", given)


def test_the_longest_run_counts_for_the_budget() -> None:
    """A second run that draws 20 epochs fails the budget, whatever the first did."""
    long = run(*range(100, 80, -1), seed=2)
    assert "20 counted" in failure("epoch_budget", of_runs(run(50), long))


def test_runs_that_did_not_finish_tell_nothing_of_the_spread() -> None:
    """Whatever they reached so far, there is no chance, no p and no deviation without an end."""
    stopped = [run(50 + n, seed=n, finished=False) for n in range(3)]
    found = accuracy_of(stopped, "last", 99.4)

    assert found is not None
    assert (found.deviation, found.chance, found.p_value) == (None, None, None)


def test_noise_is_told_only_of_the_mean_that_is_too_low() -> None:
    """A run that broke off, or too few passing runs, are no noise of the mean."""
    broken = of_runs(run(58), run(55, seed=2), run(62, seed=3), run(problem=DIVERGED, seed=4,
                     finished=False))  # fmt: skip
    few = record(60, accuracy=accuracy([40], [40], [61], [61]))

    assert "noise" not in judged(broken)[1].message
    assert "noise" not in judged(few, judged_by="passes", passes=3)[1].message


def test_an_earlier_epoch_is_called_good_only_if_a_failing_run_had_one() -> None:
    """Good runs beside it do not make a failing run's earlier epochs good."""
    never = record(60, accuracy=accuracy([40], [40], [61], [61]))
    once = record(60, accuracy=accuracy([40], [40], [58, 61], [61]))

    for given, told in ((never, False), (once, True)):
        _, check = judged(given, judged_by="passes", passes=3)
        assert ("an earlier epoch was good enough" in check.help) is told


def test_a_mean_just_below_the_limit_is_not_written_like_the_limit() -> None:
    """60, 60 and 61 errors are 99.397 %, 0.003 percentage points short of 99.40 %."""
    passed, check = judged(record(60, accuracy=accuracy([60], [60], [61])))

    assert not passed
    assert check.found.startswith("99.397 ")
    assert "0.003 percentage points short" in check.message
    _, check = judged(record(60, accuracy=accuracy(*[[60]] * 20, [61])))
    assert check.found.startswith("99.3995 ")
    _, check = judged(record(60), accuracy=99.405)
    assert (check.expected, check.found[:7]) == ("at least 99.405%", "99.400%")


def test_runs_are_judged_though_the_first_never_began() -> None:
    """Two good runs of three count, and a second run's 20 epochs break the budget."""
    lost = run(problem=DIVERGED, finished=False)
    good = of_runs(lost, run(40, seed=2), run(41, seed=3))
    long = of_runs(lost, run(*range(100, 80, -1), seed=2))
    good, long = (msgspec.structs.replace(each, training=None) for each in (good, long))

    assert judged(good, judged_by="passes", passes=2)[0]
    assert "20 counted" in failure("epoch_budget", long)


FLOODED = Problem("train", "flooded", "the training printed too much")


@pytest.mark.parametrize("begun", [True, False])
def test_a_loop_that_was_not_measured_to_its_end_is_not_believed(begun: bool) -> None:
    """Its own training broke off: integrity is not judged, which is no pass."""
    given = msgspec.structs.replace(record(60), level="sandboxed", problem=FLOODED)
    given = given if begun else msgspec.structs.replace(given, training=None, accuracy=None)
    check = check_of("integrity", given)

    assert check.outcome == "not_judged"
    assert "it was not measured" in check.message


def test_a_loop_of_its_own_needs_the_training_on_shuffled_labels() -> None:
    """A loop that cannot be tried on them is not judged, one that learns nothing there passes."""
    untried = msgspec.structs.replace(METERED, canary_errors=None)
    given = msgspec.structs.replace(record(60), level="sandboxed", metered=untried)
    check = check_of("integrity", given)

    assert check.outcome == "not_judged"
    assert "on shuffled labels" in check.message
    tried = msgspec.structs.replace(given, metered=METERED)
    assert check_of("integrity", tried).outcome == "passed"


def test_a_loop_of_its_own_may_end_a_pass_early() -> None:
    """What it draws is measured; that it is no whole epoch is no offence, in any of its runs."""
    short = msgspec.structs.replace(run(50, 45, seed=2, metered=METERED), samples_seen=90_000)
    given = of_runs(run(problem=DIVERGED, finished=False), short)
    assert (
        check_of("integrity", msgspec.structs.replace(given, level="sandboxed")).outcome == "passed"
    )


def test_doubts_of_a_loop_are_answered_at_the_loop() -> None:
    """Weights that were trained elsewhere are no matter of forward's modes."""
    bad = msgspec.structs.replace(METERED, untrained_errors=100)
    given = msgspec.structs.replace(record(60), level="sandboxed", metered=bad)
    check = check_of("integrity", given)

    assert (check.outcome, check.where) == ("failed", "train")
    assert "start from the weights it is given" in check.help
    assert "modes" not in check.help
