"""Whatever PyTorch can compute outside a box, it computes in one: the box has what it asks for."""

from __future__ import annotations

import inspect
import sys
import warnings
from pathlib import Path

import pytest

from grader import process
from grader.sandbox.box import Boxed, Limits
from tests import every_layer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="boxes are Linux's"),
]

REPORT = """
if __name__ == "__main__":
    for number, (name, attempt) in enumerate(every_attempt()):
        try:
            attempt()
        except Exception as error:
            print(name, type(error).__name__)
    print("tried", number + 1)
"""


def complaints(command: list[str]) -> str:
    """Run every attempt in a box; return what went wrong in it, and that it ended."""
    boxed = Boxed(command, Limits(memory=3 << 30, output=1 << 20, cpu=600))
    try:
        return b"".join(boxed.chunks(lambda: float("inf"))).decode() or boxed.stderr
    finally:
        boxed.end()


def test_every_type_and_every_layer_works_in_a_box() -> None:
    """What fails in the box fails outside of it too."""
    code = inspect.getsource(every_layer) + REPORT
    attempts = list(every_layer.every_attempt())
    outside = [f"{name} {error}" for name, attempt in attempts if (error := failed(attempt))]

    assert complaints(process.python("-c", code)).splitlines() == [
        *outside, f"tried {len(attempts)}",
    ]  # fmt: skip
    assert len(attempts) > 300
    assert len(outside) < 10


def failed(attempt: every_layer.Attempt) -> str:
    """Return the kind of error an attempt fails with, if it fails."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about imaginary parts that go, and the like
            attempt()
    except Exception as error:
        return type(error).__name__
    return ""


def test_a_box_tells_what_the_processors_are_and_what_runs_in_it() -> None:
    """Files about processors are those outside; of the machine's others there is none."""
    code = (
        "import os\n"
        "from pathlib import Path\n"
        "print(len(Path('/proc/cpuinfo').read_text()) > 100, Path('/proc/meminfo').exists())\n"
        "print(Path('/sys/devices/system/cpu/possible').read_text().strip())\n"
        "print(os.path.exists('/sys/kernel'), os.path.exists(f'/proc/{os.getpid()}/stat'))\n"
        "mounts = Path('/proc/mounts').read_text()\n"
        "print(Path('/proc/self/comm').read_text() != '', 'tmpfs' in mounts)\n"
        "open('/proc/cpuinfo', 'a')\n"
    )
    boxed = Boxed(process.python("-c", code), Limits(memory=1 << 30, output=1 << 20, cpu=60))
    try:
        output = b"".join(boxed.chunks(lambda: float("inf"))).decode().split("\n")
        error = boxed.stderr
    finally:
        boxed.end()
    possible = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii").strip()

    assert output == ["True False", possible, "False True", "True True", ""]
    assert "Read-only" in error or "Permission" in error
