"""Our reading of notebooks agrees with nbformat's writing of them."""

import warnings
from pathlib import Path, PurePosixPath

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat import v3, v4

from grader.submission.source import read_unit

STATEMENT = st.sampled_from(
    ["x = 1", "import os", "def f():\n    return 2", "for i in y:\n    z = i"]
)
CELLS = st.lists(st.lists(STATEMENT, min_size=1, max_size=3).map("\n".join), min_size=1, max_size=6)


def written(path: Path, cells: list[str], version: int) -> Path:
    """Write code cells, each behind a cell of text, in a format."""
    if version == 4:
        body = [c for s in cells for c in (v4.new_markdown_cell("text"), v4.new_code_cell(s))]
        notebook = v4.new_notebook(cells=body)
    else:
        old = [
            c for s in cells for c in (v3.new_text_cell("markdown", "text"), v3.new_code_cell(s))
        ]
        notebook = v3.new_notebook(worksheets=[v3.new_worksheet(cells=old)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # format 3 is old, which is the point
        path.write_text(nbformat.writes(notebook, version=version), encoding="utf-8")
    return path


@pytest.mark.parametrize("version", [3, 4])
@settings(max_examples=25)
@given(cells=CELLS)
def test_statements_of_a_notebook_are_those_of_its_code_cells(
    tmp_path_factory: pytest.TempPathFactory, version: int, cells: list[str]
) -> None:
    """Whatever nbformat writes is read as the same statements, cell by cell."""
    path = written(tmp_path_factory.mktemp("nb") / "net.ipynb", cells, version)
    script = path.with_suffix(".py")
    script.write_text("\n".join(cells), encoding="utf-8")
    expected = [
        type(s.node).__name__
        for s in read_unit(PurePosixPath("net.py"), "net.py", script.read_bytes()).statements
    ]
    found = [
        type(s.node).__name__
        for s in read_unit(PurePosixPath("net.ipynb"), "net.ipynb", path.read_bytes()).statements
    ]

    assert found == expected
