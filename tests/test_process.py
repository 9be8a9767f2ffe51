"""Child processes end when they should, and nothing of them is left."""

import os
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from grader import process

pytestmark = pytest.mark.slow

posix = pytest.mark.skipif(sys.platform == "win32", reason="sessions and fork are POSIX")


def run(
    tmp_path: Path, code: str, *, seconds: float = 120, memory: int = 10**9, output: int = 10**6
) -> tuple[bytes, process.Child]:
    """Run Python code as a child until it ends or is stopped."""
    deadline = time.monotonic() + seconds
    with process.child(
        process.python("-c", code), env=process.clean_environment(tmp_path), cwd=tmp_path,
        memory=memory, output=output,
    ) as child:  # fmt: skip
        return b"".join(child.chunks(lambda: deadline)), child


def gone(pid: int) -> bool:
    """Tell whether a process has ended, waiting for it as long as a busy machine may take."""
    for _ in range(1_200):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_output_and_exit_status_come_back(tmp_path: Path) -> None:
    """What a child prints and how it ends are both reported."""
    output, child = run(tmp_path, "import sys; print('hello'); sys.exit(3)")

    assert output.split() == [b"hello"]
    assert child.returncode == 3


def test_only_the_end_of_standard_error_is_kept(tmp_path: Path) -> None:
    """A flood on standard error is drained, and its last line is kept."""
    _, child = run(tmp_path, "import sys; sys.stderr.write('x' * 10**6 + 'the end')")

    assert child.stderr.endswith("the end")
    assert len(child.stderr) <= 20_000


@pytest.mark.parametrize(
    ("code", "bounds", "reason"),
    [
        ("while True: pass", {"seconds": 0.5}, "time"),
        ("import time; x = b'x' * 300_000_000; time.sleep(60)", {"memory": 200_000_000}, "memory"),
        ("while True: print('x' * 1000)", {"output": 100_000}, "output"),
    ],
)
def test_a_bound_that_is_passed_stops_the_child(
    tmp_path: Path, code: str, bounds: dict[str, int], reason: str
) -> None:
    """Time, memory and output are bounded, and the reason is told apart."""
    with pytest.raises(process.Stopped) as caught:
        run(tmp_path, code, **bounds)

    assert caught.value.reason == reason


def test_the_environment_holds_nothing_of_the_callers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret in the caller's environment does not reach a child."""
    monkeypatch.setenv("COURSE_TOKEN", "secret")
    output, _ = run(tmp_path, "import os; print(dict(os.environ))")

    assert b"COURSE_TOKEN" not in output


def test_there_is_no_standard_input(tmp_path: Path) -> None:
    """A child that asks for input gets the end of file at once."""
    output, _ = run(tmp_path, "import sys; print(repr(sys.stdin.read()))")

    assert output.strip() == b"''"


@posix
@pytest.mark.parametrize(
    "escape",
    [
        "",
        "os.setsid()",
        "os.setsid(); os.fork() and os._exit(0)",
    ],
    ids=["child", "own session", "daemon"],
)
def test_no_descendant_survives(tmp_path: Path, escape: str) -> None:
    """Children, session leaders and double-forked daemons are gone when the block ends."""
    code = f"""
import os, time
if os.fork() == 0:
    {escape or "pass"}
    open("pid", "w").write(str(os.getpid()))
    os.close(1)
    time.sleep(60)
while not os.path.exists("pid"): time.sleep(0.01)
time.sleep(0.1)
"""
    run(tmp_path, code)

    assert gone(int((tmp_path / "pid").read_text()))


@posix
def test_an_exception_in_the_parent_ends_the_child(tmp_path: Path) -> None:
    """Whatever ends the block in the grader, the child dies with it."""

    def interrupted() -> float:
        raise KeyboardInterrupt

    pids = []

    def interrupted_run() -> None:
        with process.child(
            process.python("-c", "import time; print(flush=True); time.sleep(60)"),
            env=process.clean_environment(tmp_path), cwd=tmp_path, memory=10**9, output=10**6,
        ) as child:  # fmt: skip
            pids.append(child._process.pid)
            list(child.chunks(interrupted))

    with pytest.raises(KeyboardInterrupt):
        interrupted_run()

    assert gone(pids[0])


def test_isolated_python_does_not_import_from_the_working_directory(tmp_path: Path) -> None:
    """A json.py beside the job shadows nothing in a child."""
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    output, _ = run(tmp_path, f"import json; print(json.__file__); assert {os.getpid()}")

    assert str(tmp_path).encode() not in output


def child_of(tmp_path: Path, code: str) -> process.Child:
    """Start Python code that is fed piece by piece."""
    return process.Child(
        process.python("-c", code), env=process.clean_environment(tmp_path), cwd=tmp_path,
        memory=10**9, output=10**6, fed=True,
    )  # fmt: skip


def test_a_child_can_be_spoken_with(tmp_path: Path) -> None:
    """What is sent comes in order, and answers come back in between."""
    code = (
        "import sys\n"
        "for line in sys.stdin.buffer:\n"
        "    sys.stdout.buffer.write(line.upper()); sys.stdout.buffer.flush()\n"
    )
    deadline = time.monotonic() + 120
    child = child_of(tmp_path, code)
    try:
        answers = child.chunks(lambda: deadline)
        for word in (b"one\n", b"two\n"):
            child.send(word, lambda: deadline)
            assert next(answers) == word.upper()
    finally:
        child.end()


def test_a_child_that_does_not_read_stops_nobody(tmp_path: Path) -> None:
    """What it leaves unread ends with a bound, and ending it leaves no thread behind."""
    before = threading.active_count()
    child = child_of(tmp_path, "import time; time.sleep(60)")
    deadline = time.monotonic() + 0.5

    def send_all() -> None:
        for _ in range(10):
            child.send(b"x" * 1_000_000, lambda: deadline)

    with pytest.raises(process.Stopped, match="time is up"):
        send_all()
    child.end()
    assert threading.active_count() == before


def test_cpu_time_of_a_child_counts_its_descendants(tmp_path: Path) -> None:
    """Work that a child leaves to a process of its own is counted as its own."""
    code = (
        "import subprocess, sys\n"
        "work = 'import time\\nwhile time.process_time() < 2: pass'\n"
        "subprocess.run([sys.executable, '-c', work])\n"
        "print('done', flush=True); sys.stdin.read()\n"
    )
    child = child_of(tmp_path, code)
    try:
        next(iter(child.chunks(lambda: time.monotonic() + 300)))
        assert child.cpu_seconds() > 1.5  # the child by itself needs some hundredths
    finally:
        child.end()


def test_linux_tells_the_descendants_that_all_processes_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Children of any thread, and theirs: the same as in a look at every process."""
    sleeps = "import time; time.sleep(600)"
    starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {sleeps!r}])"
    code = (
        "import subprocess, sys, threading\n"
        "def start():\n"
        f"    for code in {[sleeps, starts]!r}:\n"
        "        subprocess.Popen([sys.executable, '-c', code])\n"
        "    threading.Event().wait()\n"
        "threading.Thread(target=start, daemon=True).start()\n"
        "sys.stdin.read()\n"
    )
    child = child_of(tmp_path, code)
    try:
        while len(found := child._family()) < 4:
            assert child.returncode is None, child.stderr
            time.sleep(0.1)
        monkeypatch.setattr(process, "_CHILDREN_ARE_TOLD", False)
        assert set(found) == set(child._family())
    finally:
        child.end()
