"""The grader's own process comes through what the machine does to it."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from grader import record as records
from grader.submission.bounds import RESULTS
from tests.grading import EXAMPLES, REPO, grade
from tests.processes import runs

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and rlimits are POSIX")
GOOD = EXAMPLES / "too_short.py"
COMMAND = [sys.executable, "-m", "grader.cli"]
SLEEPS = "import time; time.sleep(600)"  # the command line of a process that SLEEPER starts
SLEEPER = f"""
import subprocess
import sys
import time
import torch.nn as nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        subprocess.Popen([sys.executable, "-S", "-c", {SLEEPS!r}])
        time.sleep(600)
        self.conv = nn.Conv2d(1, 10, 3)
    def forward(self, x):
        return self.conv(x).mean((2, 3))
MODEL = Net()
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", [100, 2_500, 5_000, 12_000])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, size: int) -> None:
    """Whichever write fails, what is there is whole, and the run ends in words, not as a pass."""
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        f"import sys; sys.argv = ['grade', {str(GOOD)!r}, '--quick', '--out={tmp_path}']\n"
        "from grader.cli import main; main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False
    )
    found = [path for path in tmp_path.rglob("*") if path.is_file()]

    assert done.returncode in (1, 3, 4), done.stdout
    assert "could not be written" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert {path.name for path in found} <= {RESULTS, "record.json", "plan.json", "seal.json"}
    for path in found:
        if path.name == "record.json":
            assert records.load(path).status in ("running", "partial")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A read-only file system is a usage error before anything of the submission is read."""
    out = Path("/proc/grades") if sys.platform == "linux" else tmp_path / "file" / "out"
    (tmp_path / "file").write_text("")
    graded = grade(GOOD, out, "--quick")

    assert graded.status == 4
    assert "--out" in graded.output


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: str(n.name))
def test_a_signal_while_the_submission_describes_itself(tmp_path: Path, number: int) -> None:
    """The sandbox is gone, the record says interrupted without a score, and the status is 2.

    Output and record say what stopped the run, and nothing else: no traceback, and nobody's fault.
    """
    (tmp_path / "slow.py").write_text(SLEEPER)
    running = subprocess.Popen(
        [*COMMAND, str(tmp_path / "slow.py"), "--quick", f"--out={tmp_path / 'out'}"],
        cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    _descendant(running, SLEEPS)
    family = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(number)

    output, _ = running.communicate(timeout=300)
    words = "stopped by you" if number == signal.SIGINT else "stopped by SIGTERM"

    assert running.returncode == pytest.ExitCode.INTERRUPTED
    assert words in output
    assert "Traceback" not in output
    assert "KeyboardInterrupt" not in output
    assert family
    assert psutil.wait_procs(family, timeout=300)[1] == []
    record = records.load(tmp_path / "out" / "slow.py" / "record.json")
    assert (record.status, record.score) == ("interrupted", None)
    assert record.problem is not None
    assert (record.problem.fault, record.problem.message) == ("stopped", words)
    assert {check.outcome for check in record.checks} == {"not_judged"}


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["box", "training"])
def test_a_child_that_is_killed_is_no_zero(tmp_path: Path, stage: str) -> None:
    """SIGKILL of the box's launcher, or of the training, is the grader's fault: no score."""
    submission = EXAMPLES / "just_within.py"
    if stage == "box":
        submission = tmp_path / "slow.py"
        submission.write_text(SLEEPER)
    out = tmp_path / "out"
    running = subprocess.Popen(
        [*COMMAND, str(submission), f"--out={out}"], cwd=REPO, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    module = {"box": "grader.sandbox.launch", "training": "grader.training.worker"}[stage]
    child = _descendant(running, module)
    if stage == "box":
        _descendant(running, SLEEPS)
    child.kill()
    output, _ = running.communicate(timeout=300)
    record = records.load(out / submission.name / "record.json")

    assert running.returncode == pytest.ExitCode.INTERNAL_ERROR, output
    assert "Traceback" not in output
    assert record.problem is not None
    assert (record.problem.fault, record.score) == ("grader", None)
    assert not [check for check in record.checks if check.outcome == "failed"]


def _descendant(running: subprocess.Popen[str], words: str) -> psutil.Process:
    """Wait for a process of the run whose command line has the words, however long it takes."""
    while running.poll() is None:
        with contextlib.suppress(psutil.Error):  # one that is just ending
            for child in psutil.Process(running.pid).children(recursive=True):
                if runs(child, words) or words in " ".join(child.cmdline()):
                    return child
        time.sleep(0.1)
    raise AssertionError(f"{words} was never started")


@pytest.mark.slow
def test_a_clock_that_jumps_changes_nothing(tmp_path: Path) -> None:
    """Days forward and backward between any two looks at the clock: the verdict is the same."""
    code = (
        "import random, sys, time\nreal = time.time\n"
        "time.time = lambda: real() + random.choice([-1e6, 0, 1e6])\n"
        f"sys.argv = ['grade', {str(GOOD)!r}, '--quick', '--out={tmp_path}']\n"
        "from grader.cli import main; main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False
    )
    record = records.load(tmp_path / GOOD.name / "record.json")

    assert done.returncode == 0, done.stdout
    assert (record.status, record.score) == ("partial", 60)


def test_no_duration_is_taken_from_a_clock_that_jumps() -> None:
    """Deadlines and durations come from clocks that only go forward."""
    jumping = re.compile(r"\btime\.time\(|datetime\.(now|today|utcnow)\(")
    sources = (REPO / "grader").rglob("*.py")

    assert [path for path in sources if jumping.search(path.read_text(encoding="utf-8"))] == []
