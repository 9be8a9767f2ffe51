"""Archives with hostile members: nothing is written anywhere, and what is wrong is refused."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import sys
import tempfile
import zipfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grader.errors import SubmissionError
from grader.submission import read_program
from tests.reading import HEAD, found, net, parameters, refusal, write

NET = HEAD + net() + "MODEL = Net(3)\n"
PARTS = st.sampled_from(
    ["..", ".", "", "...", "....", " ", "C:", "c:x", "\\", "..\\..", "\\\\host\\share", "/",
     "a" * 300, "é", "e\u0301", "net", "NET", "con", "nul.py", "-x", "\0", "x\0y", "\n", "\x1b[2J",
     "\u202e", "~", "$HOME", "%2e%2e", "__init__", "tests", "venv", "__MACOSX"]
)  # fmt: skip
ENDINGS = st.sampled_from([".py", ".ipynb", ".zip", "..zip", "...zip", "/", "", ".PY", ".Zip"])
NAMES = st.builds(
    lambda parts, slash, ending: slash.join(parts) + ending,
    st.lists(PARTS, min_size=1, max_size=5),
    st.sampled_from(["/", "\\", "//"]),
    ENDINGS,
)
KINDS = st.sampled_from([0, stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
MEMBERS = st.lists(st.tuples(NAMES, KINDS), max_size=6)
SOME = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def zipped(members: list[tuple[str, int]], content: bytes, *more: tuple[str, bytes]) -> bytes:
    """Make an archive whose members have these names and kinds of file, and others inside it."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        plain = ((name, kind, content) for name, kind in members)
        for name, kind, data in (*plain, *((name, 0, data) for name, data in more)):
            info = zipfile.ZipInfo("x" * max(1, len(name.encode())))
            info.external_attr = (kind | 0o777) << 16
            info.filename = info.orig_filename = name or "x"  # past the corrections of ZipInfo
            archive.writestr(info, b"/etc/passwd" if kind == stat.S_IFLNK else data)
    return made.getvalue()


def everything(folder: Path) -> dict[str, bytes | None]:
    """Return all that lies in a folder: files with their content, and folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@SOME
@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(MEMBERS, st.lists(st.tuples(MEMBERS, NAMES), max_size=2), st.booleans())
def test_no_archive_writes_anywhere(
    members: list[tuple[str, int]],
    nested: list[tuple[list[tuple[str, int]], str]],
    in_folder: bool,
) -> None:
    """Whatever members are called, nothing is created or changed, and only words come out."""
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        folder = Path(place)
        for name in ("tmp", "cwd", "in"):
            (folder / name).mkdir()
        path = folder / "in" / "work.zip"
        inside = [(name, zipped(inner, NET.encode())) for inner, name in nested]
        path.write_bytes(zipped(members, NET.encode(), *inside))
        patch.setattr(tempfile, "tempdir", str(folder / "tmp"))
        patch.chdir(folder / "cwd")
        before = everything(folder)
        with contextlib.suppress(SubmissionError):
            read_program(folder / "in" if in_folder else path)
        assert everything(folder) == before


@SOME
@given(st.data())
def test_damaged_archives_are_read_or_refused(data: st.DataObject) -> None:
    """Any bytes in any place of an archive give a Program or words."""
    inner = zipped([("net.py", 0)], NET.encode())
    raw = bytearray(zipped([("a/net.py", 0), ("a/b.ipynb", 0)], NET.encode()))
    if data.draw(st.booleans()):
        raw = bytearray(zipped([("x.zip", 0)], inner))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(raw) - 1))
        new = data.draw(st.binary(min_size=1, max_size=8) | st.just(b"\xff\xff\xff\xff"))
        raw[at : at + len(new)] = new
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "work.zip")
        path.write_bytes(raw)
        with contextlib.suppress(SubmissionError):
            read_program(path)


@pytest.mark.parametrize("name", ["...zip", "a/...zip", "a/..zip", "...zip/...zip"])
def test_an_archive_called_like_the_folder_above(tmp_path: Path, name: str) -> None:
    """An archive inside another makes no folder, whatever its name without its ending means."""
    path = tmp_path / "in" / "work.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(name, zipped([("evil.py", 0), ("grader/__init__.py", 0)], NET.encode()))
    before = everything(tmp_path)
    assert "no code" in refusal(path).message
    assert everything(tmp_path) == before


def test_an_archive_inside_is_opened_where_nothing_else_is(tmp_path: Path) -> None:
    """An older version that lies as an archive beside the code is left alone."""
    path = tmp_path / "work.zip"
    old = zipped([("net.py", 0)], (HEAD + net("Old") + "MODEL = Old\n").encode())
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("old.zip", old)
        made.writestr("net.py", NET)
    assert found(read_program(path)).class_name == "Net"
    path.write_bytes(zipped([("old.zip", 0)], old))
    assert found(read_program(path)).class_name == "Old"


@pytest.mark.parametrize("around", ["", "project/", "a/b/"])
def test_a_folder_that_holds_an_archive_alone(tmp_path: Path, around: str) -> None:
    """The folder that a course system makes around an upload is read as the upload."""
    folder = tmp_path / "Ada Lovelace_123_file"
    write(folder, "readme.txt", "see the zip")
    path = folder / "work.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(f"{around}model.py", HEAD + net())
        made.writestr(f"{around}run.py", HEAD + "from model import Net\nMODEL = Net(3)\n")
    program = read_program(folder)
    assert parameters(program) == 70
    assert found(program).where == "run.py, line 7"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compressions_are_refused(tmp_path: Path, method: int) -> None:
    """Only what every system's own tool writes is unpacked: others have no bound on memory."""
    path = tmp_path / "work.zip"
    with zipfile.ZipFile(path, "w", method) as made:
        made.writestr("net.py", NET)
    assert "compression" in refusal(path).found


