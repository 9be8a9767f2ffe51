"""What of a machine decides the last bits of a training. No torch, and nothing that takes long."""

from __future__ import annotations

import contextlib
import ctypes
import sys

_PLAYS_A_PART = ("avx2", "fma", "avx512f", "avx512vl", "avx512vnni", "amx-bf16", "neon", "sve")
_NAME = 100  # bytes


def instruction_set() -> str:
    """Return the kinds of vector instructions that PyTorch and the lanes choose between."""
    import llvmlite.binding as llvm

    has = llvm.get_host_cpu_features()
    return " ".join(name for name in _PLAYS_A_PART if has.get(name))


def gpu() -> str:
    """Return the name of the first GPU that CUDA sees; empty where there is none.

    Asks the driver (docs.nvidia.com/cuda/cuda-driver-api), because PyTorch takes seconds to load.
    """
    name = ctypes.create_string_buffer(_NAME)
    device = ctypes.c_int()
    with contextlib.suppress(OSError, AttributeError):
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        if not any((
            driver.cuInit(0),
            driver.cuDeviceGet(ctypes.byref(device), 0),
            driver.cuDeviceGetName(name, _NAME, device),
        )):  # fmt: skip
            return name.value.decode("ascii", "replace")
    return ""
