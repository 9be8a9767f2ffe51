"""Two submissions side by side."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from grader import rubric
from grader.plan.schema import Fact
from grader.record import Problem, RecipeSummary
from grader.reports.compare import changes, render
from tests.capturing import facts as shape_of
from tests.cases.networks.architectures import CASES
from tests.grading import REPO
from tests.making import accuracy, facts, record

RUBRIC = rubric.load()


@pytest.mark.slow
def test_the_original_and_the_reference_give_the_seeds_tables() -> None:
    """`grade compare` shows the requirements and every layer's receptive field of both."""
    program = str(Path(sys.executable).parent / "grade")
    shown = subprocess.run(
        [program, "compare", "submissions/original.ipynb", "reference_solution"],
        cwd=REPO, capture_output=True, text=True, check=True, timeout=600,
    ).stdout  # fmt: skip

    assert "6,379,786" in shown
    assert "18,962" in shown
    for field in ("3×3", "5×5", "6×6", "10×10", "14×14", "16×16", "24×24", "32×32"):
        assert shown.count(f"  {field}") >= 2


def test_changes_are_counted() -> None:
    """A smaller network without dropout is described by what it lost."""
    left = facts(parameters=20_000)
    right = facts(parameters=5_000, dropout=[])

    assert changes(left, right) == [
        "parameters: 20,000 → 5,000 (4.0 times fewer)",
        "dropout: 1 → 0 that act on the output",
    ]


def test_layers_fields_and_recipes_that_differ_are_told() -> None:
    """What the tables show side by side is summed up: kinds of layers, fields, and the recipe."""
    two = CASES["one axis after the other"].make(), CASES["plain"].make()
    left, right = (record(model=shape_of(network)) for network in two)
    longer = RecipeSummary(
        19, 128, [Fact("epochs", "19", "net.py"), Fact("loss", "mine", "net.py")]
    )
    text = render(left, msgspec.structs.replace(right, recipe=longer), RUBRIC)

    assert "layers of kind convolution: 3 → 2" in text
    assert "layers of kind activation: 1 → 2" in text
    assert "epochs: 12 → 19" in text
    assert "also in the recipe: loss" in text


def test_the_mean_of_several_runs_is_shown_with_its_spread() -> None:
    """One run is a figure, several are a mean, a deviation and how many."""
    one, three = record(50), record(50, accuracy=accuracy([44], [48], [52]))
    text = render(one, three, RUBRIC, width=140)

    assert "99.50%" in text
    assert "99.520 ± 0.040%, 3 runs" in text


def test_the_field_before_the_average_is_told() -> None:
    """Two networks that differ in a dilation differ in what they see."""
    left, right = (shape_of(CASES[name].make()) for name in ("plain", "dilated"))

    assert "receptive field before the whole image is taken in: 7×7 → 27×27" in changes(left, right)


def test_a_submission_that_did_not_load_is_shown_with_its_reason() -> None:
    """One side without a model does not keep the other from being shown."""
    broken = record(model=None, problem=Problem("read", "error", "nothing in it"))
    text = render(broken, record(60), RUBRIC)

    assert "nothing in it" in text
    assert "18,962" in text


def test_wrong_usage_says_what_is_right() -> None:
    """`grade compare` with one path is a usage error."""
    program = str(Path(sys.executable).parent / "grade")
    result = subprocess.run(
        [program, "compare", "one"], capture_output=True, text=True, check=False, timeout=600
    )

    assert result.returncode == 4
    assert "arguments are required: B" in result.stderr
    assert "grade compare --help" in result.stderr
