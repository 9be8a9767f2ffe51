"""Makes the data that tests talk about: epochs, findings, facts and records."""

from __future__ import annotations

from typing import Any

from grader.events import EpochDone
from grader.plan.schema import Fact
from grader.record import (
    Accuracy,
    Check,
    Facts,
    Finding,
    RecipeSummary,
    Record,
    Submission,
    Training,
    TrainingRun,
    accuracy_of,
)  # fmt: skip


def epoch(number: int = 1, errors: int = 60, samples: int | None = None) -> EpochDone:
    """Make an epoch with so many errors in 10,000 test images."""
    return EpochDone(
        epoch=number, samples=samples or number * 60_000, train_loss=0.1, train_accuracy=0.98,
        test_loss=0.02, test_errors=errors, test_samples=10_000, lr=0.01, seconds=1.0,
    )  # fmt: skip


def finding(counts: bool = True, **more: Any) -> Finding:
    """Make a finding."""
    values = {
        "what": "BatchNorm2d", "name": "bn1", "why": "it acts", "before": [8, 26, 26],
        "after": [8, 26, 26], "where": "net.py, line 9",
    }  # fmt: skip
    return Finding(counts=counts, **(values | more))


def facts(**more: Any) -> Facts:
    """Make the facts of a network that meets every requirement."""
    values: dict[str, Any] = {
        "class_name": "Net", "parameters": 18_962, "declared": 18_962, "unused": 0, "macs": 10**6,
        "activations": 10**4, "classes": 10, "output": "logits", "tensors": [], "layers": [],
        "batch_norm": [finding()], "dropout": [finding(what="Dropout", name="drop")],
        "global_average_pooling": [finding(what="mean", name="mean")], "same_network": True,
        "difference": [], "batch_independent": True, "mixing": [], "notes": [],
    }  # fmt: skip
    return Facts(**(values | more))


def trained(*errors: int) -> tuple[Training, Accuracy]:
    """Make a training with so many test errors after each epoch."""
    epochs = [epoch(number, e) for number, e in enumerate(errors, start=1)]
    training = Training(
        seed=1, device="cpu", planned_epochs=len(errors), steps_per_epoch=469,
        samples_per_epoch=60_000, epochs=epochs, samples_seen=60_000 * len(errors), seconds=9.0,
        finished=True,
    )  # fmt: skip
    return training, accuracy([*errors])


def run(*curve: int, seed: int = 1, finished: bool = True, **more: Any) -> TrainingRun:
    """Make one of several trainings, with so many test errors after each epoch."""
    return TrainingRun(
        seed=seed, weights="weights.safetensors", errors=curve[-1] if curve else None,
        tested=10_000, curve=[*curve], samples_seen=60_000 * len(curve), finished=finished,
        passed=curve[-1] <= 60 if finished else False if "problem" in more else None, **more,
    )  # fmt: skip


def accuracy(*curves: list[int]) -> Accuracy:
    """Make the accuracy of finished runs of such curves, under the limit of 99.40 %."""
    runs = [run(*curve, seed=seed) for seed, curve in enumerate(curves, start=1)]
    made = accuracy_of(runs, "last", 99.40)
    assert made is not None
    return made


def record(*errors: int, **more: Any) -> Record:
    """Make the record of a network that meets every requirement; `errors` are its epochs'."""
    training, accuracy = trained(*errors) if errors else (None, None)
    recipe = RecipeSummary(12, 128, [Fact("epochs", "12", "net.py, line 3")])
    values: dict[str, Any] = {
        "submission": Submission("net.py", "net.py", "0" * 64), "assignment": "MNIST",
        "rubric_sha256": "0" * 64, "max_score": 100.0, "model": facts(), "recipe": recipe,
        "training": training, "accuracy": accuracy,
        "score": 0.0,
    }  # fmt: skip
    return Record(**(values | more))


def check(outcome: str = "passed", **more: Any) -> Check:
    """Make a check's entry in the record."""
    values: dict[str, Any] = {
        "id": "dropout", "title": "Dropout acts", "points": 10.0 if outcome == "passed" else 0.0,
        "max_points": 10.0, "expected": "dropout", "found": "Dropout drop",
    }  # fmt: skip
    return Check(outcome=outcome, **(values | more))  # type: ignore[arg-type] # of three words
