"""Asks the measuring process, which loads PyTorch while the box describes a network. No torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from grader import process, scratch
from grader.datasets.known import MNIST, Dataset
from grader.errors import GraderFault, LimitReached
from grader.plan.findings import Facts
from grader.plan.schema import Plan

_OUTPUT = 200 << 20  # bytes
_WORDS = 5  # lines of what it printed when it died


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A plan to measure; with `step` one step of its training is taken too.

    Without a `seed` it is one that nobody knows.
    """

    plan: Plan
    step: bool = False
    seed: int | None = None


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The facts, and what kept the first step of the training from being taken, if it was tried."""

    facts: Facts
    failed: str = ""
    expected: str = ""
    found: str = ""
    where: str = ""
    help: str = ""


_ANSWER = msgspec.json.Decoder(Answer)  # made by one thread, see grader.events


class Measurer:
    """A process that measures one network after another."""

    def __init__(
        self,
        data_dir: Path | None,
        dataset: Dataset = MNIST,
        *,
        seconds: float,
        megabytes: int,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Start it; each answer has so many seconds, and the process so much memory.

        It is not waited for any longer once `stop` says so.
        """
        self._stop = stop
        self.is_usable = True
        self._seconds, self._megabytes = seconds, megabytes
        self._folder = scratch.folder("grader-measure-")
        home = Path(self._folder.__enter__())
        named = msgspec.json.encode(dataset).decode()
        folder = [str(data_dir.resolve())] if data_dir else []
        self._child = process.Child(
            process.python("-m", "grader.measure.process", named, *folder),
            env=process.clean_environment(home), cwd=home, memory=megabytes * 1_000_000,
            output=_OUTPUT, fed=True,
        )  # fmt: skip
        self._deadline = time.monotonic() + seconds
        self._chunks = self._child.chunks(self._until)
        self._open = True

    def _until(self) -> float:
        return process.until(self._deadline, self._stop)()

    def measure(self, plan: Plan, *, step: bool = False, seed: int | None = None) -> Answer:
        """Return the facts of a plan that was validated; can be called again.

        Raises LimitReached for a network that takes too long or too much memory, and GraderFault
        when the process dies.
        """
        self.is_usable = False
        self._deadline = time.monotonic() + self._seconds
        question, answer = msgspec.json.encode(Asked(plan, step, seed)) + b"\n", b""
        try:
            self._child.send(question, self._until)
            while not answer.endswith(b"\n"):
                answer += next(self._chunks)
        except StopIteration:
            lines = self._child.stderr.strip().splitlines() or ["nothing was printed"]
            raise GraderFault(
                "the measuring process died", expected="an answer",
                found=f"status {self._child.returncode}: {'; '.join(lines[-_WORDS:])[:500]}",
                where="grader.measure.process",
                help="run it again; if it happens again, report the last line",
            ) from None  # fmt: skip
        except process.Stopped as stopped:
            raise LimitReached.of(
                stopped.reason, "the network takes too much to be looked at",
                expected=f"at most {self._seconds:g} s and {self._megabytes:,} MB",
                found=str(stopped), where=plan.model.where,
                help="make the network cheaper: fewer channels at full resolution, earlier pooling",
            ) from None  # fmt: skip
        self.is_usable = True
        return _ANSWER.decode(answer)

    def close(self) -> None:
        """End the process, if it has not ended."""
        if self._open:
            self._open = False
            self._child.end()
            self._folder.__exit__(None, None, None)
