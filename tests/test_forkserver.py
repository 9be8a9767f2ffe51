"""A server that forks outlives what it cannot do, and its own end is nobody else's fault."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

if sys.platform != "linux":
    pytest.skip("forks are made on Linux alone", allow_module_level=True)

from grader import forks, forkserver
from grader.errors import GraderFault
from grader.sandbox.box import Boxed, Held

ORDER = forks.Order("module", [], {}, "/", [7])


@pytest.fixture
def sleeping() -> Iterator[subprocess.Popen[bytes]]:
    """Give a process that ends when it is killed."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


def refused(sent: int) -> bool:
    """Give a server an order with so many descriptors; tell whether it is refused, and it lives."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reading, told = os.pipe()
    with here, there, Path(os.devnull).open() as nothing, os.fdopen(reading, "rb") as status:
        given = [*[nothing.fileno()] * 3, told, nothing.fileno()][:sent]
        socket.send_fds(here, [msgspec.json.encode(ORDER)], given)
        os.close(told)
        forkserver._Children(there, {})._take_an_order()
        return status.read() == b""


@pytest.mark.parametrize("failing", ["fork", "pidfd_open"])
def test_a_fork_that_fails_refuses_its_order_alone(
    monkeypatch: pytest.MonkeyPatch, sleeping: subprocess.Popen[bytes], failing: str
) -> None:
    """No process or descriptor is left: nothing of the child stays, and the server goes on."""

    def fail(*_: int) -> int:
        raise OSError(errno.EAGAIN, "no more")

    monkeypatch.setattr(os, "fork", lambda: sleeping.pid)
    monkeypatch.setattr(os, failing, fail)

    assert refused(sent=5)
    assert psutil.pid_exists(sleeping.pid) == (failing == "fork")


def test_an_order_whose_descriptors_did_not_all_arrive_is_refused() -> None:
    """The kernel drops those for which there is no room."""
    assert refused(sent=4)


def test_a_child_that_is_lost_with_its_server_is_the_graders_fault(
    sleeping: subprocess.Popen[bytes],
) -> None:
    """Also on a machine without a namespace of processes, where being killed is the child's."""
    reading, told = os.pipe()
    os.write(told, forks.STATUS.pack(sleeping.pid))
    with contextlib.ExitStack() as opened:
        status, *outputs = (
            opened.enter_context(os.fdopen(descriptor, "rb", buffering=0))
            for descriptor in (reading, os.open(os.devnull, 0), os.open(os.devnull, 0))
        )
        boxed = object.__new__(Boxed)
        boxed._held, boxed._oom = Held((), {}), 0
        boxed._process = forks.Forked(status, None, *outputs)
        boxed.look_at_its_end()  # it runs
        os.close(told)

        with pytest.raises(GraderFault, match="from outside"):
            boxed.look_at_its_end()
