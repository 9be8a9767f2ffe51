"""A command in the box: what it sees, what it may do, and that its report of this is true."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from grader import process, scratch
from grader.errors import GraderFault
from grader.sandbox import doctor, landlock, protections, view
from grader.sandbox.box import Boxed, Limits
from tests.grading import EXAMPLES, REPO

pytestmark = pytest.mark.slow

linux = pytest.mark.skipif(sys.platform != "linux", reason="of Linux alone")
whole = pytest.mark.skipif(
    sys.platform != "linux" or bool(doctor.held().lacks), reason="this machine gives no whole box"
)
DENY_NAMESPACES = (
    "import runpy, sys\n"
    "from grader.sandbox import kernel, seccomp\n"
    "kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1); seccomp.restrict()\n"
)


def run(code: str, *reads: Path, seconds: float = 120, **limits: int) -> tuple[str, Boxed]:
    """Run Python code in a box to its end; return what it printed, and the ended box."""
    bounds = Limits(**({"memory": 10**9, "output": 10**7, "cpu": 60} | limits))
    boxed = Boxed(process.python("-S", "-c", code), bounds, reads)
    deadline = time.monotonic() + seconds
    try:
        boxed.feed(b"")
        boxed.protections()
        return b"".join(boxed.chunks(lambda: deadline)).decode(), boxed
    finally:
        boxed.end()


def in_a_container(code: str, tmp_path: Path) -> str:
    """Run code in a Python that may not make namespaces, as in most containers."""
    done = subprocess.run(
        [sys.executable, "-c", DENY_NAMESPACES + code], check=True, capture_output=True, text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)}, cwd=REPO,
    )  # fmt: skip
    return done.stdout


@whole
def test_every_protection_is_in_force_here() -> None:
    """Where an official run may be made, nothing that it requires is missing."""
    _, boxed = run("")
    required = {p.name for p in protections.ALL if p.required}

    assert required <= set(boxed.protections().present)


@whole
def test_only_what_was_asked_for_can_be_read(tmp_path: Path) -> None:
    """A path that is asked for is there, its neighbours and the grader's files are not."""
    (tmp_path / "asked").mkdir()
    (tmp_path / "asked" / "for.txt").write_text("yes")
    (tmp_path / "other.txt").write_text("no")
    places = [
        tmp_path / "asked" / "for.txt", tmp_path / "other.txt", REPO / "README.md",
        Path(view.PACKAGE) / "datasets" / "t10k-labels-idx1-ubyte.gz", Path("/etc/hostname"),
    ]  # fmt: skip
    code = f"import os; print([os.path.exists(p) for p in {[str(p) for p in places]!r}])"
    output, _ = run(code, tmp_path / "asked")

    assert output.strip() == "[True, False, False, False, False]"


@whole
def test_the_temporary_folder_is_sized_and_all_else_read_only() -> None:
    """Writing works in the home folder up to its size, and nowhere else."""
    code = (
        "import os\n"
        "def failure(path, size):\n"
        "    try: open(path, 'wb').write(b'x' * size)\n"
        "    except OSError as error: return error.errno\n"
        "home = os.environ['HOME']\n"
        "print(failure(home + '/small', 10), failure(home + '/large', 30_000_000),\n"
        "      failure('/usr/lib/x', 1), failure('/x', 1))\n"
    )
    output, _ = run(code, disk=20 << 20)

    assert output.split() == ["None", "27", "30", "30"] or output.split() == [
        "None", "28", "30", "30",
    ]  # fmt: skip


@whole
def test_a_box_is_left_by_all_that_was_in_it_when_its_command_ends() -> None:
    """A daemon with another session, program and environment is gone at once, without a wait."""
    assert daemons_left() == []


def daemons_left() -> list[psutil.Process]:
    """Start a daemon in a box whose command then ends well; return what is left of it."""
    sleeps = sleeping()
    code = (
        "import os, sys\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        f"    os.execve(sys.executable, [sys.executable, '-c', '{sleeps}'], {{}})\n"
        "os.write(1, b'ended')\n"
    )
    output, boxed = run(code)
    left = [p for p in psutil.process_iter() if sleeps in line(p)]
    assert (output, boxed.returncode) == ("ended", 0)
    return left


def sleeping() -> str:
    """Return code that sleeps, by which its process is told from all others of the machine."""
    return f"import time; time.sleep(99)  # {secrets.token_hex(8)}"


def line(found: psutil.Process) -> str:
    """Return the command line of a process, if it is still there."""
    try:
        return " ".join(found.cmdline())
    except psutil.Error:
        return ""


@linux
@pytest.mark.parametrize(
    ("code", "status"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 15)", 143)]
)
def test_the_status_of_the_command_comes_out(code: str, status: int) -> None:
    """An exit status is handed on; a signal adds its number to 128."""
    _, boxed = run(code)

    assert boxed.returncode == status


