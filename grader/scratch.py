"""Temporary folders that are removed even after a grader that was killed: by the next one.

The owner of a folder holds a lock on it, which the system takes away from whoever dies.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl


@contextlib.contextmanager
def folder(prefix: str) -> Iterator[str]:
    """Make a folder for as long as the block lasts; remove those that nobody owns any more."""
    _sweep(prefix)
    unowned = tempfile.mkdtemp(prefix=f".{prefix}")  # under a name that no sweep looks for
    handle = _locked(unowned)
    path = Path(unowned).rename(Path(unowned).with_name(Path(unowned).name[1:]))
    try:
        yield str(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _sweep(prefix: str) -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            if (handle := _locked(str(path))) is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(handle)


def _locked(path: str) -> int | None:
    """Lock a folder and return the handle that holds the lock; OSError if somebody has it.

    None on Windows, where nothing is swept.
    """
    if sys.platform != "win32":
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise
        return handle
    return None
