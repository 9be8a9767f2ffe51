"""Installs the grader's wheel, as people who have no clone do."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).parent.parent
_PARTS = ("grader", "reference_solution", "pyproject.toml", "README.md")


@dataclass(frozen=True)
class Installed:
    """The programs of a virtual environment that holds the wheel."""

    python: Path
    grade: Path


def installed_wheel(folder: Path) -> Installed:
    """Build the wheel in `folder`, and install it in an environment there.

    What it depends on is found where this Python finds it; nothing is downloaded.
    """
    source = folder / "source"
    source.mkdir()
    for part in _PARTS:
        if (REPO / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPO / part, source / part, ignore=ignored)
        else:
            shutil.copy(REPO / part, source)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    (programs,) = (folder / "env").glob("[bS][ic][nr]*")  # bin, or Scripts
    python = programs / Path(sys.executable).name
    _pip("--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    purelib = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    (Path(purelib) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(python, programs / "grade")


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)
