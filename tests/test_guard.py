"""The configuration of a grading run cannot come from the submission, nor its verdict."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader import record as records
from grader.checks import CHECKS
from grader.guard import INI
from grader.options import OPTIONS
from tests.installing import Installed, installed_wheel

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
    "single check": ["grader/checks::test_loads", "--submission", "{path}"],
    "a check's file": ["grader/checks/requirements.py::test_loads", "--submission", "{path}"],
    "options between": ["grader", "-rA", "--submission", "{path}", "-k", "loads"],
    "a class": ["grader", "--submissions", "{path}"],
    "several": ["grader", "--submission", "{path}", "--submission={path}/net.py"],
}
# Every form with the two files that pytest looks for in two ways; every file with two forms.
TRAPS = [
    (form, name)
    for form in FORMS
    for name in FILES
    if name in ("conftest.py", "pytest.ini") or form in ("path last, space", TOO_LATE)
]


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
            cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip

    @property
    def sprung(self) -> bool:
        """Whether the hostile file's code ran."""
        return self.marker.exists()


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Path]:
    """Give a new folder inside the repository, and remove it afterwards."""
    folder = REPO / "grades" / f"trap-{os.getpid()}"  # which git ignores
    folder.mkdir(parents=True)
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
@pytest.mark.parametrize(("form", "name"), TRAPS)
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
@pytest.mark.parametrize(("form", "name"), TRAPS)
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


class Crowd:
    """A folder full of traps around a submission: each writes a marker when it is imported."""

    NAMES = (
        "conftest.py", "sub/conftest.py", "test_mine.py", "sub/test_mine.py", "mine/__init__.py",
        "checks/requirements.py", "checks/test_requirements.py", "evil.py", "sitecustomize.py",
        "torch.py", "msgspec.py", "rich/__init__.py", "psutil.py", "numba.py", "safetensors.py",
    )  # fmt: skip

    def __init__(self, folder: Path) -> None:
        self.folder, self.marker = folder / "class", folder / "marker"
        tests = "".join(f"def test_{check}(): pass\n" for check in CHECKS)
        for name in self.NAMES:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"open({str(self.marker)!r}, 'a').write(__file__)\n{tests}")
        (self.folder / "net.py").write_text("model = None  # nothing to grade\n")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder; {ini} stands for the grader's own."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        words = [word.format(ini=INI, grader=INI.parent) for word in command]
        programs = Path(sys.executable).parent
        program = programs / words[0] if words[0] in ("pytest", "grade", "python") else words[0]
        return subprocess.run(
            [str(program), *words[1:]],
            cwd=self.folder, env=environment, capture_output=True, text=True, check=False,
            timeout=300,
        )  # fmt: skip

    def follow(self, refusal: subprocess.CompletedProcess[str]) -> None:
        """Assert that a refusal names one command, which collects our tests and springs no trap."""
        advice = [line for line in refusal.stderr.splitlines() if line.startswith("  try: ")]
        assert refusal.returncode == pytest.ExitCode.USAGE_ERROR, refusal.stdout + refusal.stderr
        assert len(advice) == 1, refusal.stderr
        tried = self.run(*shlex.split(advice[0].removeprefix("  try: ")), "--collect-only", "-q")
        assert tried.returncode == 0, tried.stdout + tried.stderr
        assert "::test_loads" in tried.stdout
        assert not self.sprung

    @property
    def sprung(self) -> str:
        """The files that were imported."""
        return self.marker.read_text() if self.marker.exists() else ""


PYTEST = ["pytest", "-c", "{ini}", "--submission", "net.py"]
COLLECTED = {
    "grade": ["grade", "net.py"],
    "grade the folder": ["grade", "."],
    "our ini file": PYTEST,
    "our ini file, equals": ["pytest", "-c", "{ini}", "--submission=net.py"],
    "our ini file, as a module": ["python", "-m", *PYTEST],
    "the folder of the grader": ["pytest", "--submission=net.py", "{grader}"],
    "one check": [*PYTEST, "{grader}/checks::test_loads"],
    "root here": [*PYTEST, "--rootdir=."],
    "conftest files from everywhere": [*PYTEST, "--confcutdir=/"],
    "every module is a test": [*PYTEST, "-o", "python_files=*.py", "--doctest-modules"],
    "names of packages": [*PYTEST, "--pyargs"],
    "import mode": [*PYTEST, "--import-mode=prepend"],
}
ALWAYS = "our ini file, as a module"  # quick, and it imports from the current folder


@pytest.mark.parametrize(
    "form", [pytest.param(f, marks=[] if f == ALWAYS else pytest.mark.slow) for f in COLLECTED]
)
def test_nothing_but_the_checks_is_collected(tmp_path: Path, form: str) -> None:
    """Whatever lies in the current folder, a run collects the grader's checks and imports none."""
    crowd = Crowd(tmp_path)
    result = crowd.run(*COLLECTED[form], "--collect-only", "-q")
    names = [line.partition("::")[2] for line in result.stdout.splitlines() if "::" in line]

    assert result.returncode == 0, result.stdout + result.stderr
    assert set(names) <= {f"test_{check}" for check in CHECKS}
    assert "test_loads" in names
    assert not crowd.sprung


