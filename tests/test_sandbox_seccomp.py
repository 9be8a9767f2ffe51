"""The filter of system calls: what it refuses, and what it makes of who ends itself."""

from __future__ import annotations

import signal
import struct
import time

import pytest

from grader import process
from grader.sandbox import seccomp
from grader.sandbox.box import Boxed, Limits
from tests.test_sandbox_box import run, whole

pytestmark = pytest.mark.slow


@whole
@pytest.mark.parametrize(
    "code",
    [
        "os.kill(os.getpid(), 9)",
        "os.kill(0, 9)",
        "os.setpgid(0, 0); os.kill(-os.getpid(), 9)",
        "os.fork() or os.kill(-1, 9); time.sleep(1); os.abort()",
        "os.fork() or os.kill(os.getppid(), 9); time.sleep(1); os.abort()",
        "signal.pthread_kill(threading.get_ident(), 9)",
        "ctypes.CDLL(None).tgkill(os.getpid(), threading.get_native_id(), 9)",
        "ctypes.CDLL(None).sigqueue(os.getpid(), 9, None)",
        "signal.pidfd_send_signal(os.pidfd_open(os.getpid()), 9)",
        "os._exit(137)",
    ],
)
def test_who_kills_itself_cannot_look_like_somebody_killed(code: str) -> None:
    """Its end is its own: it comes out as another signal, and is nobody else's fault."""
    _, boxed = run(f"import ctypes, os, signal, threading, time\n{code}")
    boxed.look_at_its_end()

    assert boxed.returncode in (128 + signal.SIGSYS, 128 + signal.SIGABRT)


@whole
def test_time_of_children_nobody_waits_for_is_counted() -> None:
    """A command cannot have the kernel forget what its children have worked."""
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "ended, held = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    while time.process_time() < 1: pass\n"
        "    os._exit(0)\n"
        "os.close(held); os.read(ended, 1); print(1, flush=True); sys.stdin.read()\n"
    )
    boxed = Boxed(process.python("-S", "-c", code), Limits(memory=10**9, output=10**6, cpu=9))
    deadline = time.monotonic() + 120
    try:
        next(boxed.chunks(lambda: deadline))
        assert boxed.cpu_seconds() > 0.5
    finally:
        boxed.end()


@whole
def test_killing_ones_own_children_is_allowed() -> None:
    """A program of the command's that takes too long may be killed, alone or with its group."""
    code = (
        "import os, subprocess, sys\n"
        "command = [sys.executable, '-S', '-c', 'import time; time.sleep(99)']\n"
        "one, two = (subprocess.Popen(command, start_new_session=True) for _ in range(2))\n"
        "one.kill(); os.killpg(two.pid, 9); print(one.wait(), two.wait())\n"
    )
    output, boxed = run(code)

    assert (output.split(), boxed.returncode) == (["-9", "-9"], 0)


