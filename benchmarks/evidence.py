"""Simulate verdicts by evidence, and by one run, the mean of five, and the best of five.

    python benchmarks/evidence.py --submissions 100000

A submission's runs end with normally distributed errors, rounded; 60 are allowed. Its true mean is
at the limit, or so many errors better or worse; the spread between seeds is that of the steadiest
and of the least steady network known, or what is taken for likely. `--runs auto` is asked after
each run (`grader.statistics.decision`), eight at most; what is undecided then is counted by itself.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from grader.statistics import decision

MOST, LOOKS, RATE = 60, 8, 0.01
MEANS = (50, 55, 59, 60, 61, 65, 70)
DEVIATIONS = (3.2, 5.0, 7.3)


def simulated(mean: float, deviation: float, submissions: int) -> str:
    """Return a line: shares of verdicts, and what they cost in runs."""
    import numpy as np

    dice = np.random.default_rng(1)
    drawn = np.rint(dice.normal(mean, deviation, (submissions, LOOKS))).clip(0).astype(int)
    ends: Counter[str] = Counter()
    cost = 0
    for errors in drawn.tolist():
        for look in range(1, LOOKS + 1):
            decided = decision(errors[:look], MOST, rate=RATE, looks=LOOKS)
            if decided != "undecided":
                break
        ends[decided] += 1
        cost += look
    five = drawn[:, :5]
    shares = [ends[end] / submissions for end in ("passed", "failed", "undecided")]
    others = [np.mean(each <= MOST) for each in (drawn[:, 0], five.mean(1), five.min(1))]
    return (
        f"| {mean} ± {deviation} | "
        + " | ".join(f"{100 * share:.2f}" for share in shares)
        + f" | {cost / submissions:.2f} | "
        + " | ".join(f"{100 * share:.1f}" for share in others)
        + " |"
    )


def main() -> None:
    """Simulate and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submissions", type=int, default=100_000, help="for each line")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {options.submissions:,} submissions a line, in %")
    print("| errors | passed | failed | undecided | runs | one run | mean of 5 | best of 5 |")
    print("|---|---|---|---|---|---|---|---|")
    for deviation in DEVIATIONS:
        for mean in MEANS:
            print(simulated(mean, deviation, options.submissions), flush=True)


if __name__ == "__main__":
    main()
