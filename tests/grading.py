"""Runs the grader as a person does: as a command, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from grader import record as records
from grader.record import Record

REPO = Path(__file__).parent.parent
EXAMPLES = REPO / "submissions"


@dataclass(frozen=True)
class Graded:
    """A finished command and the folder its results are in."""

    status: int
    output: str
    folder: Path

    @property
    def record(self) -> Record:
        """The record it wrote."""
        return records.load(self.folder / "record.json")

    @property
    def outcomes(self) -> dict[str, str]:
        """The outcome of each check."""
        return {check.id: check.outcome for check in self.record.checks}


def grade(
    submission: Path, out: Path, *options: str, seconds: float = 1200, **variables: str
) -> Graded:
    """Run `pytest grader --submission SUBMISSION --out OUT OPTIONS` in the repository."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | variables
    result = subprocess.run(
        [str(Path(sys.executable).parent / "pytest"), "grader", f"--submission={submission}",
         f"--out={out}", *options],
        cwd=REPO, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False, timeout=seconds,
    )  # fmt: skip
    return Graded(result.returncode, result.stdout, out / submission.resolve().name)
