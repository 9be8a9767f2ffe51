"""What an instructor gives, as a list: one entry a submission, and what was passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from grader.person import Person


@dataclass(frozen=True)
class File:
    """A file that has to be copied before it can be read: the name it gets, and where it lies.

    `name` is relative, has only parts that are safe everywhere, and is unique in its entry.
    `member` is its name in the archive `source`, empty where `source` is the file itself.
    """

    name: str
    source: Path
    member: str = ""


@dataclass(frozen=True)
class Entry:
    """One submission.

    `key` is unique, and safe as the name of a folder and in the id of a test. `path` is what to
    read or, where `files` lists what must be copied first (`Unpacker`), where those lie; `inside`
    is the place in an archive. `system` is one of `SYSTEMS`, `folder` for an entry of a plain
    folder, `path` for one that was named alone.

    `people` are several for a group. `attempt` counts from 1. `late` is None where nobody said.
    `submitted` is in ISO 8601, without an offset where the download has none. `ids` holds what a
    system wants back with feedback (docs/class.md). `sha256` is what
    `grader.submission.files.sha256_of` returns for what is read: equal for equal submissions, empty
    where nothing is read, or too much.
    """

    key: str
    path: Path
    inside: str = ""
    is_folder: bool = False
    files: tuple[File, ...] = ()
    system: str = "folder"
    people: tuple[Person, ...] = ()
    attempt: int | None = None
    late: bool | None = None
    submitted: str = ""
    ids: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""
    notes: tuple[str, ...] = ()

    @property
    def person(self) -> Person:
        """The first of the people, or one of whom nothing is known."""
        return self.people[0] if self.people else Person()


@dataclass(frozen=True)
class Stray:
    """Something that is not graded, and why; `key` is the entry it belongs to, if to any."""

    place: str
    why: str
    key: str = ""


@dataclass(frozen=True)
class Intake:
    """All submissions by key, what was passed over, and who handed nothing in.

    Names in it are as others wrote them: escape them before they are shown.
    """

    entries: tuple[Entry, ...]
    strays: tuple[Stray, ...] = ()
    notes: tuple[str, ...] = ()
    missing: tuple[Person, ...] = ()
