"""Compare masked trainings with plain ones, and a seed that was hunted with others.

    python benchmarks/masked.py train --jobs 2       # hours on two cores; goes on where it ended
    python benchmarks/masked.py report

*Masked*: five architectures, ten seeds each, plain and under the masks of a salt, compared by a
two-sided permutation test. *Hunted*: a network near the limit is changed a little (the rate of its
dropout, by a thousandth of itself) until a plan's own seed is lucky; the luckiest plan is then
trained under other salts, as in official runs.

`plans --plans FILE` writes them, for a machine where nothing can be captured; `train` reads them.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import datetime
import hashlib
import multiprocessing
import platform
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from grader import runs
from grader.plan import arguments, schema
from grader.plan.content import content_of
from grader.salt import Salt

LOG = Path(__file__).with_name("masked.jsonl")
ARCHITECTURES = (
    "reference",
    "residual",
    "squeeze and excite",
    "strided, SiLU",
    "two linear layers",
)
EPOCHS, SEEDS = 4, 10
NEAR, NEAR_EPOCHS, NUDGES, SALTS = "reference", 3, 24, 10
MOST = 60  # errors
_SHUFFLES = 100_000
_SLOWER = {"two linear layers": 0.2}  # without batch norm it diverges at the others' rates


class Trial(msgspec.Struct, frozen=True):
    """One training; `salt` is empty where it is plain, `turns` are those the network allows."""

    part: str
    network: str
    content: str
    run: int
    salt: str
    seed: int
    turns: tuple[int, ...]
    turn: int
    curve: list[int]
    seconds: float
    date: str = ""
    machine: str = ""

    @property
    def what(self) -> tuple[str, str, int, str]:
        """What tells it from others."""
        return self.part, self.content, self.run, self.salt


class Planned(msgspec.Struct, frozen=True):
    """A network with its recipe, and its symmetries."""

    network: str
    plan: schema.Plan
    turns: tuple[int, ...]

    @property
    def content(self) -> str:
        """The hash that seeds and masks are made from."""
        return hashlib.sha256(content_of(self.plan)).hexdigest()


def captured() -> dict[str, list[Planned]]:
    """Return the plans of both parts."""
    from torch import nn

    from benchmarks.networks import NETWORKS
    from benchmarks.plans import seed_plan
    from grader.datasets.files import load
    from grader.measure.facts import measure_once

    images = load().train_images[:4_000]

    def planned(name: str, epochs: int) -> Planned:
        network = nn.Sequential(
            NETWORKS[name](), nn.LogSoftmax(1)
        )  # which the seed's loss asks for
        plan = _slower(seed_plan(network, 128, epochs), _SLOWER.get(name, 1.0))
        return Planned(name, plan, measure_once(plan, images, 1, 60_000).symmetries)

    near = planned(NEAR, NEAR_EPOCHS)
    return {
        "masked": [planned(name, EPOCHS) for name in ARCHITECTURES],
        "hunted": [_nudged(near, n) for n in range(NUDGES)],
    }


def _slower(plan: schema.Plan, share: float) -> schema.Plan:
    """Return the plan with so large a share of its learning rates."""
    lr = [[share * rate for rate in rates] for rates in plan.recipe.schedule.lr]
    schedule = msgspec.structs.replace(plan.recipe.schedule, lr=lr)
    recipe = msgspec.structs.replace(plan.recipe, schedule=schedule)
    return msgspec.structs.replace(plan, recipe=recipe)


def _nudged(planned: Planned, nudge: int) -> Planned:
    """Change each dropout by so many thousandths of itself."""

    def changed(graph: schema.Graph) -> schema.Graph:
        nodes = [
            arguments.with_argument(
                node, "p", arguments.number(node, "p", 0.5) * (1 + nudge / 1000)
            )
            if arguments.name_of(node) == "dropout"
            else node
            for node in graph.nodes
        ]
        return msgspec.structs.replace(graph, nodes=nodes)

    model = planned.plan.model
    model = msgspec.structs.replace(model, train=changed(model.train))
    plan = msgspec.structs.replace(planned.plan, model=model)
    return msgspec.structs.replace(planned, plan=plan)


def salt(number: int) -> Salt:
    """Return the declared salt of a number."""
    return Salt(hashlib.sha256(f"declared salt {number}".encode()).digest())


def train(task: tuple[str, Planned, int, int | None]) -> Trial:
    """Train once by one thread: for a part, a plan, the number of the run, and that of a salt."""
    from grader.training.tuning import tune

    tune()
    import torch

    from grader.datasets.files import load
    from grader.training import loop

    torch.set_num_threads(1)
    part, planned, run, number = task
    content, began, mask = planned.content, time.perf_counter(), None
    seed = runs.seed_of(runs.first_seed(content), run)
    if number is not None:
        seed = salt(number).seed(content, run)
        mask = salt(number).mask(content, run, 10, planned.turns)
    result = loop.train(planned.plan, seed, load().masked(mask), lambda _: None)
    return Trial(
        part, planned.network, content, run, "" if number is None else str(number), seed,
        planned.turns, mask.turn if mask else 0, [done.test_errors for done in result.epochs],
        round(time.perf_counter() - began, 1),
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M}",
        f"{platform.machine()}, torch {torch.__version__}",
    )  # fmt: skip


def carry_out(tasks: Sequence[tuple[str, Planned, int, int | None]], jobs: int, log: Path) -> None:
    """Train what the log lacks, so many at a time."""
    known = {trial.what for trial in logged(log)}
    left = [
        task
        for task in tasks
        if (task[0], task[1].content, task[2], "" if task[3] is None else str(task[3])) not in known
    ]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, context) as pool:
        futures = [pool.submit(train, task) for task in left]
        for number, future in enumerate(concurrent.futures.as_completed(futures), start=1):
            with log.open("ab") as file:
                file.write(msgspec.json.encode(future.result()) + b"\n")
            print(f"{number} of {len(left)}", flush=True)


def logged(log: Path) -> list[Trial]:
    """Return the trainings of a log."""
    lines = log.read_bytes().splitlines() if log.exists() else []
    return [msgspec.json.decode(line, type=Trial) for line in lines]


def hunt(plans: Sequence[Planned], trials: Sequence[Trial]) -> Planned:
    """Return the plan whose own seed was the luckiest."""
    errors = {t.content: t.curve[-1] for t in trials if t.part == "hunted" and not t.salt}
    return min(plans, key=lambda planned: errors[planned.content])


def p_of_difference(pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> float:
    """Return the two-sided p of no difference, by shuffling within each pair of samples."""
    import numpy as np

    dice = np.random.default_rng(1)
    observed = sum(statistics.fmean(a) - statistics.fmean(b) for a, b in pairs)
    shuffled = np.zeros(_SHUFFLES)
    for a, b in pairs:
        both = np.tile(np.array([*a, *b], float), (_SHUFFLES, 1))
        both = dice.permuted(both, axis=1)
        shuffled += both[:, : len(a)].mean(1) - both[:, len(a) :].mean(1)
    extreme = np.abs(shuffled) >= abs(observed) - 1e-9
    return float((extreme.sum() + 1) / (_SHUFFLES + 1))


def report(trials: Sequence[Trial]) -> Iterator[str]:
    """Say what came out."""
    yield f"{', '.join(sorted({t.machine for t in trials}))}, {MOST} errors allowed"
    samples: dict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for trial in trials:
        if trial.part == "masked":
            samples[trial.network][bool(trial.salt)].append(trial.curve[-1])
    turns = {trial.network: len(trial.turns) for trial in trials if trial.part == "masked"}
    for name, (plain, masked) in samples.items():
        yield (
            f"{name} ({turns[name]} turns): plain {_spread(plain)}, masked {_spread(masked)}, "
            f"p = {p_of_difference([(plain, masked)]):.2f}"
        )
    yield f"all together: p = {p_of_difference(list(samples.values())):.2f}"
    home = [t.curve[-1] for t in trials if t.part == "hunted" and not t.salt]
    official = [t.curve[-1] for t in trials if t.part == "hunted" and t.salt]
    if home and official:
        yield (
            f"hunted: {_passing(home)} nudges pass at home ({_spread(home)}), the luckiest with "
            f"{min(home)} errors; under other salts it passes {_passing(official)} times "
            f"({_spread(official)}), p = {p_of_difference([(home, official)]):.2f}"
        )


def _spread(errors: Sequence[int]) -> str:
    return f"{statistics.fmean(errors):.1f} ± {statistics.stdev(errors):.1f} (n = {len(errors)})"


def _passing(errors: Sequence[int]) -> str:
    return f"{sum(each <= MOST for each in errors)} of {len(errors)}"


def main() -> None:
    """Do one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("plans", "train", "report"))
    parser.add_argument("--plans", type=Path, help="plans that were written before")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--log", type=Path, default=LOG)
    options = parser.parse_args()
    if options.command == "report":
        print(*report(logged(options.log)), sep="\n")
        return
    if options.command == "plans":
        options.plans.write_bytes(msgspec.json.encode(captured()))
        return
    plans = (
        msgspec.json.decode(options.plans.read_bytes(), type=dict[str, list[Planned]])
        if options.plans
        else captured()
    )
    seeds = range(1, SEEDS + 1)
    masked = [("masked", p, run, n) for run in seeds for p in plans["masked"] for n in (None, 0)]
    home: list[tuple[str, Planned, int, int | None]] = [
        ("hunted", p, 1, None) for p in plans["hunted"]
    ]
    carry_out([*home, *masked], options.jobs, options.log)
    luckiest = hunt(plans["hunted"], logged(options.log))
    official = [("hunted", luckiest, 1, n) for n in range(1, SALTS + 1)]
    carry_out(official, options.jobs, options.log)
    print(*report(logged(options.log)), sep="\n")


if __name__ == "__main__":
    main()
