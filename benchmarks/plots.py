"""Draw what benchmarks/experiments.py has logged: every seed's accuracy, and what size buys.

    python benchmarks/plots.py --out docs/plots
    python benchmarks/plots.py --out docs/plots --log my.jsonl --format png

Writes `seeds` (a dot a seed, the mean and its 95 % interval, one row an experiment) and
`parameters` (mean accuracy over the number of parameters). An experiment is all runs of one plan
judged on the test set; with `--held-out` those judged on held-out training images instead. No run
is left out. The same log gives the same files, byte for byte.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.experiments import LOG, Trial, logged
from grader import rubric as rubrics
from grader.statistics import mean_interval

DOT, MEAN, LIMIT = "#7aa6c2", "#1f3b57", "#b3402e"
MARK: dict[str, Any] = {"color": MEAN, "markersize": 5, "capsize": 3, "elinewidth": 1.2}
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "plots", "svg.fonttype": "none", "font.size": 9.0, "font.family": "sans-serif",
    "axes.spines.top": False, "axes.spines.right": False,
}  # fmt: skip
UNDATED = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}


@dataclass(frozen=True)
class Experiment:
    """All runs of one plan; figures in per cent of the images they were judged on."""

    trials: list[Trial]

    @property
    def mean(self) -> float:
        """The mean accuracy."""
        return fmean(trial.accuracy for trial in self.trials)

    @property
    def reach(self) -> list[list[float]]:
        """How far the 95 % interval of the mean reaches down and up; not at all for one run."""
        if len(self.trials) < 2:
            return [[0.0], [0.0]]
        low, high = mean_interval([trial.errors for trial in self.trials])
        half = 100 * (high - low) / 2 / self.trials[0].tested
        return [[half], [half]]


def experiments(trials: list[Trial], judged_on: str) -> list[Experiment]:
    """Group runs by plan, the smallest network first; of equal size by name, then by plan."""
    of_plan: dict[tuple[int, str, str], list[Trial]] = {}
    for trial in sorted((t for t in trials if t.judged_on == judged_on), key=lambda t: t.seed):
        of_plan.setdefault((trial.parameters, trial.name, trial.plan), []).append(trial)
    return [Experiment(of_plan[key]) for key in sorted(of_plan)]


def seeds(axes: Axes, found: list[Experiment], limit: float) -> None:
    """Draw a row an experiment: a dot a seed, equal ones above each other, and the mean."""
    for row, experiment in enumerate(found):
        stacked: Counter[float] = Counter()
        for accuracy in (trial.accuracy for trial in experiment.trials):
            axes.plot(accuracy, row + 0.16 + 0.07 * stacked[accuracy], "o", color=DOT, markersize=4)
            stacked[accuracy] += 1
        axes.errorbar(experiment.mean, row, xerr=experiment.reach, fmt="D", **MARK)
    axes.axvline(limit, color=LIMIT, linewidth=1)
    names = [
        f"{first.name}, {first.parameters:,} parameters,\n"
        f"{first.epochs} epochs, n = {len(e.trials)}, {first.date}"
        for e in found
        for first in e.trials[:1]
    ]
    axes.set_yticks(range(len(found)), names)
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.set_xlabel(f"accuracy after the last epoch, % (line: {limit:.2f} %)")


def sizes(axes: Axes, found: list[Experiment], limit: float) -> None:
    """Draw the mean accuracy of each experiment over its number of parameters."""
    for experiment in found:
        size = experiment.trials[0].parameters
        axes.errorbar(size, experiment.mean, yerr=experiment.reach, fmt="o", **MARK)
        axes.annotate(
            experiment.trials[0].name, (size, experiment.mean), (5, 4), fontsize=8,
            textcoords="offset points",
        )  # fmt: skip
    axes.axhline(limit, color=LIMIT, linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("parameters")
    axes.set_ylabel(f"mean accuracy, % (line: {limit:.2f} %)")


def draw(found: list[Experiment], out: Path, kind: str) -> list[Path]:
    """Write both plots to a folder, as `svg` or `png`; return the files."""
    limit = rubrics.load().limits.accuracy
    files = []
    for plot, height in ((seeds, 1.2 + 0.55 * len(found)), (sizes, 4.0)):
        with mpl.rc_context(SETTINGS):
            figure = Figure(figsize=(8, height), layout="constrained")
            plot(figure.subplots(), found, limit)
            name = "seeds" if plot is seeds else "parameters"
            files.append(out / f"{name}.{kind}")
            out.mkdir(parents=True, exist_ok=True)
            figure.savefig(files[-1], dpi=150, metadata=UNDATED[kind])
    return files


def main() -> None:
    """Draw a log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", type=Path, default=LOG)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--format", choices=sorted(UNDATED), default="svg")
    parser.add_argument("--held-out", action="store_true", help="runs on held-out images")
    options = parser.parse_args()
    judged_on = "held out" if options.held_out else "test"
    found = experiments(logged(options.log), judged_on)
    if not found:
        sys.exit(f"{options.log} has no runs judged on {judged_on}: see benchmarks/experiments.py")
    print(*draw(found, options.out, options.format), sep="\n")


if __name__ == "__main__":
    main()
