"""Landlock through ctypes: files by an allow-list, no TCP, no signals or sockets to outside.

Numbers and the meaning of versions ("ABI") are those of include/uapi/linux/landlock.h and
Documentation/userspace-api/landlock.rst of the kernel. A restriction holds for this process and
all it will ever start, cannot be lifted, and needs neither root nor a namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable

from grader.sandbox import kernel

assert sys.platform != "win32"  # where nothing imports this

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # on every architecture
_VERSION_FLAG = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # bits of file rights an ABI knows; later as the last
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15  # and truncate, ioctl
_TCP = 0b11  # bind, connect: from ABI 4
_SCOPES = 0b11  # abstract sockets, signals: from ABI 6
READ = _EXECUTE | _READ_FILE | _READ_DIR
LIST = _READ_DIR
WRITE = (1 << 14) - 1 | 1 << 14  # everything but ioctl on devices


def version() -> int:
    """Return the ABI of the running kernel; OSError where it has no Landlock, or it is off."""
    return kernel.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)


def restrict(rules: Iterable[tuple[str, int]]) -> int:
    """Allow this process `rights` (READ, LIST or WRITE) beneath each path, and no other.

    Returns the ABI. A path that does not exist is passed over.
    """
    abi = version()
    known = (1 << _RIGHTS[min(abi, max(_RIGHTS))]) - 1
    attributes = struct.pack("=QQQ", known, _TCP if abi >= 4 else 0, _SCOPES if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = kernel.syscall(_CREATE_RULESET, attributes, size, 0)
    try:
        for path, rights in rules:
            with contextlib.suppress(FileNotFoundError):
                _allow(ruleset, path, rights & known)
        kernel.syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return abi


def _allow(ruleset: int, path: str, rights: int) -> None:
    if sys.platform != "linux":
        raise OSError("Linux only")
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_FILES
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, place))
        kernel.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(place)
