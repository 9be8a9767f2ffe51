"""Train a submission once for each declared seed, and log every run.

    python benchmarks/experiments.py submissions/records/smallest.py --seeds 1-10
    python benchmarks/experiments.py submissions/records/smallest.py --seeds 1-10 --test

It is read, described and trained as in grading, by one thread. Without `--test` it trains on
55,000 images of the training set and is judged on the other 5,000 (every twelfth): so recipes are
chosen. With `--test` it trains on all of them and is judged on the test set; what is to be shown
is declared by the seeds before the first of them runs. A run that the log has is not repeated:
a list of seeds that was interrupted goes on where it ended. Every run counts at its last epoch.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import hashlib
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from grader import rubric as rubrics
from grader.datasets.files import Images, load
from grader.plan import schema
from grader.plan.facts import facts_of
from grader.request import Request
from grader.sandbox.describe import Box
from grader.steps import described, make_plan, read
from grader.training.tuning import tune

LOG = Path(__file__).with_name("experiments.jsonl")
HELD_OUT = 12  # every twelfth training image


class Trial(msgspec.Struct, frozen=True):
    """One run: `errors` are of the last epoch, `curve` of every one, out of `tested` images."""

    name: str
    plan: str  # SHA-256 of the plan
    judged_on: str
    seed: int
    parameters: int
    epochs: int
    errors: int
    tested: int
    loss: float | None  # on the images it was judged on
    train_loss: float
    curve: list[int]
    cpu_seconds: float
    date: str
    machine: str

    @property
    def accuracy(self) -> float:
        """Per cent."""
        return 100 * (1 - self.errors / self.tested)


def plan_of(submission: Path) -> schema.Plan:
    """Read and describe a submission as grading does."""
    request = Request(submission, Path(), rubrics.load())
    seconds, megabytes = request.rubric.seconds.describe, request.rubric.megabytes.describe
    with contextlib.closing(Box(seconds=seconds, megabytes=megabytes)) as box:
        program = read(submission, request)
        return make_plan(described(program, request, box), program, request.rubric)


def held_out(data: Images) -> Images:
    """Return 55,000 of the training images to train on, and the others to test on."""
    import numpy as np

    chosen = np.arange(len(data.train_images)) % HELD_OUT == 0
    return Images(
        data.train_images[~chosen], data.train_labels[~chosen],
        data.train_images[chosen], data.train_labels[chosen],
    )  # fmt: skip


def compressed(plan: schema.Plan, share: float) -> schema.Plan:
    """Return the plan with its schedule run through in that share of the steps."""
    replace = msgspec.structs.replace

    def fewer(lists: list[list[float]]) -> list[list[float]]:
        return [[values[int(i / share)] for i in range(int(len(values) * share))]
                if len(values) > 1 else values for values in lists]  # fmt: skip

    schedule = plan.recipe.schedule
    momentum = schedule.momentum and fewer(schedule.momentum)
    schedule = schema.Schedule(fewer(schedule.lr), momentum)
    return replace(plan, recipe=replace(plan.recipe, schedule=schedule))


def trial(name: str, plan: schema.Plan, seed: int, data: Images, judged_on: str) -> Trial:
    """Train once."""
    import torch

    from grader.training.loop import train

    began = time.process_time()
    share = len(data.train_images) / 60_000
    result = train(compressed(plan, share), seed, data, lambda _: None)
    last = result.epochs[-1]
    return Trial(
        name=name, plan=digest(plan), judged_on=judged_on, seed=seed,
        parameters=facts_of(plan.model).parameters, epochs=len(result.epochs),
        errors=last.test_errors, tested=last.test_samples, loss=last.test_loss,
        train_loss=last.train_loss, curve=[epoch.test_errors for epoch in result.epochs],
        cpu_seconds=round(time.process_time() - began, 1),
        date=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M}",
        machine=f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
    )  # fmt: skip


def digest(plan: schema.Plan) -> str:
    """Return a hash of what decides the training."""
    parts = (plan.model, plan.recipe)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def logged(log: Path) -> list[Trial]:
    """Return the runs of a log."""
    lines = log.read_bytes().splitlines() if log.exists() else []
    return [msgspec.json.decode(line, type=Trial) for line in lines]


def summary(trials: list[Trial]) -> str:
    """Describe runs of one plan in a line."""
    accuracies = [trial.accuracy for trial in trials]
    first = trials[0]
    spread = f" ± {statistics.stdev(accuracies):.3f}" if len(trials) > 1 else ""
    losses = statistics.fmean(trial.loss or 0 for trial in trials)
    return (
        f"{first.name}: {first.parameters:,} parameters, {first.epochs} epochs, {first.judged_on}: "
        f"{statistics.fmean(accuracies):.3f}{spread} % (n = {len(trials)}, worst "
        f"{min(accuracies):.2f}), loss {losses:.4f}, train loss "
        f"{statistics.fmean(t.train_loss for t in trials):.4f}, "
        f"{statistics.fmean(t.cpu_seconds for t in trials) / first.epochs:.1f} CPU s an epoch"
    )


def seeds_of(text: str) -> list[int]:
    """Read `1-10` or `3`."""
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main() -> None:
    """Run what the log lacks, and sum up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("submissions", type=Path, nargs="+")
    parser.add_argument("--seeds", type=seeds_of, required=True, help="as 1-10")
    parser.add_argument("--test", action="store_true", help="judge on the test set")
    parser.add_argument("--log", type=Path, default=LOG)
    options = parser.parse_args()
    tune()
    import torch

    torch.set_num_threads(1)
    judged_on = "test" if options.test else "held out"
    data = load() if options.test else held_out(load())
    for submission in options.submissions:
        plan = plan_of(submission)
        known = [
            t for t in logged(options.log) if (t.plan, t.judged_on) == (digest(plan), judged_on)
        ]
        for seed in sorted(set(options.seeds) - {t.seed for t in known}):
            known.append(trial(submission.stem, plan, seed, data, judged_on))
            with options.log.open("ab") as log:
                log.write(msgspec.json.encode(known[-1]) + b"\n")
        print(summary([t for t in known if t.seed in options.seeds]), flush=True)


if __name__ == "__main__":
    main()
