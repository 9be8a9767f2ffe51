"""What a process does to itself before it becomes the command: bounds, and no way back.

Each protection is then tried, from the inside, and what held is reported.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import signal
import sys
from collections.abc import Callable, Iterator

from grader.sandbox import kernel, landlock, namespaces, seccomp, view
from grader.sandbox.spec import Situation, Spec

assert sys.platform != "win32"  # where nothing imports this

_GIB = 1 << 30
_WHY = "not in force" if sys.platform == "linux" else "Linux only"
_PLACES = ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP")
_NAMES = {"user namespace": "user", "process namespace": "pid", "network namespace": "net",
          "ipc namespace": "ipc", "uts namespace": "uts"}  # fmt: skip


def places(home: str) -> dict[str, str]:
    """Return the environment variables that name a folder to write to."""
    return dict.fromkeys(_PLACES, home)


def lock(spec: Spec, situation: Situation, inside: dict[str, int]) -> None:
    """Give up all that the command does not need, try what is left, and report it."""
    os.chdir(situation.home)
    if sys.platform == "linux":
        kernel.bound_capabilities()
    if not situation.viewed and situation.namespaced:
        namespaces.hand_over(situation.home)
    if situation.namespaced:
        namespaces.become_student()
    bounds = _bound(spec, situation)
    if sys.platform == "linux":
        _restrict_privileges(situation)
        _restrict_files(situation)
        _restrict_calls(situation)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, others should not
        signal.signal(number, signal.SIG_DFL)
    held = dict(_trials(spec, situation, inside, bounds))
    os.set_inheritable(spec.report, False)
    os.write(spec.report, json.dumps({"protections": held}).encode() + b"\n")


def _restrict_privileges(situation: Situation) -> None:
    with _noted(situation, "no capabilities"):
        kernel.drop_capabilities()
    with _noted(situation, "no new privileges"):
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)


def _restrict_files(situation: Situation) -> None:
    rules = [
        (path, landlock.READ if all_of_it else landlock.LIST)
        for path, all_of_it in view.allowed(situation.steps, hidden_by_mount=situation.viewed)
    ]
    rules += [(device, landlock.READ) for device in ("/dev/urandom", "/dev/random", "/dev/fd")]
    rules += [("/dev/null", landlock.WRITE), (situation.home, landlock.WRITE)]
    if situation.viewed:
        places = ("/proc", namespaces.PROCESSES, "/etc/passwd")
        rules += [(place, landlock.READ) for place in places]
    with _noted(situation, "Landlock"):
        landlock.restrict(rules)


def _restrict_calls(situation: Situation) -> None:
    with _noted(situation, "seccomp"):
        seccomp.restrict()


@contextlib.contextmanager
def _noted(situation: Situation, name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        situation.refused[name] = str(error)


def _bound(spec: Spec, situation: Situation) -> dict[int, int]:
    """Set the kernel's own bounds; return them by their numbers."""
    import resource

    wanted = {
        "RLIMIT_CPU": int(spec.cpu) + 1,  # of one process; the sum is watched from outside
        "RLIMIT_AS": spec.memory + 6 * _GIB,  # PyTorch reserves several GB it never touches
        "RLIMIT_DATA": spec.memory + _GIB,
        "RLIMIT_FSIZE": spec.disk,
        "RLIMIT_NOFILE": 128,
        "RLIMIT_CORE": 0,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_MEMLOCK": 0,
    }
    if situation.namespaced and _counts_processes_per_namespace():
        wanted["RLIMIT_NPROC"] = 2 * spec.processes  # with threads; and to be seen outside first
    bounds = {}
    for name, bound in wanted.items():
        number = getattr(resource, name, None)
        with contextlib.suppress(ValueError, OSError):
            if number is not None:
                _, most = resource.getrlimit(number)
                value = bound if most == resource.RLIM_INFINITY else min(bound, most)
                bounds[number] = value
                # Of CPU time the first bound sends SIGXCPU, which tells more than SIGKILL does: the
                # second one would be taken for somebody outside who ends the box.
                resource.setrlimit(number, (value, most if name == "RLIMIT_CPU" else value))
    return bounds


def _counts_processes_per_namespace() -> bool:
    """Tell whether the bound is for the box alone, not for all that its user runs (Linux 5.14)."""
    version = re.match(r"(\d+)\.(\d+)", platform.release())
    return version is not None and (int(version[1]), int(version[2])) >= (5, 14)


def _trials(
    spec: Spec, situation: Situation, inside: dict[str, int], bounds: dict[int, int]
) -> Iterator[tuple[str, str]]:
    """Yield each protection with "" if it held, else with the reason."""
    import resource

    def differs(key: str) -> bool:
        return key in inside and inside[key] != situation.outside.get(key)

    tried: dict[str, Callable[[], bool]] = {
        name: lambda key=key: differs(key)  # type: ignore[misc]
        for name, key in _NAMES.items()
    }
    tried |= {
        "file system view": lambda: differs("mnt") and _sees_little(),
        "sized temporary folder": lambda: _size(situation.home) <= spec.disk,
        "no capabilities": lambda: kernel.capabilities() == 0,
        "no new privileges": lambda: kernel.prctl(kernel.PR_GET_NO_NEW_PRIVS) == 1,
        "Landlock": lambda: _is_refused(lambda: os.listdir("/")),  # noqa: PTH208
        "seccomp": seccomp.in_force,
        "kernel's bounds": lambda: all(resource.getrlimit(n)[0] == b for n, b in bounds.items()),
        "end of descendants": lambda: differs("pid") or situation.reaped,
    }
    for name, trial in tried.items():
        try:
            held = (sys.platform == "linux" or name == "kernel's bounds") and trial()
        except OSError as error:
            yield name, str(error)
        else:
            yield name, "" if held else situation.refused.get(name, _WHY)


def _sees_little() -> bool:
    """Tell whether the grader's data is out of sight and nothing but the home can be written."""
    hidden = not os.path.lexists(f"{view.PACKAGE}/datasets")
    return hidden and _is_refused(lambda: os.mkdir("/writable"))  # noqa: PTH102


def _is_refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return True
    return False


def _size(folder: str) -> int:
    status = os.statvfs(folder)
    return status.f_blocks * status.f_frsize
