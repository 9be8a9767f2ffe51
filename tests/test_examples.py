"""Each worked example gets the verdict that submissions/README.md promises."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from grader.checks import CHECKS
from tests.grading import EXAMPLES, Graded, grade

MARKS = {"✓": "passed", "✗": "failed", "–": "not_judged"}


def promised() -> dict[str, dict[str, str]]:
    """Read the table: the outcome of each check, by submission."""
    rows = [
        [cell.strip(" `") for cell in line.strip("|\n").split("|")]
        for line in (EXAMPLES / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    header, _, *body = rows
    return {
        row[0]: {check: MARKS[mark] for check, mark in zip(header[1:], row[1:], strict=True)}
        for row in body
    }


def test_every_example_is_in_the_table() -> None:
    """The table has a row for each file of the folder, and a column for each check."""
    files = {p.name for p in EXAMPLES.iterdir() if p.suffix in (".py", ".ipynb")}

    assert set(promised()) == files | {"../reference_solution"}
    assert all(set(row) == set(CHECKS) for row in promised().values())


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Graded]]]:
    """Grade all examples, two at a time with a thread each, which two cores do fastest."""
    with ThreadPoolExecutor(2) as pool:
        yield {
            name: pool.submit(
                grade, EXAMPLES / name, tmp_path_factory.mktemp("out"), OMP_NUM_THREADS="1"
            )
            for name in promised()
        }


@pytest.mark.slow
@pytest.mark.parametrize("name", promised())
def test_example_gets_its_verdict(graded: dict[str, Future[Graded]], name: str) -> None:
    """Graded for real, training included, each check has the outcome the table promises."""
    verdict = graded[name].result()

    assert verdict.outcomes == promised()[name], verdict.output
    assert verdict.record.status == "complete"
