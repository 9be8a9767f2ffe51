"""A box in which a submission trains itself, and the frames that go to and from it."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from grader import process
from grader.errors import Crashed, LimitReached, Suspicious
from grader.sandbox.box import Boxed, Limits
from grader.sandbox.describe import INSIDE

_HEAD = 9  # bytes: one letter and a length
_GOODBYE = 10  # seconds it has to end by itself when it is done
_MOST_WORDS = 20_000  # bytes of an explanation
_CORES = 4  # that a training may keep busy all of its time
_PASSES = 400  # weights come with each pass, twice; more than these are a flood
_KINDS = b"pnfdx"


@dataclass(frozen=True)
class Frame:
    """What the box said: `kind` is a letter, for which see `inside/metered.py`."""

    kind: bytes
    content: bytes


class Trainee:
    """A running box, as a context that leaves nothing of it behind.

    `weights` is the largest size in bytes of the weights it may send.
    """

    def __init__(
        self, job: dict[str, Any], initial: bytes, *, official: bool, seconds: float,
        megabytes: int, weights: int,
    ) -> None:  # fmt: skip
        """Start it and tell it its job.

        GraderFault when it cannot be started, or an `official` run needs protections that it
        does not have.

        Nothing here keeps the wall clock: whoever runs this is stopped from outside after
        `seconds`.
        """
        self._weights = weights
        limits = Limits(
            memory=megabytes * 1_000_000, output=2 * _PASSES * weights + (64 << 20),
            cpu=_CORES * seconds,
        )  # fmt: skip
        self._box = Boxed(process.python(str(INSIDE), "train"), limits, reads=[INSIDE])
        self._until = math.inf
        self._chunks = self._box.chunks(lambda: self._until)
        self._heard = bytearray()
        if official:
            with contextlib.ExitStack() as failing:
                failing.callback(self._box.end)
                self._box.protections().require()
                failing.pop_all()
        self.say(b"j", json.dumps(job).encode())
        self.say(b"w", initial)

    def __enter__(self) -> Self:
        """Give the box."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """End it and all that it started; Stopped becomes LimitReached."""
        self._box.end()
        if isinstance(error, process.Stopped):
            raise LimitReached.of(
                error.reason, _STOPPED[error.reason], expected="a training within its bounds",
                found=str(error), where="train",
                help="let train ask for one batch after the other, and keep no more than it needs",
            ) from None  # fmt: skip

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the box and all that it started."""
        return self._box.cpu_seconds()

    def say(self, kind: bytes, content: bytes = b"") -> None:
        """Send a frame; raises Stopped when too many are left unread."""
        self._box.send(kind + len(content).to_bytes(8, "big") + content, _no_deadline)

    def frames(self) -> Iterator[Frame]:
        """Yield what it says, without end; SubmissionError for what is not agreed."""
        passes = 0
        while passes <= _PASSES:
            head = self._take(_HEAD)
            kind, length = head[:1], int.from_bytes(head[1:], "big")
            if kind not in _KINDS:
                raise junk(f"a message of an unknown kind, {kind!r}")
            most = {b"n": 0, b"x": _MOST_WORDS}.get(kind, self._weights)
            if length > most:
                raise junk(f"a message of {length:,} bytes where at most {most:,} are agreed")
            passes += kind == b"p"
            yield Frame(kind, self._take(length))
        raise junk(f"more than {_PASSES} passes over the data were begun")

    def finish(self) -> None:
        """Give it a moment to end; SubmissionError if it has more to say."""
        self._until = time.monotonic() + _GOODBYE
        with contextlib.suppress(process.Stopped):
            for chunk in self._chunks:
                self._heard += chunk
        if self._heard:
            raise junk("messages after the last one")

    def _take(self, count: int) -> bytes:
        while len(self._heard) < count:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._box.look_at_its_end()
                raise Crashed(
                    "the training ended before it was done", expected="a train() that returns",
                    found=self._box.ending, where="train",
                    help="remove exit() and os._exit(), and whatever can crash the interpreter",
                )  # fmt: skip
            self._heard += chunk
        taken = bytes(self._heard[:count])
        del self._heard[:count]
        return taken


_STOPPED = {
    "time": "the training took too much time",
    "memory": "the training used too much memory",
    "output": "the training printed too much",
    "processes": "the training started too many processes",
}


def junk(found: str) -> Suspicious:
    """Make the error for a box that does not keep to what is agreed."""
    return Suspicious(
        "a message from the training is not valid", where="train", found=found,
        expected="batches asked for, and weights of the model",
        help="let train use its model and its loader, and nothing else",
    )  # fmt: skip


def _no_deadline() -> float:
    return math.inf
