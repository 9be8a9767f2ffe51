"""`grade similar`: a class as it was downloaded, its records, the text, and both files."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.similarity import program
from grader import cli
from grader import record as records
from grader.intake import gather
from grader.plan import schema
from grader.plan.content import content_of
from grader.reports.similarity import render
from grader.similar import similar
from grader.similarity import Findings
from grader.similarity.findings import Compared, Group, Pair, Passage, Place
from tests.downloads import Student, canvas, gradescope, in_folder, in_zip
from tests.making import record

OWN = {name: "\n".join(program(random.Random(f"{name} {i}")) for i in range(6)) for name in "abcde"}


def notebook(*cells: str) -> bytes:
    """Return a notebook of code cells."""
    made = [{"cell_type": "code", "source": cell} for cell in cells]
    return json.dumps({"cells": made, "nbformat": 4}).encode()


def students(**files: dict[str, bytes]) -> list[Student]:
    """Return students by their last names, with what they handed in."""
    return [
        Student("Ada", last, last.lower(), f"s{at}", 10 + at, tree)
        for at, (last, tree) in enumerate(files.items())
    ]


CLASS = students(
    Abel={"net.py": OWN["a"].encode()},
    Baker={"main.ipynb": notebook("!pip install torch\n# mine", *OWN["a"].split("\n\n\n"))},
    Cole={"net.py": OWN["b"].encode(), "more.py": OWN["c"].encode()},
    Dale={"net.py": OWN["d"].encode()},
    Eddy={"main.ipynb": b"no notebook"},
    Ford={"notes.pdf": b"%PDF"},
)


def run(*arguments: object) -> int:
    """Run the command."""
    return cli.run(["similar", *map(str, arguments)])


def test_a_download_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A script and a notebook with the same code are a group, with names, cells and lines."""
    place, out = in_zip(tmp_path / "class.zip", gradescope(CLASS)), tmp_path / "found.json"
    status = run(place, f"--out={out}")
    shown = " ".join(capsys.readouterr().out.split())
    found = json.loads(out.read_bytes())

    assert status == 0
    assert "these share code: ada-abel-10 (Ada Abel), ada-baker-11 (Ada Baker)" in shown
    assert "main.ipynb, cell 2, line" in shown
    assert [group["members"] for group in found["groups"]] == [["ada-abel-10", "ada-baker-11"]]
    assert "ada-eddy-14 is not compared: main.ipynb is not a notebook" in found["notes"]
    assert "ada-ford-15 is not compared: it holds no code" in found["notes"]
    assert len(found["submissions"]) == 4


def test_staff_files_are_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A template that was handed in as it was is named, and its code is nobody's own."""
    tree = {"template.py": OWN["e"].encode()}
    class_ = students(
        A={"net.py": OWN["a"].encode(), **tree}, B={"net.py": OWN["b"].encode(), **tree},
        C={"all.py": (OWN["c"] + OWN["e"]).encode()},
    )  # fmt: skip
    place = in_folder(tmp_path / "class", canvas(class_))
    staff = in_folder(tmp_path / "staff", tree)
    run(place)
    without = capsys.readouterr().out
    run(place, "--staff", staff)
    shown = " ".join(capsys.readouterr().out.split())

    assert "these share code" in without
    assert "these share code" not in shown
    assert "files as the staff gave them: aada-10: template.py" in shown
    assert "code that stands in files of the staff" in shown


def test_a_person_of_the_roster_is_not_compared_with_themselves(tmp_path: Path) -> None:
    """Two files of one person, whom the roster knows, are no pair."""
    place = in_folder(
        tmp_path / "class",
        {"s1001_v1.py": OWN["a"].encode(), "s1001_v2.py": OWN["a"].encode()},
    )
    roster = tmp_path / "roster.csv"
    roster.write_text("id,name\ns1001,Ada Lovelace\ns1002,Bob Babbage\n")

    assert similar(place, None, [], tmp_path).findings.groups != []
    assert similar(place, roster, [], tmp_path).findings.groups == []


def plan(**more: Any) -> schema.Plan:
    """Make a plan of a network without operations."""
    graph = schema.Graph(["x"], [], "x")
    model = schema.Model("Net", "net.py, line 1", [1, 28, 28], [], graph, graph)
    recipe: dict[str, Any] = {
        "epochs": 3, "batch_size": 64, "optimizer": schema.Optimizer("SGD", [schema.Group([], {})]),
        "schedule": schema.Schedule([[0.1]]), "train_transform": [], "test_transform": [],
        "loss": graph, "drop_last": False,
    }  # fmt: skip
    return schema.Plan(model, schema.Recipe(**(recipe | more)), [])


