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
import signal
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
_SHELL = 128  # added to a signal's number makes a status of it
_BY_ITSELF = _SHELL + getattr(signal, "SIGSYS", 0)
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
        self.limits = limits
        self._held: Held | None = None
        self._oom = _killed_for_memory()
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
            raise GraderFault("the sandbox could not be started", found=str(error)) from error

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
                "the sandbox could not be started", found=told["error"],
                help="run `grade doctor`; if all is well there, report this",
            )  # fmt: skip
        held: dict[str, str] = told["protections"]
        return held

    @property
    def ending(self) -> str:
        """How it ended, in words: its status, and the last it wrote to standard error."""
        tail = self.stderr.strip().splitlines()[-1:] or ["nothing was printed"]
        by_itself = " (it exited by a call of its own)" * (self.returncode == _BY_ITSELF)
        return f"the process ended with status {self.returncode}{by_itself}: {tail[0][:300]}"

    def look_at_its_end(self) -> None:
        """Raise GraderFault if somebody outside ended it, Stopped if the kernel's bound did.

        To be asked once its output has ended, and before `end`. Where the box is whole, nothing in
        it can end what stands for it, and a command that kills itself ends by another signal (see
        `seccomp`); so that who ends by SIGKILL was killed by the system or by somebody there.
        """
        status = self.returncode or 0
        if status == _SHELL + getattr(signal, "SIGXCPU", 0):
            raise process.Stopped("time", "the kernel's bound on computing time")
        killed = status < 0 or status == _SHELL + getattr(signal, "SIGKILL", 0)
        whole = {"process namespace", "seccomp"}
        if self.is_lost or (killed and whole <= set(self.protections().present)):
            number = -status if status < 0 else status - _SHELL
            short = "; meanwhile the machine ran out of memory" * (_killed_for_memory() > self._oom)
            raise GraderFault(
                "the sandbox was killed from outside", found=f"signal {number}{short}",
                expected="an exit of its own, or one by the grader's limits",
                where="grader.sandbox.launch", help="run it again, with more memory to spare",
            )  # fmt: skip

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


def _killed_for_memory() -> int:
    """Return how many processes this machine's kernel has killed because memory ran out."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