@whole
def test_many_processes_are_called_that(tmp_path: Path) -> None:
    """A bomb of forks is not taken for a lack of memory, whatever each of them seems to hold."""
    code = "import os\nx = bytearray(90_000_000)\nwhile 1:\n  try: os.fork()\n  except OSError: 0"

    with pytest.raises(process.Stopped) as caught:
        run(code, memory=500_000_000)

    assert caught.value.reason == "processes"


@whole
def test_memory_that_forks_share_counts_once() -> None:
    """Eight processes that hold the same hold no more than one of them."""
    code = (
        "import os, time\nx = bytearray(100_000_000)\n"
        "children = [os.fork() for _ in range(3)]\ntime.sleep(0.5)\n"
        "if all(children): print('ended')\n"
    )
    output, boxed = run(code, memory=300_000_000)

    assert output == "ended\n"
    assert 100_000_000 < boxed.peak_memory < 300_000_000


@linux
def test_what_cannot_be_executed_is_the_graders_fault() -> None:
    """A command that does not exist is told in words when its protections are asked for."""
    boxed = Boxed(["/nowhere/python"], Limits(memory=10**9, output=10**6, cpu=9))
    try:
        with pytest.raises(GraderFault, match="could not be started") as caught:
            boxed.protections()
    finally:
        boxed.end()

    assert "/nowhere/python" in caught.value.found or "No such file" in caught.value.found


@whole
def test_a_box_can_be_spoken_with() -> None:
    """What is sent goes in piece by piece while answers come out."""
    code = (
        "import sys\nfor line in sys.stdin.buffer:\n"
        "    sys.stdout.buffer.write(line.upper()); sys.stdout.flush()\n"
    )
    boxed = Boxed(process.python("-S", "-c", code), Limits(memory=10**9, output=10**6, cpu=9))
    deadline = time.monotonic() + 120
    try:
        answers = boxed.chunks(lambda: deadline)
        for word in (b"one\n", b"two\n"):
            boxed.send(word, lambda: deadline)
            assert next(answers) == word.upper()
    finally:
        boxed.end()


@whole
@pytest.mark.parametrize("which", ["launcher", "init", "command"])
def test_any_process_of_a_box_may_be_killed(which: str) -> None:
    """Whichever dies, the others follow, the output ends, and it is the grader's fault."""
    boxed = Boxed(
        process.python("-S", "-c", "import time; print(1, flush=True); time.sleep(99)"),
        Limits(memory=10**9, output=10**6, cpu=9),
    )
    deadline = time.monotonic() + 120
    try:
        chunks = boxed.chunks(lambda: deadline)
        next(chunks)
        launcher = psutil.Process(boxed._process.pid)
        family = [launcher, *launcher.children(recursive=True)]
        family[["launcher", "init", "command"].index(which)].kill()
        assert list(chunks) == []
        with pytest.raises(GraderFault, match="from outside"):
            boxed.look_at_its_end()
        gone, alive = psutil.wait_procs(family[1:], timeout=300)
    finally:
        boxed.end()

    assert (len(gone), alive) == (2, [])


