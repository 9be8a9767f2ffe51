"""The scripts and notebooks of a `.zip`, read in place: no member is ever written anywhere.

`zipfile` raises a dozen kinds of exception for what is no proper archive. Whatever it raises
while it reads one is the archive's fault.
"""

from __future__ import annotations

import contextlib
import io
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import IO

from grader.errors import NoCode
from grader.submission import bounds

_MAX_LIST = 400 * bounds.MAX_MEMBERS  # bytes
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass
class Room:
    """What an archive, with those inside it, may still bring."""

    members: int = bounds.MAX_MEMBERS
    size: int = bounds.MAX_TOTAL

    def take(self, name: str, members: int, size: int) -> None:
        """Count the members of an archive, and the bytes of those that are read."""
        self.members -= members
        self.size -= size
        if self.members < 0:
            raise _bad(name, f"{members:,} files, of at most {bounds.MAX_MEMBERS:,} in all")
        if self.size < 0:
            raise _bad(name, f"more than {bounds.MAX_TOTAL // 2**20} MB of code when unpacked")


def members(
    stream: IO[bytes], name: str, room: Room, opened: contextlib.ExitStack, *, nested: bool = False
) -> dict[PurePosixPath, Callable[[], bytes]]:
    """Return how to read each script and notebook of an archive, for as long as `opened` is.

    An archive inside it is opened where no code lies beside it, one level deep. Links, absolute
    names and names that lead out of the archive are refused. Raises SubmissionError.
    """
    with _blamed(name):
        archive = opened.enter_context(open_archive(stream))
        found = archive.infolist()
    wanted = {
        path: member
        for member in found
        if bounds.is_read(_parts(member)[-1])
        if bounds.is_within_reach(path := _checked(member, name))
    }
    room.take(name, len(found), sum(member.file_size for member in wanted.values()))
    inside = {path for path in wanted if path.suffix.lower() == ".zip"}
    code: dict[PurePosixPath, Callable[[], bytes]] = {
        path: partial(_content, archive, wanted[path], path)
        for path in wanted
        if path not in inside
    }
    if all(map(bounds.are_settings, code)) and not nested:
        for path in sorted(inside):
            data = io.BytesIO(_content(archive, wanted[path], path))
            found_in = members(data, path.name, room, opened, nested=True)
            code |= {path / inner: read for inner, read in found_in.items()}
    return code


def open_archive(stream: IO[bytes], longest: int = _MAX_LIST) -> zipfile.ZipFile:
    """Open an archive whose list of files has at most so many bytes; raises what `zipfile` does."""
    archive = zipfile.ZipFile(_Start(stream, longest))
    archive.fp = stream
    return archive


class _Start:
    """A stream in which `zipfile` finds the list of files, unless that is too long to be parsed."""

    def __init__(self, stream: IO[bytes], longest: int) -> None:
        self.seek, self.tell = stream.seek, stream.tell
        self._read, self._longest = stream.read, longest

    def read(self, size: int = -1) -> bytes:
        if size > self._longest:
            raise zipfile.BadZipFile(f"a list of files of {size // 2**20} MB")
        return self._read(size)


@contextlib.contextmanager
def _blamed(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        found = "more than fits into memory" if isinstance(error, MemoryError) else str(error)
        raise _bad(name, found[:200]) from None


def _bad(name: str, found: str) -> NoCode:
    return NoCode(
        f"{name} cannot be opened as an archive",
        expected="a .zip of the folder, the notebook or the script",
        found=found,
        where=name,
        help="make the archive again with your system's own tool, without a password",
    )


def _parts(member: zipfile.ZipInfo) -> list[str]:
    return member.filename.replace("\\", "/").split("/")


def _checked(member: zipfile.ZipInfo, name: str) -> PurePosixPath:
    """Return a member's name as a key of the table. Raises SubmissionError for a hostile one."""
    parts = _parts(member)
    shown = member.filename[:100]
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        raise _bad(name, f"{shown} is a link, not a file")
    if not parts[0] or ".." in parts or ":" in parts[0]:
        raise _bad(name, f"{shown} would lie outside the archive")
    return PurePosixPath(*parts)


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: PurePosixPath) -> bytes:
    most = bounds.most_bytes(path.name)
    if member.file_size > most:
        raise bounds.too_large(path.as_posix(), most)
    with _blamed(path.as_posix()):
        if member.compress_type not in _METHODS:
            raise zipfile.BadZipFile("a compression that no system's own tool uses")
        with archive.open(member) as stream:
            return stream.read(most)
