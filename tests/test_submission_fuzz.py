"""Whatever is handed in gives a Program or words for its author, never another exception."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grader.errors import SubmissionError, UsageFault
from grader.plan.assemble import request_defaults
from grader.sandbox.describe import describe
from grader.submission import read_program
from tests.reading import HEAD, TRAIN, net

CELLS = [
    "!pip install torchsummary\n" + HEAD,
    "train_t = transforms.Compose([transforms.ToTensor()])\nEPOCHS, SIZE = 15, 64\n"
    "train_loader = torch.utils.data.DataLoader(\n"
    "    datasets.MNIST('.', train=True, transform=train_t), batch_size=SIZE)\n",
    net(),
    TRAIN,
    "if __name__ == '__main__':\n    model = Net(width=8).to('cpu')\n"
    "    optimizer = optim.SGD(model.parameters(), lr=0.1)\n"
    "    for epoch in range(1, EPOCHS + 1):\n"
    "        train(model, 'cpu', train_loader, optimizer, epoch)\n",
]
SCRIPT = "\n".join(CELLS)
NOTEBOOK = json.dumps(
    {"cells": [{"cell_type": "code", "source": cell} for cell in CELLS]}
)  # fmt: skip
CASES = sorted((Path(__file__).parent / "cases" / "reading").glob("*/*.[pi]*"))
FILES = [SCRIPT, *(p.read_text(encoding="utf-8", errors="replace") for p in CASES)]
ODD = st.sampled_from(
    ["\0", "\ud800", "\ufeff", "\r\n", "\t", "(", ")", '"', "'''", "\\", "%%bash\n", "!ls\n", "@",
     "9" * 5000, "((((((((", "lambda: ", "*", "**", ":=", "def ", "class Net:\n", "for x in ",
     "global model\n", "import model\n", "from . import *\n", "é", "😀", "match x:\n", "\x0c",
     "null", "{}", "[]", "-1", "1e999"]
)  # fmt: skip
EDITS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 60), ODD), max_size=6)
MOVES = st.lists(
    st.tuples(
        st.sampled_from(["drop", "double", "swap", "word", "word"]),
        st.integers(0, 5_000),
        st.integers(0, 5_000),
    ),
    max_size=5,
)
FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MANY = settings(max_examples=1_500, deadline=None, suppress_health_check=list(HealthCheck))


def edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    """Replace pieces of a text."""
    for at, length, new in edits:
        start = at % (len(text) + 1)
        text = text[:start] + new + text[start + length :]
    return text


def shuffled(text: str, moves: list[tuple[str, int, int]]) -> str:
    """Drop, double and swap lines, put one word for another: often it is still Python."""
    for kind, a, b in moves:
        parts = re.findall(r"\w+|\W+", text) if kind == "word" else text.splitlines(keepends=True)
        first, second = a % len(parts), b % len(parts)
        if kind == "drop" and len(parts) > 1:
            del parts[first]
        elif kind == "double":
            parts.insert(second, parts[first])
        elif kind == "swap":
            parts[first], parts[second] = parts[second], parts[first]
        else:
            parts[first] = parts[second]
        text = "".join(parts)
    return text


def verdict(name: str, data: bytes) -> str:
    """Read bytes under a file name; a Program must survive being written as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        try:
            msgspec.json.encode(read_program(path))
        except (SubmissionError, UsageFault) as error:  # also of a newer Python than this one
            return "refused" if str(error).encode() else "nothing said"
        return "read"


def test_the_unedited_files_are_read() -> None:
    """The texts that are edited below are good to begin with."""
    assert verdict("a.py", SCRIPT.encode()) == "read"
    assert verdict("a.ipynb", NOTEBOOK.encode()) == "read"


@FAST
@given(st.text(max_size=300), st.sampled_from(["a.py", "a.ipynb"]))
def test_any_text(text: str, name: str) -> None:
    """Text of no meaning is refused, or read if it happens to be a model."""
    verdict(name, text.encode("utf-8", "surrogatepass"))


@FAST
@given(st.binary(max_size=300), st.sampled_from(["a.py", "a.ipynb", "a.zip"]))
def test_any_bytes(data: bytes, name: str) -> None:
    """So are bytes that are no text."""
    verdict(name, data)


@FAST
@given(EDITS)
def test_damaged_scripts(edits: list[tuple[int, int, str]]) -> None:
    """A damaged script gives a verdict."""
    verdict("a.py", edited(SCRIPT, edits).encode("utf-8", "surrogatepass"))


@FAST
@given(MOVES)
def test_shuffled_scripts(moves: list[tuple[str, int, int]]) -> None:
    """A script of moved lines and changed names, Python still, gives a verdict."""
    verdict("a.py", shuffled(SCRIPT, moves).encode())


@FAST
@given(EDITS)
def test_damaged_notebooks(edits: list[tuple[int, int, str]]) -> None:
    """A notebook whose JSON is damaged gives a verdict."""
    verdict("a.ipynb", edited(NOTEBOOK, edits).encode("utf-8", "surrogatepass"))


@FAST
@given(st.permutations(CELLS), EDITS, st.lists(st.none() | st.integers(-1, 9), min_size=5))
def test_damaged_cells(
    cells: list[str], edits: list[tuple[int, int, str]], counts: list[int | None]
) -> None:
    """A notebook with damaged cells in any order, run in any order, gives a verdict."""
    cells = [edited(cells[0], edits), *cells[1:]]
    body = [
        {"cell_type": "code", "execution_count": n, "source": c}
        for c, n in zip(cells, counts, strict=False)
    ]
    verdict("a.ipynb", json.dumps({"cells": body}).encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["cells", "worksheets", "source", "input", "cell_type", "metadata",
                         "kernelspec", "language", "execution_count"]),
        inner | st.just("code") | st.just("x = 1"), max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@FAST
@given(JSON)
def test_any_json(content: object) -> None:
    """JSON that is no notebook is refused in words."""
    verdict("a.ipynb", json.dumps(content).encode())


@pytest.mark.parametrize("opening", ["[", "(", "{", "-", "not ", "f(", "x.", "lambda:"])
def test_deep_expressions(opening: str) -> None:
    """Nesting of any depth is refused, not a crash."""
    for depth in (50, 300, 900, 5_000, 100_000):
        verdict("a.py", (HEAD + "class Net(nn.Module):\n    x = " + opening * depth + "1").encode())


@pytest.mark.slow
@MANY
@given(st.sampled_from([text for text in FILES if text]), MOVES, EDITS)
def test_thousands_of_changes(
    text: str, moves: list[tuple[str, int, int]], edits: list[tuple[int, int, str]]
) -> None:
    """The same at length, with both kinds of change, to every file of the corpus."""
    name = "a.ipynb" if text.startswith("{") else "a.py"
    text = shuffled(text, moves)
    verdict(name, text.encode("utf-8", "surrogatepass"))
    verdict(name, edited(text, edits[:1]).encode("utf-8", "surrogatepass"))


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(MOVES)
def test_what_changed_files_describe(moves: list[tuple[str, int, int]]) -> None:
    """Whatever a changed script does in the box, its author is told, and nobody else at fault."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.py")
        path.write_text(shuffled(SCRIPT, moves), encoding="utf-8")
        with contextlib.suppress(SubmissionError, UsageFault):
            program = read_program(path)
            assert describe(program, request_defaults(19), seconds=30, megabytes=3000).model.tensors
