"""What is known of each of a network's trainings: the events of one become a `TrainingRun`."""

from __future__ import annotations

import hashlib

from msgspec.structs import replace

from grader.datasets.known import MNIST, Dataset
from grader.errors import GradingError, SubmissionError
from grader.events import (
    AnyEvent,
    Diverged,
    EpochDone,
    Failed,
    Finished,
    Metered,
    Recalled,
    Started,
    Taken,
)
from grader.measure.asking import Answer
from grader.plan.assemble import steps_per_epoch
from grader.plan.schema import Recipe
from grader.record import (
    Accuracy,
    Problem,
    Stage,
    Training,
    TrainingRun,
    accuracy_of,
    percent,
)
from grader.rubric import Limits


def first_seed(content_sha256: str) -> int:
    """Return the plan's own seed: what computes the same is trained alike, on any machine."""
    return int(content_sha256[:8], 16)


def seed_of(first: int, number: int) -> int:
    """Return the seed of a run, counted from 1: `first` itself, and others made from it."""
    if number == 1:
        return first
    return int(hashlib.sha256(f"{first}, run {number}".encode()).hexdigest()[:8], 16)


def weights_of(number: int) -> str:
    """Return the name of the file for the weights of a run, counted from 1."""
    return "weights.safetensors" if number == 1 else f"weights-{number}.safetensors"


def noted(run: TrainingRun, event: AnyEvent, limits: Limits) -> TrainingRun:
    """Return the run with what an event adds to it."""
    if isinstance(event, Started):
        return replace(run, threads=event.threads)
    if isinstance(event, Taken):
        return replace(run, kept=event.trained)
    if isinstance(event, EpochDone):
        return judged(replace(
            run, curve=[*run.curve[: event.epoch - 1], event.test_errors],
            tested=event.test_samples, samples_seen=event.samples,
            seconds=run.seconds + event.seconds,
        ), limits)  # fmt: skip
    if isinstance(event, Metered | Recalled):
        return replace(run, **{"metered" if isinstance(event, Metered) else "recalled": event})
    if isinstance(event, Finished):
        return judged(replace(
            run, finished=True, samples_seen=event.samples, seconds=event.seconds,
            peak_memory=event.peak_memory, weights_sha256=event.weights_sha256,
        ), limits)  # fmt: skip
    return run


def judged(run: TrainingRun, limits: Limits) -> TrainingRun:
    """Return the run with the errors that count, and with whether they are few enough."""
    if not run.curve:
        return replace(run, passed=False) if run.finished else run
    errors = run.curve[-1] if limits.judged_on == "last" else min(run.curve)
    good = percent(errors, run.tested) >= limits.accuracy
    return replace(run, errors=errors, passed=good if run.finished else run.passed)


def judged_again(accuracy: Accuracy | None, limits: Limits) -> Accuracy | None:
    """Return what the same runs come to under limits, which may be others than before."""
    again = [judged(run, limits) for run in accuracy.runs] if accuracy else []
    return accuracy_of(again, limits.judged_on, limits.accuracy)


def in_full(
    training: Training | None, event: AnyEvent, recipe: Recipe, dataset: Dataset = MNIST
) -> Training | None:
    """Return the training, of which every figure of every epoch is kept, after an event."""
    if isinstance(event, Started):
        samples = dataset.train
        steps = steps_per_epoch(recipe.batch_size, samples, drop_last=recipe.drop_last)
        whole = recipe.batch_size * steps
        return Training(
            seed=event.seed, device=event.device, planned_epochs=event.epochs,
            steps_per_epoch=event.steps_per_epoch, samples_per_epoch=min(whole, samples),
            epochs=[], samples_seen=0, seconds=0.0,
        )  # fmt: skip
    if isinstance(event, EpochDone) and training is not None:
        epochs = [e for e in training.epochs if e.epoch != event.epoch] + [event]
        seconds = sum(epoch.seconds for epoch in epochs)
        return replace(training, epochs=epochs, samples_seen=event.samples, seconds=seconds)
    if isinstance(event, Finished) and training is not None:
        return replace(
            training, finished=True, samples_seen=event.samples, seconds=event.seconds,
            peak_memory=event.peak_memory, weights_sha256=event.weights_sha256,
        )  # fmt: skip
    return training


def failed(run: TrainingRun, error: GradingError) -> TrainingRun:
    """Return the run with the reason why it did not get to its end."""
    passed = False if isinstance(error, SubmissionError) else None
    return replace(run, problem=problem_of("train", error), passed=passed)


def problem_of(stage: Stage, error: GradingError) -> Problem:
    """Return an error as the record holds it."""
    return Problem(
        stage, error.fault, error.message, error.expected, error.found, error.where, error.help
    )


def failure_of(event: AnyEvent, level: str) -> SubmissionError | None:
    """Return the error that an event reports: a training that the submission spoiled."""
    if isinstance(event, Diverged):
        return SubmissionError(
            f"the loss became {event.loss} in epoch {event.epoch}, step {event.step}",
            expected="a finite loss at every step", found=event.loss,
            where=f"epoch {event.epoch}, step {event.step}",
            help="lower the learning rate, or add batch norm before the activations",
        )  # fmt: skip
    if isinstance(event, Failed) and level == "sandboxed":
        error = SubmissionError(
            event.message, expected=event.expected, found=event.found, where=event.where,
            help=event.help,
        )  # fmt: skip
        error.fault = event.fault
        return error
    if isinstance(event, Failed):
        return untrainable(event)
    return None


def untrainable(event: Failed | Answer) -> SubmissionError:
    """Return the error of a network or recipe of which a training step cannot be taken."""
    message = event.failed if isinstance(event, Answer) else event.message
    return SubmissionError(
        "the network or its recipe cannot be trained",
        expected=event.expected or "a training step that runs to its end",
        found=": ".join(part for part in (message, event.found) if part),
        where=event.where,
        help=event.help or "run a few training steps of your own at this batch size",
    )
