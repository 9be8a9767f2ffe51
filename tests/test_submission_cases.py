"""Submissions in the shapes that students write: each is read as its `expected.toml` says.

`entry` is what is handed in (the only file, if it is not said; `.` is the folder), `model` stands
for `--model`. Places are those a person would look at.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from grader.errors import SubmissionError
from grader.plan.assemble import assemble
from grader.plan.facts import facts_of
from grader.plan.schema import Plan
from grader.plan.validate import validate
from grader.submission import read_program
from tests.describing import described_here

ROOT = Path(__file__).parent / "cases" / "reading"
EXPECTED = {
    folder.name: tomllib.loads((folder / "expected.toml").read_text(encoding="utf-8"))
    for folder in sorted(ROOT.iterdir())
}
REFUSED = [name for name, expected in EXPECTED.items() if "error" in expected]
READ = [name for name in EXPECTED if name not in REFUSED]


def handed_in(name: str) -> Path:
    """Return the path of a case that stands behind `--submission`."""
    folder = ROOT / name
    if "entry" in EXPECTED[name]:
        return folder / str(EXPECTED[name]["entry"])
    (path,) = (p for p in folder.iterdir() if p.name != "expected.toml")
    return path


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_judged_is_refused_with_its_place(name: str) -> None:
    """What is wrong is said in words its author can act on, with the cell or the line."""
    expected = EXPECTED[name]
    with pytest.raises(SubmissionError) as caught:
        described_here(read_program(handed_in(name)))

    assert expected["error"] in caught.value.message
    assert caught.value.where == expected["where"]


@pytest.mark.parametrize("name", READ)
def test_a_submission_is_read_as_expected(name: str) -> None:
    """The right model with the right number of parameters, and its own recipe with its places."""
    expected = EXPECTED[name]
    program = read_program(handed_in(name), model=expected.get("model"))
    found = described_here(program)
    plan = assemble(found, 19)
    validate(plan, 19)
    facts = facts_of(plan.model)

    assert (facts.class_name, facts.declared) == (expected["class"], expected["parameters"])
    _check_recipe(plan, dict(expected.get("recipe", {})))
    notes = " ".join([*program.notes, *plan.notes])
    assert [note for note in expected.get("notes", []) if note not in notes] == []
    aside = [statement.text for statement in program.set_aside]
    missing = [s for s in expected.get("set_aside", []) if not any(s in text for text in aside)]
    assert missing == []


def _check_recipe(plan: Plan, expected: dict[str, list[str]]) -> None:
    """Compare parts of the recipe, each `[value, place]`, and the parts that are flawed."""
    flaws = expected.pop("flaws", [])
    assert sorted({flaw.about for flaw in plan.flaws}) == flaws
    told = {fact.about: fact for fact in plan.provenance}
    for about, (value, where) in expected.items():
        assert value in told[about].value
        assert told[about].where == where
