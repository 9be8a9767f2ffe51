"""Bubblewrap's way round: where the kernel's calls are refused to us and it is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from grader import process
from grader.errors import GraderFault
from grader.sandbox import bubblewrap, protections
from grader.sandbox.box import Boxed, Limits
from grader.sandbox.spec import Situation, Spec
from grader.sandbox.view import Step
from tests.grading import EXAMPLES
from tests.judging import judge
from tests.test_sandbox_box import daemons_left, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="of Linux alone"),
]
REFUSING = """import sys
from grader.sandbox import launch, namespaces
def refuse(steps):
    raise PermissionError(1, "not for you")
namespaces.leave = refuse
code = launch.main(sys.argv[1:])
sys.exit(code)
"""
BOUNDS = Limits(memory=10**9, output=10**6, cpu=9)


def works() -> bool:
    """Tell whether bubblewrap is installed and may do here what it is for."""
    program = shutil.which("bwrap")
    command = [str(program), "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "true"]
    return bool(program) and subprocess.run(command, check=False).returncode == 0


needed = pytest.mark.skipif(
    sys.platform != "linux" or not works(), reason="bubblewrap is not installed, or not allowed"
)


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start launchers to which the kernel refuses namespaces."""
    plain = process.python

    def python(*arguments: str) -> list[str]:
        if arguments[:2] == ("-m", "grader.sandbox.launch"):
            return plain("-c", REFUSING, *arguments[2:])
        return plain(*arguments)

    monkeypatch.setattr(process, "python", python)


@needed
@pytest.mark.usefixtures("refused")
def test_every_protection_is_in_force() -> None:
    """The trials inside find all that an official run requires."""
    _, boxed = run("")

    assert {p.name for p in protections.ALL if p.required} <= set(boxed.protections().present)


@needed
@pytest.mark.usefixtures("refused")
def test_little_can_be_seen_and_written(tmp_path: Path) -> None:
    """The view holds what was asked for, and only the home folder, which is sized, is written."""
    (tmp_path / "asked").mkdir()
    (tmp_path / "other").mkdir()
    code = (
        "import os\n"
        f"print(*[os.path.exists(p) for p in ({str(tmp_path / 'asked')!r}, "
        f"{str(tmp_path / 'other')!r}, '/etc/hostname')])\n"
        "def failure(path, size):\n"
        "    try: open(path, 'wb').write(b'x' * size)\n"
        "    except OSError as error: return error.errno\n"
        "home = os.environ['HOME']\n"
        "print(failure(home + '/small', 10), failure(home + '/large', 30_000_000) in (27, 28),\n"
        "      failure('/x', 1) in (13, 30), failure('/usr/lib/x', 1) in (13, 30))\n"
        "print(os.getuid(), len([n for n in os.listdir('/proc') if n.isdigit()]) <= 3)\n"
    )
    output, _ = run(code, tmp_path / "asked", disk=20 << 20)

    assert output.splitlines() == [
        "True False False", "None True True True", "1000 True",
    ]  # fmt: skip


@needed
@pytest.mark.usefixtures("refused")
def test_all_that_was_in_it_ends_with_its_command() -> None:
    """A daemon with another session and environment is gone when the box has ended."""
    assert daemons_left() == []


@needed
@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize("which", range(4), ids=["launcher", "bubblewrap", "init", "command"])
def test_any_process_of_it_may_be_killed(which: int) -> None:
    """Whichever dies, the others follow, and it is the grader's fault."""
    code = "import time; print(1, flush=True); time.sleep(95)"
    boxed = Boxed(process.python("-S", "-c", code), BOUNDS)
    deadline = time.monotonic() + 300
    try:
        chunks = boxed.chunks(lambda: deadline)
        next(chunks)
        launcher = psutil.Process(boxed._process.pid)
        family = [p for p in launcher.children(recursive=True) if p.status() != "zombie"]
        [launcher, *family][which].kill()
        assert list(chunks) == []
        with pytest.raises(GraderFault, match="from outside"):
            boxed.look_at_its_end()
        assert psutil.wait_procs(family, timeout=300)[1] == []
    finally:
        boxed.end()


@needed
@pytest.mark.usefixtures("refused")
def test_who_kills_itself_is_told_from_who_is_killed() -> None:
    """SIGKILL by one's own hand ends by another signal, as in a box by the kernel's calls."""
    _, boxed = run("import os; os.kill(os.getpid(), 9)")
    boxed.look_at_its_end()

    assert boxed.returncode == 128 + signal.SIGSYS


@needed
@pytest.mark.usefixtures("refused")
def test_a_submission_gets_its_verdict_in_it(tmp_path: Path) -> None:
    """An official judgement by bubblewrap is the one that every box gives."""
    found = judge(EXAMPLES / "too_short.py", tmp_path)

    assert (found.fault, found.failed, found.score) == (None, set(), 60)
    assert found.record.sandbox.missing == []


SPEC = Spec(["/usr/bin/python3"], {}, [], 10**9, 20 << 20, 9.0, 30, 3)


def _situation(*steps: Step) -> Situation:
    return Situation("/tmp/home", {}, list(steps))


def test_its_command_line() -> None:
    """All namespaces, no capability, what the view shows and no more, and read-only at the end."""
    steps = (Step("bind", "/usr/lib"), Step("link", "/lib", "usr/lib"), Step("hide", "/usr/lib/g"))
    words = " ".join(bubblewrap._options(SPEC, _situation(*steps)))

    for name in ("user", "pid", "net", "ipc", "uts"):
        assert f"--unshare-{name}" in words
    assert "--cap-drop ALL" in words
    assert "--die-with-parent" in words
    assert f"--size {20 << 20} --perms 0700 --tmpfs /tmp" in words
    order = ["--ro-bind /usr/lib /usr/lib", "--symlink usr/lib /lib", "--tmpfs /usr/lib/g"]
    assert [words.index(part) for part in order] == sorted(words.index(part) for part in order)
    assert words.endswith("--remount-ro /")
    written = [w for w in words.split(" --") if w.split()[0] in ("bind", "dev-bind")]
    assert {w.split()[1] for w in written} == {"/dev/null", "/dev/urandom", "/dev/random"}
    assert "datasets" not in words


def test_without_it_there_is_no_box_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed, or does not work, the launcher is told so."""
    monkeypatch.setenv("PATH", "")
    assert bubblewrap.start(SPEC, _situation()) is None


def test_one_that_does_not_work_is_as_good_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bwrap that fails its trial, as where AppArmor forbids it, is not used."""
    (tmp_path / "bwrap").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    situation = _situation()

    assert bubblewrap.start(SPEC, situation) is None
    assert not situation.apart
