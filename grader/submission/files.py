"""What was handed in, as a closed set of scripts and notebooks: nothing else is ever read.

A single file is handed in alone; of a folder and of a `.zip`, what lies inside belongs to it.
Names are keys of a table and never become paths: an archive is read in place and nothing is
written, whatever its members are called, and an import cannot lead out of the table.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import IO

from grader.errors import NoCode, SubmissionError, UsageFault
from grader.submission import archive, bounds
from grader.submission.text import clean

KINDS = "a .py file, a .ipynb notebook, a folder or a .zip"
_NAMED = 5  # links and unreadable entries that a note names

Read = Callable[[], bytes]
"""Returns the bytes of a file; raises SubmissionError."""


@dataclass(frozen=True)
class Files:
    """What was handed in, by its names seen from the top.

    `name` is that of the folder, under which its modules may import each other; empty for a
    single file. `notes` tell what was passed over.
    """

    name: str
    every: Mapping[PurePosixPath, Read]
    notes: list[str] = field(default_factory=list)

    @cached_property
    def table(self) -> dict[PurePosixPath, Read]:
        """The scripts and notebooks."""
        return {path: read for path, read in self.every.items() if not bounds.are_settings(path)}

    def settings(self) -> dict[str, str]:
        """Return the texts that code may read as it runs; what is large is data, and left out."""
        found: dict[str, str] = {}
        others = set(self.every) - set(self.table)
        for path in sorted(others, key=lambda path: (bounds.are_commands(path), len(path.parts))):
            with contextlib.suppress(SubmissionError, UnicodeDecodeError):
                found[label_of(path)] = self.every[path]().decode()
            if len(found) == bounds.MOST_SETTINGS:
                break
        return found

    def read(self, path: PurePosixPath) -> bytes:
        """Return the content of a file of the table. Raises SubmissionError."""
        return self.table[path]()

    @cached_property
    def folders(self) -> dict[PurePosixPath, dict[str, PurePosixPath]]:
        """What lies directly in each folder, by name."""
        found: dict[PurePosixPath, dict[str, PurePosixPath]] = {PurePosixPath(): {}}
        for path in sorted(self.table):
            for inner in (path, *path.parents[:-1]):
                found.setdefault(inner.parent, {})[inner.name] = inner
        return found


def label_of(path: PurePosixPath) -> str:
    """Return what a person calls a file: its name seen from what was handed in."""
    return clean(path.as_posix())


def check_path(path: Path) -> None:
    """Raise UsageFault unless a file or a folder lies at `path`, itself and not a link to one."""
    try:
        mode = path.lstat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a null character
        raise UsageFault(
            "there is no such file",
            expected=KINDS,
            found=getattr(error, "strerror", None) or str(error),
            where=str(path),
            help="check the spelling of the path",
        ) from None
    if stat.S_ISLNK(mode):
        raise UsageFault(
            f"{path.name} is a symbolic link",
            expected=KINDS,
            found="a link, which may lead to someone else's files",
            where=str(path),
            help="give the path of the file or folder itself",
        )
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise UsageFault(
            f"{path.name} is neither a file nor a folder",
            expected=KINDS,
            found="a device, a pipe or a socket",
            where=str(path),
            help="check the spelling of the path",
        )
    if not os.access(path, os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0)):
        raise UsageFault(
            f"{path.name} cannot be read",
            expected="a readable file or folder",
            found="no permission to read it",
            where=str(path),
            help="change its permissions, or run as a user who may read it",
        )


@contextlib.contextmanager
def handed_in(path: Path) -> Iterator[Files]:
    """Open a submission for as long as the block lasts.

    Raises UsageFault where nothing to grade lies at the path, and SubmissionError for what
    cannot be read of it.
    """
    check_path(path)
    with contextlib.ExitStack() as opened:
        if path.is_dir():
            yield _of_folder(path, opened)
        elif path.suffix.lower() == ".zip":
            stream = opened.enter_context(_opened(path, path.name, bounds.MAX_NOTEBOOK))
            yield _of_archives(path.name, {PurePosixPath(path.name): stream}, opened)
        elif path.suffix.lower() in bounds.SUFFIXES:
            yield Files("", {PurePosixPath(path.name): partial(_content, path, path.name)})
        else:
            raise NoCode(
                f"{path.name} has a type that cannot be read",
                expected=KINDS,
                found=path.suffix or "a name without an extension",
                where=path.name,
                help="submit the script or the notebook itself",
            )


def _of_folder(folder: Path, opened: contextlib.ExitStack) -> Files:
    name = Path(os.path.abspath(folder)).name  # noqa: PTH100 - a link is not followed for its name
    walk = _Walk(folder)
    found = {PurePosixPath(path.relative_to(folder)): path for path in walk.files()}
    code = {
        key: partial(_content, path, label_of(key))
        for key, path in found.items()
        if path.suffix.lower() != ".zip"
    }
    archives = {key: path for key, path in found.items() if key not in code}
    if not archives or not all(map(bounds.are_settings, code)):
        return Files(name, code, walk.notes())
    streams = {
        key: opened.enter_context(_opened(path, label_of(key), bounds.MAX_NOTEBOOK))
        for key, path in archives.items()
    }
    return _of_archives(name, streams, opened, walk.notes())


def _of_archives(
    name: str,
    streams: Mapping[PurePosixPath, IO[bytes]],
    opened: contextlib.ExitStack,
    notes: list[str] | None = None,
) -> Files:
    """Return the code of archives, each in a folder of its name; without folders around it all."""
    room = archive.Room()
    table: dict[PurePosixPath, Read] = {}
    for key, stream in streams.items():
        found = archive.members(stream, label_of(key), room, opened)
        table |= {key / inner: read for inner, read in found.items()}
    above = PurePosixPath(os.path.commonpath([p.parent for p in table])) if table else None
    if above is None or not above.parts:
        return Files(name, table, notes or [])
    inside = {path.relative_to(above): read for path, read in table.items()}
    return Files(above.name, inside, notes or [])


@dataclass
class _Walk:
    """A way through a folder; links are not followed, and what cannot be read is passed over."""

    folder: Path
    seen: int = 0
    links: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def files(self) -> list[Path]:
        """Return all that is read, and archives, in order. Raises SubmissionError."""
        return sorted(self._below(self.folder, 0))

    def notes(self) -> list[str]:
        """Say what was passed over."""
        told = (("symbolic links are not followed", self.links), ("not readable", self.unread))
        return [
            f"{words}: {', '.join(names[:_NAMED])}{', …' * (len(names) > _NAMED)}"
            for words, names in told
            if names
        ]

    def _below(self, folder: Path, depth: int) -> Iterator[Path]:
        try:
            entries = list(self._entries(folder))
        except OSError:
            self.unread.append(self._label(folder))
            return
        if depth and any(entry.name == bounds.RESULTS for entry in entries):
            return
        for entry in entries:
            path = folder / entry.name
            if entry.is_symlink():
                self.links.append(self._label(path))
            elif entry.is_dir(follow_symlinks=False):
                if depth < bounds.MAX_DEPTH and not bounds.is_ignored(entry.name):
                    yield from self._below(path, depth + 1)
            elif entry.is_file(follow_symlinks=False) and bounds.is_read(entry.name):
                if os.access(path, os.R_OK):
                    yield path
                else:
                    self.unread.append(self._label(path))

    def _entries(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                self.seen += 1
                if self.seen > bounds.MAX_ENTRIES:
                    raise SubmissionError(
                        f"the folder {self.folder.name} holds too many files",
                        expected=f"at most {bounds.MAX_ENTRIES:,} files of any kind",
                        found="more",
                        where=self.folder.name,
                        help="submit the folder of this assignment alone, without its data",
                    )
                yield entry

    def _label(self, path: Path) -> str:
        return label_of(PurePosixPath(path.relative_to(self.folder)))


def _content(path: Path, label: str) -> bytes:
    with _opened(path, label, bounds.most_bytes(path.name)) as stream:
        return stream.read(bounds.most_bytes(path.name))


@contextlib.contextmanager
def _opened(path: Path, label: str, most: int) -> Iterator[BufferedReader]:
    """Open a regular file of at most so many bytes. Raises SubmissionError."""
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        stream = os.fdopen(os.open(path, flags), "rb")
    except OSError as error:
        raise _unreadable(label, error.strerror or str(error)) from None
    with stream:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise _unreadable(label, "something that is no file")
        if found.st_size > most:
            raise bounds.too_large(label, most)
        yield stream


def _unreadable(label: str, found: str) -> SubmissionError:
    return SubmissionError(
        f"{label} cannot be read",
        expected="a readable file",
        found=found,
        where=label,
        help="check the file and its permissions",
    )


def sha256_of(path: Path) -> str:
    """Return the hash of a file, or of the names and contents of what is read of a folder.

    Empty where that is nothing, or more than is ever read.
    """
    digest = hashlib.sha256()
    try:
        files = _Walk(path).files() if path.is_dir() else [path]
        if sum(file.stat().st_size for file in files) > bounds.MAX_TOTAL:
            return ""
        for file in files:
            if file != path:
                digest.update(os.fsencode(file.relative_to(path)) + b"\0")
            with _opened(file, file.name, bounds.MAX_TOTAL) as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except (OSError, SubmissionError):
        return ""
    return digest.hexdigest() if files else ""
