"""The documentation is true: fields, options, checks and files it names exist, and the reverse."""

import re
from pathlib import Path

import msgspec
import pytest

from grader import record as records
from grader.checks import CHECKS
from grader.events import EpochDone, Metered, Replaced
from grader.plan import findings
from tests.grading import EXAMPLES, REPO, grade

PAGES = [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))]
STRUCTS = [
    records.Record, records.Submission, records.Problem, records.RecipeSummary, records.Training,
    records.Flaw, records.Accuracy, records.TrainingRun, records.Check, records.SetAside,
    findings.Facts, findings.TensorCount, findings.Layer, findings.Finding, EpochDone, Metered,
    Replaced,
]  # fmt: skip


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda s: str(s.__name__))
def test_every_field_of_the_record_is_documented(struct: type[msgspec.Struct]) -> None:
    """docs/record.md names every field that a record can hold."""
    text = (REPO / "docs" / "record.md").read_text(encoding="utf-8")

    assert [f for f in struct.__struct_fields__ if f"`{f}`" not in text] == []


def test_readme_names_every_option(tmp_path: Path) -> None:
    """The README's table of options has exactly the options the plugin declares."""
    help_text = grade(EXAMPLES / "too_short.py", tmp_path, "--help").output
    section = help_text.partition("grading an MNIST submission")[2].partition("\n\n")[0]
    declared = set(re.findall(r"^\s+(--[a-z-]+)", section, re.M))
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(--[a-z-]+)", readme, re.M))

    assert declared
    assert documented == declared


def test_readme_names_every_check() -> None:
    """Each check has a row in the README."""
    readme = (REPO / "README.md").read_text(encoding="utf-8")

    assert [check for check in CHECKS if f"| `{check}` |" not in readme] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPO)))
def test_every_path_a_page_names_exists(page: Path) -> None:
    """Links, and paths in back-quotes that begin in a folder of the project, lead somewhere."""
    text = page.read_text(encoding="utf-8")
    links = [page.parent / link for link in re.findall(r"\]\(([^)#:]+)\)", text)]
    tops = "grader|reference_solution|tests|submissions|docs|benchmarks"
    named = [REPO / path for path in re.findall(rf"`((?:{tops})/[\w./-]+)", text)]

    assert [str(p) for p in links + named if not p.exists()] == []


def test_the_page_of_the_rubric_holds_the_rubric() -> None:
    """docs/rubric.md shows the file as it is."""
    rubric = (REPO / "grader" / "rubrics" / "mnist.toml").read_text(encoding="utf-8")

    assert f"```toml\n{rubric}```\n" in (REPO / "docs" / "rubric.md").read_text(encoding="utf-8")


def test_every_decision_is_listed() -> None:
    """In docs/decisions/README.md, in their order, under the titles they have."""
    folder = REPO / "docs" / "decisions"
    titles = [
        f"- [{page.read_text(encoding='utf-8').splitlines()[0][2:]}]({page.name})"
        for page in sorted(folder.glob("0*.md"))
    ]

    assert (folder / "README.md").read_text(encoding="utf-8").splitlines()[4:] == titles
