"""`--runs N` as a person uses it, with real trainings of a very small network."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from grader import record as records
from grader import rubric as rubrics
from grader import runs
from tests.grading import REPO, grade
from tests.processes import running as training
from tests.reading import HEAD, write

SUBMISSION = (
    HEAD
    + """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 6, stride=6)
        self.bn = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.05)
        self.out = nn.Linear(8, 10)
    def forward(self, x):
        return self.out(self.drop(F.relu(self.bn(self.conv(x)))).mean((2, 3)))
MODEL, EPOCHS, BATCH_SIZE = Net(), 1, 500
train_transform = test_transform = transforms.ToTensor()
"""
)


def rubric(folder: Path, **limits: str) -> str:
    """Write a rubric with some limits changed; return the option that names it."""
    text = rubrics.DEFAULT.read_text(encoding="utf-8")
    for name, value in limits.items():
        text, count = re.subn(rf"(?m)^{name} = [^\s#]+", f"{name} = {value}", text)
        assert count == 1
    return f"--rubric={write(folder, 'rubric.toml', text)}"


@pytest.mark.slow
def test_two_runs_are_trained_judged_and_reported(tmp_path: Path) -> None:
    """Two seeds, two files of weights, and a verdict over both, by the number that passes."""
    easy = rubric(tmp_path, accuracy="11", judged_by='"passes"', passes="2")
    path = write(tmp_path, "net.py", SUBMISSION)
    graded = grade(path, tmp_path / "out", "--runs=2", "--seed=5", easy)
    accuracy = graded.record.accuracy

    assert graded.status == 0, graded.output
    assert accuracy is not None
    assert [run.seed for run in accuracy.runs] == [5, runs.seed_of(5, 2)]
    assert [run.threads for run in accuracy.runs] == [1, 1]
    for run in accuracy.runs:
        digest = hashlib.sha256((graded.folder / run.weights).read_bytes()).hexdigest()
        assert digest == run.weights_sha256
    assert accuracy.deviation is not None
    check = next(c for c in graded.record.checks if c.id == "test_accuracy")
    assert check.expected == "at least 11.00% in 2 of 2 runs"
    assert "2 of 2 runs pass" in check.found
    assert "run 2/2  epoch  1/1" in graded.output
    assert "accuracy: mean of 2 runs" in graded.output


@pytest.mark.slow
def test_the_same_submission_gets_the_same_weights_again(tmp_path: Path) -> None:
    """A single run, on all cores: graded twice, seed, errors and weights agree bit for bit."""
    path = write(tmp_path, "net.py", SUBMISSION)
    found = []
    for name in ("once", "again"):
        accuracy = grade(path, tmp_path / name, "-k", "test_accuracy").record.accuracy
        assert accuracy is not None
        (run,) = accuracy.runs
        found.append((run.seed, run.threads, run.curve, run.weights_sha256))

    assert found[0] == found[1]
    assert found[0][3]


def test_a_rubric_that_no_single_run_can_pass_is_a_usage_error(tmp_path: Path) -> None:
    """Without enough runs for the rubric, nothing begins, and the message says what to give."""
    strict = rubric(tmp_path, judged_by='"passes"', passes="4")
    graded = grade(write(tmp_path, "net.py", SUBMISSION), tmp_path / "out", strict)

    assert graded.status == 4
    assert "give --runs 4" in graded.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--runs=0", "--runs=two", "--runs=1001", "--seed=-1"])
def test_wrong_numbers_are_usage_errors(tmp_path: Path, option: str) -> None:
    """A number of runs, or a seed, that cannot be is refused with the range that can."""
    graded = grade(write(tmp_path, "net.py", SUBMISSION), tmp_path / "out", option)

    assert graded.status == 4
    assert "expected a whole number from" in graded.output


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM cannot be handled there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: str(n.name))
def test_a_signal_ends_all_runs(tmp_path: Path, number: int) -> None:
    """Ctrl-C and SIGTERM leave no process, and a record that says interrupted."""
    text = SUBMISSION.replace("Net(), 1, 500", "Net(), 19, 50")
    running = subprocess.Popen(
        [sys.executable, "-m", "grader.cli", str(write(tmp_path, "net.py", text)), "--runs=3",
         f"--out={tmp_path / 'out'}"],
        cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        family = workers_of(running)
        running.send_signal(number)

        assert running.wait(300) == pytest.ExitCode.INTERRUPTED
    finally:
        running.kill()
    assert psutil.wait_procs(family, timeout=300)[1] == []
    record = records.load(tmp_path / "out" / "net.py" / "record.json")
    assert (record.status, record.score) == ("interrupted", None)


def workers_of(running: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Wait for its first training, and a second one where there are cores; return all of them."""
    while running.poll() is None:
        if training(psutil.Process(running.pid), "grader.training.worker"):
            time.sleep(3)
            return psutil.Process(running.pid).children(recursive=True)
        time.sleep(0.1)
    raise AssertionError("no training was started")
