"""How long a class takes: verdicts without a training, and trainings against one after another.

    python benchmarks/class_run.py --submissions 200          # structural verdicts
    python benchmarks/class_run.py --submissions 6 --train    # a class, then each in turn

Every submission is a network of its own with 1,000 to 2,000 parameters and one epoch. Nothing is
taken from the store: it is a new one. How busy the cores are is that of the whole machine, from the
first training's start to the last one's: as long as one waits.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.processes import running as those_that_run

_EVERY = 0.2  # seconds between two looks at the machine

NETWORK = """
import torch.nn.functional as F
from torch import nn

EPOCHS = 1


def build_model():
    return nn.Sequential(
        nn.Conv2d(1, {first}, 3, stride=2, bias=False), nn.BatchNorm2d({first}), nn.ReLU(),
        nn.Conv2d({first}, {second}, 3, stride=2, bias=False), nn.BatchNorm2d({second}), nn.ReLU(),
        nn.Dropout(0.{number:04d}1), nn.Conv2d({second}, 10, 1), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--submissions", type=int, default=200)
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="class-run-") as folder:
        base = Path(folder)
        submissions = handed_in(base / "class", options.submissions)
        quick = [] if options.train else ["--quick"]
        wall, cpu = timed(["class", str(submissions), *quick], base, "class")
        print(f"class of {options.submissions}: {wall:.1f} s, {cpu:.1f} CPU s")
        if options.train:
            each = [timed([str(path)], base, path.stem) for path in sorted(submissions.iterdir())]
            wall, cpu = sum(w for w, _ in each), sum(c for _, c in each)
            print(f"each in turn: {wall:.1f} s, {cpu:.1f} CPU s")


def handed_in(folder: Path, count: int) -> Path:
    """Make a folder of so many submissions, each with a network of its own."""
    folder.mkdir()
    for number in range(count):
        text = NETWORK.format(first=6 + number % 4, second=12 + number % 7, number=number + 500)
        (folder / f"student{number:03d}.py").write_text(text, encoding="utf-8")
    return folder


def timed(words: list[str], base: Path, name: str) -> tuple[float, float]:
    """Run `grade` with its own store and results; return seconds of wall and of CPU time."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    command = [
        sys.executable, "-m", "grader.cli", *words, f"--out={base / name / 'out'}",
        f"--store={base / name / 'store'}",
    ]  # fmt: skip
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, env=os.environ | {"COLUMNS": "100"}) as running:
        if words[0] == "class" and "--quick" not in words:
            print(f"cores busy while trainings remain: {busy(running):.1%}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return time.perf_counter() - began, cpu


def busy(running: subprocess.Popen[bytes]) -> float:
    """Return how busy the cores are from the start of a run's first training to its last."""
    trainings: set[psutil.Process] = set()
    starts: list[tuple[float, float]] = []  # seconds so far: of wall on all cores, and idle
    while running.poll() is None:
        found: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            found = those_that_run(psutil.Process(running.pid), "grader.training.worker")
        if not trainings.issuperset(found):
            trainings.update(found)
            times = psutil.cpu_times()
            starts.append((sum(times), times.idle + getattr(times, "iowait", 0.0)))
        time.sleep(_EVERY)
    (all_before, idle_before), (all_after, idle_after) = starts[0], starts[-1]
    return 1 - (idle_after - idle_before) / (all_after - all_before)


if __name__ == "__main__":
    main()