REFUSED = {
    "no ini file": ["pytest", "--submission", "net.py"],
    "no ini file, as a module": ["python", "-m", "pytest", "--submission=net.py"],
    "a folder called grader": ["pytest", "grader", "--submission", "net.py"],
    "tests beside it": [*PYTEST, "test_mine.py"],
    "the current folder": [*PYTEST, "."],
    "ours and others": [*PYTEST, "{grader}", "sub"],
    "a package of its own": [*PYTEST, "--pyargs", "mine"],
    "several processes": [*PYTEST, "-n2"],
}


@pytest.mark.slow
@pytest.mark.parametrize("form", REFUSED)
def test_the_advice_of_a_refusal_works_where_it_is_given(tmp_path: Path, form: str) -> None:
    """What is refused names a command, and that command grades the submission in that folder."""
    crowd = Crowd(tmp_path)
    result = crowd.run(*REFUSED[form], "--collect-only", "-q") if form != "several processes" else (
        crowd.run(*REFUSED[form], "-q")
    )  # fmt: skip

    crowd.follow(result)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["path last, space", "path first, equals"])
def test_a_run_without_installed_plugins_loads_ours(tmp_path: Path, form: str) -> None:
    """With plugins switched off, no conftest.py beside the submission is taken for a test's."""
    trap = Trap(tmp_path, tmp_path / "marker", "conftest.py", above=False)
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    words = [word.format(path=trap.path.parent) for word in FORMS[form]]
    ran = subprocess.run(
        [str(Path(sys.executable).parent / "pytest"), *words, "--collect-only", "-q"],
        cwd=REPO, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert holds(ran), ran.stdout + ran.stderr
    assert not trap.sprung


@pytest.mark.slow
def test_a_file_is_never_read_for_arguments(tmp_path: Path) -> None:
    """Pytest reads `@x.py` for more arguments; `grade` grades it, or refuses it behind options."""
    crowd = Crowd(tmp_path)
    arguments = f"-o\npythonpath={crowd.folder}\n-o\naddopts=-p evil\n"
    for name in ("@x.py", "x.py"):
        (crowd.folder / name).write_text(arguments)
    alone = crowd.run("grade", "@x.py", "--collect-only", "-q")
    beside = crowd.run("grade", "net.py", "@x.py", "--collect-only", "-q")
    behind = crowd.run("grade", "net.py", "--collect-only", "-q", "@x.py")

    assert (alone.returncode, beside.returncode) == (0, 0)
    assert behind.returncode == pytest.ExitCode.USAGE_ERROR
    assert not crowd.sprung


@pytest.mark.slow
def test_a_configuration_behind_the_path_is_not_read(tmp_path: Path) -> None:
    """`grade net.py -c pytest.ini` keeps to the grader's own, whatever that file imports."""
    crowd = Crowd(tmp_path)
    ini = crowd.folder / "pytest.ini"
    ini.write_text(FILES["pytest.ini"])
    result = crowd.run("grade", "net.py", "-c", str(ini), "--collect-only", "-q")

    assert result.returncode == 0, result.stderr
    assert not crowd.sprung


@pytest.mark.slow
@pytest.mark.parametrize("option", [o.name for o in OPTIONS if o.value])
def test_an_option_without_its_value_collects_nothing(tmp_path: Path, option: str) -> None:
    """Also in a command line for pytest itself, it is wrong usage and swallows no path."""
    crowd = Crowd(tmp_path)
    result = crowd.run("pytest", "-c", str(INI), "--submission=net.py", option)

    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"argument {option}: expected one argument" in result.stderr
    assert not crowd.sprung


@pytest.mark.slow
@pytest.mark.parametrize("form", [["grade", "net.py"], ["python", "-m", *PYTEST]], ids=["g", "m"])
def test_tests_of_the_right_names_earn_nothing(tmp_path: Path, form: list[str]) -> None:
    """Eight passing tests and a conftest.py around a bad submission change no verdict."""
    crowd = Crowd(tmp_path)
    result = crowd.run(*form, "--out=marks", "--quick")
    record = records.load(crowd.folder / "marks" / "net.py" / "record.json")

    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout + result.stderr
    assert record.status == "partial"
    assert {check.outcome for check in record.checks} == {"failed", "not_judged"}
    assert not crowd.sprung


FORGER = """
import pytest

class Item(pytest.Item):
    def runtest(self): pass

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.outcome, report.longrepr = "passed", None
    return report

def pytest_collection_modifyitems(session, items):
    if ADDS:
        items.append(Item.from_parent(session, name="test_more"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("adds", [True, False])
def test_a_report_of_pytest_is_no_verdict(tmp_path: Path, adds: bool) -> None:
    """A plugin that calls everything passed alters no record and no exit status, nor adds tests."""
    crowd = Crowd(tmp_path)
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "forger.py").write_text(f"ADDS = {adds}\n{FORGER}")
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-P", "-m", "pytest", "-c", str(INI), "--submission=net.py", "-p"]
    result = subprocess.run(
        [*command, "forger", "--out=marks", "--quick"],
        cwd=crowd.folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    path = crowd.folder / "marks" / "net.py" / "record.json"

    if adds:
        assert result.returncode == pytest.ExitCode.USAGE_ERROR
        assert "these are no checks" in result.stderr
    else:
        assert result.returncode == pytest.ExitCode.TESTS_FAILED
    assert "passed" not in {check.outcome for check in records.load(path).checks}


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


@pytest.mark.parametrize("options", [[], ["--quick"], ["--collect-only"]], ids=str)
def test_without_a_submission_the_plugin_says_what_is_missing(
    tmp_path: Path, options: list[str]
) -> None:
    """`pytest grader` alone is a usage error, not eight errors, and names a command that works."""
    trap = Trap(tmp_path, tmp_path / "marker", "conftest.py", above=False)
    result = trap.run("pytest", "grader", *options)

    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "the grader's checks need a submission" in result.stderr
    assert "grade PATH" in result.stderr


def test_the_checks_are_not_spread_over_processes() -> None:
    """`-n 2` of pytest-xdist, which would train a submission twice, is refused with words."""
    command = [sys.executable, "-m", "pytest", "grader", "--submission=reference_solution", "-n2"]
    ran = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert "cannot be spread" in ran.stderr


def test_a_check_that_does_not_exist_is_named() -> None:
    """`grader/checks::test_nothing` is wrong usage, with the names there are."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "grader/checks::test_nothing",
        "--submission=README.md",
    ]
    ran = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert "there is no check test_nothing" in ran.stderr
    assert "test_dropout" in ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", [["grade", "x.py"], ["pytest", "grader", "--submission=x.py"]])
