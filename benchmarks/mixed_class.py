"""A class of 60 as classes are, graded undisturbed, killed on the way, and on a cluster.

    python benchmarks/mixed_class.py [--kills 5] [--cluster] [--part 1]

The folder holds good and bad networks as scripts, folders, notebooks and archives, hostile and
unreadable files, copies, and the downloads of two systems. Each is known beforehand to pass all
but the accuracy, to fail a check, or not to be graded at all; the table has to say so. Every other
way must end in the same records. All trainings are of one epoch. `--part 6` takes a sixth of each
kind, for a quick look.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.class_run import NETWORK  # noqa: E402 - the path comes first
from tests.downloads import Student, canvas, in_zip, moodle, zipped  # noqa: E402
from tests.test_class import command, comparable, found  # noqa: E402
from tests.test_session import rubric  # noqa: E402

ATTACKS = ROOT / "tests" / "cases" / "attacks"
HOSTILE = (
    "A06_crashes", "A06_exits_at_once", "A09_forges_an_answer", "A12_patches_the_answer",
    "A14_reads_the_data", "A16_network", "A22_endless_in_init", "A23_fork_bomb", "A23_memory",
    "A24_floods",
)  # fmt: skip
CHECKS = ("parameter_count", "batch_normalization", "dropout", "global_average_pooling")


def network(number: int, **changes: str) -> str:
    """Return a network of its own; `changes` take something from it, or add something."""
    text = NETWORK.format(first=6 + number % 4, second=12 + number % 3, number=number + 500)
    for old, new in changes.items():
        text = text.replace(_WORDS[old], new)
    return text


_WORDS = {
    "norms": "nn.BatchNorm2d", "dropout": "nn.Dropout", "pooling": "nn.AdaptiveAvgPool2d(1),",
    "last": "nn.Flatten(),",
}  # fmt: skip
BAD = {
    "batch_normalization": {"norms": "nn.Identity"},
    "dropout": {"dropout": "nn.Identity"},
    "global_average_pooling": {"pooling": "nn.MaxPool2d(6),"},
    "parameter_count": {"last": "nn.Flatten(), nn.Linear(10, 2000), nn.Linear(2000, 10),"},
}  # fmt: skip


def notebook(text: str) -> str:
    """Return a notebook with a text as its only cell."""
    from nbformat import v4, writes

    return str(writes(v4.new_notebook(cells=[v4.new_code_cell(text)])))


def make(folder: Path, part: int = 1) -> dict[str, str]:
    """Fill a folder with 60 submissions, or fewer; return what each has to get, by its key.

    That is `""` where all checks pass, a check that fails, or `nothing` where no point is earned.
    """
    expected: dict[str, str] = {}
    folder.mkdir()
    for number in range(18 // part):  # the last six are copies of the first
        text, name = network(number % 12), f"good{number:02d}"
        if number % 4 == 0:
            (folder / f"{name}.py").write_text(text, encoding="utf-8")
        elif number % 4 == 1:
            (folder / name).mkdir()
            (folder / name / "model.py").write_text(text, encoding="utf-8")
        elif number % 4 == 2:
            (folder / f"{name}.ipynb").write_text(notebook(text), encoding="utf-8")
        else:
            (folder / f"{name}.zip").write_bytes(zipped({"work/net.py": text.encode()}))
        expected[name] = ""
    for number in range(10 // part):
        check, changes = list(BAD.items())[number % len(BAD)]
        (folder / f"bad{number:02d}.py").write_text(network(number, **changes), encoding="utf-8")
        expected[f"bad{number:02d}"] = check
    for name in HOSTILE[::part]:
        shutil.copy(ATTACKS / f"{name}.py", folder / f"{name}.py")
        expected[name.lower().replace("_", "-")] = "anything"
    unreadable = {
        "bytes.py": b"\xff\xfe\x00", "empty.py": b"", "half.zip": zipped({"a.py": b"x"})[:20],
        "syntax.py": b"def broken(:\n", "torn.ipynb": b'{"cells": [',
    }  # fmt: skip
    for file, content in unreadable.items():
        (folder / file).write_bytes(content)
        expected[Path(file).stem] = "nothing"
    one, two = max(2, 8 // part), max(2, 9 // part)  # a download is of several people
    in_zip(folder / "canvas.zip", canvas(students(30, one)))
    in_zip(folder / "moodle.zip", moodle(students(35 - two, two)))  # some did the same work
    expected |= {f"last{n}first{n}-{n}": "" for n in range(30, 30 + one)}
    expected |= {f"first{n}-last{n}-{n}": "" for n in range(35 - two, 35)}
    return expected


def students(first: int, count: int) -> list[Student]:
    """Return people who handed in a network each."""
    numbers = range(first, first + count)
    return [
        Student(f"First{n}", f"Last{n}", f"login{n}", f"s{n}", n, {"net.py": network(n).encode()})
        for n in numbers
    ]


def places(base: Path) -> tuple[Path, Path]:
    """Return where results and kept trainings go."""
    return base / "out", base / "store"


def graded(words: list[str], kills: int = 0) -> float:
    """Run a command to its end, after it was killed so often at random; return seconds."""
    chance, began = random.Random(7), time.perf_counter()  # noqa: S311 - moments, not secrets
    for _ in range(kills):
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(chance.uniform(20, 150))
            run.kill()
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    print(ended.stdout[-6000:] if not kills else f"exit status {ended.returncode}")
    return time.perf_counter() - began


def wrong(base: Path, expected: dict[str, str]) -> list[str]:
    """Return what the table says of submissions, where it is not what it has to say."""
    with (base / "out" / "class.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["submission"]: row for row in csv.DictReader(file)}
    told = [f"{key}: not in the table" for key in expected.keys() - rows.keys()]
    told += [f"{key}: nobody's" for key in rows.keys() - expected.keys()]
    for key in expected.keys() & rows.keys():
        row, failed = rows[key], {check for check in CHECKS if rows[key][check] != "passed"}
        if expected[key] == "nothing" and row["score"] != "0":
            told.append(f"{key}: {row['score']} points")
        elif expected[key] in (*CHECKS, "") and failed != {expected[key]} - {""}:
            told.append(f"{key}: {sorted(failed)} failed")
    return told


def differing(base: Path, other: Path) -> list[str]:
    """Return the submissions whose records differ."""
    one, two = found(base / "out"), found(other / "out")
    keys = one.keys() | two.keys()
    return sorted(
        key for key in keys
        if key not in one or key not in two or comparable(one[key]) != comparable(two[key])
    )  # fmt: skip


@contextlib.contextmanager
def loopback() -> Iterator[str]:
    """Start a scheduler and two workers on this machine; give its address."""
    distributed: Any = importlib.import_module("distributed")  # ships few types

    worker = {
        "cls": distributed.Nanny,
        "options": {"nthreads": 1, "host": "127.0.0.1", "memory_limit": 0},
    }
    scheduler = {
        "cls": distributed.Scheduler,
        "options": {"host": "127.0.0.1", "port": 0, "dashboard": False},
    }
    workers = {0: worker, 1: worker}
    with distributed.SpecCluster(workers=workers, scheduler=scheduler, silence_logs=50) as made:
        yield str(made.scheduler_address)


def main() -> None:
    """Grade, compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--part", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mixed-class-") as folder:
        base = Path(folder)
        handed_in = base / "class"
        expected = make(handed_in, asked.part)
        easy = f"--rubric={rubric(base, accuracy='50')}"
        print(f"{len(expected)} submissions")
        took = graded(command(handed_in, *places(base / "whole"), easy))
        print(f"undisturbed: {took:.0f} s; wrong: {wrong(base / 'whole', expected) or 'nothing'}")
        began = time.perf_counter()
        harder = rubric(base, accuracy="50", dropout="20")
        again = ["regrade", str(base / "whole" / "out"), f"--rubric={harder}"]
        shutil.copytree(base / "whole", base / "kept")
        subprocess.run(
            [sys.executable, "-m", "grader.cli", *again], capture_output=True, check=True
        )
        print(f"regraded with other points: {time.perf_counter() - began:.1f} s")
        rubric(base, accuracy="50")
        if asked.kills:
            took = graded(command(handed_in, *places(base / "killed"), easy), asked.kills)
            differs = differing(base / "kept", base / "killed")
            print(f"killed {asked.kills} times: {took:.0f} s; differing: {differs or 'nothing'}")
        if asked.cluster:
            with loopback() as address:
                options = (easy, f"--scheduler={address}")
                took = graded(command(handed_in, *places(base / "cluster"), *options))
            differs = differing(base / "kept", base / "cluster")
            print(f"on a cluster: {took:.0f} s; differing: {differs or 'nothing'}")


if __name__ == "__main__":
    main()
