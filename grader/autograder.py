"""What Gradescope runs for a submission: `python -m grader.autograder /autograder`.

Three answers, in this order: what the bundle knows of these very files; else the checks that need
no training; else, where the grader fails, what the person's last submission got, with a word on it,
or no file, which Gradescope shows as a failed autograder. A fault of the grader is never a zero.

Gradescope runs this as root. The submission is graded by a user who may neither write results nor
read the bundle, because namespaces are mostly refused in a container.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import psutil

from grader import rubric as rubrics
from grader.bundle import GRADED, RUBRIC
from grader.files import UNREADABLE, write_atomically
from grader.reporting import found
from grader.reports import gradescope, told
from grader.reports.given import Results
from grader.submission.files import sha256_of

_SECONDS = 500  # of the ten minutes after which Gradescope gives a zero
_ENDED = (0, 1)
"""How the grader ends where the submission is judged; anything else is a fault of its own."""
_NEEDED = 1_100  # megabytes that the checks take, with PyTorch loaded twice
_NOBODY = 65534
_FIELDS = ("score", "output", "output_format", "tests", "leaderboard", "test_output_format",
           "test_name_format", "visibility", "stdout_visibility")  # fmt: skip
_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")


class Failed(Exception):
    """There is no result; the message says why, for the instructor."""


def main(root: Path) -> int:
    """Write `results/results.json` below `root`, or say on standard output why there is none."""
    target = root / "results" / "results.json"
    made: bytes | None
    try:
        made = known(root) or graded(root)
    except Exception as error:  # whatever it is, it is no zero
        print(f"no result of this submission: {type(error).__name__}: {error}")
        made = last(root)
    if made is None:
        return 1
    write_atomically(target, made)
    return 0


def known(root: Path) -> bytes | None:
    """Return what the bundle knows of a submission, in seconds and without PyTorch."""
    submission = root / "submission"
    files = [path for path in submission.iterdir() if not path.name.startswith(".")]
    # Somebody who handed in one file may have been graded by it, or by the folder around it.
    for path in [submission, *(files if len(files) == 1 else [])]:
        place = root / "source" / GRADED / f"{sha256_of(path)}.json"
        if place.name != ".json" and place.is_file():
            return place.read_bytes()
    return None


def graded(root: Path) -> bytes:
    """Grade a submission as far as it can be without training it. Raises Failed."""
    if (megabytes := memory()) < _NEEDED:
        raise Failed(
            f"this container has {megabytes:,} MB, and the checks need {_NEEDED:,}: choose a "
            "larger one in the autograder's settings"
        )
    rubric = rubrics.load(root / "source" / RUBRIC)
    with tempfile.TemporaryDirectory(prefix="grader-") as folder:
        place = Path(folder)
        shutil.copytree(root / "submission", place / "submission", symlinks=True)
        shutil.copy(root / "source" / RUBRIC, place / RUBRIC)
        _hand_over(place)
        _run(place)
        results = place / "grades"
        if not results.is_dir():
            raise Failed("the grader did not begin, as its output above says")
        ((one,), _) = found(results)
        print(f"protection: {told.protection(one.record) or 'nothing was run'}")
        made = gradescope.files(one, Results((one,), rubric, results))
    if not made:
        raise Failed("the grader failed, as its output above says")
    return made["gradescope/results.json"]


def _hand_over(folder: Path) -> None:
    """Give a folder to the user who grades, where that is not this one."""
    if os.geteuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, _NOBODY, _NOBODY, follow_symlinks=False)


def _run(folder: Path) -> None:
    command = [
        sys.executable, "-P", "-m", "grader.cli", str(folder / "submission"), "--quick",
        f"--rubric={folder / RUBRIC}", f"--out={folder / 'grades'}",
    ]  # fmt: skip
    other: dict[str, Any] = {}
    if os.geteuid() == 0:
        other = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
    environment = dict.fromkeys(("HOME", "TMPDIR", "GRADER_STORE"), str(folder))
    environment |= {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"}
    try:
        ended = subprocess.run(
            command, cwd=folder, env=environment,
            stdin=subprocess.DEVNULL, check=False, timeout=_SECONDS, **other,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Failed(f"it took more than {_SECONDS} seconds: choose a faster container") from None
    except PermissionError:
        raise Failed(
            f"the user nobody, who grades, may not run {sys.executable}: install Python and the "
            "grader where everybody may read them, as setup.sh does"
        ) from None
    if ended.returncode not in _ENDED:
        raise Failed(f"the grader ended with {ended.returncode}, as its output above says")


def last(root: Path) -> bytes | None:
    """Return the result of the person's last submission, saying that it is that one's."""
    with contextlib.suppress(*UNREADABLE, AttributeError, KeyError, TypeError):
        metadata = msgspec.json.decode((root / "submission_metadata.json").read_bytes())
        for earlier in reversed(metadata["previous_submissions"]):
            results = earlier.get("results")
            if results and not earlier.get("autograder_error") and "tests" in results:
                made = {name: results[name] for name in _FIELDS if results.get(name) is not None}
                when = earlier.get("submission_time", "an earlier time")
                words = (
                    f"The grader failed, which is not your fault. This is the result of your "
                    f"submission of {when}."
                )
                made["output"] = f"{words}\n\n{made.get('output', '')}"
                return msgspec.json.encode(made)
    return None


def memory() -> int:
    """Return how many megabytes this container may use."""
    limits = [psutil.virtual_memory().total]
    for name in _LIMITS:
        with contextlib.suppress(OSError, ValueError):  # `max` is no number
            limits.append(int((Path("/sys/fs/cgroup") / name).read_text(encoding="ascii")))
    return min(limits) // 1_000_000


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
