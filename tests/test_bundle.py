"""An autograder for Gradescope: what is in the zip, and what it answers in a container."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

from grader import autograder, bundle, cli
from grader import record as records
from grader import rubric as rubrics
from grader.autograder import main
from grader.record import Protections, Submission
from grader.reporting import found
from grader.reports.given import Results
from grader.reports.told import protection
from grader.sandbox import protections
from grader.submission.files import sha256_of
from tests import importing, schemas
from tests.grading import EXAMPLES
from tests.making import check, record

LAST = {"score": 70.0, "tests": [], "output": "as it was", "secret": "x"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make the folder that Gradescope gives an autograder, with one script handed in."""
    for name in ("source/graded", "submission", "results"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(EXAMPLES / "too_short.py", tmp_path / "submission" / "net.py")
    shutil.copy(rubrics.DEFAULT, tmp_path / "source" / bundle.RUBRIC)
    return tmp_path


def results(root: Path) -> dict[str, Any]:
    """Return what Gradescope would read, held to its schema."""
    read = schemas.read(root / "results" / "results.json")
    schemas.check(read, schemas.GRADESCOPE)
    return read


def kept(folder: Path, path: Path, **more: Any) -> Path:
    """Write the record of a submission that is graded whole; return the folder of all."""
    submission = Submission(path.name, str(path), sha256_of(path), key="ada")
    values = {"status": "complete", "score": 95.0, "checks": [check()], "submission": submission}
    values["rubric_sha256"] = rubrics.sha256_of(rubrics.load())
    (folder / "ada").mkdir(parents=True)
    records.save(record(60, **(values | more)), folder / "ada")
    return folder


# The zip


def test_the_scripts_lie_at_the_top_and_can_be_run(tmp_path: Path) -> None:
    """As Gradescope wants them; a shell understands both."""
    out = tmp_path / "b.zip"
    assert cli.run(["gradescope-bundle", str(out)]) == 0

    for name, content in importing.files(out.read_bytes()).items():
        if name in ("setup.sh", "run_autograder"):
            assert content.startswith(b"#!/usr/bin/env bash\n")
            subprocess.run(["bash", "-n"], input=content, check=True)


def test_the_grader_is_in_it_as_a_wheel(tmp_path: Path) -> None:
    """It can be installed, with its name, version, command and data."""
    ((name, content),) = bundle._wheel().items()
    (tmp_path / name).write_bytes(content)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, f"--target={tmp_path / 'site'}", str(tmp_path / name)], check=True)
    (info,) = (tmp_path / "site").glob("*.dist-info")
    about: Message = Parser().parsestr((info / "METADATA").read_text(encoding="utf-8"))

    assert about["Name"] == bundle.NAME
    assert "grade = grader.cli:main" in (info / "entry_points.txt").read_text(encoding="utf-8")
    assert (tmp_path / "site" / "grader" / "datasets" / "NOTICE").exists()


def test_every_package_has_the_version_that_it_has_here() -> None:
    """So that the checks there say what they say here; no build of PyTorch is named."""
    lines = [*bundle._constraints()]

    assert {"torch", "numpy", "pytest"} <= {line.partition("==")[0] for line in lines}
    assert all("==" in line and "+" not in line for line in lines)


@pytest.mark.parametrize(
    ("more", "known"),
    [({}, 1), ({"status": "partial"}, 0), ({"score": None}, 0), ({"rubric_sha256": "0" * 64}, 0)],
    ids=["whole", "partial", "fault", "another rubric"],
)
def test_what_is_graded_whole_is_shipped(tmp_path: Path, more: dict[str, Any], known: int) -> None:
    """Neither some checks alone nor a fault of the grader is a result, nor points of others."""
    grades = kept(tmp_path, EXAMPLES / "too_short.py", **more)

    assert bundle.bundle(rubrics.load(), rubrics.DEFAULT, grades)[1:] == (known, 1 - known)


# In the container


def test_files_that_were_graded_get_their_result_at_once(root: Path, tmp_path: Path) -> None:
    """Whether they were graded as a file or as the folder around it."""
    for at, path in enumerate([root / "submission", root / "submission" / "net.py"]):
        graded, _ = found(kept(tmp_path / str(at), path))
        for name, content in bundle._known(Results(tuple(graded), rubrics.load(), tmp_path)):
            (root / "source" / "graded" / f"{name}.json").write_bytes(content)
        assert main(root) == 0
        assert results(root)["score"] == 95
        shutil.rmtree(root / "source" / "graded")
        (root / "source" / "graded").mkdir()


