"""Describes Programs in forks of one process that has loaded PyTorch and what runs in the box.

Run as `python -I tests/forking.py INSIDE`. Frames come on standard input and go out on standard
output: eight bytes of length, then JSON; a job as the box is given one, and an answer as it gives
one, or an empty frame where the fork ended without one. Nothing of the box's protection holds.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from typing import Any, BinaryIO

_SECONDS = 300  # for a file, however busy the machine is; in the box it is far less


def main() -> None:
    """Load once, then answer job after job until standard input ends."""
    jobs, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for channel in (0, 1, 2):
        os.dup2(nothing, channel)
    sys.path.insert(0, sys.argv.pop(1))
    box = _box(sys.path[0])
    while job := _frame(jobs):
        answers.write(_answer(box, job))
        answers.flush()


def _box(folder: str) -> Any:
    spec = importlib.util.spec_from_file_location("box", os.path.join(folder, "__main__.py"))  # noqa: PTH118 - as the box itself
    assert spec is not None
    assert spec.loader is not None
    box = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(box)
    box.load()
    sys.modules["description"].__dict__["SECONDS"] = _SECONDS
    return box


def _frame(stream: BinaryIO) -> bytes:
    return stream.read(int.from_bytes(stream.read(8), "big"))


def _answer(box: Any, job: bytes) -> bytes:
    """Do a job in a fork, in an empty folder of its own."""
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if not child:
            os.close(reading)
            os.chdir(folder)
            answer = box._answer(json.loads(job))
            with os.fdopen(writing, "wb") as out:
                out.write(len(answer).to_bytes(8, "big") + answer)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            answer = stream.read()
        os.waitpid(child, 0)
    return answer or bytes(8)


if __name__ == "__main__":
    main()
