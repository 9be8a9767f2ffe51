"""What counts as readable text: scripts, notebooks, and the commands in them."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest

from grader.errors import SubmissionError, UsageFault
from grader.submission import read_program
from tests.reading import HEAD, found, net, notebook, refusal, script, sources, write


def test_commands_are_set_aside_with_their_place(tmp_path: Path) -> None:
    """Shell lines and magics do not run, and are listed with cell and line."""
    path = notebook(
        tmp_path, "!pip install \\\n  torchsummary\n%matplotlib inline\n" + HEAD, "?nn.Module",
        "files = !ls\nprint?\n" + net(),
    )  # fmt: skip
    listed = {(a.text, a.where) for a in read_program(path).set_aside}
    assert ("!pip install \\", "work.ipynb, cell 1, line 1") in listed
    assert ("%matplotlib inline", "work.ipynb, cell 1, line 3") in listed
    assert ("?nn.Module", "work.ipynb, cell 2, line 1") in listed
    assert ("files = !ls", "work.ipynb, cell 3, line 1") in listed


def test_commands_do_not_move_lines(tmp_path: Path) -> None:
    """A statement below a command keeps the line it stands on."""
    program = read_program(write(tmp_path, "work.py", "!pip install x\n" + HEAD + net()))
    lines = {s.source: s.line for s in program.modules[-1].statements}
    assert lines["import torch"] == 2
    assert found(program).where == "work.py, line 7"


@pytest.mark.parametrize("magic", ["%%time", "%%capture out", "\n%%timeit"])
def test_python_cells_under_a_magic_count(tmp_path: Path, magic: str) -> None:
    """`%%time` times a cell, which is Python all the same."""
    path = notebook(tmp_path, HEAD, f"{magic}\n{net()}")
    assert found(read_program(path)).class_name == "Net"


@pytest.mark.parametrize("magic", ["%%bash", "%%html", "%%javascript", "%%"])
def test_cells_of_other_languages_do_not_count(tmp_path: Path, magic: str) -> None:
    """What stands under `%%bash` is no Python, whatever it looks like."""
    path = notebook(tmp_path, HEAD + net(), f"{magic}\nfor x in *; do echo $x; done")
    assert found(read_program(path)).class_name == "Net"


def test_percent_signs_in_strings_are_left_alone(tmp_path: Path) -> None:
    """A line of a string that starts like a command is text."""
    text = 'NOTE = """\n%d percent\n!important\n"""\n'
    late = net().replace("return", "print(NOTE); return")
    path = notebook(tmp_path, "!pip install x", HEAD + text + late)
    assert "%d percent\n!important" in sources(read_program(path))


def test_old_prints_are_read(tmp_path: Path) -> None:
    """Python 2's print statements do not stop a file whose model is fine."""
    assert found(script(tmp_path, net(), 'print "done", 3\nif True: print "x"')).class_name == "Net"
    longer = "for i in range(2):\n    print 'at {} {}'.format(\n        i, 2)\n"
    longer += "    print 'of %d' \\\n % i,\n"
    program = script(tmp_path, net("Other"), longer + "    made = i\nMODEL = [None, Other()][made]")
    assert found(program).class_name == "Other"


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + (HEAD + net()).encode(),
        (HEAD + net()).replace("\n", "\r\n").encode(),
        ("# r\xe9seau\n" + HEAD + net()).encode("latin-1"),
        ("# -*- coding: cp1252 -*-\n# \x80\n" + HEAD + net()).encode("latin-1"),
        (HEAD + net()).encode("utf-16"),
        (HEAD + net().replace("    ", "\t")).encode(),
        (HEAD + net().replace("        self.out", "\tself.out")).encode(),
    ],
    ids=["bom", "crlf", "latin-1", "cookie", "utf-16", "tabs", "mixed tabs"],
)
def test_encodings_and_line_ends(tmp_path: Path, data: bytes) -> None:
    """Files are read whatever editor saved them."""
    path = tmp_path / "-é 😀.py"
    path.write_bytes(data)
    assert found(read_program(path)).class_name == "Net"


def test_format_three_is_read(tmp_path: Path) -> None:
    """Notebooks of format 3 keep cells in worksheets, and sources under `input`."""
    cells = [{"cell_type": "code", "input": HEAD + net(), "prompt_number": 1, "outputs": []}]
    path = write(
        tmp_path, "old.ipynb", json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}]})
    )
    assert found(read_program(path)).class_name == "Net"


