"""A disk that is really full, at every write: what is there is whole, and nobody loses points.

The disk is a file system in memory, of a few kilobytes, in a namespace of mounts of its own.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import msgspec
import pytest

from grader import record as records
from grader.plan.schema import Plan
from grader.record import Record
from grader.seal import Seal
from grader.submission.bounds import RESULTS
from tests.grading import EXAMPLES, REPO
from tests.test_session_sandboxed import SUBMISSION

GOOD = EXAMPLES / "too_short.py"
RUN = """import os, shutil, subprocess, sys
from pathlib import Path
from grader.sandbox import kernel
disk, kept, options, when, *command = sys.argv[1:]
user, group = os.getuid(), os.getgid()
kernel.unshare(kernel.CLONE_NEWNS | (kernel.CLONE_NEWUSER if user else 0))
if user:
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
kernel.mount("tmpfs", disk, "tmpfs", 0, options)
running = subprocess.Popen(command)
if when:
    while running.poll() is None and not list(Path(disk).glob(when)):
        pass
    with open(f"{disk}/filler", "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 4096)
        except OSError:
            pass
status = running.wait()
shutil.copytree(disk, kept, ignore=shutil.ignore_patterns("filler"))
sys.exit(status)
"""


@functools.cache
def mounts() -> bool:
    """Tell whether this machine lets us mount."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", RUN, folder, f"{folder}-kept", "size=4k", "", "true"]
        done = subprocess.run(command, capture_output=True, cwd=REPO, check=False)
        shutil.rmtree(f"{folder}-kept", ignore_errors=True)
    return done.returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or not mounts(), reason="no file system can be mounted here"
    ),
]


def graded(
    tmp_path: Path, submission: Path, size: str, *options: str, when: str = "", temporary: str = ""
) -> tuple[int, str, Path]:
    """Grade with results on a small disk; return status, output, and a copy of what was on it."""
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    out = tmp_path / "out" if temporary else disk
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(disk), str(kept), size, when, sys.executable, "-m",
         "grader.cli", str(submission), f"--out={out}", *options],
        cwd=REPO, env=os.environ | ({"TMPDIR": str(disk)} if temporary else {}),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr, out if temporary else kept


def whole(folder: Path) -> dict[str, Record | Plan | Seal | None]:
    """Read all results of a folder; fails for a file that is half written or left over."""
    found: dict[str, Record | Plan | Seal | None] = {}
    for path in folder.rglob("*"):
        if path.name == "record.json":
            found[path.name] = records.load(path)
        elif path.name == "plan.json":
            found[path.name] = msgspec.json.decode(path.read_bytes(), type=Plan)
        elif path.name == "seal.json":
            found[path.name] = msgspec.json.decode(path.read_bytes(), type=Seal)
        elif path.is_file() and path.name != RESULTS:
            assert path.name == "weights.safetensors", path
            found[path.name] = None
    return found


@pytest.mark.parametrize("kilobytes", [4, 8, 12, 16, 20, 24, 32, 48, 128])
def test_wherever_it_gets_full_results_are_whole(tmp_path: Path, kilobytes: int) -> None:
    """Each size lets another write fail: none leaves half a file, a traceback, or a pass."""
    status, output, kept = graded(tmp_path, GOOD, f"size={kilobytes}k", "--quick")
    found = whole(kept)
    record = found.get("record.json")

    assert "Traceback" not in output
    if status == 0:
        assert isinstance(record, Record)
        assert record.score == 60
        return
    assert "could not be written" in output
    assert status in (1, 3, 4)
    assert kilobytes < 128, output
    if isinstance(record, Record):
        assert not [check for check in record.checks if check.outcome == "failed"]


@pytest.mark.parametrize(
    ("size", "when"), [("200k", "*/plan.json"), ("120k", "")], ids=["record", "weights"]
)
def test_a_disk_that_fills_up_in_training_is_no_zero(tmp_path: Path, size: str, when: str) -> None:
    """Whether epochs or weights cannot be kept: words, whole files, and an accuracy not judged."""
    text = SUBMISSION.replace(" + 1e-4 * sum(p.abs().sum() for p in model.parameters())", "")
    large = "__init__()\n        self.more = nn.Parameter(torch.zeros(40_000))"
    (tmp_path / "net.py").write_text(text.replace("__init__()", large), encoding="utf-8")
    status, output, kept = graded(tmp_path, tmp_path / "net.py", f"size={size}", when=when)
    found = whole(kept)
    record = found["record.json"]

    assert "Traceback" not in output
    assert status in (1, 3)
    assert "could not be written" in output
    assert {"record.json", "plan.json"} <= set(found) <= {"record.json", "plan.json", "seal.json"}
    assert isinstance(record, Record)
    assert record.status in ("running", "partial", "complete")
    if record.status != "running":
        assert record.score is None
        assert [c.outcome for c in record.checks if c.id == "test_accuracy"] == ["not_judged"]


@pytest.mark.parametrize("kind", ["script", "archive"])
def test_without_room_for_temporary_files(tmp_path: Path, kind: str) -> None:
    """A script and its box need no room on a disk, and an archive is read where it lies."""
    submission = GOOD
    if kind == "archive":
        submission = tmp_path / "work.zip"
        with zipfile.ZipFile(submission, "w") as file:
            file.write(GOOD, "net.py")
            file.writestr("notes.py", "#" * 100_000)
    status, output, out = graded(tmp_path, submission, "size=64k", "--quick", temporary="yes")
    record = records.load(out / submission.name / "record.json")

    assert "Traceback" not in output
    assert (status, record.score) == (0, 60)


def test_the_copies_of_this_test_are_of_a_disk(tmp_path: Path) -> None:
    """A disk with room enough gets the whole result: the other tests fail for want of room."""
    status, _, kept = graded(tmp_path, GOOD, "size=1m", "--quick")

    assert status == 0
    assert set(whole(kept)) == {"record.json", "plan.json", "seal.json"}
    shutil.rmtree(kept)
