"""Plots of logged experiments: they show every run, and come out the same each time."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="plots need the extra `plots`, which `dev` holds")

from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.experiments import Trial


def trial(name: str, parameters: int, seed: int, errors: int, judged_on: str = "test") -> Trial:
    """Make a logged run."""
    return Trial(
        name=name, plan=name, judged_on=judged_on, seed=seed, parameters=parameters, epochs=15,
        errors=errors, tested=10_000, loss=0.02, train_loss=0.03, curve=[300, errors],
        cpu_seconds=1.0, date="2026-11-23 10:00", machine="x86_64",
    )  # fmt: skip


TRIALS = [
    *(trial("small", 2_500, seed, errors) for seed, errors in enumerate([58, 61, 55, 58], 1)),
    *(trial("large", 18_962, seed, errors) for seed, errors in enumerate([41, 47], 1)),
    trial("alone", 8_000, 1, 52), trial("small", 2_500, 1, 20, "held out"),
]  # fmt: skip


def test_experiments_hold_every_run_of_their_kind_by_size() -> None:
    """Runs are grouped by plan, whatever their order in the log, and none is left out."""
    mixed = random.Random(1).sample(TRIALS, len(TRIALS))
    found = plots.experiments(mixed, "test")

    assert [(e.trials[0].name, len(e.trials)) for e in found] == [
        ("small", 4), ("alone", 1), ("large", 2),
    ]  # fmt: skip
    assert found[0].mean == pytest.approx(99.42)
    assert found[0].reach[0][0] == pytest.approx(3.182 * 0.02449 / 2, abs=1e-3)
    assert found[1].reach == [[0.0], [0.0]]


def test_one_dot_is_drawn_for_each_run() -> None:
    """Also of runs with equal results, which would hide each other."""
    found = plots.experiments(TRIALS, "test")
    axes = Figure().subplots()
    plots.seeds(axes, found, 99.4)
    dots = [np.ravel(line.get_xydata()) for line in axes.lines if line.get_marker() == "o"]

    assert len(dots) == 7
    assert len({tuple(dot) for dot in dots}) == 7


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_log_gives_the_same_files(tmp_path: Path, kind: str) -> None:
    """Byte for byte, without a date in them."""
    found = plots.experiments(TRIALS, "test")
    first = [file.read_bytes() for file in plots.draw(found, tmp_path / "a", kind)]
    again = [file.read_bytes() for file in plots.draw(found, tmp_path / "b", kind)]
    other = plots.draw(plots.experiments(TRIALS[1:], "test"), tmp_path / "c", kind)

    assert first == again
    assert first != [file.read_bytes() for file in other]
    assert not any(b"<dc:date>" in content for content in first)  # of the drawing


def test_the_plots_name_the_experiments_and_the_limit(tmp_path: Path) -> None:
    """Text is kept as text: names, sizes, numbers of runs and the limit of the rubric."""
    seeds, sizes = plots.draw(plots.experiments(TRIALS, "test"), tmp_path, "svg")

    assert "small, 2,500 parameters," in seeds.read_text()
    assert "epochs, n = 4, " in seeds.read_text()
    assert "line: 99.40 %" in seeds.read_text()
    assert "alone" in sizes.read_text()
