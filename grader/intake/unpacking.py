"""Submissions that lie in an archive, or as files beside those of others: copied before reading."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from grader.errors import GraderFault, SubmissionError
from grader.intake.entries import Entry, File
from grader.intake.listing import MAX_LIST
from grader.submission import archive, bounds

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Reader:
    """Reads the files of entries; keeps archives open from one to the next."""

    def __init__(self) -> None:
        self._opened = contextlib.ExitStack()
        self._archives: dict[Path, zipfile.ZipFile] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._opened.close()

    def contents(self, files: Sequence[File]) -> Iterator[tuple[File, bytes]]:
        """Read the files of a submission in turn, within its bounds. Raises SubmissionError."""
        left = bounds.MAX_TOTAL
        for file in files:
            most = min(bounds.most_bytes(file.name), left)
            try:
                data = self._read(file, most + 1)
            except Exception as error:  # whatever `zipfile` raises is the archive's fault
                raise _damaged(file.name, str(error)[:200] or type(error).__name__) from None
            if len(data) > most:
                raise bounds.too_large(file.name, most)
            left -= len(data)
            yield file, data

    def sha256_of(self, files: Sequence[File], *, alone: bool) -> str:
        """Return what `grader.submission.files.sha256_of` returns for the copy of these files."""
        whole = hashlib.sha256()
        try:
            for file, data in self.contents(sorted(files, key=lambda file: Path(file.name))):
                if not alone:
                    whole.update(os.fsencode(file.name) + b"\0")
                whole.update(hashlib.sha256(data).digest())
        except SubmissionError:
            return ""
        return whole.hexdigest() if files else ""

    def _read(self, file: File, most: int) -> bytes:
        if not file.member:
            with file.source.open("rb") as stream:
                return stream.read(most)
        if file.source not in self._archives:
            stream = self._opened.enter_context(file.source.open("rb"))
            opened = self._opened.enter_context(archive.open_archive(stream, MAX_LIST))
            self._archives[file.source] = opened
        found = self._archives[file.source]
        if found.getinfo(file.member).compress_type not in _METHODS:
            raise zipfile.BadZipFile("a compression that no system's own tool uses")
        with found.open(file.member) as member:
            return member.read(most)


class Unpacker(Reader):
    """Puts each entry where it can be read: `path = unpack(entry)`, in a `with` block.

    An entry that can be read where it lies stays there. All others get the folder `below/<key>`,
    which must not exist; `below` belongs to the caller, and nothing is written elsewhere.
    """

    def __init__(self, below: Path) -> None:
        super().__init__()
        self._below = below

    def __call__(self, entry: Entry) -> Path:
        """Return the path to read.

        Raises SubmissionError for what cannot be read of it, GraderFault where nothing can be
        written.
        """
        if not entry.files and not entry.inside:
            return entry.path
        folder = self._below / entry.key
        try:
            folder.mkdir(parents=True)
            for file, data in self.contents(entry.files):
                path = folder / file.name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as stream:
                    stream.write(data)
        except OSError as error:
            raise GraderFault(
                f"{entry.key} cannot be copied out of its archive", expected="a new folder",
                found=error.strerror or str(error), where=str(folder),
                help="make room on the disk, or choose another folder",
            ) from error  # fmt: skip
        return folder if entry.is_folder else folder / entry.files[0].name


def _damaged(name: str, found: str) -> SubmissionError:
    return SubmissionError(
        f"{name} cannot be read", expected="a file that is whole and not encrypted", found=found,
        where=name, help="download the submissions again, or ask for this one again",
    )  # fmt: skip
