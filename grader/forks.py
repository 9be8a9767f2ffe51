"""Starts commands by forking a process that has loaded what they need; Linux only.

Loading PyTorch takes seconds of a core, and a class needs it for each submission: in the box, and
once more to train. A `Server` is a process that has loaded it and does nothing else; it forks a
child for each command, which goes on as the command would in a new interpreter (`forkserver`,
which also says what is different there). Where there is no server, or it has ended, a command is
started as it always is.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Literal

import msgspec

STATUS = struct.Struct("=i")
"""What a server says of a child: its number, and later how it ended, as `Popen.returncode` does."""
MOST = 1 << 17
"""Bytes of an order; a socket takes a little more in one piece."""
READY = b"ready"
_WAIT = 0.1  # seconds between two looks at whether a server is still wanted

Kind = Literal["reading", "box", "trusted"]
KINDS: tuple[Kind, ...] = ("reading", "box", "trusted")
SERVED: dict[str, Kind] = {
    "grader.submission.apart": "reading",
    "grader.sandbox.launch": "box",
    "grader.measure.process": "trusted",
    "grader.training.worker": "trusted",
}
"""Which server has loaded what a module needs whose `main` is run by `python -I -m MODULE`."""


def title(module: str) -> str:
    """Return the name that `ps` and `top` show of a child that runs a module: 15 characters."""
    return f"grader {module.rpartition('.')[2]}"[:15]


class Order(msgspec.Struct, frozen=True):
    """What a child is to run, in which environment and folder.

    Descriptors come with it: standard input, output and error, one to tell its status, and those
    that the child gets under the numbers of `inherited`.
    """

    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    inherited: list[int]


class Forked:
    """A child of a server, with what the grader uses of `subprocess.Popen`."""

    def __init__(
        self, status: IO[bytes], stdin: IO[bytes] | None, stdout: IO[bytes], stderr: IO[bytes]
    ) -> None:
        """Wait for it to be there; ConnectionError where the server has ended before."""
        self._status = status
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.returncode: int | None = None
        self.lost = False  # with its server, which is no end of its own
        if (number := self._told()) is None:
            raise ConnectionError("the server has ended")
        self.pid = number

    def _told(self) -> int | None:
        told = self._status.read(STATUS.size)
        return STATUS.unpack(told)[0] if told else None

    def poll(self) -> int | None:
        """Return its exit status, negative for a signal, None while it runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            told = self._told()
            if told is None:  # the server was killed; the child ends when it notices
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            self.lost = told is None
            self.returncode = -signal.SIGKILL if told is None else told
            self._status.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its status; TimeoutExpired after so many seconds."""
        if self.returncode is None:
            select.select([self._status], [], [], timeout)
        if (status := self.poll()) is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return status

    def kill(self) -> None:
        """End it."""
        self._send(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        if self.poll() is None:  # its number is not given to another before this is known
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Server:
    """A process that has loaded what commands need. It ends with the one that started it."""

    def __init__(self, kind: Kind, environment: dict[str, str]) -> None:
        """Start it; returns before anything is loaded. `environment` is all that it knows of."""
        self._socket, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._ready = self._closed = False
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", "grader.forkserver", kind, str(there.fileno())],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=environment, cwd=os.sep, start_new_session=True, pass_fds=[there.fileno()],
            )  # fmt: skip

    def fork(self, order: Order, *, fed: bool) -> Forked:
        """Start a command once all is loaded; OSError where that cannot be done.

        With `fed` its standard input is a pipe, else it is empty.
        """
        with ExitStack() as ours, ExitStack() as theirs:
            (status, told), (stdout, out), (stderr, err) = (_pipe(ours, theirs) for _ in range(3))
            if fed:
                given, stdin = _pipe(theirs, ours)
            else:
                given, stdin = theirs.enter_context(Path(os.devnull).open("rb")), None
            sent = [stream.fileno() for stream in (given, out, err, told)]
            with self._lock:
                self._be_ready()
                socket.send_fds(
                    self._socket, [msgspec.json.encode(order)], [*sent, *order.inherited]
                )
            theirs.close()  # or the end of what only the child has would never be seen
            child = Forked(status, stdin, stdout, stderr)
            ours.pop_all()
        return child

    def _be_ready(self) -> None:
        while not self._ready:
            if self._closed:
                raise ConnectionError("the server is not wanted any more")
            if select.select([self._socket], [], [], _WAIT)[0]:
                if self._socket.recv(len(READY)) != READY:
                    raise ConnectionError("the server could not load what is needed")
                self._ready = True

    def close(self) -> None:
        """End it; what it has forked ends when it notices, if it has not ended."""
        self._closed = True
        self._process.kill()
        self._process.wait()
        with self._lock:
            self._socket.close()


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    reading, writing = os.pipe()
    one = reader.enter_context(os.fdopen(reading, "rb", buffering=0))
    return one, writer.enter_context(os.fdopen(writing, "wb"))


_servers: dict[Kind, Server] = {}


@contextlib.contextmanager
def serving(kinds: Sequence[Kind], environment: dict[str, str]) -> Iterator[None]:
    """Have servers for as long as the block lasts, which is then how commands are started."""
    mine = [kind for kind in kinds if kind not in _servers] if sys.platform == "linux" else []
    with ExitStack() as ending:
        for kind in mine:
            _servers[kind] = Server(kind, environment)
            ending.callback(_end, kind)
        yield


def _end(kind: Kind) -> None:
    _servers.pop(kind).close()


def start(
    command: Sequence[str], environment: dict[str, str], folder: Path, inherited: Sequence[int],
    *, fed: bool,
) -> Forked | None:  # fmt: skip
    """Start `command` by a server, if there is one that has loaded what it needs; else None."""
    if list(command[:3]) != [sys.executable, "-I", "-m"] or command[3] not in SERVED:
        return None
    server = _servers.get(SERVED[command[3]])
    order = Order(command[3], list(command[4:]), environment, str(folder), list(inherited))
    if server is not None:
        with contextlib.suppress(OSError):
            return server.fork(order, fed=fed)
    return None
