"""Records judged again by another rubric: which can be, and which need a new training first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from grader import record as records
from grader import regrade
from grader import rubric as rubrics
from grader.plan.assemble import assemble, request_defaults
from grader.plan.schema import Description, Fact
from grader.record import RecipeSummary, Record
from grader.reports.changes import Change
from grader.rubric import Rubric
from tests.making import record
from tests.test_plan_assemble import model


def graded(record: Record, folder: Path) -> Path:
    """Write a record as a class run does; return the folder of all."""
    (folder / "ada").mkdir(parents=True)
    records.save(replace(record, score=50.0), folder / "ada")
    return folder


def rubric(**limits: Any) -> Rubric:
    """Return the default rubric with other limits."""
    usual = rubrics.load(rubrics.DEFAULT)
    return replace(usual, limits=replace(usual.limits, **limits))


def change(folder: Path, rubric: Rubric) -> Change:
    """Judge the one record in a folder again."""
    (found,) = regrade.regraded(folder, rubric, lower=True)
    return found


def summary(epochs: int | None, budget: int) -> RecipeSummary:
    """Return the recipe of a submission that says how many epochs it wants, or leaves it open."""
    said = [] if epochs is None else [Fact("epochs", str(epochs), "net.py, line 9")]
    plan = assemble(Description(model(), epochs=epochs, provenance=said), budget)
    return RecipeSummary(plan.recipe.epochs, plan.recipe.batch_size, plan.provenance, [])


@pytest.mark.parametrize(
    ("declared", "why"), [(None, "the rubric gives it 12 epochs; grade it again"), (9, "")], ids=str
)
def test_who_left_the_epochs_open_gets_those_of_the_new_budget(
    tmp_path: Path, declared: int | None, why: str
) -> None:
    """Trained for 9 epochs because the rubric allowed no more: the default is longer."""
    made = record(*[60] * 9, recipe=summary(declared, budget=9))

    assert request_defaults(19)["epochs"] == 12
    assert change(graded(made, tmp_path), rubric(epochs=20)).kept == why


def test_another_data_set_asks_for_another_training(tmp_path: Path) -> None:
    """What was reached on MNIST says nothing of Fashion-MNIST."""
    made = graded(record(60, 60), tmp_path)
    asked = replace(rubric(), dataset="fashion-mnist")

    assert "asks for Fashion-MNIST, not MNIST" in change(made, asked).kept


def test_a_submissions_own_loop_is_trained_again_for_a_rubric_that_forbids_it(
    tmp_path: Path,
) -> None:
    """Its accuracy is of a loop that the rubric does not allow."""
    made = record(60, 60, level="sandboxed", recipe=summary(2, budget=19))

    assert "the grader's own loop" in change(graded(made, tmp_path), rubric(rebuilt=True)).kept
