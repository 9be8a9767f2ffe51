"""What the box adds to a submission: the same description with it and without.

    python benchmarks/box_cost.py [N]

describes one submission N times in the box and N times in a plain child process, turn by turn, so
that what else the machine does hits both alike; prints the medians and the median difference of
neighbours. Starting PyTorch is part of both.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import time
from pathlib import Path

import msgspec

from grader import process
from grader.plan.assemble import request_defaults
from grader.sandbox.describe import INSIDE, describe
from grader.submission.program import Program
from grader.submission.reader import read_program

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 0.3  # seconds
MEGABYTES, SECONDS, EPOCHS = 3000, 300.0, 19


def boxed(program: Program) -> None:
    """Describe a program as grading does."""
    describe(program, request_defaults(EPOCHS), seconds=SECONDS, megabytes=MEGABYTES)


def plain(program: Program) -> None:
    """Describe a program in a child process that nothing confines."""
    child = process.Child(
        process.python(str(INSIDE)), env=process.clean_environment(ROOT), cwd=ROOT,
        memory=MEGABYTES * 1_000_000, output=1 << 30, fed=True,
    )  # fmt: skip
    try:
        job = {"program": program, "defaults": request_defaults(EPOCHS)}
        child.feed(msgspec.json.encode(job))
        end = time.monotonic() + SECONDS
        assert b"description" in b"".join(child.chunks(lambda: end))
    finally:
        child.end()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n", nargs="?", type=int, default=9, help="descriptions of each kind")
    n = parser.parse_args().n
    program = read_program(ROOT / "reference_solution")
    times: dict[str, list[float]] = {"plain": [], "boxed": []}
    for _ in range(n + 1):  # the first round fills the disk's cache
        for name, run in (("plain", plain), ("boxed", boxed)):
            start = time.perf_counter()
            run(program)
            times[name].append(time.perf_counter() - start)
    differences = [b - p for p, b in zip(times["plain"][1:], times["boxed"][1:], strict=True)]
    print(
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores; Python "
        f"{platform.python_version()}, torch {importlib.metadata.version('torch')}; n = {n} each"
    )
    for name, measured in times.items():
        print(f"{name}  {statistics.median(measured[1:]):.2f} s")
    print(f"the box adds {statistics.median(differences):.2f} s (limit {LIMIT:g} s)")


if __name__ == "__main__":
    main()
