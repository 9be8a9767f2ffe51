"""Bounds a process sets on itself before it runs anything of a submission."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def apply(seconds: float, memory: int) -> None:
    """Bound CPU time, address space, file size, open files and core dumps; die with the parent.

    `memory` is in bytes. Does nothing where the system has no such bounds (Windows).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        import resource
    except ImportError:
        return
    bounds = {
        "RLIMIT_CPU": int(seconds * 4) + 1,  # threads add up; the wall clock is kept outside
        "RLIMIT_AS": memory + (6 << 30),  # torch alone reserves several GB it never touches
        "RLIMIT_FSIZE": 64 << 20,
        "RLIMIT_NOFILE": 512,
        "RLIMIT_CORE": 0,
    }
    for name, bound in bounds.items():
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (bound, bound))
