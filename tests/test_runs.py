"""Several trainings of one submission: their seeds, and what the record keeps of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader import cluster, pipeline, pool, runs
from grader import record as records
from grader import rubric as rubrics
from grader.errors import GraderFault, LimitReached, SubmissionError, UsageFault
from grader.events import AnyEvent, Diverged, Failed, Finished, Started
from grader.request import Request
from grader.run import Run
from grader.supervise import Job
from tests.grading import EXAMPLES
from tests.making import epoch

LIMITS = rubrics.load().limits


@given(st.integers(0, 2**63 - 1))
def test_each_run_has_a_seed_of_its_own(first: int) -> None:
    """Run 1 has the seed of a single run; all differ."""
    seeds = [runs.seed_of(first, number) for number in range(1, 51)]

    assert seeds[0] == first
    assert len(set(seeds)) == 50
    assert all(seed >= 0 for seed in seeds)


def test_each_run_has_its_own_weights() -> None:
    """The first keeps the name that a single run has."""
    assert [runs.weights_of(n) for n in (1, 2)] == ["weights.safetensors", "weights-2.safetensors"]


def test_events_become_a_run() -> None:
    """Epochs make the curve, one that is told again replaces itself, and the end is noted."""
    run = records.TrainingRun(5, "weights.safetensors")
    for event in (Started("cpu", 1, 2, 469, 5, {}), epoch(1, 90), epoch(2, 99), epoch(2, 61),
                  Finished(120_000, 9.0, 1, "abc")):  # fmt: skip
        run = runs.noted(run, event, LIMITS)

    assert (run.curve, run.errors, run.threads) == ([90, 61], 61, 1)
    assert (run.finished, run.samples_seen, run.weights_sha256) == (True, 120_000, "abc")
    assert run.passed is False


def test_the_best_epoch_counts_where_the_rubric_says_so() -> None:
    """With `judged_on = "best"` a run passes that was good enough once."""
    limits = msgspec.structs.replace(LIMITS, judged_on="best")
    run = records.TrainingRun(5, "weights.safetensors")
    for event in (epoch(1, 60), epoch(2, 70), Finished(120_000, 9.0, 1, "abc")):
        run = runs.noted(run, event, limits)

    assert (run.errors, run.passed) == (60, True)


@pytest.mark.parametrize("error", [LimitReached("too slow"), GraderFault("it died")], ids=str)
def test_only_the_submission_fails_a_run(error: SubmissionError | GraderFault) -> None:
    """What the submission spoils does not pass; what the grader spoils is not known."""
    run = runs.failed(records.TrainingRun(5, "weights.safetensors"), error)

    assert run.passed is (False if isinstance(error, SubmissionError) else None)
    assert run.problem is not None
    assert run.problem.message == str(error)


def test_what_spoils_a_training_is_told_in_words() -> None:
    """A loss that is not finite names the step; an own loop's failure keeps its kind of fault."""
    diverged = runs.failure_of(Diverged(2, 7, "nan"), "rebuilt")
    own = runs.failure_of(Failed("it ended", fault="crashed"), "sandboxed")

    assert diverged is not None
    assert diverged.message == "the loss became nan in epoch 2, step 7"
    assert own is not None
    assert own.fault == "crashed"
    assert runs.failure_of(epoch(), "rebuilt") is None


# A whole Run, with a pretended training. Its seed is 1; others follow from it.

SEEDS = [runs.seed_of(1, number) for number in (1, 2, 3)]
Training = Callable[[Callable[[AnyEvent], None]], None]


def good(errors: int) -> Training:
    """Make a training of two epochs that ends with so many errors."""

    def training(tell: Callable[[AnyEvent], None]) -> None:
        tell(Started("cpu", 1, 2, 469, 0, {"torch": "2"}))
        tell(epoch(1, 2 * errors))
        tell(epoch(2, errors))
        tell(Finished(120_000, 9.0, 1, "abc"))

    return training


def diverging(tell: Callable[[AnyEvent], None]) -> None:
    """Reach a loss that is not finite in the second epoch."""
    tell(Started("cpu", 1, 2, 469, 0, {"torch": "2"}))
    tell(epoch(1, 500))
    tell(Diverged(2, 3, "nan"))


