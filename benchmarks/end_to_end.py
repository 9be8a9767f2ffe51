"""From process start to verdict: the grader on the reference, against the seed's own script.

    python benchmarks/end_to_end.py --rounds 3

The seed's way (PIL transforms in a DataLoader, batches of 512, twelve epochs) is run for `--epochs`
whole epochs a round, with its start-up, and scaled to twelve; the grader is run whole, as
`pytest grader --submission reference_solution`. Start-up is what the training process takes to
its first step, against `python -c "import torch"`; memory is the training process's peak.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.turns import setting, spread

ROOT = Path(__file__).resolve().parents[1]
SEED_EPOCHS = 12
SEED = """
import sys
from benchmarks.trainer_vs_seed import part_of_mnist, seed_way
epoch = seed_way(part_of_mnist(1.0), 0)
print("ready", flush=True)
for _ in range(int(sys.argv[1])):
    epoch()
    print("epoch", flush=True)
"""


def seed_seconds(epochs: int) -> float:
    """Run the seed's way for some epochs; return start-up and twelve times the mean epoch."""
    began = time.perf_counter()
    command = [sys.executable, "-c", SEED, str(epochs)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        marks = [time.perf_counter() for _ in process.stdout]
    return marks[0] - began + (marks[-1] - marks[0]) / epochs * SEED_EPOCHS


def our_run(out: Path) -> tuple[float, dict[str, object]]:
    """Grade the reference; return the seconds it took, and its record."""
    began = time.perf_counter()
    pytest = str(Path(sys.executable).with_name("pytest"))
    command = [pytest, "grader", "--submission", "reference_solution", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    seconds = time.perf_counter() - began
    record: dict[str, object] = json.loads((out / "reference_solution/record.json").read_bytes())
    return seconds, record


def import_seconds() -> float:
    """Return what a new Python takes to import torch."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - began


def first_step_seconds(plan: Path, home: Path) -> float:
    """Return what the training process takes from its start to its first step."""
    job = home / "job.json"
    job.write_text(
        json.dumps(
            {"plan": str(plan), "weights": str(home / "weights"), "seed": 1, "max_epochs": 1}
        )
    )
    command = [sys.executable, "-I", "-m", "grader.training.worker", str(job), str(os.getpid())]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "step" in json.loads(line):
                seconds = time.perf_counter() - began
                process.kill()
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side, in turn")
    parser.add_argument("--epochs", type=int, default=1, help="epochs of the seed's in a round")
    options = parser.parse_args()
    print(setting(), flush=True)
    seed, ours, accuracies, peaks = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for _ in range(options.rounds):
            seed.append(seed_seconds(options.epochs))
            seconds, record = our_run(home)
            ours.append(seconds)
            accuracies.append(record["accuracy"]["final"])  # type: ignore[index] # JSON
            peaks.append(record["training"]["peak_memory"] / 1e9)  # type: ignore[index] # JSON
            print(f"  seed {seed[-1]:.1f} s, ours {ours[-1]:.1f} s: {accuracies[-1]} %", flush=True)
        plan = home / "reference_solution/plan.json"
        starts = [
            (import_seconds(), first_step_seconds(plan, home)) for _ in range(options.rounds + 2)
        ][1:]
    ratios = [a / b for a, b in zip(seed, ours, strict=True)]
    print(
        f"{options.rounds} rounds, {options.epochs} of the seed's {SEED_EPOCHS} epochs run in each"
    )
    print(f"seed, {SEED_EPOCHS} epochs: {spread(seed, 1)} s")
    print(f"ours, to the verdict: {spread(ours, 1)} s; last epoch {accuracies}")
    print(f"ratio: {spread(ratios, 1)}")
    print(f"peak memory of the training: {spread(peaks)} GB")
    print(f"import torch: {spread([a for a, _ in starts])} s")
    print(f"start to first step: {spread([b for _, b in starts])} s")
    print(f"ratio: {statistics.median(b / a for a, b in starts):.2f}")


if __name__ == "__main__":
    main()
