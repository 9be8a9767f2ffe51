"""The configuration of a grading run cannot come from the submission."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent
FILES = {
    "conftest.py": "open({marker!r}, 'w')",
    "pytest.ini": "[pytest]\naddopts = -p evil\npythonpath = .\n",
    "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-p evil'\npythonpath = ['.']\n",
    "tox.ini": "[pytest]\naddopts = -p evil\npythonpath = .\n",
    "setup.cfg": "[tool:pytest]\naddopts = -p evil\npythonpath = .\n",
}
# The one form in which pytest itself imports what a foreign ini file names, before any plugin of
# ours is asked: the path comes first, after a space. It is refused, but only afterwards.
TOO_LATE = "path first, space"
FORMS = {
    "path last, space": ["grader", "--submission", "{path}"],
    "path last, equals": ["grader", "--submission={path}"],
    TOO_LATE: ["--submission", "{path}", "grader"],
    "path first, equals": ["--submission={path}", "grader"],
    "single check": ["grader/checks/requirements.py::test_loads", "--submission", "{path}"],
    "options between": ["grader", "-rA", "--submission", "{path}", "-k", "loads"],
}


class Trap:
    """A submission with one hostile file in it or above it, and a marker the file would write."""

    def __init__(self, folder: Path, marker: Path, name: str, above: bool) -> None:
        self.path = folder / "hand in" / "net.py" if above else folder / "net.py"
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text("from torch import nn\nMODEL = nn.Linear(784, 10)\n")
        self.marker = marker
        payload = f"open({str(marker)!r}, 'w')\n"
        (folder / name).write_text(FILES[name].format(marker=str(marker)))
        (folder / "evil.py").write_text(payload)

    def run(self, *command: str, cwd: Path = REPO) -> subprocess.CompletedProcess[str]:
        """Run a command line in which {path} stands for the submission's folder."""
        arguments = [part.format(path=self.path.parent) for part in command]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        return subprocess.run(
            [str(Path(sys.executable).parent / arguments[0]), *arguments[1:]],
            cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    @property
    def sprung(self) -> bool:
        """Whether the hostile file's code ran."""
        return self.marker.exists()


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Path]:
    """Give a new folder inside the repository, and remove it afterwards."""
    folder = REPO / "submissions" / f"trap-{os.getpid()}"
    folder.mkdir()
    yield folder
    for file in sorted(folder.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    folder.rmdir()


def holds(result: subprocess.CompletedProcess[str]) -> bool:
    """Tell whether a run collected exactly our checks, or refused with words."""
    refused = result.returncode == pytest.ExitCode.USAGE_ERROR and "refused:" in result.stderr
    collected = result.returncode == pytest.ExitCode.OK and "test_loads" in result.stdout
    return refused or collected


@pytest.mark.slow
@pytest.mark.parametrize("above", [False, True], ids=["in", "above"])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("form", FORMS)
def test_no_file_outside_the_repository_configures_a_run(
    tmp_path: Path, form: str, name: str, above: bool
) -> None:
    """Whatever the argument order, a hostile file in or above the submission has no say."""
    folder = tmp_path / "class"
    folder.mkdir()
    trap = Trap(folder, tmp_path / "marker", name, above)
    result = trap.run("pytest", *FORMS[form], "--collect-only", "-q")

    assert holds(result), result.stdout + result.stderr
    if form == TOO_LATE and name != "conftest.py":
        assert result.returncode == pytest.ExitCode.USAGE_ERROR
    else:
        assert not trap.sprung


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("form", FORMS)
def test_no_file_inside_the_repository_configures_a_run(
    tmp_path: Path, inside: Path, form: str, name: str
) -> None:
    """A submission that lies inside the repository has no more say than any other."""
    trap = Trap(inside, tmp_path / "marker", name, above=False)
    result = trap.run("pytest", *FORMS[form], "--collect-only", "-q")

    assert holds(result), result.stdout + result.stderr
    assert not trap.sprung


@pytest.mark.parametrize("name", FILES)
def test_grade_is_not_configured_by_the_folder_it_is_called_in(tmp_path: Path, name: str) -> None:
    """`grade .` inside a hostile folder collects our checks and runs nothing of the folder."""
    trap = Trap(tmp_path, tmp_path / "marker", name, above=False)
    result = trap.run("grade", ".", "--collect-only", "-q", cwd=tmp_path)

    assert result.returncode == pytest.ExitCode.OK, result.stderr
    assert not trap.sprung


def test_tests_of_the_submission_are_not_collected(tmp_path: Path) -> None:
    """With --submission, a path outside the grader's checks is refused."""
    trap = Trap(tmp_path, tmp_path / "marker", "conftest.py", above=False)
    result = trap.run("pytest", "grader", "{path}", "--submission={path}", "--collect-only")

    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "only the grader's own checks are collected" in result.stderr
    assert not trap.sprung


def test_an_ini_file_of_the_callers_is_refused(tmp_path: Path) -> None:
    """`-c` with a configuration that is not the grader's is refused with what to do."""
    trap = Trap(tmp_path, tmp_path / "marker", "conftest.py", above=False)
    (tmp_path / "mine.ini").write_text("[pytest]\n")
    ini = str(tmp_path / "mine.ini")
    result = trap.run("pytest", "grader", "-c", ini, "--submission={path}", "--collect-only")

    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"grade {tmp_path}" in result.stderr


def test_without_a_submission_the_plugin_says_what_is_missing(tmp_path: Path) -> None:
    """`pytest grader` alone is a usage error, not eight errors."""
    result = Trap(tmp_path, tmp_path / "marker", "conftest.py", above=False).run("pytest", "grader")

    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "pytest grader --submission PATH" in result.stderr


def test_the_checks_are_not_spread_over_processes() -> None:
    """`-n 2` of pytest-xdist, which would train a submission twice, is refused with words."""
    command = [sys.executable, "-m", "pytest", "grader", "--submission=reference_solution", "-n2"]
    ran = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert "cannot be spread" in ran.stderr