def metadata(root: Path, *previous: dict[str, Any]) -> None:
    """Write what Gradescope tells about earlier submissions."""
    told = {"id": 1, "previous_submissions": [*previous]}
    (root / "submission_metadata.json").write_text(json.dumps(told), encoding="utf-8")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the container too small to grade in."""
    monkeypatch.setattr(autograder, "memory", lambda: 768)


@pytest.mark.usefixtures("small")
def test_a_fault_gives_the_last_result_again(root: Path) -> None:
    """With a word that it is the last one's, and without fields that Gradescope does not know."""
    metadata(
        root, {"results": LAST, "autograder_error": False, "submission_time": "2026-12-01"},
        {"autograder_error": True, "results": {"score": 0, "tests": []}},
    )  # fmt: skip

    assert main(root) == 0
    assert results(root)["score"] == 70
    assert "2026-12-01" in results(root)["output"]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("told", [None, "{", "[]", '{"previous_submissions": [{}, 3]}'], ids=str)
def test_a_fault_without_a_last_result_is_no_file(
    root: Path, told: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor a zero; the instructor reads why."""
    if told is not None:
        (root / "submission_metadata.json").write_text(told, encoding="utf-8")

    assert main(root) == 1
    assert not (root / "results" / "results.json").exists()
    assert "768 MB" in capsys.readouterr().out


@pytest.mark.parametrize(("code", "status"), [(1, 0), (-9, 1), (2, 1), (3, 1), (4, 1)])
def test_a_grader_that_was_killed_or_failed_has_no_result(
    root: Path, monkeypatch: pytest.MonkeyPatch, code: int, status: int
) -> None:
    """Whatever stands in a record that it left."""

    def ended(command: list[str], *, cwd: Path, **_: Any) -> subprocess.CompletedProcess[bytes]:
        kept(cwd / "grades", root / "submission" / "net.py")
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(autograder, "memory", lambda: 2_000)
    monkeypatch.setattr("grader.autograder.subprocess.run", ended)

    assert main(root) == status
    assert (root / "results" / "results.json").exists() is (status == 0)


def nobody_runs_python() -> bool:
    """Tell whether the user who grades in a container may run this Python."""
    with contextlib.suppress(PermissionError):
        return subprocess.run([sys.executable, "-c", ""], user=65534, check=False).returncode == 0
    return False


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0 or nobody_runs_python(),
    reason="the user nobody may run this Python",
)
def test_a_python_that_nobody_may_run_is_named(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is installed for everybody in a container, and what to do is said where it is not."""
    monkeypatch.setattr(autograder, "memory", lambda: 2_000)

    assert main(root) == 1
    assert f"may not run {sys.executable}" in capsys.readouterr().out


@pytest.mark.slow
def test_what_is_new_is_graded_without_training(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With points for what was judged alone, and what protected the container."""
    monkeypatch.setattr(autograder, "memory", lambda: 2_000)
    if os.geteuid() == 0 and not nobody_runs_python():  # this Python is root's own
        monkeypatch.setattr(autograder, "_NOBODY", 0)

    assert main(root) == 0
    assert results(root)["score"] == 60
    assert "60 of 100 points" in results(root)["output"]
    level = results(root)["extra_data"]["protection"]
    assert level in ("full", "container", "none")
    assert f"protection: {level}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lacking", "level"),
    [
        ((), "full"), (("Landlock",), "full"), (protections.NAMESPACES, "container"),
        (("network namespace", "Landlock"), "container"), (("seccomp",), "none"),
    ],
    ids=str,
)  # fmt: skip
def test_without_namespaces_the_container_has_to_keep_it(
    lacking: tuple[str, ...], level: str
) -> None:
    """The level says what was in force, between everything and nothing."""
    present = [each.name for each in protections.ALL if each.name not in lacking]

    assert protection(record(sandbox=Protections(present, []))) == level
    assert protection(record(sandbox=Protections([], []))) == ""
