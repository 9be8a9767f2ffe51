"""Hostile texts, notebooks, folders and archives: bounded memory and time, and never our fault."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grader import process
from grader.errors import Crashed, GraderFault, LimitReached, SubmissionError, UsageFault
from grader.submission import apart
from grader.submission.apart import read_apart
from tests.reading import HEAD, net, notebook, write

pytestmark = pytest.mark.slow
NET = HEAD + net() + "MODEL = Net(3)\n"
SELF = 150  # MB that the grader's own process may add while a submission is read


def _cells(outputs: str) -> str:
    """Return the text of a notebook with such outputs, and with a network in another cell."""
    first = f'{{"cell_type": "code", "source": "x = 1", "outputs": {outputs}}}'
    second = json.dumps({"cell_type": "code", "source": NET})
    return f'{{"cells": [{first}, {second}]}}'


def _script(text: str | bytes) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        path = folder / "net.py"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return made


def _json(text: str) -> Callable[[Path], Path]:
    return lambda folder: write(folder, "net.ipynb", text)


def _zipped(name: str, text: str) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        path = folder / "work.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, text)
        return path

    return made


def _hole(name: str, size: int) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        write(folder, "in/net.py", NET)
        with (folder / "in" / name).open("wb") as file:
            os.truncate(file.fileno(), size)
        return folder / "in"

    return made


def _deep(levels: int, name: str) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        top = here = folder / "in"
        write(top, "net.py", NET)
        there = os.open(top, os.O_RDONLY)
        for _ in range(levels):  # step by step: the whole path is longer than a path may be
            os.mkdir(name, dir_fd=there)
            below = os.open(name, os.O_RDONLY, dir_fd=there)
            os.close(there)
            there = below
        os.close(os.open("deep.py", os.O_CREAT | os.O_WRONLY, dir_fd=there))
        os.close(there)
        return here

    return made


def _many_directory_entries(folder: Path) -> Path:
    """Write an archive that lists the same member three million times."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a.py", "")
    data = made.getvalue()
    start, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entry, count = data[start:end], 3_000_000
    last = bytearray(data[end:])
    last[8:12] = b"\xff\xff\xff\xff"
    last[12:16] = (len(entry) * count).to_bytes(4, "little")
    path = folder / "work.zip"
    path.write_bytes(data[:start] + entry * count + bytes(last))
    return path


READ = {
    "coding undefined": _script(b"# coding: undefined\n" + NET.encode()),
    "coding that is no text": _script(b"# coding: rot13\n" + NET.encode()),
    "a literal of hex digits": _script(NET + "if True:\n    BIG = 0x" + "f" * 50_000 + "\n"),
    "a hole of a gigabyte": _hole("data.bin", 1 << 30),
    "a notebook of a gigabyte": _hole("data.ipynb", 1 << 30),
    "a script of a terabyte": _hole("data.py", 1 << 40),
    "990 folders": _deep(990, "d"),
    "990 folders of long names": _deep(990, "d" * 250),
    "commands": _json(
        json.dumps({"cells": [{"cell_type": "code", "source": "!ls\n" * 20_000 + NET}]})
    ),
    "cells of commands": _json(
        json.dumps({"cells": [{"cell_type": "code", "source": s}
                              for s in ["!ls\n%cd x\ny = !a\n" * 100] * 200 + [NET]]})
    ),
    "outputs of 180 MB": _json(
        _cells('["' + "A😀" * 36_000_000 + '"]')
    ),
    "outputs of lists": _json(
        _cells("[" + "[]," * 30_000_000 + "[]]")
    ),
    "outputs that are not JSON": _json(
        _cells("[NaN, -Infinity]")
    ),
    "half of a pair": _json(
        _cells('["\\ud83d"]')
    ),
    "prints of old Python": _script("".join(f"print 'a', {n}\n" for n in range(250)) + NET),
}  # fmt: skip
REFUSED = {
    "coding punycode": _script(b"# coding: punycode\n" + b"ab-c" * 500_000),
    "worksheets of no list": _json('{"nbformat": 3, "worksheets": [{"cells": 5}]}'),
    "worksheets of nothing": _json('{"nbformat": 3, "worksheets": [null, 3, {"cells": [7]}]}'),
    "a notebook of lists": _json('{"cells": [' + "[]," * 60_000_000 + "[]]}"),
    "a notebook of cells": _json('{"cells": [' + "{}," * 60_000_000 + "{}]}"),
    "a notebook of odd JSON": _json('{"cells": [NaN, ' + "[]," * 10_000_000 + "[]]}"),
    "a deep notebook": _json('{"cells": ' + "[" * 1_000_000),
    "180 MB of cells in an archive": _zipped("net.ipynb", '{"cells": [' + "[1]," * 45_000_000),
    "zeros": _script(b"\0" * 1_900_000),
    "many names": _script("a;" * 240_000),
    "deep code": _script("x = " + "(" * 90 + "-" * 400_000 + "1" + ")" * 90),
    "deep attributes": _script("x = a" + ".b" * 200_000),
    "deep blocks": _script("".join(" " * n + "if x:\n" for n in range(900)) + " " * 900 + "y"),
    "magic upon magic": _script("%%time\n" * 70_000 + "x = = 1"),
    "an archive of three million members": _many_directory_entries,
    "a name of many parts": _script("import " + "a." * 100_000 + "b\n"),
}

