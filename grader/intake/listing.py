"""What lies in a folder or a `.zip`, by name, without reading or unpacking anything.

Names inside an archive are keys of a table and never become paths.
"""

from __future__ import annotations

import contextlib
import os
import stat
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from grader.intake.entries import File, Stray
from grader.intake.names import safe_names
from grader.submission import bounds
from grader.submission.archive import open_archive

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".gz", ".bz2", ".xz", ".rar", ".7z")
"""Of these only .zip is read; of the others the student is told so."""
MAX_LIST = 64 * 2**20  # bytes of the list of files in an archive that an instructor gives
MAX_NESTED_LIST = 8 * 2**20  # the same where it may be a student's
_LONGEST = 1_000  # characters of a name in an archive
_DEEPEST = bounds.MAX_DEPTH + 5  # folders inside each other
_SAYS_UTF_8 = 0x800  # bit of a member's flags
_LEFT_BY_SYSTEMS = ("thumbs.db", "desktop.ini")


class Unreadable(Exception):
    """A file, a folder or an archive cannot be read; the text says why."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error)[:200] or type(error).__name__)


@dataclass(frozen=True, eq=False)
class Item:
    """One name in a folder or an archive. `path` is where it lies, or the archive that holds it.

    `why_not` says why it can be neither a submission nor tell anything; empty for all others.
    """

    name: str
    is_folder: bool
    path: Path
    inside: Inside | None = None
    why_not: str = ""

    @property
    def place(self) -> str:
        """Where it lies, in words."""
        return f"{self.path}: {self.inside.name}" if self.inside else str(self.path)

    @property
    def suffix(self) -> str:
        """The ending of a file that tells what it is, in lower case; of a folder none."""
        lower = self.name.lower()
        ending = next((end for end in ARCHIVES if lower.endswith(end)), Path(lower).suffix)
        return "" if self.is_folder else ending

    @property
    def stem(self) -> str:
        """The name without the ending of a submission."""
        return self.name[: len(self.name) - len(self.suffix)] if self.is_candidate else self.name

    @property
    def is_candidate(self) -> bool:
        """Whether it may be a submission by itself."""
        return self.is_folder or self.suffix in (*bounds.SUFFIXES, *ARCHIVES)

    def children(self) -> list[Item]:
        """Return what lies in a folder, by name. Raises Unreadable."""
        return self.inside.children() if self.inside else on_disk(self.path)

    def read(self, most: int) -> bytes:
        """Return the first bytes of a file. Raises Unreadable."""
        try:
            with self.inside.opened() if self.inside else self.path.open("rb") as stream:
                return stream.read(most)
        except Exception as error:  # `zipfile` raises a dozen kinds for a damaged archive
            raise Unreadable(error) from None

    def code(self, depth: int = 0) -> Iterator[tuple[str, Item]]:
        """Return what is read of a folder, with names relative to it. Raises Unreadable."""
        for item in self.children():
            if item.is_folder and depth < bounds.MAX_DEPTH and not item.why_not:
                yield from ((f"{item.name}/{name}", each) for name, each in item.code(depth + 1))
            elif not item.is_folder and not item.why_not and bounds.is_read(item.name):
                yield item.name, item


_Folders = dict[tuple[str, ...], dict[str, zipfile.ZipInfo | None]]
"""What lies directly in each folder of an archive; None stands for a folder."""


@dataclass(frozen=True, eq=False)
class Inside:
    """A place in an archive, and the archive."""

    archive: zipfile.ZipFile
    path: Path
    folders: _Folders
    parts: tuple[str, ...] = ()
    member: str = ""

    @property
    def name(self) -> str:
        """The place as a person calls it."""
        return "/".join(self.parts)

    def opened(self) -> IO[bytes]:
        """Open a file; raises what `zipfile` does."""
        return self.archive.open(self.member)

    def children(self) -> list[Item]:
        """Return what lies in a folder, by name."""
        return [
            Item(
                name, info is None, self.path, self._below(name, info), _why_not(name, info is None)
            )
            for name, info in sorted(self.folders.get(self.parts, {}).items())
        ]

    def _below(self, name: str, info: zipfile.ZipInfo | None) -> Inside:
        parts, member = (*self.parts, name), info.filename if info else ""
        return Inside(self.archive, self.path, self.folders, parts, member)


def on_disk(folder: Path) -> list[Item]:
    """Return what lies in a folder, by name. Raises Unreadable."""
    try:
        with os.scandir(folder) as found:
            return sorted((_item(entry) for entry in found), key=lambda item: item.path.name)
    except OSError as error:
        raise Unreadable(error) from None


def _item(entry: os.DirEntry[str]) -> Item:
    name, is_folder = text(entry.name), entry.is_dir(follow_symlinks=False)
    special = "" if is_folder or entry.is_file(follow_symlinks=False) else "no regular file"
    why_not = "a symbolic link" if entry.is_symlink() else special or _why_not(name, is_folder)
    if is_folder and os.path.lexists(Path(entry.path) / bounds.RESULTS):
        why_not = "results of the grader"
    return Item(name, is_folder, Path(entry.path), why_not=why_not)


def text(name: str) -> str:
    """Return a name of the file system as text, whatever bytes are in it."""
    return os.fsencode(name).decode("utf-8", "replace")


def _why_not(name: str, is_folder: bool) -> str:
    if name.startswith("."):
        return "hidden"
    left = name.lower() in _LEFT_BY_SYSTEMS or (is_folder and bounds.is_ignored(name))
    return "left by a system or a tool" if left else ""


def listed(
    path: Path, opened: contextlib.ExitStack, longest: int = MAX_LIST
) -> tuple[list[Item], list[Stray]]:
    """Return what lies in a folder or an archive, and the members that are never looked at.

    The archive stays open as long as `opened`. Raises Unreadable.
    """
    if path.is_dir():
        return on_disk(path), []
    try:
        stream = opened.enter_context(path.open("rb"))
        archive = opened.enter_context(open_archive(stream, longest))
    except Exception as error:  # as above, for what is no archive
        raise Unreadable(error) from None
    top, strays = Inside(archive, path, {}), []
    for info in archive.infolist():
        name = _name(info)
        parts = tuple(p for p in name.replace("\\", "/").split("/") if p not in ("", "."))
        if why := _hostile(info, name, parts) or _add(top.folders, info, parts):
            strays.append(Stray(f"{path}: {name[:100]}", why))
    return top.children(), strays


def _name(info: zipfile.ZipInfo) -> str:
    """Return the name of a member; some tools write UTF-8 without saying so."""
    if info.flag_bits & _SAYS_UTF_8:
        return info.filename
    with contextlib.suppress(UnicodeError):
        return info.filename.encode("cp437").decode()
    return info.filename


def _hostile(info: zipfile.ZipInfo, name: str, parts: tuple[str, ...]) -> str:
    """Return why a member is never looked at, or nothing."""
    if len(name) > _LONGEST or len(parts) > _DEEPEST:
        return "its name is too long, or it lies too deep"
    if not parts or name[0] in "/\\" or ".." in parts or ":" in parts[0]:
        return "it would lie outside the archive"
    is_regular = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
    return "" if is_regular else "a link, or no regular file"


def _add(folders: _Folders, info: zipfile.ZipInfo, parts: tuple[str, ...]) -> str:
    """Put a member into the table; return why it could not be, or nothing."""
    for depth, part in enumerate(parts[:-1]):
        if folders.setdefault(parts[:depth], {}).setdefault(part, None) is not None:
            return "it lies in a file"
    here = folders.setdefault(parts[:-1], {})
    new = None if info.is_dir() else info
    if here.setdefault(parts[-1], new) is not new:
        return "something else has the same name"
    return ""


def copies(named: Sequence[tuple[str, Item]]) -> tuple[File, ...]:
    """Return what is read of files and folders, under names that are safe.

    Of a single folder the names are seen from inside it.
    """
    found: list[tuple[str, Item]] = []
    for name, item in named:
        above = "" if len(named) == 1 else f"{name}/"
        with contextlib.suppress(Unreadable):
            code = item.code() if item.is_folder else ()
            found += [(above + below, each) for below, each in code]
        if not item.is_folder:
            found.append((name, item))
    return tuple(
        File(name, item.path, item.inside.member if item.inside else "")
        for name, (_, item) in zip(safe_names(n for n, _ in found), found, strict=True)
    )
