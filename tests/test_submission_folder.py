"""Folders and archives: which file is the entry, and what is refused."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from grader.errors import NoCode
from grader.submission import apart, read_program
from tests.reading import HEAD, TRAIN, found, net, notebook, parameters, refusal, write

MAKES = "model = Net(3)\noptimizer = optim.SGD(model.parameters(), lr=1)\n"


def archive(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Write a `.zip` with these members."""
    path = folder / "work.zip"
    with zipfile.ZipFile(path, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return path


def test_the_importing_file_is_the_entry(tmp_path: Path) -> None:
    """A module that another file imports is not the entry."""
    write(tmp_path, "model.py", HEAD + net())
    write(tmp_path, "anything.py", HEAD + "from model import Net\n" + MAKES)
    program = read_program(tmp_path)
    assert found(program).where == "anything.py, line 7"
    assert parameters(program) == 70


def test_the_training_file_is_the_entry(tmp_path: Path) -> None:
    """Of several files with a model the one that trains counts."""
    write(tmp_path, "draft.py", HEAD + net("Draft"))
    notebook(tmp_path, HEAD + net() + TRAIN, MAKES)
    assert found(read_program(tmp_path)).class_name == "Net"


def test_a_telling_name_decides(tmp_path: Path) -> None:
    """Else the file's name decides, as documented."""
    write(tmp_path, "zeta.py", HEAD + net("Zeta"))
    write(tmp_path, "model.py", HEAD + net("Alpha"))
    assert found(read_program(tmp_path)).class_name == "Alpha"


def test_the_plainest_of_the_telling_names_decides(tmp_path: Path) -> None:
    """A name may hold other words; the one with the fewest is meant, and an app is none."""
    for name in ("train_model", "train_model_old", "app"):
        write(tmp_path, f"{name}.py", HEAD + net(name.title().replace("_", "")) + MAKES + LEARNS)
    assert found(read_program(tmp_path)).class_name == "TrainModel"


def test_of_files_of_one_name_the_nearest_is_imported(tmp_path: Path) -> None:
    """Projects side by side are rivals, and none is part of another."""
    for name in ("one", "two"):
        write(tmp_path, f"{name}/nets.py", HEAD + net(name.title()) + TRAIN)
        write(tmp_path, f"{name}/main.py", f"{HEAD}from nets import *\n{MAKES}{LEARNS}".replace(
            "Net(", f"{name.title()}("))  # fmt: skip
        write(tmp_path, f"{name}/draw_it.py", "from main import model\nprint(model)\n")
    assert refusal(tmp_path).found == "one/main.py; two/main.py"


def test_a_script_and_its_notebook_are_one(tmp_path: Path) -> None:
    """Of two files of one name the script is taken."""
    write(tmp_path, "mnist_cnn.py", HEAD + net("Script") + MAKES.replace("Net", "Script") + LEARNS)
    cells = notebook(tmp_path, HEAD + net("Cells") + MAKES.replace("Net", "Cells") + LEARNS)
    cells.rename(tmp_path / "mnist_cnn.ipynb")
    assert found(read_program(tmp_path)).class_name == "Script"


@pytest.mark.parametrize("line", ["from fastapi import FastAPI", "import streamlit as st"])
def test_what_shows_a_page_is_no_entry(tmp_path: Path, line: str) -> None:
    """A service around a network is not where it is trained, whatever it is called."""
    write(tmp_path, "main.py", f"{line}\n{HEAD}from train_it import Net\nMODEL = Net(1)\n")
    write(tmp_path, "train_it.py", HEAD + net() + TRAIN + MAKES + LEARNS)
    assert parameters(read_program(tmp_path)) == 70


def test_the_file_that_says_it(tmp_path: Path) -> None:
    """`MODEL = …` in one file wins over training in another."""
    write(tmp_path, "train.py", HEAD + net() + MAKES)
    write(tmp_path, "mine.py", HEAD + net("Mine") + "MODEL = Mine\n")
    assert found(read_program(tmp_path)).class_name == "Mine"


def test_undecided_folders_are_listed(tmp_path: Path) -> None:
    """Several files that train a model are listed."""
    write(tmp_path, "one.py", HEAD + net("One") + MAKES.replace("Net", "One"))
    write(tmp_path, "two.py", HEAD + net("Two") + MAKES.replace("Net", "Two"))
    error = refusal(tmp_path)
    assert error.found == "one.py; two.py"
    assert "MODEL = " in error.help


LEARNS = "for epoch in range(2):\n    train(model, 'cpu', [], optimizer, epoch)\n"


def test_a_file_that_only_defines_is_no_rival(tmp_path: Path) -> None:
    """A function that trains, and that nothing calls, is no training; `main` may call others."""
    write(tmp_path, "utils.py", HEAD + net("Left") + TRAIN + "losses = []\n")
    inner = "".join(f"    {line}\n" for line in (MAKES + LEARNS).splitlines())
    written = HEAD + net() + TRAIN + f"def main():\n{inner}"
    write(tmp_path, "work.py", f"{written}if __name__ == '__main__':\n    main()\n")
    assert found(read_program(tmp_path)).class_name == "Net"


def test_a_program_of_a_package_is_no_rival_of_its_user(tmp_path: Path) -> None:
    """What trains with a package from outside is the submission, not the package's own program."""
    write(tmp_path, "digits/__init__.py", "")
    write(tmp_path, "digits/loop.py", HEAD + TRAIN)
    write(tmp_path, "digits/nets.py", HEAD + net())
    uses = "from digits.loop import train\nfrom digits.nets import Net\n"
    write(
        tmp_path, "digits/cli.py", HEAD + net("Cli") + uses + MAKES.replace("Net", "Cli") + LEARNS
    )
    notebook(tmp_path, HEAD + uses, MAKES, LEARNS)
    assert found(read_program(tmp_path)).class_name == "Net"


def test_two_files_that_train_are_rivals(tmp_path: Path) -> None:
    """Of a notebook and a script that both train nothing says which one counts."""
    write(
        tmp_path, "other.py", HEAD + net("Other") + TRAIN + MAKES.replace("Net", "Other") + LEARNS
    )
    notebook(tmp_path, HEAD + net() + TRAIN, MAKES, LEARNS)
    assert refusal(tmp_path).found == "other.py; work.ipynb"


def test_a_package_is_read_as_one(tmp_path: Path) -> None:
    """A package with relative imports and a `__main__.py` is a submission like any other."""
    folder = tmp_path / "solution_package"
    write(folder, "__init__.py", '"""Mine."""\n')
    write(folder, "model.py", HEAD + net())
    write(folder, "__main__.py", HEAD + "from .model import Net\n" + MAKES)
    assert parameters(read_program(folder)) == 70


def test_tests_and_hidden_files_are_no_entries(tmp_path: Path) -> None:
    """Tests, checkpoints and setup files are passed over."""
    write(tmp_path, "net.py", HEAD + net())
    for name in ("test_net.py", ".ipynb_checkpoints/net.py", "tests/helper.py", "conftest.py"):
        write(tmp_path, name, HEAD + net("Hidden") + MAKES.replace("Net", "Hidden"))
    assert found(read_program(tmp_path)).class_name == "Net"


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """A folder without code says so."""
    assert "holds no code" in refusal(tmp_path).message


@pytest.mark.parametrize("prefix", ["", "hand-in/", "a/b/"])
def test_archives_are_read(tmp_path: Path, prefix: str) -> None:
    """An archive of files or of a folder; what macOS adds is passed over."""
    path = archive(
        tmp_path,
        {
            f"{prefix}model.py": HEAD + net(),
            f"{prefix}main.py": HEAD + "from model import Net\n" + MAKES,
            f"__MACOSX/{prefix}._main.py": b"\0\1",
            f"{prefix}.DS_Store": b"\0",
            f"{prefix}data/big.bin": b"\0" * 1000,
        },
    )
    program = read_program(path)
    assert found(program).where == "main.py, line 7"


def test_an_archive_in_an_archive(tmp_path: Path) -> None:
    """One level of nesting is opened, a second is not."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as made:
        made.writestr("net.py", HEAD + net())
    path = archive(tmp_path, {"hand-in.zip": inner.getvalue()})
    assert found(read_program(path)).class_name == "Net"
    deeper = io.BytesIO()
    with zipfile.ZipFile(deeper, "w") as made:
        made.writestr("hand-in.zip", inner.getvalue())
    assert "no code" in refusal(archive(tmp_path, {"x.zip": deeper.getvalue()})).message


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "a/../../evil.py", "C:/evil.py"])
def test_names_that_climb_out_are_refused(tmp_path: Path, name: str) -> None:
    """Nothing is written outside the archive's own folder."""
    error = refusal(archive(tmp_path, {name: HEAD + net()}))
    assert "outside" in error.found
    assert not list(tmp_path.parent.glob("evil.py"))


def test_links_in_archives_are_refused(tmp_path: Path) -> None:
    """A symbolic link in an archive is refused."""
    path = tmp_path / "work.zip"
    with zipfile.ZipFile(path, "w") as made:
        link = zipfile.ZipInfo("net.py")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(link, "/etc/passwd")
    assert "link" in refusal(path).found


@pytest.mark.parametrize("content", [b"", b"PK\3\4garbage", b"no archive"])
def test_broken_archives_are_refused(tmp_path: Path, content: bytes) -> None:
    """What is no archive is the submission's fault, and said so."""
    path = tmp_path / "work.zip"
    path.write_bytes(content)
    assert "archive" in refusal(path).message


def test_archives_inside_share_one_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small archives that unpack to much are one bomb, in bytes and in files."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("pad.py", b"#" * 2_000_000)
        made.writestr("empty.py", b"")
    path = archive(tmp_path, {f"{n}.zip": inner.getvalue() for n in range(5)})
    monkeypatch.setattr("grader.submission.archive.Room.__init__", _room(size=9_000_000))
    assert "when unpacked" in refusal(path).found
    monkeypatch.setattr("grader.submission.archive.Room.__init__", _room(members=14))
    assert "files, of at most" in refusal(path).found
    monkeypatch.setattr("grader.submission.archive.Room.__init__", _room())
    assert "archive" not in refusal(path).message


def _room(members: int = 10_000, size: int = 10**8) -> Callable[[object], None]:
    def small(room: object) -> None:
        vars(room).update(members=members, size=size)

    return small


@pytest.mark.parametrize(
    ("name", "content"),
    [("essay.pdf", "%PDF"), ("net.rar", "Rar!"), ("net.zip", "PK"), ("link.txt", "https:"),
     ("net.py", " "), ("net.ipynb", '{"cells": []}'), ("net.ipynb", "<html>"), ("", "")],
)  # fmt: skip
def test_what_holds_no_code_is_told_apart_from_what_is_wrong(
    tmp_path: Path, name: str, content: str
) -> None:
    """A person has to look at it, since no check can; also out of the process that reads."""
    path = write(tmp_path, name, content) if name else tmp_path
    answer = apart._read(apart._Task(bytes(path), None, None))

    assert isinstance(answer, apart._Error)
    with pytest.raises(NoCode) as caught:
        apart._answer(msgspec.json.encode(answer))
    assert caught.value.fault == "no-code"
