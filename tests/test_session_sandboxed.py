"""A submission that trains itself, graded from path to verdict."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from grader import rubric as rubrics
from tests.grading import grade
from tests.reading import write
from tests.test_session_runs import SUBMISSION as WITHOUT_LOOP

SUBMISSION = (
    WITHOUT_LOOP
    + """\
def train(model, train_loader, optimizer, epoch):
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y) + 1e-4 * sum(p.abs().sum() for p in model.parameters())
        loss.backward()
        optimizer.step()
"""
)


@pytest.mark.slow
def test_a_submission_that_trains_itself(tmp_path: Path) -> None:
    """It trains in the box, its weights are tested here, and record and report say so."""
    graded = grade(write(tmp_path, "own.py", SUBMISSION), tmp_path / "out")
    record = graded.record
    assert record.level == "sandboxed"
    assert record.training is not None
    assert record.training.samples_seen == 60_000
    assert record.metered is not None
    assert "level sandboxed" in graded.output
    assert graded.outcomes == {
        "loads": "passed", "parameter_count": "passed", "batch_normalization": "passed",
        "dropout": "passed", "global_average_pooling": "passed", "test_accuracy": "failed",
        "epoch_budget": "passed", "integrity": "passed",
    }  # fmt: skip
    assert (graded.folder / "weights.safetensors").exists()


@pytest.mark.slow
def test_own_loops_run_side_by_side(tmp_path: Path) -> None:
    """With `--runs 2` two boxes train from two seeds, and each is metered."""
    graded = grade(write(tmp_path, "own.py", SUBMISSION), tmp_path / "out", "--runs=2")
    record = graded.record
    assert record.level == "sandboxed"
    assert record.accuracy is not None
    assert all(run.finished for run in record.accuracy.runs)
    assert len({run.weights_sha256 for run in record.accuracy.runs}) == 2
    assert record.metered is not None
    assert record.accuracy.runs[1].metered is not None
    assert record.accuracy.runs[1].metered.samples == 60_000
    assert graded.outcomes["integrity"] == "passed", graded.output


@pytest.mark.slow
def test_a_training_that_dies_is_a_verdict(tmp_path: Path) -> None:
    """What ends the box in the middle fails the accuracy, in words, and nothing else."""
    dies = "        loss.backward()\n        if len(x) > 99: __import__('os')._exit(0)"
    text = SUBMISSION.replace("        loss.backward()", dies)
    graded = grade(write(tmp_path, "own.py", text), tmp_path / "out")
    assert graded.record.problem is not None
    assert graded.record.problem.fault == "crashed"
    assert graded.outcomes["test_accuracy"] == "failed"
    assert graded.outcomes["dropout"] == "passed"


@pytest.mark.slow
def test_a_training_without_end_is_stopped(tmp_path: Path) -> None:
    """A loop that stands still is ended by the bound on an epoch, with a verdict."""
    rubric = re.sub(r"(?m)^epoch = \d+", "epoch = 20", rubrics.DEFAULT.read_text(encoding="utf-8"))
    hangs = "        loss.backward()\n        while len(x) > 99: pass"
    graded = grade(
        write(tmp_path, "own.py", SUBMISSION.replace("        loss.backward()", hangs)),
        tmp_path / "out", f"--rubric={write(tmp_path, 'short.toml', rubric)}",
    )  # fmt: skip
    assert graded.record.problem is not None
    assert graded.record.problem.fault == "time-out"
    assert graded.outcomes["test_accuracy"] == "failed"


@pytest.mark.slow
def test_a_rubric_may_ask_for_the_grader_s_own_loop(tmp_path: Path) -> None:
    """With `rebuilt` in the rubric the recipe is trained without what the loop adds."""
    rubric = rubrics.DEFAULT.read_text(encoding="utf-8").replace(
        "rebuilt = false", "rebuilt = true"
    )
    graded = grade(
        write(tmp_path, "own.py", SUBMISSION), tmp_path / "out", "--quick",
        f"--rubric={write(tmp_path, 'strict.toml', rubric)}",
    )  # fmt: skip
    assert graded.record.level == "rebuilt"
    assert "the grader's own loop" in " ".join(graded.record.notes)
