"""How often another draw of images, weights and random numbers changes what is measured.

    python benchmarks/repeated_measurements.py [NETWORKS] [DRAWS]

measures networks spread evenly over the tests' galleries, half of them honest and half decoys, each
under DRAWS seeds of the system's; prints every network whose answers differ from one to the next.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
ASKED = ("batch norm", "dropout", "pooling", "same network", "images apart", "no contradiction")


def spread(cases: Mapping[str, object], count: int) -> list[str]:
    """Return so many names, evenly spread over those there are."""
    names = sorted(cases)
    return names[:: max(1, len(names) // count)][:count]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="?", type=int, default=30)
    parser.add_argument("draws", nargs="?", type=int, default=10)
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT))  # the tests, which are no part of the package
    from grader.measure.facts import measure, outcome
    from grader.plan.schema import Plan
    from tests.capturing import digits, model_of, recipe_of
    from tests.cases.networks.second_decoys import DECOYS
    from tests.cases.networks.second_rarities import RARITIES

    cases = {name: case.make for name, case in (RARITIES | DECOYS).items()}
    half = asked.networks // 2
    chosen = spread(RARITIES, half) + spread(DECOYS, asked.networks - half)
    versions = f"PyTorch {importlib.metadata.version('torch')}, Python {platform.python_version()}"
    print(f"{len(chosen)} networks, {asked.draws} draws each; {versions}, {platform.machine()}")
    steady = 0
    for name in chosen:
        torch.manual_seed(0)
        model = model_of(cases[name]())
        plan = Plan(model, recipe_of(model), [])
        answers = Counter(outcome(measure(plan, digits())) for _ in range(asked.draws))
        steady += len(answers) == 1
        if len(answers) > 1:
            told = zip(*answers, strict=True)
            open_to_chance = [
                what for what, ways in zip(ASKED, told, strict=True) if len(set(ways)) > 1
            ]
            print(f"{name}: {', '.join(open_to_chance)} ({sorted(answers.values())})")
    print(f"the same answers under every draw: {steady} of {len(chosen)}")


if __name__ == "__main__":
    main()
