"""Files that are whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

from grader.errors import GraderFault

UNREADABLE = (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What reading JSON raises that may hold anything."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; GraderFault names the path when it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(temporary).chmod(0o644)  # mkstemp's files are private
            os.replace(temporary, path)  # noqa: PTH105 - Path.replace is the same call
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise unwritten(path, error) from error


def unwritten(path: Path, error: OSError) -> GraderFault:
    """Return the fault for a result that the system does not let us write."""
    return GraderFault(
        "a result could not be written", expected="a writable folder with free space",
        found=str(error), where=str(path), help="choose another folder with --out",
    )  # fmt: skip
