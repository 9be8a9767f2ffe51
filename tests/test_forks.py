"""Children of a process that has loaded what they need are as new processes are."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from grader import forks, process
from grader.errors import SubmissionError
from grader.plan.assemble import request_defaults
from grader.sandbox import doctor
from grader.sandbox.describe import Box
from grader.submission.reader import read_program
from tests.grading import EXAMPLES, REPO
from tests.test_process import gone
from tests.test_sandbox_box import line

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forks are made on Linux alone"),
]
whole = pytest.mark.skipif(bool(doctor.held().lacks), reason="this machine gives no whole box")

TELLS = '''
import os, random, resource, signal, sys
import numpy
from torch import nn

def depth():
    frame, count = sys._getframe(), 0
    while frame:
        frame, count = frame.f_back, count + 1
    return count

def status(*names):
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {name: lines[name].strip() for name in names}

class Net(nn.Module):
    def __init__(self):
        raise RuntimeError(repr([FACTS]))
'''  # fmt: skip
SAME = """
    sorted(os.listdir("/proc/self/fd")), sys.argv, sys.path,
    sorted({**os.environ, "GRADER_CHILD": ""}.items()),
    [name for name in sys.modules if name.startswith("grader")], sys.modules["__main__"].__file__,
    sys.getrecursionlimit() - depth(), os.getcwd(), os.getsid(0) == os.getpid(), os.getppid(),
    signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), signal.getitimer(0),
    status("SigIgn", "SigBlk", "CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp", "Uid",
           "Gid", "NSpid"),
    [resource.getrlimit(n) for n in range(16)], open("/proc/self/oom_score_adj").read(),
    os.stat("/proc/self/maps").st_uid, os.getuid(), sorted(os.listdir("/proc"))[-2:],
    open("/proc/self/comm").read(),
"""
DRAWN = "random.random(), numpy.random.random()"


def told(tmp_path: Path, facts: str) -> str:
    """Let a submission tell something in its box."""
    path = tmp_path / "net.py"
    path.write_text(TELLS.replace("FACTS", facts), encoding="utf-8")
    box = Box(seconds=300, megabytes=3000)
    with pytest.raises(SubmissionError) as caught:
        box.describe(read_program(path), request_defaults(3))
    return str(caught.value)


def servers() -> list[psutil.Process]:
    """Return the servers of this process that run."""
    return [p for p in psutil.Process().children() if "grader.forkserver" in line(p)]


@pytest.fixture
def loaded() -> Iterator[None]:
    """Have forks for a test."""
    with process.loaded("box"):
        yield


@whole
def test_a_fork_in_a_box_is_as_a_new_process_there(tmp_path: Path) -> None:
    """It has the same descriptors, modules, signals, rights, bounds and identity."""
    new = told(tmp_path, SAME)
    with process.loaded("box"):
        assert told(tmp_path, SAME) == new
    assert "NoNewPrivs" in new


@whole
def test_forks_draw_their_own_random_numbers(tmp_path: Path, loaded: None) -> None:
    """Two of them agree in none."""
    one, two = (re.findall(r"0\.\d+", told(tmp_path, DRAWN)) for _ in range(2))

    assert len(one) == 2
    assert not set(one) & set(two)


@whole
def test_forks_describe_what_new_processes_describe(tmp_path: Path, loaded: None) -> None:
    """Every byte of a description is the same, and all protections hold."""
    program = read_program(EXAMPLES / "just_within.py")
    forked = Box(seconds=300, megabytes=3000)
    held = forked.protections()
    assert servers()
    description = forked.describe(program, request_defaults(3))
    for server in servers():
        server.kill()
    new = Box(seconds=300, megabytes=3000)  # nobody forks any more

    assert held == new.protections()
    assert msgspec.json.encode(description) == msgspec.json.encode(
        new.describe(program, request_defaults(3))
    )


def test_a_box_ends_with_the_server_it_came_from(tmp_path: Path, loaded: None) -> None:
    """Nothing that was forked goes on when nobody watches it."""
    box = Box(seconds=300, megabytes=3000)
    box.protections()
    (server,) = servers()
    family = server.children(recursive=True)
    server.kill()

    assert family
    assert all(gone(each.pid) for each in family)
    box.close()


def test_servers_and_their_children_end_with_the_grader(tmp_path: Path) -> None:
    """Also with one that is killed."""
    code = (
        "import time\nfrom grader import process\nfrom grader.sandbox.describe import Box\n"
        "with process.loaded('box'):\n"
        "    Box(seconds=300, megabytes=3000).protections()\n    print('there', flush=True)\n"
        "    time.sleep(600)\n"
    )
    running = subprocess.Popen([sys.executable, "-c", code], cwd=REPO, stdout=subprocess.PIPE)
    assert running.stdout is not None
    with running.stdout:
        assert running.stdout.readline() == b"there\n"
    family = psutil.Process(running.pid).children(recursive=True)
    running.kill()
    running.wait()

    assert len(family) >= 3
    assert all(gone(each.pid) for each in family)


def test_how_a_fork_ends_is_told_as_of_any_process(tmp_path: Path) -> None:
    """Its output, its status and the signal that ended it."""
    with process.loaded("reading"):
        for ended, status in ((None, 1), ("kill", -9), ("terminate", -15)):
            child = process.Child(
                process.python("-m", "grader.submission.apart"), env={}, cwd=tmp_path,
                memory=10**9, output=10**6, fed=True,
            )  # fmt: skip
            assert isinstance(child._process, forks.Forked)
            if ended is not None:
                getattr(child._process, ended)()
            child.feed(b"no task")
            assert b"".join(child.chunks(lambda: time.monotonic() + 300)) == b""
            assert child.returncode == status
            assert (ended is None) == ("DecodeError" in child.stderr)
            child.end()
            assert gone(child._process.pid)


def test_what_no_server_has_loaded_is_started_anew(tmp_path: Path) -> None:
    """Other commands do not ask, and neither does anything when there is no server."""
    with process.loaded("reading"):
        assert forks.start(process.python("-c", ""), {}, tmp_path, [], fed=False) is None
    command = process.python("-m", "grader.submission.apart")
    assert forks.start(command, {}, tmp_path, [], fed=False) is None
