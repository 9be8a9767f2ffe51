"""`read_apart`: `read_program` in a process of its own, with bounds on its memory and time.

Nothing of a submission runs while it is read. But a few megabytes can be made to cost Python's
parser gigabytes, or the reader hours, and no rule about texts foresees all of them. Whatever
happens to that process, the grader's own goes on and says so.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Literal

import msgspec

from grader import process
from grader.errors import (
    Crashed,
    GraderFault,
    GradingError,
    LimitReached,
    NoCode,
    SubmissionError,
    UsageFault,
)  # fmt: skip
from grader.submission.program import Program, RecipeChoice

MEGABYTES = 1_500
SECONDS = 60  # of CPU time
_WAITED = 10 * SECONDS  # seconds; for a machine that is busy with other work
_MAX_ANSWER = 32 << 20  # bytes
_CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE")
_HELP = "submit the script or notebook of this assignment alone, and keep data in other files"


class _Task(msgspec.Struct, frozen=True):
    path: bytes
    model: str | None
    recipe: RecipeChoice | None


class _Error(msgspec.Struct, frozen=True):
    kind: Literal["submission", "no-code", "memory", "usage", "grader"]
    message: str
    expected: str
    found: str
    where: str
    help: str


_Answer = Program | _Error
# Made by one thread, see grader.events.
_PROGRAM = msgspec.json.Decoder(Program)
_ERROR = msgspec.json.Decoder(_Error)


def read_apart(path: Path, *, model: str | None, recipe: RecipeChoice | None) -> Program:
    """Read a submission as `read_program` does, with bounds on memory and time.

    Raises what that raises, LimitReached for a bound, Crashed where the process does, and
    GraderFault when it could not be started or was ended by something else.
    """
    name = None if model is None else model.encode("utf-8", "replace").decode()
    task = _Task(os.fsencode(path.absolute()), name, recipe)
    deadline = time.monotonic() + _WAITED
    try:
        with process.child(
            process.python("-m", __name__), env=process.clean_environment(Path(os.sep)),
            cwd=Path(os.sep), memory=sys.maxsize, output=sys.maxsize, fed=True,
        ) as reading:  # fmt: skip
            reading.feed(msgspec.json.encode(task))
            answer = b"".join(reading.chunks(lambda: deadline))
    except process.Stopped:
        raise _too_slow(path) from None
    except OSError as error:
        raise _fault(error.strerror or str(error)) from None
    status = reading.returncode or 0
    if status == 0:
        return _answer(answer)
    ended_by = signal.Signals(-status).name if status < 0 else ""
    if ended_by == "SIGXCPU":
        raise _too_slow(path)
    if ended_by in _CRASHES:
        raise Crashed(
            "the code brings down Python's own parser", expected="code as a person writes it",
            found=f"{ended_by} while it was read", where=path.name, help=_HELP,
        )  # fmt: skip
    last = reading.stderr.strip().splitlines()[-1:]
    raise _fault(f"{ended_by or f'status {status}'}: {''.join(last)[:500]}")


def _too_slow(path: Path) -> LimitReached:
    return LimitReached.of(
        "time", "the submission takes too long to read",
        expected=f"code that is read within {SECONDS} s of CPU time", found="more",
        where=path.name, help=_HELP,
    )  # fmt: skip


def _fault(found: str) -> GraderFault:
    return GraderFault(
        "the process that reads the submission failed", expected="an answer", found=found,
        where=__name__, help="grade again; if it happens again, report this message",
    )  # fmt: skip


def _answer(data: bytes) -> Program:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _PROGRAM.decode(data)
    told = _ERROR.decode(data)
    words = {"expected": told.expected, "found": told.found, "where": told.where}
    if told.kind == "memory":
        raise LimitReached.of("memory", told.message, help=told.help, **words)
    kinds: dict[str, type[GradingError]] = {
        "submission": SubmissionError, "no-code": NoCode, "usage": UsageFault,
        "grader": GraderFault,
    }  # fmt: skip
    raise kinds[told.kind](told.message, help=told.help, **words)


# What runs in the process


def main(_: list[str]) -> int:
    """Read what standard input tells of, and answer on standard output."""
    _limit_itself()
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=_Task)
    answer = msgspec.json.encode(_read(task))
    if len(answer) > _MAX_ANSWER:
        answer = msgspec.json.encode(
            _Error(
                "submission", "the model needs too much code", "code as a person writes it",
                f"{len(answer) // 2**20} MB of it", "", _HELP,
            )
        )  # fmt: skip
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
    return 0


def _limit_itself() -> None:
    if sys.platform == "win32":
        return
    import resource

    with contextlib.suppress(ValueError, OSError):  # macOS bounds no address space
        resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES * 1_000_000,) * 2)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)  # a caller that ignores it hands that down
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _read(task: _Task) -> _Answer:
    from grader.submission.reader import read_program

    path = Path(os.fsdecode(task.path))
    try:
        return read_program(path, model=task.model, recipe=task.recipe)
    except GradingError as error:
        return _Error(
            "no-code" if isinstance(error, NoCode)
            else "submission" if isinstance(error, SubmissionError)
            else "usage" if isinstance(error, UsageFault) else "grader",
            error.message, error.expected, error.found, error.where, error.help,
        )  # fmt: skip
    except (MemoryError, RecursionError):
        return _Error(
            "memory", "the submission needs too much memory to read",
            f"at most {MEGABYTES:,} MB", "more", path.name, _HELP,
        )  # fmt: skip
    except OSError as error:
        return _Error("grader", "a file could not be read", "", str(error), path.name, "")
    except Exception as error:
        # Most likely a mistake of the reader. But what somebody hands in must not be able to turn
        # a failure into a fault of the grader.
        return _Error(
            "submission", "the code could not be read", "code in a plain style",
            f"{type(error).__name__}: {error}"[:500], path.name,
            "write the code in a plainer way; if you think it is plain, please report this",
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