@linux
def test_a_box_that_is_ended_at_once_leaves_nothing(tmp_path: Path) -> None:
    """Ending a box while it is being built is as good as later."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path))
        for delay in (0, 0.02, 0.05, 0.1, 0.2):
            boxed = Boxed(process.python("-c", ""), Limits(memory=10**9, output=10**6, cpu=9))
            time.sleep(delay)
            family = psutil.Process(boxed._process.pid).children(recursive=True)
            boxed.end()
            _, alive = psutil.wait_procs(family, timeout=300)
            assert alive == []
    scratch_left = [p for p in tmp_path.iterdir() if p.name.startswith("grader-box-")]
    with scratch.folder("grader-none-"):
        pass
    assert len(scratch_left) <= 5


@linux
def test_without_namespaces_the_rest_still_holds(tmp_path: Path) -> None:
    """Where namespaces are refused, that is what the report says, and files stay out of reach."""
    secret = tmp_path / "secret"
    secret.write_text("label")
    code = (
        "from tests.test_sandbox_box import run\nimport json\n"
        f"_, boxed = run('open(\"{secret}\")')\n"
        "held = boxed.protections()\n"
        "print(json.dumps([held.present, held.missing, held.lacks, boxed.returncode]))\n"
    )
    present, missing, lacks, status = json.loads(in_a_container(code, tmp_path))

    assert {"seccomp", "no capabilities", "no new privileges", "end of descendants"} <= set(present)
    assert set(protections.NAMESPACES) <= set(missing)
    assert set(protections.NAMESPACES) <= set(lacks)
    assert status == 1 or "Landlock" in missing
    assert [p.name for p in tmp_path.iterdir()] == ["secret"]


@linux
def test_without_namespaces_a_daemon_ends_too(tmp_path: Path) -> None:
    """What left session, parent and environment behind is adopted and ended by the launcher."""
    sleeps = sleeping()
    code = (
        "from tests.test_sandbox_box import run, line\nimport psutil\n"
        "code = '''import os, sys\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        f'        a = [sys.executable, "-c", "{sleeps}"]\n'
        "        os.execve(sys.executable, a, {})\n"
        "    os._exit(0)\n"
        "'''\n"
        "run(code)\n"
        f"left = [p for p in psutil.process_iter() if '{sleeps}' in line(p)]\n"
        "print([p.pid for p in left if p != psutil.Process()])\n"
    )

    assert in_a_container(code, tmp_path).strip() == "[]"


@linux
def test_an_official_run_is_refused_where_a_protection_is_missing(tmp_path: Path) -> None:
    """Without namespaces `--official` ends with 4, in words, before anything is written."""
    out = tmp_path / "out"
    arguments = ["grade", str(EXAMPLES / "too_short.py"), "--quick", "--official", f"--out={out}"]
    code = (
        f"from grader import cli\nsys.argv = {arguments!r}\n"
        "try: cli.main()\nexcept SystemExit as e: print('status', e.code)\n"
    )
    output = in_a_container(code, tmp_path)

    assert "status 4" in output
    assert not out.exists()


@linux
def test_the_doctor_says_what_is_missing_and_what_to_do(tmp_path: Path) -> None:
    """Each missing protection has its reason, and a command is named."""
    code = "from grader import cli\nprint('status', cli.run(['doctor']))\n"
    output = in_a_container(code, tmp_path)

    assert "status 1" in output
    assert "--official would refuse: no user namespace" in output
    assert "NO   network namespace" in output
    assert "    sudo " in output or "    docker " in output


@linux
def test_a_box_ends_with_a_grader_that_was_killed(tmp_path: Path) -> None:
    """After SIGKILL of its parent the launcher ends what is in the box, and its folder."""
    sleeps = sleeping()
    code = (
        "import os\nfrom grader import process\nfrom grader.sandbox.box import Boxed, Limits\n"
        f"b = Boxed(process.python('-S', '-c', '{sleeps}'),\n"
        "          Limits(memory=10**9, output=10**6, cpu=9))\n"
        "b.protections(); print(b._process.pid, flush=True); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    for _ in range(3_000):
        if not psutil.pid_exists(int(done.stdout)):
            break
        time.sleep(0.1)

    assert not psutil.pid_exists(int(done.stdout))
    assert not [p for p in psutil.process_iter() if sleeps in line(p)]
    assert list(tmp_path.iterdir()) == []


def test_folders_of_the_dead_are_removed_and_those_of_the_living_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder nobody holds is swept by the next one; a held one is not."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "grader-test-dead").mkdir()
    others = {"grader-test-pipe", "grader-test-link"}
    os.mkfifo(tmp_path / "grader-test-pipe")  # of somebody else's, and never a reason to wait
    (tmp_path / "grader-test-link").symlink_to(tmp_path)
    with scratch.folder("grader-test-") as first, scratch.folder("grader-test-") as second:
        found = {p.name for p in tmp_path.iterdir() if p.name not in others}
        assert found == {Path(first).name, Path(second).name}
    assert {p.name for p in tmp_path.iterdir()} == others


def test_a_view_shows_links_and_hides_the_grader(tmp_path: Path) -> None:
    """Folders come before what is in them, links stay links, and a loop of links is left out."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "loop").symlink_to("loop")
    base = tmp_path.resolve()
    asked = [f"{base}/link/file", f"{base}/loop", f"{base}/real", f"{base}/nowhere"]
    steps = view.plan([], asked)

    assert view.Step("bind", f"{base}/real") in steps
    assert view.Step("link", f"{base}/link", "real") in steps
    assert not [s for s in steps if s.do == "bind" and s.path != f"{base}/real"]
    assert not [s for s in steps if s.do == "hide"]


def test_an_installed_grader_is_hidden_in_its_folder() -> None:
    """Where packages are shown among which the grader is, its own folder is emptied."""
    parent = str(Path(view.PACKAGE).parent)
    inside = f"{view.PACKAGE}/sandbox/inside"
    steps = view.plan([parent], [inside])

    assert [s for s in steps if s.do != "link"] == [
        view.Step("bind", parent), view.Step("hide", view.PACKAGE), view.Step("bind", inside),
    ]  # fmt: skip
    rules = dict(view.allowed(steps, hidden_by_mount=False))
    assert rules[parent] is False
    assert view.PACKAGE not in rules
    assert rules[inside] is True


@linux
def test_landlock_is_asked_for_what_the_kernel_knows() -> None:
    """The version of a kernel that has it is a small number; others are an OSError."""
    try:
        found = landlock.version()
    except OSError:
        pytest.skip("this kernel has no Landlock")

    assert 1 <= found < 100
