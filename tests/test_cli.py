"""What `grade` says to a command line that it cannot use, and what it passes on."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from grader import __version__, cli
from grader.commands import COMMANDS
from grader.options import OPTIONS

WITH_VALUE = [o.name for o in (*OPTIONS[2:], *cli._FILES) if o.value]


@pytest.fixture(autouse=True)
def path_of_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what `grade` does to the path of imports from other tests."""
    monkeypatch.setattr(sys, "path", [*sys.path])


def test_nothing_is_imported_from_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither as `python -m` names the folder, nor as an empty entry of PYTHONPATH does."""
    monkeypatch.chdir(tmp_path)
    sys.path[:0] = ["", str(tmp_path), "."]
    cli.run(["--version"])

    assert capsys.readouterr().out
    assert not {"", str(tmp_path), "."} & {*sys.path}


def test_an_option_before_the_path_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """`grade --out marks net.py` says that the path comes first; exit status 4."""
    assert cli.run(["--out", "marks", "net.py"]) == 4

    said = capsys.readouterr().err
    assert "comes first" in said
    assert "found --out" in said


@pytest.mark.parametrize("rest", [[], ["--official"], ["--junitxml=x.xml"]], ids=str)
@pytest.mark.parametrize("option", WITH_VALUE)
def test_an_option_without_its_value_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], option: str, rest: list[str]
) -> None:
    """Whether it stands last or before another option, the message says what should follow."""
    assert cli.run(["net.py", "--quick", option, *rest]) == 4
    assert f"expected: {option} " in capsys.readouterr().err


@pytest.mark.parametrize("option", WITH_VALUE)
def test_an_empty_value_is_wrong_usage(capsys: pytest.CaptureFixture[str], option: str) -> None:
    """An unset variable of a shell (`--out "$DIR"`) is not the current folder."""
    assert cli.run(["net.py", option, ""]) == 4
    assert option in capsys.readouterr().err


@pytest.mark.parametrize("value", ["-1", "0.5", "many", "9" * 30, "٣x"])
@pytest.mark.parametrize("option", ["--seed", "--runs"])
def test_numbers_are_whole_and_within_bounds(
    capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    """A number that cannot be used is shown, beside the bounds."""
    assert cli.run(["net.py", f"{option}={value}"]) == 4
    assert f"found {value!r}" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], [""], ["compare"], ["compare", "a"], ["doctor", "a"]])
def test_a_missing_path_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Without a path, or with one too many, there are words and exit status 4."""
    assert cli.run(arguments) == 4
    assert "grade" in "".join(capsys.readouterr())


def test_help_lists_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    """`grade --help` has all options of the table, and `grade net.py --help` says the same."""
    assert cli.run(["--help"]) == 0
    text = capsys.readouterr().out
    listed = set(re.findall(r"^  (--[a-z-]+)", text, re.M))

    assert {option.name for option in OPTIONS[2:]} <= listed
    assert "Exit status:\n  0  all selected checks passed" in text
    assert cli.run(["net.py", "--help"]) == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """`grade compare --help`, `grade doctor --help` and the others say what they do."""
    assert cli.run([command, "--help"]) == 0
    assert f"usage: grade {command}" in capsys.readouterr().out


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """`grade --version` prints the version of the grader."""
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"grade {__version__}\n"


def test_paths_are_those_of_the_persons_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Pytest works elsewhere, so every path is made absolute; its own options are passed on."""
    given: list[str] = []

    def note(options: list[str]) -> int:
        given.extend(options)
        return 0

    monkeypatch.setattr(cli, "_run_pytest", note)
    monkeypatch.chdir(tmp_path)

    cli.run([
        "net.py", "--junitxml", "j.xml", "-k", "loads", "--rubric", "r.toml", "--quick", "-q",
        "--resources", "GPU=1",
    ])  # fmt: skip
    assert given == [
        f"--submission={tmp_path / 'net.py'}", "--quick", f"--rubric={tmp_path / 'r.toml'}",
        f"--out={tmp_path / 'grades'}", "--resources=GPU=1.0",
        f"--junitxml={tmp_path / 'j.xml'}", "-k", "loads", "-q",
    ]  # fmt: skip


def test_a_current_folder_that_is_gone_is_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the folder was deleted under a shell, `grade` says so; no traceback."""

    def gone() -> Path:
        raise FileNotFoundError("no such folder")

    monkeypatch.setattr(Path, "cwd", gone)
    assert cli.run(["net.py"]) == 4
    assert "the current folder cannot be used" in capsys.readouterr().err
