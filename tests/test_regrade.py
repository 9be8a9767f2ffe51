"""Records judged again by another rubric: which can be, and which need a new training first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from grader import record as records
from grader import regrade, seal
from grader import rubric as rubrics
from grader import salt as salts
from grader.commands import results
from grader.errors import UsageFault
from grader.plan.assemble import assemble, request_defaults
from grader.plan.schema import Description, Fact
from grader.record import RecipeSummary, Record, Submission
from grader.reports.changes import Change
from grader.rubric import Rubric
from grader.salt import Salt
from tests.making import accuracy, record
from tests.test_plan_assemble import model


def graded(record: Record, folder: Path) -> Path:
    """Write a record as a class run does; return the folder of all."""
    (folder / "ada").mkdir(parents=True)
    whose = Submission("ada", "ada", "0" * 64)
    records.save(replace(record, score=50.0, submission=whose), folder / "ada")
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


def test_records_that_were_changed_are_neither_judged_nor_sealed_again(tmp_path: Path) -> None:
    """Else the course's salt would seal what somebody wrote into them; they stay as they are."""
    salt = Salt(bytes(range(32)))
    made = record(60, salt_sha256=salt.sha256, recipe=summary(1, budget=19))
    folder = graded(made, tmp_path)
    seal.seal(folder / "ada", salt)
    files = {path: path.read_bytes() for path in (folder / "ada").iterdir()}
    easy = rubric(accuracy=90.0)

    assert "graded with a salt" in change(folder, easy).kept
    assert files == {path: path.read_bytes() for path in (folder / "ada").iterdir()}
    (good,) = regrade.regraded(folder, easy, salt, lower=True)
    assert not good.kept
    assert list(seal.changed(folder / "ada", salt, easy)) == []

    records.save(replace(good.new, score=100.0), folder / "ada")
    (changed,) = regrade.regraded(folder, easy, salt, lower=True)
    assert changed.kept == "record.json was changed; grade it again"
    assert "record.json was changed" in list(seal.changed(folder / "ada", salt))


def test_the_salt_beside_the_rubric_is_found(tmp_path: Path) -> None:
    """As `grade` finds it: what was sealed with it is so again."""
    salt = salts.make(tmp_path / "salt")
    easy = rubrics.DEFAULT.read_text(encoding="utf-8").replace("accuracy = 99.4", "accuracy = 90.0")
    (tmp_path / "rubric.toml").write_text(easy, encoding="utf-8")
    made = record(60, salt_sha256=salt.sha256, recipe=summary(1, budget=19))
    folder = graded(made, tmp_path / "out")
    seal.seal(folder / "ada", salt)

    assert results.regrade([str(folder), f"--rubric={tmp_path / 'rubric.toml'}", "--lower"]) == 0
    asked = rubrics.load(tmp_path / "rubric.toml")
    assert list(seal.changed(folder / "ada", salt, asked)) == []


def test_the_way_of_judging_that_was_asked_for_is_kept(tmp_path: Path) -> None:
    """By `--runs auto`, whatever the rubric says; the record is one of the rubric as written."""
    recipe = summary(1, budget=19)
    made = record(80, recipe=recipe, judged_by="evidence", status="complete")
    found = change(graded(made, tmp_path), rubric(accuracy=97.0))
    (check,) = (check for check in found.new.checks if check.id == "test_accuracy")

    assert not found.kept
    assert "for certain" in check.expected
    assert found.new.rubric_sha256 == rubrics.sha256_of(rubric(accuracy=97.0))


def test_one_submissions_results_are_judged_again_alone(tmp_path: Path) -> None:
    """Where their own folder is named: the others stay as they are; an empty one is refused."""
    folder = graded(record(60, recipe=summary(1, budget=19)), tmp_path / "out")
    graded(record(60, recipe=summary(1, budget=19)), tmp_path / "others")
    (tmp_path / "others" / "ada").rename(folder / "bob")
    before = (folder / "bob" / "record.json").read_bytes()

    assert change(folder / "ada", rubric(accuracy=90.0)).folder == folder / "ada"
    assert (folder / "bob" / "record.json").read_bytes() == before
    with pytest.raises(UsageFault, match="there are no results"):
        change(tmp_path / "others", rubric())


def test_more_trainings_than_the_rubric_asks_for_are_enough(tmp_path: Path) -> None:
    """`--runs 3` under a rubric of one; fewer are not."""
    made = replace(record(60, recipe=summary(1, budget=19)), accuracy=accuracy([60], [62], [58]))
    folder = graded(made, tmp_path)

    assert change(folder, rubric()).kept == ""
    assert "asks for 4 trainings" in change(folder, rubric(runs=4)).kept