def test_written_modules_are_importable(tmp_path: Path) -> None:
    """A cell with `%%writefile model.py` makes that module."""
    path = notebook(
        tmp_path, "%%writefile model.py\n" + HEAD + net(), "from model import Net\nm = Net(5)"
    )
    program = read_program(path)
    assert [m.name for m in program.modules] == ["model", "__submission__"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.py", "", "empty"),
        ("a.py", " \n\n", "empty"),
        ("a.ipynb", "", "an empty file"),
        ("a.ipynb", "{not json", "JSON"),
        ("a.ipynb", "[1, 2]", "list"),
        ("a.ipynb", "{}", "no list of cells"),
        ("a.ipynb", '{"cells": []}', "no code cell"),
        ("a.ipynb", '{"cells": [{"cell_type": "code", "source": ["  "]}]}', "all empty"),
        ("a.ipynb", '{"cells": [], "metadata": {"kernelspec": {"language": "R"}}}', "kernel for R"),
        ("a.ipynb", '{"cells": 3, "metadata": {"language_info": {"name": "julia"}}}', "julia"),
        ("a.py", "x = (1,\ny = 2\n", "syntax error"),
        ("a.py", "x = '\0'", "null"),
        ("a.py", "x = " + "9" * 5000, "digits"),
        ("a.py", "x = " + "(" * 5000, "parentheses"),
        ("a.txt", "x = 1", "type"),
    ],
)
def test_what_cannot_be_read_is_explained(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    """Each refusal says what was expected, what was found, where, and what to do."""
    error = refusal(write(tmp_path, name, content))
    assert words in str(error)
    assert all((error.expected, error.found, error.where, error.help))


def test_a_file_without_a_model_says_so(tmp_path: Path) -> None:
    """Code that defines no model is refused with its file and what to do."""
    error = refusal(write(tmp_path, "a.py", "x = 1"))
    assert error.message == "no model was found"
    assert error.where == "a.py"
    assert "nn.Module" in error.help


def test_a_missing_path_is_wrong_usage(tmp_path: Path) -> None:
    """A path that is not there is nobody's failure, and named in full."""
    with pytest.raises(UsageFault) as caught:
        read_program(tmp_path / "nothing.py")
    assert str(tmp_path / "nothing.py") in caught.value.where


def test_syntax_errors_name_cell_and_line(tmp_path: Path) -> None:
    """In a notebook the place is the code cell, and the line in it."""
    error = refusal(notebook(tmp_path, HEAD, "class Net(nn.Module):\n    x = = 3\n"))
    assert error.where == "work.ipynb, cell 2, line 2"
    assert error.found == "x = = 3"


def test_a_broken_cell_nobody_needs_is_set_aside(tmp_path: Path) -> None:
    """A cell that is not Python does not stop a model that stands elsewhere."""
    program = read_program(notebook(tmp_path, HEAD + net(), "accuracy = = 3"))
    assert any("not Python" in a.why for a in program.set_aside)


def test_a_broken_cell_that_is_needed_is_the_error(tmp_path: Path) -> None:
    """If the model needs what a broken cell defines, that cell is the error."""
    error = refusal(notebook(tmp_path, HEAD + net().replace("width=10", "width=W"), "W = = 3"))
    assert error.where == "work.ipynb, cell 2, line 1"


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    """Expressions too deep to follow are an error of words, not of recursion."""
    error = refusal(write(tmp_path, "a.py", HEAD + "x = " + "+".join(["y"] * 30_000)))
    assert "nested" in error.message


@pytest.mark.parametrize("code", ["x = 1\n" * 50_001, "# " + "x" * 600_000])
def test_more_code_than_a_person_writes_is_refused_at_once(tmp_path: Path, code: str) -> None:
    """A file of megabytes of statements costs the grader neither minutes nor its memory."""
    error = refusal(write(tmp_path, "long.py", HEAD + net() + code))
    assert "too long" in error.message
    assert "more than" in error.found


@pytest.mark.parametrize(
    "line",
    [
        " " * 60_000 + "; $", "a " * 30_000 + "= $", "%run " + "-a " * 30_000 + "x",
        "print a" + " " * 60_000 + "$", " " * 60_000 + ":" + " " * 60_000 + "print a $",
        ": ;" * 30_000 + "print $", "\n" * 200_000, "?" * 60_000, ("a" * 30_000 + "?") * 2 + "$",
    ],
    ids=lambda line: line.strip()[:6] or "blank",
)  # fmt: skip
def test_long_lines_take_no_longer_than_their_length(tmp_path: Path, line: str) -> None:
    """Lines made to be matched in very many ways are read in seconds, in a folder too."""
    write(tmp_path, "long.py", f"{line}\n{HEAD}{net()}")
    write(tmp_path, "other.py", HEAD + net())
    began = time.monotonic()
    with contextlib.suppress(SubmissionError):
        read_program(tmp_path)
    assert time.monotonic() < began + 10