def graded(grades: Path, class_: Path, plans: dict[str, schema.Plan]) -> None:
    """Write what a class run writes, as far as it is read."""
    for entry in gather([], class_).entries:
        if made := plans.get(entry.key):
            encoded = msgspec.json.encode(made)
            submission = records.Submission(entry.key, "", entry.sha256, key=entry.key)
            path = str(entry.path)
            records.save(
                record(
                    submission=msgspec.structs.replace(submission, path=path, id=_id(path)),
                    plan_sha256=hashlib.sha256(encoded).hexdigest(),
                    content_sha256=hashlib.sha256(content_of(made)).hexdigest(),
                ),
                grades / entry.key,
            )
            (grades / entry.key / "plan.json").write_bytes(encoded)


def _id(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:8]


def test_networks_are_compared_where_there_are_records(tmp_path: Path) -> None:
    """Equal plans are one set, the same network with other epochs another; old records are none."""
    class_ = in_folder(tmp_path / "class", {f"{k}.py": t.encode() for k, t in OWN.items()})
    other = plan()
    other = msgspec.structs.replace(
        other, model=msgspec.structs.replace(other.model, input_shape=[1, 32, 32])
    )
    named = msgspec.structs.replace(plan(), notes=["a remark"])
    graded(tmp_path / "grades", class_, {"a": plan(), "b": named, "c": other, "d": other})
    found = similar(class_, None, [], tmp_path / "grades").findings
    graded(tmp_path / "grades", class_, {"b": plan(epochs=4)})
    later = similar(class_, None, [], tmp_path / "grades").findings
    (class_ / "a.py").write_text("x = 1")
    changed = similar(class_, None, [], tmp_path / "grades").findings

    assert found.same_recipe == [["a", "b"], ["c", "d"]]
    assert found.same_graph == []
    assert later.same_recipe == [["c", "d"]]
    assert later.same_graph == [["a", "b"]]
    assert changed.same_graph == []
    assert "a has changed since it was graded: its network is unknown" in changed.notes


def test_the_archive_for_dolos_lists_its_files(tmp_path: Path) -> None:
    """Every row names a script of the archive; staff code is one file that is ignored."""
    place = in_zip(tmp_path / "class.zip", gradescope(CLASS))
    staff = in_folder(tmp_path / "staff", {"template.py": b"x = 1\n", "a.py": b"y = 2\n"})
    status = run(place, "--staff", staff, f"--dolos={tmp_path / 'dolos.zip'}")
    with zipfile.ZipFile(tmp_path / "dolos.zip") as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("info.csv").decode())))
        texts = {name: archive.read(name).decode() for name in archive.namelist()}

    assert status == 0
    assert {row["filename"] for row in rows} == {*texts} - {"info.csv"}
    assert rows[0]["full_name"] == "Ada Abel"
    assert rows[0]["created_at"].startswith("2024-12-05T11:49:00")
    assert [row["filename"] for row in rows if row["ignored"] == "true"] == ["_staff.py"]
    assert "x = 1" in texts["_staff.py"]
    assert "y = 2" in texts["_staff.py"]
    assert "# main.ipynb, cell 2\n" in texts["ada-baker-11.py"]


def test_wrong_paths_are_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A class, and staff files, that are not there end the command with what to try."""
    in_folder(tmp_path / "class", {"a.py": b"x = 1"})
    (tmp_path / "staff.pdf").write_bytes(b"%PDF")

    assert run(tmp_path / "nothing") == 4
    assert run(tmp_path / "class", "--staff", tmp_path / "staff.pdf") == 4
    assert "scripts, notebooks, folders, .zip" in capsys.readouterr().err


HOSTILE = "n\x1b[31m\u202e\n::error::.py"


def test_the_text_is_narrow_and_harmless() -> None:
    """Names with control characters are escaped, and no line is longer than 80 columns."""
    place = Place(HOSTILE, 1, HOSTILE, 9)
    pair = Pair("a", "b", 99, 0.5, 1, "graph", [Passage(99, place, place)] * 3)
    names = [Compared(key, HOSTILE * 3, templates=[HOSTILE], notes=[HOSTILE]) for key in "ab"]
    groups = [Group(["a", "b"], [pair] * 30, further=7)]
    found = Findings(names, [["a", "b"]] * 30, [["a", "b"]], groups, [HOSTILE], [HOSTILE])
    text = render(found)

    assert max(map(len, text.split("\n"))) <= 80
    assert not {"\x1b", "\u202e"} & {*text}
    assert not any(line.strip().startswith("::error") for line in text.split("\n"))
    assert "27 more pairs" in text
    assert "10 more" in text


def test_no_word_accuses() -> None:
    """The text says what is shared, and that it is no verdict."""
    pair = Pair("a", "b", 99, 0.5, 1)
    text = render(Findings([], [["a", "b"]], [], [Group(["a", "b"], [pair])], []))

    assert "these share code: a, b" in text
    assert "no verdict" in text
    assert not any(word in text.lower() for word in ("plagiar", "cheat", "copied", "suspect"))


def test_nothing_of_a_class_is_run_or_parsed() -> None:
    """The command imports neither pytest nor PyTorch, and no parser of submissions is called."""
    code = (
        "import sys, grader.similar, grader.reports.similarity\n"
        "assert not {'torch', 'pytest', '_pytest'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
