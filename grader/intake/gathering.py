"""From the paths that an instructor gives to a list of submissions."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from grader.intake import listing
from grader.intake.entries import Entry, File, Intake, Stray
from grader.intake.finding import Draft, Finding
from grader.intake.names import unique_keys
from grader.intake.people import Matcher
from grader.intake.roster import read_roster
from grader.intake.unpacking import Reader
from grader.person import Person
from grader.submission.files import sha256_of

_NAMED = 20  # people or entries that a note names


def gather(
    submissions: Sequence[Path], collection: Path | None = None, roster: Path | None = None
) -> Intake:
    """List what is to be graded: single submissions, and those of a folder or a downloaded `.zip`.

    Nothing is unpacked or written. Raises UsageFault where a path leads nowhere, the collection
    holds no submission or the roster cannot be used.
    """
    matcher = None if roster is None else Matcher(read_roster(roster))
    with contextlib.ExitStack() as opened, Reader() as reader:
        found = Finding(opened)
        for path in dict.fromkeys(_absolute(path) for path in submissions):
            found.add_alone(path)
        if collection is not None:
            found.add_all(_absolute(collection))
        keys = unique_keys([draft.keys for draft in found.drafts])
        keyed = sorted(zip(keys, found.drafts, strict=True), key=lambda pair: pair[0])
        entries = [_entry(key, draft, reader) for key, draft in keyed]
    strays = found.strays + [
        Stray(item.place, why, key) for key, draft in keyed for item, why in draft.beside
    ]
    notes = found.notes + _duplicates(entries)
    missing: tuple[Person, ...] = ()
    if matcher is not None:
        stems = [draft.stem for _, draft in keyed]
        entries, missing, told = _mapped(entries, stems, matcher)
        notes += told
    return Intake(tuple(entries), tuple(strays), tuple(notes), missing)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - a link is refused, not followed


def _entry(key: str, draft: Draft, reader: Reader) -> Entry:
    """Return the entry, with what to copy where it cannot be read in its place."""
    item, label = draft.named[0][1], draft.label
    alone = len(draft.named) == 1
    path = item.path if alone or item.inside else item.path.parent
    files: tuple[File, ...]
    is_folder = not alone or item.is_folder
    if alone and not item.inside:
        files, sha256 = (), sha256_of(item.path)
    else:
        files = listing.copies(draft.named)
        sha256 = reader.sha256_of(files, alone=not is_folder)
    people = tuple(person for person in label.people if person != Person())
    return Entry(
        key, path, item.inside.name if item.inside else "", is_folder, files, draft.system, people,
        label.number, label.late, label.submitted, label.ids, sha256, draft.notes,
    )  # fmt: skip


def _duplicates(entries: Sequence[Entry]) -> list[str]:
    same: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        same[entry.sha256].append(entry.key)
    return [f"the same files: {_listed(k)}" for sha, k in same.items() if sha and len(k) > 1]


def _mapped(
    entries: Sequence[Entry], stems: Sequence[str], matcher: Matcher
) -> tuple[list[Entry], tuple[Person, ...], list[str]]:
    """Map entries to the people of a roster; return them, and who handed nothing in."""
    pairs = [matcher.matched(entry, stem) for entry, stem in zip(entries, stems, strict=True)]
    of_person: dict[int, list[str]] = defaultdict(list)
    for entry, places, _ in pairs:
        for at in places:
            of_person[at].append(entry.key)
    notes = [
        f"several submissions of {matcher.rows[at].person}, all of them graded: {_listed(keys)}"
        for at, keys in sorted(of_person.items())
        if len(keys) > 1
    ]
    if unknown := [entry.key for entry, places, _ in pairs if not places]:
        notes.append(f"nobody on the roster for {_listed(unknown)}")
    known = {*of_person}.union(*(unsure for _, _, unsure in pairs))
    missing = tuple(row.person for at, row in enumerate(matcher.rows) if at not in known)
    if missing:
        notes.append(f"no submission from {_listed(str(person) for person in missing)}")
    return [entry for entry, _, _ in pairs], missing, notes


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more