def test_an_option_that_does_not_exist_is_answered_with_the_nearest(command: list[str]) -> None:
    """`--qick` suggests `--quick`, to `grade` and to pytest."""
    program = str(Path(sys.executable).parent / command[0])
    ran = subprocess.run(
        [program, *command[1:], "--qick"], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert "there is no option --qick\n  try: --quick\n" in ran.stderr


OTHER = """
import pytest

def pytest_addoption(parser):
    for name in NAMES:
        parser.addoption(name, default="theirs")

def test_theirs(request):
    assert {request.config.getoption(name) for name in NAMES} == {"theirs"}
"""


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--model=theirs"], ["--help"]], ids=str)
def test_other_projects_may_have_options_of_the_same_names(
    tmp_path: Path, arguments: list[str]
) -> None:
    """In a run that grades nothing, the plugin declares nothing."""
    names = f"NAMES = {[option.name for option in OPTIONS]}\n"
    for name in ("conftest.py", "test_theirs.py"):
        (tmp_path / name).write_text(names + OTHER)
    ran = subprocess.run(
        [str(Path(sys.executable).parent / "pytest"), "-p", "no:cacheprovider", *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout or "--help" in arguments


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Give an environment with the grader's wheel in it, outside any clone."""
    return installed_wheel(tmp_path_factory.mktemp("wheel"))


INSTALLED = {
    "pytest grader": ["{python}", "-P", "-m", "pytest", "grader", "--submission", "net.py"],
    "equals": ["{python}", "-P", "-m", "pytest", "grader", "--submission=net.py"],
    "as a package": ["{python}", "-P", "-m", "pytest", "--pyargs", "grader", "--submission=net.py"],
    "alone": ["{python}", "-P", "-m", "pytest", "--submission", "net.py"],
}


@pytest.mark.slow
@pytest.mark.parametrize("form", INSTALLED)
def test_the_wheel_advises_what_works_outside_a_clone(
    tmp_path: Path, wheel: Installed, form: str
) -> None:
    """There is no folder `grader` there: the refusal names `grade`, and that grades."""
    crowd = Crowd(tmp_path)
    words = [word.format(python=wheel.python) for word in INSTALLED[form]]
    result = crowd.run(*words, "--collect-only", "-q")

    crowd.follow(result)


@pytest.mark.slow
def test_the_wheel_grades_outside_a_clone(tmp_path: Path, wheel: Installed) -> None:
    """`grade net.py` of an installed wheel judges with the wheel's own files."""
    crowd = Crowd(tmp_path)
    result = crowd.run(str(wheel.grade), "net.py", "--out=marks", "--quick")
    record = records.load(crowd.folder / "marks" / "net.py" / "record.json")

    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout + result.stderr
    assert "failed" in {check.outcome for check in record.checks}
    assert str(REPO) not in result.stdout
    assert not crowd.sprung
