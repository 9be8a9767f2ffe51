"""How long a quick look takes: the whole process, against `import torch` in a fresh Python.

    python benchmarks/quick_look.py [N]

runs each command N times, one after the other in turn, so that what else the machine does hits
all of them alike; prints the medians of the wall times and their ratios.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = Path(sys.executable).parent
LIMIT = 2.2  # times the import: what is aimed at


def commands(out: str) -> dict[str, list[str]]:
    """Return the commands by the names they are shown with; the first is the measure."""
    options = ["--quick", "--out", out]
    asked = ["grader", "--submission", "reference_solution", *options]
    return {
        "import torch": [sys.executable, "-c", "import torch"],
        "pytest grader --submission … --quick": [str(SCRIPTS / "pytest"), *asked],
        "grade … --quick": [str(SCRIPTS / "grade"), "reference_solution", *options],
    }


def seconds(command: list[str]) -> float:
    """Run a command in the project's folder; return its wall time. Raises if it fails."""
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n", nargs="?", type=int, default=5, help="runs of each command")
    n = parser.parse_args().n
    with tempfile.TemporaryDirectory(prefix="grader-quick-") as out:
        named = commands(out)
        times: dict[str, list[float]] = {name: [] for name in named}
        for _ in range(n + 1):  # the first round fills the disk's cache
            for name, command in named.items():
                times[name].append(seconds(command))
    print(_setting(n))
    unit = statistics.median(times["import torch"][1:])
    for name, measured in times.items():
        typical, low, high = statistics.median(measured[1:]), min(measured[1:]), max(measured[1:])
        print(f"{name:38} {typical:5.2f} s ({low:.2f}–{high:.2f}), {typical / unit:.2f} × import")
    print(f"limit: {LIMIT:g} × import")


def _setting(n: int) -> str:
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("torch", "pytest"))
    python = f"Python {platform.python_version()}"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    cached = "no" if sys.dont_write_bytecode else "with"
    return f"{machine}; {python} ({cached} bytecode cache), {versions}; median of {n} runs each"


if __name__ == "__main__":
    main()