def raising(error: BaseException) -> Training:
    """Make a training that ends with an error after its first epoch."""

    def training(tell: Callable[[AnyEvent], None]) -> None:
        tell(Started("cpu", 1, 2, 469, 0, {"torch": "2"}))
        tell(epoch(1, 100))
        raise error

    return training


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Give a described submission, to be trained three times."""
    out = tmp_path_factory.mktemp("runs")
    request = Request(EXAMPLES / "too_short.py", out, rubrics.load(), seed=1, runs=3)
    run = Run(request)
    pipeline.describe([run], 1, lambda run: None)
    return run


Trained = Callable[..., tuple[records.Record, records.Accuracy, BaseException | None]]


@pytest.fixture
def trained(described: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trained]:
    """Give a function that trains three times, for pretence; it returns what was raised, too."""
    before = described.record
    described.request = dataclasses.replace(described.request, store=tmp_path)
    monkeypatch.setattr(pool, "cores", lambda: 1)  # one after another, in order

    def train(
        *trainings: Training, on_event: Callable[..., None] = lambda *_: None
    ) -> tuple[records.Record, records.Accuracy, BaseException | None]:
        kinds = dict(zip(SEEDS, trainings, strict=True))

        def pretended(job: Job, _: Any, __: Any, tell: Any, ___: Any) -> None:
            kinds[job.seed](tell)

        monkeypatch.setattr(pool, "train", pretended)
        raised = None
        try:
            pipeline.train(
                [described], pipeline.Place(), lambda event, run, number: on_event(event, number)
            )
        except KeyboardInterrupt as error:
            raised = error
        record = records.load(described.begin() / "record.json")
        assert record.accuracy is not None
        return record, record.accuracy, raised or described.fault

    yield train
    described.record, described.fault = before, None
    described._done.discard("train")
    described._runs, described._errors = [], {}


def test_three_runs_are_kept_and_judged_together(trained: Trained) -> None:
    """Each is in the record with seed, weights and curve; the mean is of all three."""
    told: list[int] = []
    record, accuracy, _ = trained(
        good(44), good(48), good(52), on_event=lambda _, n: told.append(n)
    )
    kept = accuracy.runs

    assert [run.seed for run in kept] == SEEDS
    assert [run.curve for run in kept] == [[88, 44], [96, 48], [104, 52]]
    assert [run.weights for run in kept] == [runs.weights_of(n) for n in (1, 2, 3)]
    assert all(run.passed and run.finished for run in kept)
    assert (accuracy.judged, record.problem) == (99.52, None)
    assert record.training is not None
    assert record.training.epochs[-1].test_errors == 44
    assert told == [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]


def test_a_run_that_diverges_ends_no_other(trained: Trained) -> None:
    """It is a run that did not pass, with its reason; the record has no problem of its own."""
    record, accuracy, raised = trained(good(44), diverging, good(52))
    problem = accuracy.runs[1].problem

    assert [run.passed for run in accuracy.runs] == [True, False, True]
    assert problem is not None
    assert "the loss became nan" in problem.message
    assert accuracy.runs[1].curve == [500]
    assert (record.problem, raised) == (None, None)
    assert accuracy.judged == 99.52


def test_where_all_fail_the_record_says_why(trained: Trained) -> None:
    """The first reason is the record's problem, and the submission's fault."""
    slow = raising(LimitReached.of("time", "stopped in epoch 2"))
    record, accuracy, raised = trained(diverging, slow, diverging)
    faults = [run.problem.fault for run in accuracy.runs if run.problem]

    assert record.problem is not None
    assert record.problem.fault == "error"
    assert "the loss became nan" in record.problem.message
    assert (faults, raised) == (["error", "time-out", "error"], None)


def test_a_fault_of_the_grader_is_no_failed_run(trained: Trained) -> None:
    """It is the record's problem and raised at the end; the other runs are finished and kept."""
    record, accuracy, raised = trained(good(44), raising(GraderFault("it died")), good(52))

    assert str(raised) == "it died"
    assert record.problem is not None
    assert record.problem.fault == "grader"
    assert [run.passed for run in accuracy.runs] == [True, None, True]


def test_whatever_a_cluster_raises_is_the_graders_fault(
    described: Run, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that breaks, in whatever way, is told where the checks are."""
    lost = RuntimeError("the network broke")

    def broken(*_: object) -> None:
        raise lost

    monkeypatch.setattr(cluster, "carry_out", broken)
    pipeline.train([described], pipeline.Place(scheduler="tcp://there:1"), lambda *_: None)

    assert described.fault is lost


def test_an_interrupt_keeps_the_runs_that_are_finished(trained: Trained) -> None:
    """Stopped in the second run, the record is interrupted and holds the first whole."""

    def listener(event: AnyEvent, number: int) -> None:
        if number == 2 and not isinstance(event, Started):
            raise KeyboardInterrupt

    record, accuracy, raised = trained(good(44), good(48), good(52), on_event=listener)

    assert isinstance(raised, KeyboardInterrupt)
    assert record.status == "interrupted"
    assert [run.finished for run in accuracy.runs] == [True, False, False]
    assert [run.passed for run in accuracy.runs] == [True, None, None]
    assert [run.curve for run in accuracy.runs] == [[88, 44], [96], []]


def test_too_few_runs_for_the_rubric_are_refused_at_once(tmp_path: Path) -> None:
    """Before anything starts, a rubric that asks for 2 of 3 says so to a single run."""
    limits = msgspec.structs.replace(LIMITS, judged_by="passes", passes=2)
    rubric = msgspec.structs.replace(rubrics.load(), limits=limits)
    with pytest.raises(UsageFault, match="give --runs 2"):
        Run(Request(EXAMPLES / "too_short.py", tmp_path, rubric))

    assert not any(tmp_path.iterdir())