EMPTY = {
    "dense code": _script("x = [" + "-a," * 160_000 + "]\n"),
    "prints without end": _script("print 'a'\n" * 40_000),
    "a path of a megabyte": _script("import sys\nsys.path.append('" + "a/" * 200_000 + "')\n"),
    "dots without end": _script("from " + "." * 200_000 + "a import b\n"),
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Give a folder that is removed at once, however deep: pytest's own way stops at 1,000."""
    yield tmp_path
    subprocess.run(["rm", "-rf", str(tmp_path)], check=True)


def peak_of_this_process(path: Path) -> tuple[str, float]:
    """Read it in a fresh process as the grader does: what came of it, and megabytes it took."""
    code = (
        "import json, resource, sys\nfrom pathlib import Path\n"
        "from grader.errors import SubmissionError\n"
        "from grader.submission.files import sha256_of\n"
        "from grader.submission.apart import read_apart\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "path = Path(sys.argv[1])\nsha256_of(path)\n"
        "try:\n    statements = read_apart(path, model=None, recipe=None).modules[-1].statements\n"
        "    found = 'Net' if any('class Net' in s.source for s in statements) else 'no network'\n"
        "except SubmissionError as error:\n    found = 'refused: ' + str(error)\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(json.dumps([found, (after - before) / 1000]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    found, peak = json.loads(done.stdout)
    return found, peak


@pytest.mark.parametrize("kind", READ)
def test_what_looks_hostile_and_holds_a_network_is_read(place: Path, kind: str) -> None:
    """Oddities around a network cost the grader's own process little, and the network is found."""
    found, peak = peak_of_this_process(READ[kind](place))
    assert found == "Net"
    assert peak < SELF


@pytest.mark.parametrize("kind", EMPTY)
def test_what_looks_hostile_and_holds_nothing_is_read(place: Path, kind: str) -> None:
    """It is for the sandbox to say that no network is in it; reading it costs little."""
    found, peak = peak_of_this_process(EMPTY[kind](place))
    assert found == "no network"
    assert peak < SELF


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_within_bounds_is_refused(place: Path, kind: str) -> None:
    """It is the submission's error in words, and the grader's own process takes no harm."""
    found, peak = peak_of_this_process(REFUSED[kind](place))
    assert found.startswith("refused: ")
    assert "please report" not in found
    assert peak < SELF


ENDS = {
    "import os; os.abort()": (Crashed, "SIGABRT"),
    "import os; os.kill(os.getpid(), 11)": (Crashed, "SIGSEGV"),
    "import os; os.kill(os.getpid(), 24)": (LimitReached, "takes too long"),
    "import os; os.kill(os.getpid(), 9)": (GraderFault, "SIGKILL"),
    "raise SystemExit('no such module')": (GraderFault, "no such module"),
    "import time; time.sleep(60)": (LimitReached, "takes too long"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="numbers of signals")
@pytest.mark.parametrize("code", ENDS)
def test_how_the_reading_process_ends_says_whose_fault_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """A crash and a bound are the submission's; a process that others kill is the grader's."""
    path = write(tmp_path, "net.py", NET)
    monkeypatch.setattr(process, "python", lambda *_: [sys.executable, "-c", code])
    monkeypatch.setattr(apart, "_WAITED", 2 if "sleep" in code else 60)
    kind, words = ENDS[code]
    with pytest.raises(kind) as caught:
        read_apart(path, model=None, recipe=None)
    assert words in str(caught.value)
    assert caught.type is kind


def test_errors_come_back_as_they_are(tmp_path: Path) -> None:
    """Wrong usage stays wrong usage, and a submission's error keeps its words and its place."""
    path = notebook(tmp_path, NET)
    assert read_apart(path, model="Other\udcff", recipe=None).model == "Other?"
    with pytest.raises(UsageFault, match="no such file"):
        read_apart(tmp_path / "nothing.py", model=None, recipe=None)
    with pytest.raises(SubmissionError, match="syntax error") as caught:
        read_apart(write(tmp_path, "a.py", "x = = 1"), model=None, recipe=None)
    assert caught.value.where == "a.py, line 1"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not take such names")
@pytest.mark.parametrize("name", ["\udcff\udcfe.py", "-m.py", "a\nb.py", "é\u0301😀.py"], ids=ascii)
def test_any_name_reaches_the_reading_process(tmp_path: Path, name: str) -> None:
    """Names that are no text, look like options or hold line ends are handed over unchanged."""
    (tmp_path / name).write_text(NET, encoding="utf-8")
    (entry,) = read_apart(tmp_path / name, model=None, recipe=None).modules
    assert any("class Net" in statement.source for statement in entry.statements)
