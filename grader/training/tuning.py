"""Settings of a training process that PyTorch reads when it is imported, and the allocator's."""

from __future__ import annotations

import ctypes
import os
import sys

# glibc, malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8


def tune() -> None:
    """Make this process fit for training; call it before `torch` is imported.

    Threads of OpenMP that wait sleep instead of spinning: spinning ones take the cores from our
    own threads, and two trainings side by side slow each other down several times. Memory that
    is freed stays with the process: otherwise every large tensor is mapped, filled with zeros by
    the kernel, and unmapped again in every step.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "0")  # GNU's OpenMP, which PyTorch brings on Linux
    os.environ.setdefault("KMP_BLOCKTIME", "0")  # Intel's and LLVM's
    # Without it cuBLAS may sum in another order each time (docs.nvidia.com/cuda/cublas, Results
    # reproducibility).
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_M_TOP_PAD, 64 << 20)
        libc.mallopt(_M_ARENA_MAX, 1)


def spare_the_compiler(kind: type) -> None:
    """Keep methods of a class of PyTorch's from importing its compiler, which takes seconds.

    They would in order to shut it out of themselves (torch/_compile.py, which looks for this
    attribute first).
    """
    for method in vars(kind).values():
        plain = getattr(method, "__wrapped__", None)
        if plain is not None:
            plain.__dict__.setdefault("__dynamo_disable", plain)
