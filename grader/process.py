"""A child process that is watched while it runs and never outlives the grader's interest in it.

Covered on every system: a wall-clock deadline; bounds on the memory, the CPU time and the number
of the process and all its descendants, and on what it prints; and the end of all descendants that
can be found (by parentage, by process group, and by a mark in their environment). Not covered
here: what the process may read, write or connect to, which is `grader.sandbox.box`.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, BinaryIO

import psutil

from grader import forks

_MARK = "GRADER_CHILD"
_TICK = 0.1  # seconds between two looks at memory and deadline
_LAST_WORDS = 10  # seconds a process has to exit after it closed its output
_ERROR_TAIL = 20_000  # bytes of standard error that are kept
_LAST_MESSAGE = 1 << 16  # bytes that a socket takes although its buffer is almost full
_CHILDREN_ARE_TOLD = Path(f"/proc/self/task/{os.getpid()}/children").exists()
_UNREAD = 4  # pieces that may wait for a child to read its input


def until(deadline: float, stop: Callable[[], bool]) -> Callable[[], float]:
    """Return a deadline as `Child.chunks` asks for it, which raises CancelledError on `stop`."""

    def asked() -> float:
        if stop():
            raise CancelledError
        return deadline

    return asked


class Stopped(Exception):
    """The child was ended from outside; `reason` is `time`, `memory`, `processes` or `output`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Child:
    """A running command, with its standard output as chunks of bytes."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: dict[str, str],
        cwd: Path,
        memory: int,
        output: int,
        cpu: float = math.inf,
        processes: float = math.inf,
        fed: bool = False,
        inherited: Sequence[int] = (),
    ) -> None:
        """Start `command`; `memory` and `output` are bounds in bytes, `cpu` in seconds.

        Its standard input is empty, or with `fed` what `send` and `feed` give it. `inherited` are
        the descriptors it gets beside the three of every process.
        """
        self._memory, self._output, self._cpu, self._most = memory, output, cpu, processes
        self._mark = secrets.token_hex(16)
        self._chunks: queue.Queue[bytes | None] = queue.Queue(maxsize=64)
        self._errors = bytearray()
        self._outgoing: queue.Queue[bytes | None] = queue.Queue(maxsize=_UNREAD)
        self._looked = 0.0
        self.peak_memory = 0
        env = env | {_MARK: self._mark}
        self._process = forks.start(command, env, cwd, inherited, fed=fed) or subprocess.Popen(
            command, stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=env, cwd=cwd, start_new_session=True, pass_fds=inherited,
        )  # fmt: skip
        pumps = ((self._pump, self._process.stdout), (self._keep, self._process.stderr))
        self._threads = [threading.Thread(target=f, args=(s,), daemon=True) for f, s in pumps]
        if fed:
            self._threads.append(threading.Thread(target=self._write, daemon=True))
        for thread in self._threads:
            thread.start()

    @property
    def stderr(self) -> str:
        """The end of what it wrote to standard error so far."""
        return self._errors.decode("utf-8", "replace")

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal, None while it runs."""
        return self._process.poll()

    @property
    def is_lost(self) -> bool:
        """Whether the server that forked it has ended, and it with that."""
        return self.returncode is not None and getattr(self._process, "lost", False)

    def feed(self, data: bytes) -> None:
        """Give it its whole standard input, or the rest of it; returns before that is read."""
        self._outgoing.put(data)
        self._outgoing.put(None)

    def send(self, data: bytes, deadline: Callable[[], float]) -> None:
        """Give it one more piece of its standard input, which stays open.

        Returns before it has read that; raises Stopped when it leaves too much unread until a
        bound is passed. `deadline` is as for `chunks`.
        """
        while True:
            try:
                return self._outgoing.put(data, timeout=_TICK)
            except queue.Full:
                self._look(deadline())

    def _write(self) -> None:
        """Write what is sent, in a thread of its own: a child that does not read blocks nobody."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError), self._process.stdin as stream:
            while (data := self._outgoing.get()) is not None:
                with contextlib.suppress(OSError):  # it ended, which its output will tell
                    stream.write(data)
                    stream.flush()

    def cpu_seconds(self) -> float:
        """CPU time it has used so far, with every descendant that is alive or was waited for."""
        return sum(_cpu_seconds(process) for process in self._family())

    def _pump(self, stream: IO[bytes]) -> None:
        """Hand output on; the queue's bound makes a flooding child wait."""
        with stream:
            while chunk := os.read(stream.fileno(), 65_536):
                self._chunks.put(chunk)
        self._chunks.put(None)

    def _keep(self, stream: IO[bytes]) -> None:
        with stream:
            while chunk := os.read(stream.fileno(), 65_536):
                self._errors += chunk
                del self._errors[:-_ERROR_TAIL]

    def chunks(self, deadline: Callable[[], float]) -> Iterator[bytes]:
        """Yield output until it ends; raise Stopped when a bound is passed.

        `deadline` gives the moment on `time.monotonic()`'s clock, and is asked again and again.
        """
        received = 0
        while True:
            try:
                chunk = self._chunks.get(timeout=_TICK)
            except queue.Empty:
                chunk = b""
            self._look(deadline())
            if chunk is None:
                self._chunks.put(None)  # for end(), which drains the queue
                self._take_leave(deadline)
                return
            received += len(chunk)
            if received > self._output:
                raise Stopped("output", f"more than {self._output:,} bytes of output")
            if chunk:
                yield chunk

    def _take_leave(self, deadline: Callable[[], float]) -> None:
        """Give it a little time to exit by itself, which its exit status is worth."""
        last = time.monotonic() + _LAST_WORDS
        while self._process.poll() is None and time.monotonic() < last:
            self._look(deadline())
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_TICK)

    def _look(self, deadline: float) -> None:
        late = time.monotonic() > deadline
        if not late and time.monotonic() - self._looked < _TICK:
            return  # to look at every process takes longer than to hand on a message
        self._looked = time.monotonic()
        family = self._family()
        used = sum(_resident(p) for p in family)
        if used > self._memory and len(family) > 1:  # forks share much of what each of them shows
            used = sum(_proportional(p) for p in family)
        used += _in_sockets(family)
        self.peak_memory = max(self.peak_memory, used)
        computed = sum(_cpu_seconds(p) for p in family) if self._cpu < math.inf else 0
        if len(family) > self._most:
            raise Stopped("processes", f"{len(family):,} processes at once")
        if used > self._memory:
            raise Stopped("memory", f"{used / 1e6:,.0f} MB of memory in use")
        if computed > self._cpu:
            raise Stopped("time", f"{computed:,.0f} s of computing time used")
        if late:  # last: on a busy machine it takes long to pass any other bound
            raise Stopped("time", "the time is up")

    def _family(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            return [process, *_descendants(process)]
        return []

    def end(self) -> None:
        """Kill it and every descendant that can be found, and reap it."""
        self._kill()
        with contextlib.suppress(queue.Full):
            self._outgoing.put(None, timeout=_LAST_WORDS)
        with contextlib.suppress(queue.Empty):
            while self._chunks.get(timeout=_LAST_WORDS) is not None:
                pass  # a pump that waits for room can only end once there is some
        for thread in self._threads:
            thread.join(_LAST_WORDS)

    def _kill(self) -> None:
        family = [*self._family(), *self._marked()]
        if sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._process.kill()
        self._process.wait()
        psutil.wait_procs(family, timeout=2)

    def _marked(self) -> Iterator[psutil.Process]:
        """Find what left the family and the group: a daemon still carries the mark."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(_MARK) == self._mark:
                    yield process


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    """Find the children of a process, and theirs.

    Linux knows those of each thread (proc_pid_task_tid_children(5)), where it was built to tell:
    that spares a look at every process of the machine, ten times a second for each child. It may
    pass over one while others end, which the next look finds.
    """
    if not _CHILDREN_ARE_TOLD:
        return process.children(recursive=True)
    found: list[psutil.Process] = []
    waiting = [process.pid]
    while waiting:
        threads = f"/proc/{waiting.pop()}/task"
        with contextlib.suppress(OSError):  # it has ended
            for thread in os.listdir(threads):  # noqa: PTH208 - ten times a second
                told = Path(threads, thread, "children").read_text(encoding="ascii")
                numbers = [int(number) for number in told.split()]
                waiting += numbers
                for number in numbers:
                    with contextlib.suppress(psutil.Error):  # one that has just ended
                        found.append(psutil.Process(number))
    return found


def _resident(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _proportional(process: psutil.Process) -> int:
    """Return its memory, with a share of what it shares; all of that where it cannot be told."""
    with contextlib.suppress(psutil.Error, OSError):
        return int(getattr(process.memory_full_info(), "pss", 0)) or _resident(process)
    return _resident(process)


def _in_sockets(family: list[psutil.Process]) -> int:
    """Return the most that the buffers of sockets may hold, which is in no process's memory.

    The sockets are counted of a network namespace: those of a box that has one of its own.
    """
    with contextlib.suppress(OSError, IndexError, ValueError):
        place = Path(f"/proc/{family[-1].pid}")
        if (place / "ns/net").stat().st_ino != Path("/proc/self/ns/net").stat().st_ino:
            sockets = (place / "net/sockstat").read_text(encoding="ascii").split()[2]
            buffer = Path("/proc/sys/net/core/wmem_default").read_text(encoding="ascii")
            return int(sockets) * (int(buffer) + _LAST_MESSAGE)
    return 0


def _cpu_seconds(process: psutil.Process) -> float:
    """Return what a process has used, together with the children it has waited for."""
    with contextlib.suppress(psutil.Error):
        return float(sum(process.cpu_times()[:4]))
    return 0.0


@contextlib.contextmanager
def child(
    command: Sequence[str], *, env: dict[str, str], cwd: Path, memory: int, output: int,
    fed: bool = False,
) -> Iterator[Child]:  # fmt: skip
    """Run a command for as long as the block lasts; nothing of it is left afterwards."""
    running = Child(command, env=env, cwd=cwd, memory=memory, output=output, fed=fed)
    try:
        yield running
    finally:
        running.end()


def clean_environment(home: Path) -> dict[str, str]:
    """Return an environment that holds nothing of the caller's but what programs need to start."""
    inherited = ("SYSTEMROOT", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
    kept = {name: os.environ[name] for name in inherited if name in os.environ}
    places = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), str(home))
    return kept | places | {
        "PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Threads that wait for each other give their core away instead of spinning on it. On a
        # busy machine that is the difference between seconds and minutes an epoch.
        "OMP_WAIT_POLICY": "PASSIVE",
    }  # fmt: skip


def loaded(*kinds: forks.Kind) -> AbstractContextManager[None]:
    """Have commands started by processes that have loaded what they need, for a block of code."""
    return forks.serving(kinds, clean_environment(Path(os.sep)))


def python(*arguments: str) -> list[str]:
    """Return a command that runs this Python isolated: no user site, no PYTHON* variables."""
    return [sys.executable, "-I", *arguments]


def private_stdout() -> BinaryIO:
    """Keep standard output for events alone: file descriptor 1 becomes standard error."""
    sys.stdout.flush()
    private = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(private, "wb")
