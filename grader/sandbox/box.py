"""Runs a command that is not trusted: in a box, within bounds, and with nothing of it left.

On Linux, where the system allows it (`protections.ALL` says what for, `Boxed.protections` what
held in this very run):

- namespaces of its own for processes, network, mounts, IPC, host name and users;
- a read-only view of the interpreter, its packages, the system's libraries and the paths asked
  for, and of nothing else; one temporary folder of bounded size, in memory, to write to;
- no capabilities, no new privileges; Landlock; a seccomp filter;
- the kernel's bounds on CPU time, memory, open files and processes, and a watchdog outside that
  adds up what all descendants use and keeps the wall clock;
- an environment of a few named variables, no terminal, three pipes and no other descriptor;
- output that is drained, counted and cut;
- the end of every descendant, also when the grader is killed.

Covered on other systems: the environment, the pipes, the watchdog, and on those with process
groups and rlimits these. Not covered anywhere: bugs of the kernel that need none of the refused
calls, and what can be learned from time and load.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from grader import process
from grader.errors import GraderFault, UsageFault
from grader.sandbox import protections
from grader.sandbox.spec import Spec

_START = 60  # seconds within which a box must be ready, on a machine however busy
_GOODBYE = 10  # seconds a launcher has to end what is in the box
_REPORT_BYTES = 1 << 16
_LAUNCHERS = ("PATH", "TMPDIR", "LD_LIBRARY_PATH")  # what the launcher itself gets to know


@dataclass(frozen=True)
class Limits:
    """Bounds of all that a command starts: bytes, seconds of CPU, and processes with threads."""

    memory: int
    output: int
    cpu: float
    disk: int = 256 << 20
    processes: int = 32 + 2 * (os.cpu_count() or 1)


@dataclass(frozen=True)
class Held:
    """Which protections were in force; `missing` gives the reason for each that was not."""

    present: tuple[str, ...]
    missing: dict[str, str]

    @property
    def lacks(self) -> list[str]:
        """What an official run would need and this one does not have."""
        return [p.name for p in protections.ALL if p.required and p.name in self.missing]

    def require(self) -> None:
        """Raise UsageFault unless all is there that an official run needs."""
        if self.lacks:
            raise UsageFault(
                "refused: this machine cannot run an official grading",
                expected="every protection that is required", found="no " + ", ".join(self.lacks),
                help="`grade doctor` says how to get them; without --official the record says what "
                "was missing",
            )  # fmt: skip


class Boxed(process.Child):
    """A command running in a box. `chunks` is its output, `send` its input, `end` its end."""

    def __init__(self, command: Sequence[str], limits: Limits, reads: Sequence[Path] = ()) -> None:
        """Start `command`, whose first word is a path; it may also read `reads`.

        GraderFault when the system does not start it.
        """
        self._held: Held | None = None
        bounds: dict[str, Any] = {
            "memory": limits.memory, "output": limits.output, "cpu": limits.cpu,
            "processes": limits.processes, "fed": True,
        }  # fmt: skip
        try:
            if sys.platform == "win32":
                self._folder = tempfile.TemporaryDirectory(
                    prefix="grader-box-", ignore_cleanup_errors=True
                )
                home = Path(self._folder.name)
                super().__init__(command, env=process.clean_environment(home), cwd=home, **bounds)
            else:
                self._launch(command, limits, reads, bounds)
        except OSError as error:
            raise GraderFault("the box could not be started", found=str(error)) from error

    def _launch(
        self, command: Sequence[str], limits: Limits, reads: Sequence[Path], bounds: dict[str, Any]
    ) -> None:
        """Start the launcher, which builds the box and reports on a pipe of its own."""
        self._report, report = os.pipe()
        spec = Spec(
            list(command), process.clean_environment(Path("/")), [str(path) for path in reads],
            limits.memory, limits.disk, limits.cpu, limits.processes, report,
        )  # fmt: skip
        own = {name: os.environ[name] for name in _LAUNCHERS if name in os.environ}
        try:
            super().__init__(
                process.python("-m", "grader.sandbox.launch", json.dumps(asdict(spec))),
                env=own, cwd=Path("/"), inherited=[report], **bounds,
            )  # fmt: skip
        except BaseException:
            os.close(self._report)
            raise
        finally:
            os.close(report)

    def protections(self) -> Held:
        """Return what held when the command was started; waits until that is known.

        GraderFault when the command was not started at all.
        """
        if self._held is None:
            told: dict[str, str] = {} if sys.platform == "win32" else self._told()
            reasons = dict.fromkeys(protections.FROM_OUTSIDE, "") | told
            missing = {p.name: reasons.get(p.name, "Linux only") for p in protections.ALL}
            missing = {name: why for name, why in missing.items() if why}
            present = tuple(p.name for p in protections.ALL if p.name not in missing)
            self._held = Held(present, missing)
        return self._held

    def _told(self) -> dict[str, str]:
        """Read the launcher's report: each protection, with the reason if it did not hold."""
        text = b""
        with os.fdopen(self._report, "rb") as stream:
            while select.select([stream], [], [], _START)[0]:
                if not (chunk := os.read(stream.fileno(), _REPORT_BYTES)):
                    break
                text += chunk
        told: dict[str, Any] = {"error": self.stderr.strip()[-500:] or "no report"}
        for line in text.splitlines():  # the trials, and then what kept the command from starting
            told = json.loads(line)
        if "error" in told:
            raise GraderFault(
                "the box could not be started", found=told["error"], where="grader.sandbox.launch",
                help="run `grade doctor`; if all is well there, report this",
            )  # fmt: skip
        held: dict[str, str] = told["protections"]
        return held

    def end(self) -> None:
        """End the command and all it started; nothing is left when this returns."""
        super().end()
        if sys.platform == "win32":
            self._folder.cleanup()
        elif self._held is None:
            with contextlib.suppress(OSError):
                os.close(self._report)

    def _kill(self) -> None:
        """Ask the launcher to end the box; by force if it does not, or is no more."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if sys.platform != "win32" and self._process.wait(_GOODBYE) >= 0:
                return
        super()._kill()