@whole
def test_time_that_the_kernel_bounds_is_a_time_out() -> None:
    """Whoever reaches the kernel's bound before the grader looks was too slow, not killed."""
    _, boxed = run("import os, signal; signal.raise_signal(signal.SIGXCPU)")

    with pytest.raises(process.Stopped, match="computing time"):
        boxed.look_at_its_end()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_allows_what_it_does_not_name(machine: str) -> None:
    """Run step by step, the program refuses what is named, kills other architectures."""
    program = seccomp.program(machine, command=7)
    own = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
    column = ["x86_64", "aarch64"].index(machine)
    read, clone, mmap = ((0, 63), (56, 220), (9, 222))

    assert verdict(program, own, read[column]) == seccomp._ALLOW
    assert verdict(program, 0x40000003, read[column]) == seccomp._KILL
    assert verdict(program, own, 0x40000000 + 1) == seccomp._ERRNO | 38
    for numbers in seccomp._REFUSED.values():
        if numbers[column] >= 0:
            assert verdict(program, own, numbers[column]) == seccomp._ERRNO | 1
    assert verdict(program, own, clone[column], 17) == seccomp._ALLOW
    assert verdict(program, own, clone[column], 0x10000000) == seccomp._ERRNO | 1
    assert verdict(program, own, mmap[column], 0, 0, 0, 0x22) == seccomp._ALLOW
    assert verdict(program, own, mmap[column], 0, 0, 0, 0x21) == seccomp._ERRNO | 1
    assert verdict(program, own, clone[column], 9) == seccomp._ERRNO | 1
    acts = (13, 134)[column]
    for arguments, found in [
        ((17, 0), seccomp._ALLOW), ((17, 1), seccomp._ERRNO), ((17, 1 << 32), seccomp._ERRNO),
        ((15, 1), seccomp._ALLOW),
    ]:  # fmt: skip
        assert verdict(program, own, acts, *arguments) == found
    refused, ends, allowed = seccomp._ERRNO | 1, seccomp._KILL, seccomp._ALLOW
    for pid, number, expected in [
        (7, 9, ends), (7, 15, allowed), (8, 9, allowed), (-8, 9, allowed), (0, 9, ends),
        (-1, 9, refused), (-1, 15, allowed), (-7, 9, ends),
    ]:  # fmt: skip
        assert verdict(program, own, (62, 129)[column], pid & 0xFFFF_FFFF, number) == expected


def verdict(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """Interpret a filter as the kernel does, for the few instructions it is made of."""
    steps = list(struct.iter_unpack("=HBBI", program))
    filled = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *filled)
    accumulator, at = 0, 0
    while True:
        code, true, false, operand = steps[at]
        at += 1
        if code == seccomp._LOAD:
            accumulator = struct.unpack_from("=I", data, operand)[0]
        elif code == seccomp._AND:
            accumulator &= operand
        elif code == seccomp._RETURN:
            return int(operand)
        else:
            met = {
                seccomp._IF_EQUAL: accumulator == operand,
                seccomp._IF_GREATER: accumulator > operand,
                seccomp._IF_ANY_BIT: bool(accumulator & operand),
            }[code]
            at += true if met else false


@whole
def test_a_bound_on_cpu_time_and_larger_buffers_only_seem_to_be_set() -> None:
    """A command that limits its own CPU time is not killed by it: no end looks like a fault."""
    code = (
        "import resource, socket, time\n"
        "before = resource.getrlimit(resource.RLIMIT_CPU)\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "one, other = socket.socketpair()\n"
        "size = one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)\n"
        "one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * size)\n"
        "one.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)\n"
        "print(size == one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),\n"
        "      before == resource.getrlimit(resource.RLIMIT_CPU),\n"
        "      one.getsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED))\n"
        "while time.process_time() < 2: pass\n"
    )
    output, boxed = run(code)

    assert (output.split(), boxed.returncode) == (["True", "True", "1"], 0)


@whole
def test_what_lies_in_the_buffers_of_sockets_is_charged() -> None:
    """Memory that no process has counts all the same, wherever the sockets were passed on to."""
    code = (
        "import os, socket, time\n"
        "for _ in range(11):\n"
        "    if os.fork() == 0: break\n"
        "pairs = [socket.socketpair() for _ in range(50)]\n"
        "for one in (s for pair in pairs for s in pair):\n"
        "    one.setblocking(False)\n"
        "    try:\n"
        "        while True: one.send(b'x' * 4096)\n"
        "    except BlockingIOError: pass\n"
        "time.sleep(99)\n"
    )
    limits = Limits(memory=250_000_000, output=10**6, cpu=99)
    boxed = Boxed(process.python("-S", "-c", code), limits)
    deadline = time.monotonic() + 300
    try:
        with pytest.raises(process.Stopped) as caught:
            list(boxed.chunks(lambda: deadline))
    finally:
        boxed.end()
    assert caught.value.reason == "memory"
