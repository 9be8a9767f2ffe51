"""Hands a Program to the box and reads the Description that comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from grader import process
from grader.errors import Crashed, LimitReached, SubmissionError, Suspicious, UsageFault
from grader.plan.schema import Description, Text
from grader.sandbox.box import Boxed, Held, Limits
from grader.submission.program import Program

INSIDE = Path(__file__).parent / "inside"
_MAX_ANSWER = 64 << 20  # bytes
# Values in an answer, counted by its commas before it is decoded: a list of numbers takes ten
# times as much memory as its JSON. Enough for rate and momentum of every step at batch size 1.
_MAX_VALUES = 3_000_000
_LOADING = 120  # seconds of CPU that loading PyTorch may take, on any machine
_THREADS = 4  # cores a description may keep busy all of its time
_STOPPED = {
    "time": "describing the submission took too long",
    "memory": "describing the submission took too much memory",
    "processes": "describing the submission started too many processes",
    "output": "the submission printed too much while it was described",
}


class _Error(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Text
    message: Text
    where: Text
    help: Text


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    description: Description | None = None
    error: _Error | None = None


_ANSWER = msgspec.json.Decoder(_Answer)  # made by one thread, see grader.events


class Box:
    """A fresh interpreter that loads PyTorch ahead of time, and then describes one Program."""

    def __init__(
        self, *, seconds: float, megabytes: int, stop: Callable[[], bool] = lambda: False
    ) -> None:
        """Start it with bounds on a description; GraderFault when it cannot be started."""
        self.stop = stop
        self._seconds, self._megabytes = seconds, megabytes
        limits = Limits(
            memory=megabytes * 1_000_000, output=_MAX_ANSWER, cpu=_LOADING + _THREADS * seconds
        )
        self._boxed = Boxed(process.python(str(INSIDE)), limits, reads=[INSIDE])
        self._open = True

    def protections(self) -> Held:
        """Return what keeps the submission in this box; waits until that is known."""
        return self._boxed.protections()

    def describe(self, program: Program, defaults: dict[str, Any]) -> Description:
        """Run `program` and return what it says of itself, types checked; can be called once.

        Raises SubmissionError for whatever the submission does wrong, LimitReached for a bound
        it ran into; CancelledError as soon as `stop` says so.
        """
        deadline = process.until(time.monotonic() + self._seconds, self.stop)
        self._boxed.feed(msgspec.json.encode({"program": program, "defaults": defaults}))
        answer = bytearray()
        try:
            for chunk in self._boxed.chunks(deadline):
                answer += chunk
            self._boxed.look_at_its_end()
        except process.Stopped as stopped:
            raise LimitReached.of(
                stopped.reason, _STOPPED[stopped.reason],
                expected=f"at most {self._seconds:g} s, {self._megabytes:,} MB and "
                f"{self._boxed.limits.processes} processes",
                found=str(stopped), where=program.where,
                help="keep training, downloads and endless loops out of what the model needs",
            ) from None  # fmt: skip
        finally:
            self.close()
        return received(answer, self._boxed.ending, program)

    def close(self) -> None:
        """End the interpreter, if it has not ended, and all that it started."""
        if self._open:
            self._open = False
            self._boxed.end()


def describe(
    program: Program, defaults: dict[str, Any], *, seconds: float, megabytes: int
) -> Description:
    """Describe `program` in a box of its own; see `Box`."""
    return Box(seconds=seconds, megabytes=megabytes).describe(program, defaults)


def received(answer: bytes | bytearray, ending: str, program: Program) -> Description:
    """Read what came out of the sandbox: one whole frame, with a description in it.

    Whatever else it is, a SubmissionError says so; `ending` tells how the process ended.
    """
    length = int.from_bytes(answer[:8], "big")
    if len(answer) > 8 + length:
        raise Suspicious(
            "the submission wrote to the channel its description goes through",
            expected="one answer", found=f"{len(answer) - 8 - length:,} bytes behind it",
            where=program.where, help="write to standard output only",
        )  # fmt: skip
    if len(answer) < 8 + length:
        raise Crashed(
            "the submission ended the process before it was described",
            expected="a module that runs to its end", found=ending,
            where=program.where,
            help="remove exit() and os._exit(), and whatever can crash the interpreter",
        )  # fmt: skip
    if (values := answer.count(b",")) > _MAX_VALUES:
        raise LimitReached.of(
            "output", "the submission's description is too long",
            expected=f"at most {_MAX_VALUES:,} numbers and names", found=f"{values:,}",
            where=program.where,
            help="use a larger batch size, or fewer parameter groups with schedules of their own",
        )  # fmt: skip
    try:
        message = _ANSWER.decode(memoryview(answer)[8:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SubmissionError(
            "the submission's description is not valid",
            expected="numbers, names and sizes within the bounds of a plan",
            found=str(error)[:500], where=program.where,
            help="check the value named; if the submission is honest, report this",
        ) from None  # fmt: skip
    if message.error is not None:
        if message.error.kind == "UnknownModel" and program.model is not None:
            raise UsageFault(
                message.error.message, expected="the name of a class, function or variable",
                found="no such name", where=program.where, help=message.error.help,
            )  # fmt: skip
        raise _told(message.error, program.where)
    if message.description is None:
        raise SubmissionError("the submission's description is empty", where=program.where)
    if message.description.level == "sandboxed" and message.description.own is None:
        raise Suspicious(
            "the submission's description is not whole", expected="which training is its own",
            found="a loop of its own, and none", where=program.where,
            help="write to standard output only",
        )  # fmt: skip
    return message.description


def _told(error: _Error, file: str) -> SubmissionError:
    """Say what went wrong in the sandbox; in `file` as a whole, where it has no other place."""
    where = error.where or file
    if error.kind == "Tracer":
        # Most likely the tracer's own mistake; but whoever speaks from the box may be lying, and
        # must not be able to turn a failure into a fault of the grader.
        return SubmissionError(
            "the model could not be traced", found=error.message, where=where,
            help="write the model in a simpler way; if it is simple already, report this",
        )  # fmt: skip
    if error.kind == "MemoryError":
        return LimitReached.of(
            "memory",
            _STOPPED["memory"],
            found=error.message,
            where=where,
            help=_advice(error.kind),
        )
    return SubmissionError(error.message, where=where, help=error.help or _advice(error.kind))


def _advice(kind: str) -> str:
    known = {
        "MemoryError": "make the model smaller, and keep data out of what it needs",
        "MissingPackage": "build the model without this package, or have it installed here",
        "SystemExit": "the code the model needs exits the program: give required options a default",
        "NameError": "define the name in the file, above the line that uses it",
        "ModuleNotFoundError": "put the module beside the file, or into the folder you submit",
    }
    return known.get(kind, "run the file in a new Python process and fix what it reports")
