"""A process that loads, once, what commands need, and forks one child a command.

`python -I -m grader.forkserver KIND DESCRIPTOR`, started by `grader.forks`. It runs nothing of a
submission, listens to nobody but the socket it was given, and has no threads: one fork, before it
says that it is ready, ends those that libraries start when they are loaded, and tries whether
children can be told of here.

A child has the descriptors, the session, the folder and the environment that it would have as a
new process, random states of its own, and nothing of its siblings. What it shares with them is
what the kernel does not draw again without an `exec`: where things are in memory, the canary of the
stack, and the seed of hashes. `docs/threat-model.md` says what that means.

There is one server for readers, one for boxes, which knows nothing of data and networks, and one
for what is trusted. What keeps a submission in its box is done by the same code as everywhere
(`sandbox.launch`); only what would then be executed is loaded already.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import importlib.util
import inspect
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, cast

import msgspec

from grader import process
from grader.forks import MOST, READY, SERVED, STATUS, Kind, Order, title
from grader.sandbox import kernel

assert sys.platform == "linux"  # elsewhere libraries do not survive a fork

_INSIDE = Path(__file__).parent / "sandbox" / "inside"
_TRUSTED = (
    "torch", "grader.measure.facts", "grader.measure.step", "grader.measure.warming",
    "grader.training.checkpoint", "grader.training.knowledge", "grader.training.loop",
    "safetensors.torch",
)  # fmt: skip
_MOST_DESCRIPTORS = 16  # that come with an order
_ALL = 1 << 14  # more than a server ever has, which takes the lowest that are free


def main(kind: Kind, connection: socket.socket) -> NoReturn:
    """Load, and then serve until whoever asks is gone."""
    {"reading": _load_readers, "box": _load_boxes, "trusted": _load_the_trusted}[kind]()
    mains = {
        name: importlib.import_module(name).main for name, whose in SERVED.items() if whose == kind
    }
    _try_to_fork()
    connection.send(READY)
    _Children(connection, mains).serve()


def _load_readers() -> None:
    importlib.import_module("grader.submission.reader")


def _load_boxes() -> None:
    """Load what is in the box, and have its launcher go on with that instead of executing it."""
    from grader.sandbox import launch

    sys.path.insert(0, str(_INSIDE))
    spec = importlib.util.spec_from_file_location("inside", _INSIDE / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    inside = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(inside)
    inside.load()

    def become(command: Sequence[str], environment: dict[str, str]) -> None:
        if command == process.python(str(_INSIDE)):
            _go_on_inside(inside, environment)

    launch.become = become


def _load_the_trusted() -> None:
    from grader.training.tuning import tune

    tune()
    for name in _TRUSTED:
        importlib.import_module(name)


def _try_to_fork() -> None:
    """Fork once, which ends all threads; raise what keeps this process from being a server."""
    if (number := os.fork()) == 0:
        os._exit(0)
    ended = os.pidfd_open(number)
    os.waitid(os.P_PIDFD, ended, os.WEXITED)
    os.close(ended)
    if (threads := len([*Path("/proc/self/task").iterdir()])) != 1:
        raise RuntimeError(f"{threads} threads")


class _Children:
    """The loop of a server: it forks, and tells how each child has ended."""

    def __init__(
        self, connection: socket.socket, mains: dict[str, Callable[[list[str]], int]]
    ) -> None:
        self._connection, self._mains = connection, mains
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._running: dict[int, tuple[int, int]] = {}  # by pidfd: number, pipe for its status
        self._ended: dict[int, int] = {}  # by that pipe: numbers to be given back

    def serve(self) -> NoReturn:
        while True:
            for ready, _ in self._poll.poll():
                if ready == self._connection.fileno():
                    self._take_an_order()
                elif ready in self._running:
                    self._tell_the_end(ready)
                else:
                    self._give_back(ready)

    def _take_an_order(self) -> None:
        message, received, _, _ = socket.recv_fds(self._connection, MOST, _MOST_DESCRIPTORS)
        if not message:
            os._exit(0)
        order = msgspec.json.decode(message, type=Order)
        # Where the machine has no more processes or descriptors, the order is refused by closing
        # what came with it: whoever gave it starts a new process, and other children go on.
        with contextlib.suppress(OSError):
            if len(received) == 4 + len(order.inherited):
                self._fork(order, received)
        for descriptor in received:
            os.close(descriptor)

    def _fork(self, order: Order, received: list[int]) -> None:
        """Start a child, and keep of the descriptors the one to tell its status."""
        number = os.fork()
        if number == 0:
            _go_on(order, received, self._mains[order.module])
        try:
            ending = os.pidfd_open(number)
        except OSError:
            os.kill(number, signal.SIGKILL)
            os.waitpid(number, 0)
            raise
        status = received.pop(3)
        self._running[ending] = number, status
        self._poll.register(ending, select.POLLIN)
        _tell(status, number)

    def _tell_the_end(self, ending: int) -> None:
        """Tell a child's status; the child itself stays, and with it its number."""
        number, status = self._running.pop(ending)
        found = os.waitid(os.P_PIDFD, ending, os.WEXITED | os.WNOWAIT)
        assert found is not None  # it has ended
        self._poll.unregister(ending)
        os.close(ending)
        _tell(status, found.si_status if found.si_code == os.CLD_EXITED else -found.si_status)
        self._ended[status] = number
        self._poll.register(status, 0)  # which tells when nobody reads from it any more

    def _give_back(self, status: int) -> None:
        os.waitpid(self._ended.pop(status), 0)
        self._poll.unregister(status)
        os.close(status)


