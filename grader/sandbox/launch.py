"""Stands between the grader and a command in the box: `python -I -m grader.sandbox.launch SPEC`.

It builds the box, starts the command in it, waits, and ends with its status (128 + n for signal
n) once everything that came of it is gone: whatever ends the command, the time limit (SIGTERM), or
the grader's own death. Where something outside kills what stands for the box, which nothing inside
can do, it ends by the same signal. What it could not build is left out and said so.

    launch           outside, waits for all to end; adopts orphans
    └── init         process 1 of the box's own processes; when it ends, the kernel ends the rest
        └── command  after `_lock`: limits, capabilities, Landlock, seccomp, the trials, exec

Before the command is executed, its process tries every protection and reports what held (see
`grader.sandbox.protections`) on the descriptor `report`, which the command does not inherit.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from grader import scratch
from grader.sandbox import bubblewrap, kernel, lock, namespaces, protections, view
from grader.sandbox.spec import Situation, Spec
from grader.sandbox.view import Step

assert sys.platform != "win32"  # where nothing imports this

_PARENT_CHECK = 0.5  # seconds
_MARK = "GRADER_CHILD"  # see `grader.process`
_FAILED = 125  # exit status when the command could not be started, as of other launchers


become: Callable[[list[str], dict[str, str]], None] | None = None
"""Goes on as a command, in an environment, if all it needs is loaded here (`forkserver`)."""


def main(arguments: list[str]) -> int:
    """Build the box, run the command that a Spec, as JSON, tells of, and return its status."""
    spec = Spec(**json.loads(arguments[0]))
    parent = os.getppid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # some parents ignore it, and hand that on
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_FAILED))
    roots = view.of_interpreter(spec.environment.get("LD_LIBRARY_PATH", ""))
    with scratch.folder("grader-box-") as home:
        situation = Situation(home, namespaces.identities(), view.plan(roots, spec.reads))
        child = _start(spec, situation)
        status, asked = _supervise(spec, child, parent)
    if os.WIFSIGNALED(status) and situation.apart and not asked:
        _end_by(os.WTERMSIG(status))
    return _shell_status(status)


def _supervise(spec: Spec, child: int, parent: int) -> tuple[int, bool]:
    """Wait for the end of the process that stands for the box, and of all that came of it.

    Returns its status, and whether it was ended from here.
    """
    killed: list[int] = []

    def kill(*_: object) -> None:
        killed.append(child)
        _kill(child)

    signal.signal(signal.SIGTERM, kill)
    _let_go(spec)
    _end_with(parent, kill)
    _, status = os.waitpid(child, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)  # Python gives handlers up before it ends
    _sweep()
    return status, bool(killed)


def _end_by(number: int) -> None:
    """End this process by a signal, without a core."""
    with contextlib.suppress(OSError, ValueError):  # SIGKILL's is as it is
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _start(spec: Spec, situation: Situation) -> int:
    """Start the command in the best box there is; return the process whose end is its end."""
    if sys.platform != "linux":
        return _command(spec, situation)
    with contextlib.suppress(OSError):
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        situation.reaped = True
    try:
        namespaces.leave(situation.steps)
    except OSError as error:
        why = "no more are allowed" if error.errno == errno.ENOSPC else str(error)
        situation.refused = dict.fromkeys(protections.NAMESPACES, why)
        return bubblewrap.start(spec, situation) or _command(spec, situation)
    situation.namespaced = situation.apart = True
    reading, held = os.pipe()  # `held` stays open as long as this process lives
    child = os.fork()
    if child == 0:
        os.close(held)
        _init(spec, situation, reading)
    os.close(reading)
    return child


def _init(spec: Spec, situation: Situation, alive: int) -> NoReturn:
    """Be process 1 of the box: start the command, reap what it leaves, end when it ends."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which process 1 does not receive from inside
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([alive], [], [], 0)[0]:
        os._exit(_FAILED)  # the launcher ended before it could be asked to take this one along
    socket.sethostname("box")
    command = _command(spec, situation)
    _let_go(spec)
    os.closerange(3, 256)  # of the launcher's, which nobody in here has any business with
    namespaces.see_nothing()
    kernel.bound_capabilities()
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == command:
            os._exit(_shell_status(status))


def _command(spec: Spec, situation: Situation) -> int:
    """Fork the process that becomes the command; without a view where that cannot be had."""
    situation.viewed = situation.namespaced and not situation.refused
    home = namespaces.HOME if situation.viewed else situation.home
    reading, failed = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _become(spec, replace(situation, home=home), failed)
    os.close(failed)
    with os.fdopen(reading) as stream:
        why = stream.read()
    if not why:
        return child
    os.waitpid(child, 0)
    situation.refused["file system view"] = why
    return _command(spec, situation)


def _become(spec: Spec, situation: Situation, failed: int) -> NoReturn:
    """Lock this process up and execute the command; never returns."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # rather than the grader
    if situation.viewed:
        try:
            kernel.unshare(kernel.CLONE_NEWNS)
            identities = namespaces.identities()
            namespaces.build(situation.steps, spec.disk)
        except OSError as error:
            os.write(failed, str(error).encode())
            os._exit(_FAILED)
    else:
        identities = namespaces.identities()
    os.close(failed)
    _execute(spec, situation, identities)


def _execute(spec: Spec, situation: Situation, identities: dict[str, int]) -> NoReturn:
    try:
        lock.lock(spec, situation, identities)
        mark = {name: value for name, value in os.environ.items() if name == _MARK}
        environment = spec.environment | lock.places(situation.home) | mark
        if become is not None and situation.apart:  # else it could not be found by its environment
            become(spec.command, environment)
        os.execve(spec.command[0], spec.command, environment)  # noqa: S606 - no shell
    except BaseException as error:
        os.write(spec.report, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
    os._exit(_FAILED)


def inside(order: str) -> NoReturn:
    """Go on in a box that bubblewrap has built: `order` is a Spec and a Situation, as JSON."""
    told = json.loads(order)
    situation = Situation(**told["situation"])
    situation.steps = [Step(**step) for step in told["situation"]["steps"]]
    _execute(Spec(**told["spec"]), situation, namespaces.identities())


def _let_go(spec: Spec) -> None:
    """Close the pipes that are the command's, so that they end with it."""
    os.close(spec.report)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    os.close(nothing)


def _kill(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def _end_with(parent: int, kill: Callable[[], None]) -> None:
    """Let the box end when the grader is gone, however it ended."""

    def look(*_: object) -> None:
        if os.getppid() != parent:
            kill()

    # Not a thread, which a process that has left its namespace of processes cannot have, and not
    # PR_SET_PDEATHSIG, which heeds the end of the parent's thread.
    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, _PARENT_CHECK, _PARENT_CHECK)


def _sweep() -> None:
    """Kill and reap what outlived the command, where no namespace has done it."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, os.WNOHANG)
            import psutil

            for process in psutil.Process().children(recursive=True):
                _kill(process.pid)
            time.sleep(0.01)


def _shell_status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
