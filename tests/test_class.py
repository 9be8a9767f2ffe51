"""A class in one run: every submission by itself, killed and resumed, graded again by new rules."""

from __future__ import annotations

import csv
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from grader import record as records
from grader.record import Record
from tests.grading import EXAMPLES, REPO
from tests.test_session import rubric

pytestmark = pytest.mark.slow

SMALL = (EXAMPLES / "too_short.py").read_text(encoding="utf-8")
FILES = {
    "ada.py": SMALL,
    "bob.py": SMALL.replace("0.05", "0.15"),
    "cleo.py": "# by Cleo\n" + SMALL,
    "dan.py": SMALL.replace("nn.BatchNorm2d(8)", "nn.Identity()").replace(
        "nn.BatchNorm2d(16)", "nn.Identity()"
    ),
    "eve.py": "import os\nos._exit(0)\n",
    "finn.py": "def broken(:\n",
    "gus.txt": "no code\n",
}
KILLS = 20


def command(folder: Path, out: Path, store: Path, *options: str) -> list[str]:
    """Return the command that grades a class."""
    return [
        sys.executable, "-m", "grader.cli", "class", str(folder), f"--out={out}",
        f"--store={store}", *options,
    ]  # fmt: skip


def graded(folder: Path, out: Path, store: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Grade a class to its end."""
    return subprocess.run(
        command(folder, out, store, *options), cwd=REPO, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=1800,
    )  # fmt: skip


def found(out: Path) -> dict[str, Record]:
    """Return the records of a class by their keys."""
    return {path.parent.name: records.load(path) for path in out.glob("*/record.json")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder as an instructor has it."""
    made = tmp_path_factory.mktemp("class")
    for name, text in FILES.items():
        (made / name).write_text(text, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def undisturbed(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, subprocess.CompletedProcess[str], Path]]:
    """Give the results of a class that nobody disturbed, what was printed, and its store."""
    base = tmp_path_factory.mktemp("undisturbed")
    options = f"--rubric={rubric(base, accuracy='50')}"
    ended = graded(folder, base / "out", base / "store", options)
    yield base / "out", ended, base / "store"
    shutil.rmtree(base, ignore_errors=True)


Undisturbed = tuple[Path, subprocess.CompletedProcess[str], Path]


def test_each_submission_has_its_own_verdict(undisturbed: Undisturbed) -> None:
    """Good, bad, hostile and unreadable ones lie side by side and touch no other."""
    out, ended, _ = undisturbed
    all_of = found(out)

    assert ended.returncode == 1, ended.stdout
    assert set(all_of) == {"ada", "bob", "cleo", "dan", "eve", "finn"}
    assert {record.status for record in all_of.values()} == {"complete"}
    assert [all_of[key].score for key in ("ada", "bob", "cleo", "dan")] == [100, 100, 100, 90]
    assert [all_of[key].score for key in ("eve", "finn")] == [0, 0]
    assert "Traceback" not in ended.stdout


def test_the_table_is_printed_and_written(undisturbed: Undisturbed) -> None:
    """A line for each in both, the counts below, and every check in a column of the file."""
    out, ended, _ = undisturbed
    with (out / "class.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["submission"]: row for row in csv.DictReader(file)}

    assert "6 submissions: 3 passed every check made, 3 did not" in ended.stdout
    assert [row["score"] for row in rows.values()] == ["100", "100", "100", "90", "0", "0"]
    assert rows["dan"]["batch_normalization"] == "failed"
    assert rows["ada"]["plan"] == rows["cleo"]["plan"] != rows["bob"]["plan"]


def test_the_same_plan_is_trained_once(undisturbed: Undisturbed) -> None:
    """Who hands in what another one computes gets its result, and both records say so."""
    out, _, store = undisturbed
    all_of = found(out)
    kept = [
        record.accuracy.runs[0].kept for key in ("ada", "cleo")
        if (record := all_of[key]).accuracy is not None
    ]  # fmt: skip
    notes = " ".join(note for key in ("ada", "cleo") for note in all_of[key].notes)

    assert len([when for when in kept if when]) == 1
    assert "was not trained again" in notes
    assert len(list(store.glob("??/*/about.json"))) == 3


def test_a_submission_can_be_picked_by_its_key(folder: Path, tmp_path: Path) -> None:
    """`-k ada` judges the checks of one, and the ids say whose they are."""
    listed = graded(folder, tmp_path, tmp_path / "store", "--collect-only", "-q", "-k", "ada")

    assert "test_test_accuracy[ada]" in listed.stdout
    assert "[bob]" not in listed.stdout


def test_other_points_and_limits_need_no_training(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """`grade regrade` says who changed and why, and lowers nobody unless told to."""
    out = tmp_path / "out"
    shutil.copytree(undisturbed[0], out)
    harder = rubric(tmp_path, accuracy="99.9", dropout="20")
    again = [sys.executable, "-m", "grader.cli", "regrade", str(out), f"--rubric={harder}"]
    first = subprocess.run(again, cwd=REPO, capture_output=True, text=True, check=False)
    kept = {key: record.score for key, record in found(out).items()}
    second = subprocess.run(
        [*again, "--lower"], cwd=REPO, capture_output=True, text=True, check=False
    )
    lowered = {key: record.score for key, record in found(out).items()}

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "its score would be lowered" in first.stdout
    assert kept["ada"] == 100
    assert "Test accuracy: passed, now failed" in " ".join(second.stdout.split())
    assert lowered["ada"] == 70


def comparable(record: Record) -> dict[str, Any]:
    """Return all of a record but what differs from run to run: times, memory, where it lies."""
    content: dict[str, Any] = msgspec.to_builtins(record)
    for name in ("environment", "notes", "sandbox", "inputs_sha256", "rubric_sha256"):
        del content[name]
    del content["submission"]["path"]
    (content["model"] or {}).pop("seed", None)
    training = content["training"] or {}
    runs = (content["accuracy"] or {"runs": []})["runs"]
    for part in (training, *runs, *training.get("epochs", [])):
        for name in ("seconds", "peak_memory", "kept"):
            part.pop(name, None)
    return content


def test_a_class_that_is_killed_again_and_again_ends_as_if_it_had_not_been(
    folder: Path, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """After 20 kills at random moments every record is that of the undisturbed run."""
    options = f"--rubric={rubric(tmp_path, accuracy='50')}"
    place = (folder, tmp_path / "out", tmp_path / "store", options)
    chance = random.Random(1)
    for _ in range(KILLS):
        running = subprocess.Popen(
            command(*place), cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # In seconds of the processes' own, so that a busy machine gets as far as an idle one.
        most = chance.uniform(1, 20)
        while running.poll() is None and _cpu_seconds(running.pid) < most:
            time.sleep(0.05)
        running.kill()
        running.wait()
    ended = graded(*place)
    all_of, expected = found(tmp_path / "out"), found(undisturbed[0])

    assert ended.returncode == 1
    assert set(all_of) == set(expected)
    for key, record in all_of.items():
        assert comparable(record) == comparable(expected[key])


def _cpu_seconds(pid: int) -> float:
    """Return what a process and its descendants have used so far."""
    used = 0.0
    try:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            times = process.cpu_times()
            used += times.user + times.system + times.children_user + times.children_system
    except psutil.Error:
        return used
    return used
