"""SIGKILL of any process the grader starts, at any moment: words, no lost points, nothing left."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from grader import record as records
from grader.sandbox import doctor
from tests.grading import EXAMPLES, REPO
from tests.processes import runs
from tests.test_session_sandboxed import SUBMISSION

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or bool(doctor.held().lacks), reason="this machine has no whole box"
    ),
]
PATIENCE = 600  # seconds
Choice = Callable[[psutil.Process], psutil.Process | None]


def killed(submission: Path, out: Path, choose: Choice, *options: str) -> str:
    """Grade, kill what `choose` picks of the run's processes, and check what comes of it.

    Returns the command line of what was killed, "" if the run ended before.
    """
    running = subprocess.Popen(
        [sys.executable, "-m", "grader.cli", str(submission), f"--out={out}", *options], cwd=REPO,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    family: list[psutil.Process] = []
    victim = ""
    deadline = time.monotonic() + PATIENCE
    while running.poll() is None and not victim and time.monotonic() < deadline:
        with contextlib.suppress(psutil.Error):
            family = psutil.Process(running.pid).children(recursive=True)
            if chosen := choose(psutil.Process(running.pid)):
                victim = " ".join(chosen.cmdline())
                chosen.kill()
    output, _ = running.communicate(timeout=PATIENCE)
    record = records.load(out / submission.name / "record.json")

    assert "Traceback" not in output
    assert psutil.wait_procs(family, timeout=PATIENCE)[1] == []
    assert record.status in ("complete", "partial")
    outcomes = {check.id: check.outcome for check in record.checks}
    if record.problem is not None:
        assert (record.problem.fault, record.score) == ("grader", None), output
        assert running.returncode == 3
        assert "failed" not in outcomes.values()
    elif "--quick" in options:
        assert (running.returncode, set(outcomes.values())) == (0, {"passed"}), output
    return victim


@pytest.mark.parametrize("delay", [0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5])
def test_in_a_quick_look(tmp_path: Path, delay: float) -> None:
    """Launcher, first process or command: whichever it hits, and whenever."""
    began = time.monotonic()

    def choose(grader: psutil.Process) -> psutil.Process | None:
        found = grader.children(recursive=True)
        if time.monotonic() < began + delay or not found:
            return None
        return found[int(10 * delay) % len(found)]

    killed(EXAMPLES / "too_short.py", tmp_path / "out", choose, "--quick")


@pytest.mark.parametrize(
    "depth", [0, 1, 2, 3], ids=["worker", "launcher", "first process", "command"]
)
def test_while_a_submission_trains_itself(tmp_path: Path, depth: int) -> None:
    """Also in the second box, which the training process starts."""
    (tmp_path / "net.py").write_text(SUBMISSION, encoding="utf-8")
    seen: list[float] = []

    def choose(grader: psutil.Process) -> psutil.Process | None:
        workers = [p for p in grader.children() if runs(p, "grader.training.worker")]
        found = [*workers, *(c for worker in workers for c in worker.children(recursive=True))]
        if len(found) < 4:
            return None
        seen.append(time.monotonic())
        return found[depth] if time.monotonic() > seen[0] + 1 else None

    assert killed(tmp_path / "net.py", tmp_path / "out", choose)
    record = records.load(tmp_path / "out" / "net.py" / "record.json")
    assert record.problem is not None
    assert record.problem.stage == "train"
