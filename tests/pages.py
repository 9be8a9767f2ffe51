"""Makes results as they lie on disk, for pages: records with layers, a training and answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from grader import rubric as rubrics
from grader.events import Answers, Wrong
from grader.record import Layer, Person, Submission
from grader.reports.given import Graded, Results
from tests.making import accuracy, check, facts, record, trained

PLAN, WEIGHTS = "a" * 64, "b" * 64


def layer(name: str, kind: str, *reads: int, **more: Any) -> Layer:
    """Make a layer on the path; `reads` are places of the layers it works on."""
    values: dict[str, Any] = {
        "op": kind, "shape": [8, 14, 14], "parameters": 0, "macs": 0, "activations": 1568,
        "receptive_field": (5, 5), "jump": (2.0, 2.0), "on_path": True, "where": "net.py, line 9",
    }  # fmt: skip
    return Layer(name, kind, reads=[*reads], **(values | more))


LAYERS = [
    layer("stem", "convolution", parameters=80, macs=15_680, kernel=[3, 3], stride=[2, 2]),
    layer("norm", "batch norm", 0, parameters=16),
    layer("relu", "activation", 1, op="relu"),
    layer("conv", "convolution", 2, parameters=584, kernel=[3, 3], padding=[1, 1]),
    layer("sum", "activation", 2, 3, op="relu"),
    layer("lost", "convolution", 4, on_path=False, kernel=[1, 1], receptive_field=None),
    layer("pool", "global average pool", 4, shape=[8, 1, 1], receptive_field=None),
]


def answers(*wrong: tuple[int, int, int]) -> Answers:
    """Make answers to 10,000 images: numbers, labels and answers of those that are wrong."""
    confusion = [[0] * 11 for _ in range(10)]
    for _, label, answer in wrong:
        confusion[label][answer] += 1
    sure = [Wrong(*each, round(0.99 - 0.01 * at, 2), 0.01) for at, each in enumerate(wrong)]
    return Answers(10_000, confusion, sure)


def graded(folder: Path, key: str, found: Answers | None = None, **more: Any) -> Graded:
    """Make a trained submission's results in `folder/key`, with answers if there are any."""
    training, _ = trained(200, 90)
    values: dict[str, Any] = {
        "submission": Submission(
            f"{key}.py", f"/home/staff/{key}.py", key.ljust(64, "0"), key=key,
            people=[Person(name=f"{key.title()} Person", login=f"{key}1")],
        ),
        "model": facts(layers=LAYERS), "plan_sha256": PLAN, "content_sha256": key,
        "training": msgspec.structs.replace(training, weights_sha256=WEIGHTS),
        "accuracy": accuracy([200, 90]), "status": "complete", "score": 60.0,
        "checks": [
            check(), check(id="parameter_count", title="Parameters"),
            check("failed", id="test_accuracy", title="Test accuracy", message="short"),
        ],
    }  # fmt: skip
    place = folder / key
    place.mkdir(parents=True, exist_ok=True)
    if found is not None:
        kept = {"plan_sha256": PLAN, "weights_sha256": WEIGHTS, "answers": found}
        (place / "answers.json").write_bytes(msgspec.json.encode(kept))
    return Graded(record(**(values | more)), place)


def results(folder: Path, *each: Graded) -> Results:
    """Put results together as one class."""
    return Results(each, rubrics.load(), folder)