def _tell(status: int, number: int) -> None:
    with contextlib.suppress(OSError):  # nobody wants to know any more
        os.write(status, STATUS.pack(number))


def _go_on(order: Order, received: list[int], main: Callable[[list[str]], int]) -> NoReturn:
    """Be the new process that was ordered."""
    ended: Any = 1
    try:
        _take(received[:3] + received[4:], [0, 1, 2, *order.inherited])
        os.setsid()
        os.chdir(order.folder)
        _name(title(order.module))
        _take_environment(order.environment)
        _draw_anew()
        sys.argv = [order.module, *order.arguments]
        ended = main(order.arguments)
    except SystemExit as end:
        ended = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(ended if isinstance(ended, int) else 1)


def _go_on_inside(inside: ModuleType, environment: dict[str, str]) -> NoReturn:
    """Be what a new interpreter would be that runs what is inside; this process is locked up."""
    try:
        _look_new(inside, environment)
        inside.main()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    os._exit(1)  # whatever happened: what called this is the launcher's, and is over


def _look_new(inside: ModuleType, environment: dict[str, str]) -> None:
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # as after an exec; /proc/self is its own again
    _name(Path(sys.executable).name)
    os.closerange(3, _ALL)
    _take_environment(environment)
    _draw_anew()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # as every Python that starts does
        signal.signal(number, signal.SIG_IGN)
    sys.argv = [str(_INSIDE)]
    for name in [name for name in sys.modules if name.partition(".")[0] == "grader"]:
        del sys.modules[name]
    inside.__name__, sys.modules["__main__"] = "__main__", inside
    below = len(inspect.stack(0)) - 4  # calls more than there are of a new Python's own
    sys.setrecursionlimit(sys.getrecursionlimit() + below)


def _take(received: Sequence[int], numbers: Sequence[int]) -> None:
    """Give the descriptors received these numbers, and close every other."""
    above = max(numbers) + 1
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, above) for descriptor in received]
    os.closerange(0, above)
    for descriptor, number in zip(moved, numbers, strict=True):
        os.dup2(descriptor, number)
    os.closerange(above, _ALL)


def _name(name: str) -> None:
    """Give this process the name that is shown of it."""
    kernel.libc().prctl(kernel.PR_SET_NAME, name.encode())


def _take_environment(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _draw_anew() -> None:
    """Draw the random states that a new process would draw; Python's own do so in every fork."""
    if (numpy := sys.modules.get("numpy.random")) is not None:
        numpy.seed()


if __name__ == "__main__":
    main(cast(Kind, sys.argv[1]), socket.socket(fileno=int(sys.argv[2])))
