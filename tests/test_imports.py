"""Who may import whom: the design's sixth invariant, and the first."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

GRADER = Path(__file__).parent.parent / "grader"
ALLOWED = {
    # What a data set is, as a value; its files are none of a plan's business.
    "plan": {"plan", "datasets.known", "errors"},
    "submission": {"submission", "plan", "errors", "process"},
    "intake": {"intake", "submission", "person", "errors"},
    "sandbox": {"sandbox", "submission", "plan", "errors", "process", "scratch"},
    # A training by the submission's own loop starts the box it runs in.
    "training": {
        "training",
        "sandbox",
        "submission.program",
        "plan",
        "datasets",
        "errors",
        "process",
        "events",
        "files",
        "machine",
        "supervise",
    },
    # Measuring runs the networks that the training runs, and takes its first step.
    "measure": {"measure", "training", "plan", "datasets", "errors", "process", "scratch"},
    "datasets": {"datasets", "errors"},
    "checks": {"checks", "record", "rubric", "statistics"},
    "similarity": {"similarity", "submission", "errors", "escape"},
    # What networks answer is found out by a process of its own.
    "reports": {
        "reports",
        "errors",
        "escape",
        "files",
        "record",
        "rubric",
        "events",
        "answers",
        "leaderboard",
        "similarity.findings",
        "sandbox.protections",
    },
}


def imported(file: Path) -> set[str]:
    """List what a module imports of the grader, without the leading `grader.`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "grader":
            names |= {f"grader.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.removeprefix("grader.") for name in names if name.startswith("grader.")}


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_lies_below_them(package: str) -> None:
    """No package imports one that builds on it."""
    for file in (GRADER / package).rglob("*.py"):
        for name in imported(file):
            parts = {name, name.partition(".")[0]}

            assert parts & ALLOWED[package], f"{file.name} imports grader.{name}"


def test_what_runs_in_the_box_imports_nothing_of_the_grader() -> None:
    """The describing program stands alone: an answer is a claim, made without our code."""
    for file in (GRADER / "sandbox" / "inside").glob("*.py"):
        assert imported(file) == set()


def test_the_pytest_process_does_not_import_torch() -> None:
    """Everything pytest needs to grade is imported without PyTorch."""
    code = (
        "import sys, grader.plugin, grader.session, grader.checks\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_record_is_judged_without_pytest() -> None:
    """The checks import neither pytest nor PyTorch."""
    code = (
        "import sys, grader.checks\nassert not {'torch', 'pytest', '_pytest'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_class_is_gathered_without_pytest() -> None:
    """Listing submissions imports neither pytest nor PyTorch."""
    code = (
        "import sys, grader.intake\nassert not {'torch', 'pytest', '_pytest'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_is_given_without_what_takes_long_to_import() -> None:
    """Neither `grade --help` nor that of a command imports pytest, PyTorch or NumPy."""
    code = (
        "import sys\nfrom grader import cli, commands\n"
        "assert {cli.run([*c, '--help']) for c in [[], *([c] for c in commands.COMMANDS)]} == {0}\n"
        "assert not {'torch', 'pytest', '_pytest', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
