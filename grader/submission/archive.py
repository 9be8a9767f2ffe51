"""A `.zip` as a folder: only scripts and notebooks are taken out of it, within bounds."""

from __future__ import annotations

import contextlib
import errno
import io
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from grader import scratch
from grader.errors import GraderFault, SubmissionError
from grader.submission.source import MAX_BYTES, SUFFIXES

MAX_MEMBERS = 10_000
MAX_TOTAL = 2 * MAX_BYTES
_OF_NAMES = (
    errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EISDIR, errno.ENOTDIR, errno.EEXIST,
)  # fmt: skip
_JUNK = ("__MACOSX", ".DS_Store", "__pycache__", ".ipynb_checkpoints")


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Unpack a `.zip` for as long as the block lasts, and give the folder its code lies in.

    GraderFault where there is no room for that; else as `unpack`.
    """
    with contextlib.ExitStack() as stack:
        try:
            into = stack.enter_context(scratch.folder("grader-submission-"))
        except OSError as error:
            raise _no_room(error) from error
        yield unpack(path, Path(into).resolve())


def _no_room(error: OSError) -> GraderFault:
    return GraderFault(
        "an archive could not be unpacked", expected="a folder for temporary files with room",
        found=error.strerror or str(error), where=tempfile.gettempdir(),
        help="make room there, or set TMPDIR to another folder",
    )  # fmt: skip


def unpack(path: Path, into: Path) -> Path:
    """Write the code of a `.zip` below `into`, and give the folder it lies in.

    Archives inside it are opened one level deep. Links, absolute names and names that climb out
    of the archive are refused. Raises SubmissionError.
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        raise _bad(path.name, error.strerror or str(error)) from None
    if data is None:
        raise _bad(path.name, f"more than {MAX_BYTES // 2**20} MB")
    _unpack(data, path.name, into, _Room(), nested=False)
    return _inner(into)


@dataclass
class _Room:
    """What an archive, with those inside it, may still bring."""

    members: int = MAX_MEMBERS
    size: int = MAX_TOTAL

    def take(self, name: str, members: int) -> None:
        """Count the files of an archive."""
        self.members -= members
        if self.members < 0:
            raise _bad(name, f"{members:,} files, of at most {MAX_MEMBERS:,} in all")


def _bad(name: str, found: str) -> SubmissionError:
    return SubmissionError(
        f"{name} cannot be opened as an archive",
        expected="a .zip of the folder, the notebook or the script",
        found=found,
        where=name,
        help="Make the archive again with your system's own tool, without a password.",
    )


def _unpack(data: bytes, name: str, into: Path, room: _Room, *, nested: bool) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            room.take(name, len(members))
            for member in members:
                if _wanted(member, nested=nested):
                    _take(archive, member, into, name, room)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _bad(name, str(error)[:200]) from None
    except OSError as error:
        if error.errno in _OF_NAMES:
            raise _bad(name, str(error)[:200]) from None
        raise _no_room(error) from error
    except ValueError as error:  # a name that no file system takes
        raise _bad(name, str(error)[:200]) from None


def _wanted(member: zipfile.ZipInfo, *, nested: bool) -> bool:
    parts = PurePosixPath(member.filename).parts
    junk = any(part in _JUNK or part.startswith("._") for part in parts)
    endings = SUFFIXES if nested else (*SUFFIXES, ".zip")
    return not member.is_dir() and not junk and member.filename.lower().endswith(endings)


def _take(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, into: Path, name: str, room: _Room
) -> None:
    """Write one member."""
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    mode = member.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise _bad(name, f"{member.filename[:100]} is a link, not a file")
    if member.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        raise _bad(name, f"{member.filename[:100]} would lie outside the archive")
    with archive.open(member) as stream:
        data = stream.read(room.size + 1)
    room.size -= len(data)
    if room.size < 0:
        raise _bad(name, f"more than {MAX_TOTAL // 2**20} MB of code when unpacked")
    target = into.joinpath(*parts)
    if target.suffix.lower() == ".zip":
        _unpack(data, target.name, into.joinpath(*parts[:-1], target.stem), room, nested=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def _inner(folder: Path) -> Path:
    """Go down while there is nothing but one folder."""
    while True:
        entries = list(folder.iterdir())
        if len(entries) != 1 or not entries[0].is_dir():
            return folder
        folder = entries[0]
