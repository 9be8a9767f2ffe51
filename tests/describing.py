"""Describes a Program without a box, as the box does: for facts that need no box of their own."""

from __future__ import annotations

import atexit
import functools
import subprocess
import sys
from pathlib import Path
from typing import IO

import msgspec

from grader.datasets.known import MNIST, Dataset
from grader.plan.assemble import request_defaults
from grader.plan.schema import Description
from grader.sandbox.describe import INSIDE, describe, received
from grader.submission.program import Program

_FORKING = Path(__file__).parent / "forking.py"


def described_here(program: Program, max_epochs: int = 19, dataset: Dataset = MNIST) -> Description:
    """Run a program in a fork of a process of this session's, and read what it says of itself.

    Raises SubmissionError as the box does, of whose protection nothing holds here.
    """
    defaults = request_defaults(max_epochs, dataset)
    if sys.platform == "win32":  # nothing can be forked
        return describe(program, defaults, seconds=120, megabytes=4000)
    jobs, answers = _forking()
    job = msgspec.json.encode({"program": program, "defaults": defaults})
    jobs.write(len(job).to_bytes(8, "big") + job)
    jobs.flush()
    length = answers.read(8)
    content = answers.read(int.from_bytes(length, "big"))
    return received(length + content if content else b"", "ended early", program)


@functools.cache
def _forking() -> tuple[IO[bytes], IO[bytes]]:
    """Start the process that others are forked from."""
    process = subprocess.Popen(
        [sys.executable, "-I", str(_FORKING), str(INSIDE)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    atexit.register(process.wait)
    atexit.register(process.stdin.close)
    return process.stdin, process.stdout
