"""Linux calls that Python's standard library lacks, through ctypes; OSError where one is refused.

Numbers are those of the kernel's headers (include/uapi/linux), the same on all architectures
unless a table says otherwise. Importing this module works everywhere, calling it only on Linux.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME, PR_GET_SECCOMP = 1, 4, 15, 21
PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS = 38, 39
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4

_CAPABILITY_VERSION_3 = 0x20080522
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPSET = {"x86_64": (125, 126), "aarch64": (90, 91)}  # capget, capset


@functools.cache
def libc() -> ctypes.CDLL:
    """Return the C library this process runs on."""
    return ctypes.CDLL(None, use_errno=True)


def machine() -> str:
    """Return the architecture this process runs on, `x86_64` or `aarch64`; else OSError."""
    name = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    if name not in _PIVOT_ROOT or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise OSError(f"no table of system calls for {platform.machine()}")
    return name


def checked(result: int, what: str) -> int:
    """Return a call's result; OSError with `what` when it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make a system call the C library has no function for."""
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    function = libc().syscall
    function.restype = ctypes.c_long
    return checked(function(ctypes.c_long(number), *values), f"system call {number}")


def prctl(option: int, value: int = 0, third: int = 0) -> int:
    """Ask or tell the kernel something about this process."""
    arguments = (ctypes.c_ulong(a) for a in (value, third, 0, 0))
    return checked(libc().prctl(option, *arguments), f"prctl {option}")


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` for new ones."""
    checked(libc().unshare(flags), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount something at `target`, in the caller's mount namespace."""
    texts = (os.fsencode(text) for text in (source, target, kind))
    result = libc().mount(*texts, ctypes.c_ulong(flags), os.fsencode(options))
    checked(result, f"mount {target}")


def swap_root(base: str, old: str) -> None:
    """Make the mount `base` the root, and what was the root its folder `old`."""
    os.chdir(base)
    syscall(_PIVOT_ROOT[machine()], b".", os.fsencode(old))
    os.chdir("/")


def unmount(target: str) -> None:
    """Take a mount and all below it out of sight."""
    checked(libc().umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def bound_capabilities() -> None:
    """Let nothing that is executed later get a capability; needs some of them itself."""
    capability = 0
    with contextlib.suppress(OSError):
        while prctl(PR_CAPBSET_READ, capability) >= 0:
            prctl(PR_CAPBSET_DROP, capability)
            capability += 1
    with contextlib.suppress(OSError):
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)


def drop_capabilities() -> None:
    """Give up every capability."""
    _, capset = _CAPSET[machine()]
    syscall(capset, _capability_header(), bytes(24))


def capabilities() -> int:
    """Return this process's effective, permitted and inheritable capabilities, or-ed."""
    capget, _ = _CAPSET[machine()]
    words = ctypes.create_string_buffer(24)
    syscall(capget, _capability_header(), words)
    return int.from_bytes(words.raw, "little")


def _capability_header() -> bytes:
    return _CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4)
