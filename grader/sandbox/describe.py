"""Hands a Program to the box and reads the Description that comes back."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from grader import process
from grader.errors import GraderFault, GradingError, LimitReached, SubmissionError
from grader.plan.schema import Description
from grader.submission.program import Program

_INSIDE = Path(__file__).parent / "inside"
_MAX_ANSWER = 200 << 20  # bytes
_STOPPED = {
    "time": "the submission did not describe itself in time",
    "memory": "the submission used too much memory while it described itself",
    "output": "the submission flooded its output while it described itself",
}


class _Error(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: str
    message: str
    where: str
    help: str


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    description: Description | None = None
    error: _Error | None = None


def describe(
    program: Program, defaults: dict[str, Any], *, seconds: float, megabytes: int
) -> Description:
    """Run `program` in its own process and return what it says of itself, types checked.

    Raises SubmissionError for whatever the submission does wrong, LimitReached for a bound it
    ran into, GraderFault when the process could not be started.
    """
    memory = megabytes * 1_000_000
    limits = {"seconds": seconds, "memory": memory}
    job = {"program": program, "defaults": defaults, "limits": limits}
    with tempfile.TemporaryDirectory(prefix="grader-box-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        (home / "job.json").write_bytes(msgspec.json.encode(job))
        command = process.python(str(_INSIDE), str(home / "job.json"))
        try:
            answer, ending = _run(command, home, seconds, memory)
        except process.Stopped as stopped:
            raise LimitReached(
                _STOPPED[stopped.reason], expected=f"at most {seconds:g} s and {megabytes:,} MB",
                found=str(stopped), where=program.model.where,
                help="keep training, downloads and endless loops out of what the model needs",
            ) from None  # fmt: skip
        except OSError as error:
            raise GraderFault("the box could not be started", found=str(error)) from error
    return _read(answer, ending, program)


def _run(
    command: list[str], home: Path, seconds: float, memory: int
) -> tuple[bytes, Callable[[], str]]:
    environment = process.clean_environment(home)
    deadline = time.monotonic() + seconds
    with process.child(
        command, env=environment, cwd=home, memory=memory, output=_MAX_ANSWER
    ) as running:
        answer = b"".join(running.chunks(lambda: deadline))
    return answer, lambda: _ending(running)


def _ending(running: process.Child) -> str:
    tail = running.stderr.strip().splitlines()[-1:] or ["nothing was printed"]
    return f"the process ended with status {running.returncode}: {tail[0][:300]}"


def _read(answer: bytes, ending: Callable[[], str], program: Program) -> Description:
    """Take exactly one whole frame; anything else means that the process ended too early."""
    length = int.from_bytes(answer[:8], "big")
    if len(answer) < 8 or len(answer) != 8 + length:
        raise SubmissionError(
            "the submission ended the process before it was described",
            expected="a module that can be run to its end", found=ending(),
            where=program.model.where,
            help="remove exit() and os._exit(), and whatever can crash the interpreter",
        )  # fmt: skip
    try:
        message = msgspec.json.decode(answer[8:], type=_Answer)
    except msgspec.DecodeError as error:
        raise SubmissionError(
            "what the submission says of itself is refused",
            expected="numbers, names and sizes within the bounds of a plan",
            found=str(error)[:500], where=program.model.where,
            help="look at the value named; if it is honest, report this",
        ) from None  # fmt: skip
    if message.error is not None:
        raise _told(message.error)
    if message.description is None:
        raise SubmissionError("the submission's description is empty", where=program.model.where)
    return message.description


def _told(error: _Error) -> GradingError:
    if error.kind == "GraderFault":
        return GraderFault(
            "the grader could not trace the model", found=error.message, where=error.where,
            help="please report this, with the submission",
        )  # fmt: skip
    memory = error.kind == "MemoryError"
    return (LimitReached if memory else SubmissionError)(
        error.message, where=error.where, help=error.help or _advice(error.kind)
    )


def _advice(kind: str) -> str:
    known = {
        "MissingPackage": "keep the package out of the model, or have it installed",
        "SystemExit": "the code the model needs ends the program: give required options defaults",
        "NameError": "define the name in the file, above the line that uses it",
        "ModuleNotFoundError": "put the module beside the file, or into the folder you submit",
    }
    return known.get(kind, "run the file in a fresh interpreter and mend what it reports")
