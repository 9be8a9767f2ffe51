"""The commands in the documentation can be typed: their options exist, and the course works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from grader import cli
from grader.commands import COMMANDS
from tests import rosters, schemas
from tests.downloads import CLASS, canvas, in_zip
from tests.grading import EXAMPLES, REPO
from tests.test_docs import PAGES
from tests.test_reports_formats import RUNNER

_LINES = re.compile(r"^(?:    )?grade (?!.*…)(?P<words>\S.*)$", re.M)
GRADE = [sys.executable, "-m", "grader.cli"]


def block(page: str, heading: str, language: str) -> str:
    """Return the first block of code in a section."""
    text = (REPO / "docs" / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    found = re.search(rf"```{language}\n(.*?)```", text, re.S)
    assert found
    return found[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPO)))
def test_every_option_of_a_command_exists(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever stands behind `grade` in a block of code."""
    for match in _LINES.finditer(page.read_text(encoding="utf-8")):
        words = match["words"].partition("#")[0].split()
        command = words[:1] if words[0] in COMMANDS else []  # else it grades
        cli.run([*command, "--help"])
        known = {*re.findall(r"--[a-z-]+", capsys.readouterr().out)}
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert options <= known, match[0]


@pytest.mark.slow
def test_a_course_goes_from_zero_to_grades(tmp_path: Path) -> None:
    """The commands of the page for instructors, in its order, on a small class of Canvas's.

    But for those with the course's secret, which train again, and have tests of their own.
    """
    code = (EXAMPLES / "too_short.py").read_bytes()
    students = [CLASS[0], CLASS[3]]
    tree = canvas(students)
    in_zip(tmp_path / "submissions.zip", dict(zip(tree, (code, b"def broken(:"), strict=True)))
    (tmp_path / "gradebook.csv").write_bytes(rosters.as_csv(rosters.canvas(CLASS)))
    (tmp_path / "times.csv").write_bytes(b"ID,submitted\ns1001,2026-12-01 18:05\n")
    page = (REPO / "docs" / "instructors.md").read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"```\n(.*?)```", page, re.S))
    ends = {}
    for line in [line for line in blocks.splitlines() if "salt" not in line]:
        command = line.removeprefix("grade ").split()
        ended = subprocess.run(
            [*GRADE, *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        ends[command[0]] = ended.returncode
        assert ended.returncode in (0, 1), line + ended.stdout + ended.stderr
    named = set(re.findall(r"`(grades/[\w.-]+)`", page))

    assert ends | {"doctor": 0} == dict.fromkeys(ends, 0) | {"class": 1}  # one of them is broken
    assert named
    assert [name for name in named if not (tmp_path / name).exists()] == []


@pytest.mark.slow
def test_the_workflow_for_github_leaves_a_summary_and_annotations(tmp_path: Path) -> None:
    """Its steps behind the installation, run as a runner does."""
    workflow = yaml.safe_load(block("reports.md", "GitHub Actions", "yaml"))
    steps = [step for step in workflow["jobs"]["grade"]["steps"] if "grades" in step.get("run", "")]
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "net.py").write_bytes(b"def broken(:")
    shim = tmp_path / "grader" / "bin" / "grade"
    shim.parent.mkdir(parents=True)
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m grader.cli "$@"\n')
    shim.chmod(0o755)
    named = {"RUNNER_TEMP": tmp_path, "GITHUB_STEP_SUMMARY": tmp_path / "summary",
             "GITHUB_WORKSPACE": tmp_path / "work"}  # fmt: skip
    ended = [
        subprocess.run(
            ["bash", "-e", "-c", step["run"]], cwd=tmp_path / "work", text=True, check=False,
            env=os.environ | {name: str(value) for name, value in named.items()},
            capture_output=True,
        )
        for step in steps
    ]  # fmt: skip

    assert [each.returncode for each in ended] == [1, 0], ended
    assert (tmp_path / "summary").read_text(encoding="utf-8").startswith("## work: ")
    assert ended[1].stdout.startswith("::error file=net.py,line=1,title=Loads::syntax error")


@pytest.mark.slow
def test_the_autograder_for_classroom50_leaves_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run in a checkout, but for the installation of the grader."""
    for name, value in RUNNER.items():
        monkeypatch.setenv(name, value)
    code = block("reports.md", "Classroom 50", "python")
    installs = re.compile(r"^subprocess\.run\(.*install.*\)\n", re.M)
    assert len(installs.findall(code)) == 2
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "autograder.py").write_text(installs.sub("", code), encoding="utf-8")
    rubric = (REPO / "grader" / "rubrics" / "mnist.toml").read_text(encoding="utf-8")
    text = rubric.replace("test_accuracy = 40", "test_accuracy = 0")
    (tmp_path / "own" / "rubric.toml").write_text(text, encoding="utf-8")
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "net.py").write_bytes((EXAMPLES / "too_short.py").read_bytes())
    subprocess.run(
        [sys.executable, tmp_path / "own" / "autograder.py"], cwd=tmp_path / "checkout", check=True
    )
    result = schemas.read(tmp_path / "checkout" / "result.json")

    schemas.check(result, schemas.CLASSROOM50)
    assert (result["score"], result["max-score"]) == (60, 60)
    assert (tmp_path / "checkout" / "release-body.md").exists()
