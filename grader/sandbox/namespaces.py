"""Namespaces of the command's own, and in them a file system that holds only a view (`view`).

Order matters: `leave` first, which needs nothing but a kernel that allows user namespaces; then,
in a process forked after it, `build`, which replaces the root.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from grader.sandbox import kernel
from grader.sandbox.view import Step

assert sys.platform != "win32"  # where nothing imports this

HOME = "/tmp"  # noqa: S108 - of the box alone
SHARED = "/dev/shm"  # noqa: S108 - a link to HOME
STUDENT = 1000  # the number of the user inside
_NOBODY = 65534  # whom the student is outside, when the grader is root
_NAMES = ("user", "pid", "net", "ipc", "uts", "mnt")
DEVICES = ("/dev/null", "/dev/urandom", "/dev/random")
PROCESSES = "/.processes"
_OLD = "/.outside"
_PASSWD = f"student:x:{STUDENT}:{STUDENT}::{HOME}:/bin/false\n"


def identities() -> dict[str, int]:
    """Return which namespaces this process is in; empty where /proc does not tell."""
    with contextlib.suppress(OSError):
        return {name: Path(f"/proc/self/ns/{name}").stat().st_ino for name in _NAMES}
    return {}


def leave(steps: Iterable[Step]) -> None:
    """Leave every namespace but the mounts'; the next child is the first of the new processes.

    OSError when the system refuses. Inside, the student is user `STUDENT`, who outside is the
    caller; or nobody, if the caller is root and all there is to read can be read by anyone.
    """
    user, group = os.getuid(), os.getgid()
    another = user == 0 and all(_open_to_all(s.path) for s in steps if s.do == "bind")
    with _mapper(f"0 0 1\n{STUDENT} {_NOBODY} 1", wanted=another) as mapped:
        kernel.unshare(
            kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET
            | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
        )  # fmt: skip
    if not mapped():
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{STUDENT} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{STUDENT} {group} 1")


def _open_to_all(path: str) -> bool:
    mode = Path(path).stat().st_mode
    return bool(mode & stat.S_IROTH) and (not stat.S_ISDIR(mode) or bool(mode & stat.S_IXOTH))


@contextlib.contextmanager
def _mapper(table: str, *, wanted: bool) -> Iterator[Callable[[], bool]]:
    """Have a process that stays outside write this one's maps of users and groups.

    Only someone outside may map more than one. Afterwards, what is yielded tells whether it did.
    """
    statuses: list[int] = []
    if not wanted:
        yield lambda: False
        return
    me = os.getpid()
    waiting, ready = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(ready)
        os.read(waiting, 1)
        with contextlib.suppress(BaseException):
            for kind in ("uid", "gid"):
                Path(f"/proc/{me}/{kind}_map").write_text(table)
            os._exit(0)
        os._exit(1)
    try:
        yield lambda: statuses == [0]
    finally:
        os.close(ready)
        os.close(waiting)
        statuses.append(os.waitpid(helper, 0)[1])


def become_student() -> None:
    """Give up being root inside, if this process is; its capabilities are dropped elsewhere."""
    if sys.platform == "linux" and os.getuid() == 0:
        os.setgroups([])
        os.setresgid(STUDENT, STUDENT, STUDENT)
        os.setresuid(STUDENT, STUDENT, STUDENT)


def hand_over(folder: str) -> None:
    """Give a folder to whom `become_student` will make this process."""
    if os.getuid() == 0:
        os.chown(folder, STUDENT, STUDENT)


def see_nothing() -> None:
    """Make an empty folder the root of this process, so that nobody finds a way through it."""
    with contextlib.suppress(OSError):
        os.chroot("/proc/self/fdinfo")
        os.chdir("/")


def build(steps: Iterable[Step], disk: int) -> None:
    """Replace this process's file system by the view, read-only, and a `HOME` of `disk` bytes.

    The process must have its mounts for itself. After an OSError it is of no use any more.
    """
    kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    base = next(path for path in ("/tmp", "/var/tmp", "/mnt") if os.path.isdir(path))  # noqa: PTH112, S108
    _tmpfs(base, "size=4m,mode=755")
    os.mkdir(base + _OLD)  # noqa: PTH102
    kernel.swap_root(base, base + _OLD)
    _furnish(disk)
    for step in steps:
        _take(step)
    _make_read_only()
    kernel.unmount(_OLD)
    Path(_OLD).rmdir()
    kernel.mount("", "/", flags=_REMOUNT | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV)


def _furnish(disk: int) -> None:
    """Make the home folder, the devices, /proc with the box's own processes, and a user."""
    Path(HOME).mkdir()
    _tmpfs(HOME, f"size={disk},nr_inodes={disk // 8192},mode=700,uid={STUDENT},gid={STUDENT}")
    for device in DEVICES:
        _take(Step("bind", device))
    Path(SHARED).symlink_to(HOME)
    _show_processes()
    Path("/etc").mkdir()
    Path("/etc/passwd").write_text(_PASSWD)


def _show_processes() -> None:
    """Let `/proc` tell of this process and its children, and have room for files of the view.

    The kernel's own has such files only together with all that it tells of the machine; so that it
    is mounted elsewhere, without them, and links lead there.
    """
    Path(PROCESSES).mkdir()
    with contextlib.suppress(OSError):  # a container that hides parts of its own /proc
        flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
        kernel.mount("proc", PROCESSES, "proc", flags, "subset=pid,hidepid=invisible")
    Path("/proc").mkdir()
    for name in ("self", "thread-self", "self/mounts", str(os.getpid())):
        Path("/proc", Path(name).name).symlink_to(f"{PROCESSES}/{name}")


def _tmpfs(path: str, options: str) -> None:
    kernel.mount("tmpfs", path, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)


def _take(step: Step) -> None:
    path = Path(step.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if step.do == "link":
        path.symlink_to(step.target)
    elif step.do == "hide":
        _tmpfs(step.path, "size=1m,mode=755")
    else:
        source = Path(_OLD + step.path)
        if source.is_dir():
            path.mkdir(exist_ok=True)
        else:
            path.touch()
        kernel.mount(str(source), step.path, flags=kernel.MS_BIND | kernel.MS_REC)


_REMOUNT = kernel.MS_REMOUNT | kernel.MS_BIND
_FLAGS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048,
          "relatime": 1 << 21}  # fmt: skip


def _make_read_only() -> None:
    """Make every mount but the home folder read-only; flags set outside cannot be taken away."""
    for line in Path(_OLD + "/proc/self/mountinfo").read_text().splitlines():
        _, _, _, _, place, options, *_ = line.split()
        path = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), place)
        if path in ("/", HOME, PROCESSES, _OLD) or path.startswith(_OLD + "/"):
            continue
        flags = sum(_FLAGS.get(option, 0) for option in options.split(","))
        flags |= kernel.MS_RDONLY | kernel.MS_NOSUID | (path not in DEVICES) * kernel.MS_NODEV
        kernel.mount("", path, flags=_REMOUNT | flags)