def test_a_member_that_says_it_is_small(tmp_path: Path) -> None:
    """No more is unpacked of a member than its entry says."""
    path = tmp_path / "work.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("net.py", "#" * 50_000_000)
    data = path.read_bytes().replace(struct.pack("<L", 50_000_000), struct.pack("<L", 100))
    path.write_bytes(data)
    assert "archive" in refusal(path).message


def test_a_script_of_many_megabytes_is_not_unpacked(tmp_path: Path) -> None:
    """What no person writes is refused by its size, before it is unpacked."""
    path = tmp_path / "work.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("net.py", "#" * 20_000_000)
    error = refusal(path)
    assert "too large" in error.message
    assert error.expected == "at most 2 MB"


def test_what_may_not_be_read_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in a folder that the grader may not read is named in a note."""
    write(tmp_path, "net.py", NET)
    write(tmp_path, "locked.py", NET)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked.py")
    assert "not readable: locked.py" in read_program(tmp_path).notes


FOLDER_NAMES = st.sampled_from(
    ["net.py", "a.ipynb", "w.zip", "...zip", "sub", "tests", "__init__.py", "model.py", ".py",
     "é.py", "e\u0301.py", "NET.PY", "x" * 200, "\udcff.py", "a\n.py", "-c.py", "data.bin"]
)  # fmt: skip
IMPORTS = st.sampled_from(
    ["from model import *", "from ..theirs import Net", "from theirs import Net", "import sub",
     "import sys; sys.path.append('..')", "from . import net", "%run ../theirs.py",
     "from sub.model import Net", "from in_.model import Net", "MODEL = Net(3)"]
)  # fmt: skip
ENTRIES = st.lists(
    st.tuples(
        st.lists(FOLDER_NAMES, min_size=1, max_size=3),
        st.sampled_from(["file", "file", "file", "link", "folder link", "pipe", "loop"]),
        st.lists(IMPORTS, max_size=3),
    ),
    max_size=8,
)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not take such names")
@SOME
@given(ENTRIES)
def test_no_folder_leads_out_of_itself(entries: list[tuple[list[str], str, list[str]]]) -> None:
    """Whatever a folder holds and imports, nothing of another's file comes out, only words."""
    with tempfile.TemporaryDirectory() as place:
        theirs = HEAD + "SECRET_9731 = 5\n" + net().replace("width=10", "width=SECRET_9731")
        write(Path(place), "theirs.py", theirs)
        top = Path(place, "in_")
        top.mkdir()
        for parts, kind, imports in entries:
            path = top.joinpath(*parts)
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                if os.path.lexists(path):  # to write into a pipe would wait for a reader
                    continue
                if kind == "file":
                    path.write_text("\n".join([HEAD, *imports, net()]))
                elif kind == "pipe":
                    os.mkfifo(path)
                else:
                    target = {"link": "../theirs.py", "folder link": "..", "loop": path.name}[kind]
                    path.symlink_to(top / target)
        try:
            told = str(msgspec.json.encode(read_program(top)))
        except SubmissionError as error:
            told = str(error)
        assert "SECRET_9731" not in told
