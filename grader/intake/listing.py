"""What lies in a folder or a `.zip`, by name, without reading or unpacking anything.

Names inside an archive are keys of a table and never become paths.
"""

from __future__ import annotations

import contextlib
import os
import stat
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from grader.intake.entries import File, Stray
from grader.intake.names import safe_names
from grader.submission import archive, bounds

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".gz", ".bz2", ".xz", ".rar", ".7z")
"""Of these only .zip is read; of the others the student is told so."""
MAX_LIST = 100 * 2**20  # bytes
_LONGEST = 1_000  # characters of a name in an archive
_DEEPEST = bounds.MAX_DEPTH + 5  # folders inside each other
_LEFT_BY_SYSTEMS = ("thumbs.db", "desktop.ini")

Kind = Literal["file", "folder", "link", "other"]


class Unreadable(Exception):
    """The folder or the archive cannot be listed; the text says why."""


@dataclass(frozen=True, eq=False)
class Item:
    """One name in a folder or an archive. `path` is where it lies, or the archive that holds it."""

    name: str
    kind: Kind
    path: Path
    inside: Inside | None = None

    @property
    def place(self) -> str:
        """Where it lies, in words."""
        return f"{self.path}: {self.inside.name}" if self.inside else str(self.path)

    @property
    def suffix(self) -> str:
        """The ending of a file that tells what it is, in lower case; of a folder none."""
        if self.kind == "folder":
            return ""
        lower = self.name.lower()
        return next((s for s in ARCHIVES if lower.endswith(s)), os.path.splitext(lower)[1])  # noqa: PTH122 - a name, not a path

    @property
    def is_candidate(self) -> bool:
        """Whether it may be a submission by itself."""
        return self.kind == "folder" or self.suffix in (*bounds.SUFFIXES, *ARCHIVES)

    def children(self) -> list[Item]:
        """Return what lies in a folder. Raises Unreadable."""
        if self.inside:
            return self.inside.table.items(self.inside.parts)
        return on_disk(self.path)

    def read(self, most: int) -> bytes:
        """Return the first bytes of a file. Raises what `zipfile` and files raise."""
        if self.inside:
            with self.inside.table.archive.open(self.inside.member) as stream:
                return stream.read(most)
        with self.path.open("rb") as stream:
            return stream.read(most)

    def files(self) -> list[tuple[str, Item]]:
        """Return what would be read of a folder in an archive, or the file itself, with names."""
        if not self.inside or self.kind != "folder":
            return [(self.name, self)]
        return list(self.inside.table.below(self.inside.parts))


@dataclass(frozen=True)
class Inside:
    """A place in an archive."""

    table: Table
    parts: tuple[str, ...]
    member: str = ""

    @property
    def name(self) -> str:
        """The place as a person calls it."""
        return "/".join(self.parts)


@dataclass(frozen=True, eq=False)
class Table:
    """The members of an archive by the folders they lie in; None stands for a folder."""

    path: Path
    archive: zipfile.ZipFile
    folders: dict[tuple[str, ...], dict[str, zipfile.ZipInfo | None]]
    strays: list[Stray] = field(default_factory=list)

    def items(self, parts: tuple[str, ...] = ()) -> list[Item]:
        """Return what lies directly in a folder of the archive."""
        return [
            Item(name, "file" if info else "folder", self.path,
                 Inside(self, (*parts, name), info.filename if info else ""))
            for name, info in sorted(self.folders.get(parts, {}).items())
        ]  # fmt: skip

    def below(self, top: tuple[str, ...], parts: tuple[str, ...] = ()) -> Iterator[tuple[str, Item]]:
        """Return the scripts, notebooks and archives below a folder, with their names from it."""
        for item in self.items(top + parts):
            if item.kind == "folder":
                if len(parts) < bounds.MAX_DEPTH and not bounds.is_ignored(item.name):
                    yield from self.below(top, (*parts, item.name))
            elif bounds.may_hold_code(item.name):
                yield "/".join((*parts, item.name)), item


def on_disk(folder: Path) -> list[Item]:
    """Return what lies in a folder, by name. Raises Unreadable."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None
    return [
        Item(os.fsencode(entry.name).decode("utf-8", "replace"), _kind(entry), folder / entry.name)
        for entry in entries
    ]


def _kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


def in_archive(path: Path, opened: contextlib.ExitStack) -> Table:
    """List an archive, for as long as `opened` is. Raises Unreadable."""
    try:
        stream = opened.enter_context(path.open("rb"))
        found = opened.enter_context(archive.open_archive(stream, MAX_LIST))
    except Exception as error:  # `zipfile` raises a dozen kinds for what is no archive
        raise Unreadable(str(error)[:200] or type(error).__name__) from None
    table = Table(path, found, {(): {}})
    infos = found.infolist()
    if len(infos) > bounds.MAX_ENTRIES:
        raise Unreadable(f"more than {bounds.MAX_ENTRIES:,} files")
    for info in infos:
        if why := _hostile(info) or _add(table.folders, info):
            table.strays.append(Stray(f"{path}: {info.filename[:100]}", why))
    return table


def _parts(info: zipfile.ZipInfo) -> tuple[str, ...]:
    return tuple(part for part in info.filename.replace("\\", "/").split("/") if part not in ("", "."))


def _hostile(info: zipfile.ZipInfo) -> str:
    """Return why a member is never looked at, or nothing."""
    name, parts = info.filename, _parts(info)
    if len(name) > _LONGEST or len(parts) > _DEEPEST:
        return "its name is too long, or it lies too deep"
    if not parts or name[:1] in "/\\" or ".." in parts or ":" in parts[0]:
        return "it would lie outside the archive"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a link, or no regular file"
    return ""


def _add(folders: dict[tuple[str, ...], dict[str, zipfile.ZipInfo | None]],
         info: zipfile.ZipInfo) -> str:  # fmt: skip
    """Put a member into the table; return why it could not be, or nothing."""
    parts = _parts(info)
    for depth, part in enumerate(parts[:-1]):
        if folders.setdefault(parts[:depth], {}).setdefault(part, None) is not None:
            return "it lies in a file"
    here, is_folder = folders.setdefault(parts[:-1], {}), info.is_dir()
    if is_folder and here.get(parts[-1]) is None:
        here[parts[-1]] = None
    elif not is_folder and parts[-1] not in here:
        here[parts[-1]] = info
    else:
        return "another one has the same name"
    return ""


def why_passed_over(item: Item) -> str:
    """Return why an item can be neither a submission nor tell anything, or nothing."""
    if item.kind in ("link", "other"):
        return "a symbolic link" if item.kind == "link" else "neither a file nor a folder"
    if item.name.startswith("."):
        return "hidden"
    if item.name.lower() in _LEFT_BY_SYSTEMS or (
        item.kind == "folder" and bounds.is_ignored(item.name)
    ):
        return "left by a system or a tool"
    return ""


def copies(named: Iterable[tuple[str, Item]]) -> tuple[File, ...]:
    """Return the files that make up a submission, under names that are safe."""
    pairs = list(named)
    return tuple(
        File(name, item.path, item.inside.member if item.inside else "")
        for name, (_, item) in zip(safe_names(n for n, _ in pairs), pairs, strict=True)
    )
