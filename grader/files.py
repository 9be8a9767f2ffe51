"""Files and folders that are whole or not there, and archives."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
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


def readable(value: object) -> bytes:
    """Return a value as JSON that people can read, too."""
    return msgspec.json.format(msgspec.json.encode(value))


def archived(files: Mapping[str, bytes], scripts: Container[str] = ()) -> bytes:
    """Return a zip of files by their names, equal for equal ones; `scripts` are executable."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)  # of 1980, the first year that a zip knows
            entry.external_attr = (0o755 if name in scripts else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return made.getvalue()


@contextmanager
def new_beside(folder: Path) -> Iterator[Path]:
    """Give a new folder, to be filled and to be renamed to `folder`; without that it is removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
    try:
        new.chmod(0o755)  # mkdtemp's folders are private
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)


def unwritten(path: Path, error: OSError) -> GraderFault:
    """Return the fault for a result that the system does not let us write."""
    return GraderFault(
        "a result could not be written", expected="a writable folder with free space",
        found=str(error), where=str(path), help="choose another folder with --out",
    )  # fmt: skip
