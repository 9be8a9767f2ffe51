"""Which person of the roster an entry is from: by id, then by login, then by name."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from grader.intake.entries import Entry
from grader.intake.names import tokens, words
from grader.intake.roster import Row
from grader.person import Person

_TELLING = 4  # characters that a part of a file's name must have to be an id or a login


class Matcher:
    """Finds the people of a roster; a match that is not the only one is none."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self._ids: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._logins: dict[str, set[int]] = defaultdict(set)
        self._names: dict[str, set[int]] = defaultdict(set)
        self._words: dict[str, set[int]] = defaultdict(set)
        self._counts: list[int] = []
        for at, row in enumerate(rows):
            person, parts = row.person, words(row.person.name)
            for key in row.ids:
                self._ids[key].add(at)
            for login in (person.login, person.email, person.email.partition("@")[0]):
                self._logins[login.casefold()].add(at)
            for turn in range(len(parts)):  # `Ada Lovelace`, and `lovelaceada` as Canvas writes it
                self._names["".join(parts[turn:] + parts[:turn])].add(at)
            for word in set(parts):
                self._words[word].add(at)
            self._counts.append(len(set(parts)))
        self._logins.pop("", None)

    def matched(self, entry: Entry, stem: str) -> tuple[Entry, list[int], set[int]]:
        """Return an entry with what the roster knows of its people, and their places in it.

        The last are places of those whom nothing tells apart: one of them may have handed it in.
        `stem` is what a file in a plain folder is called; it may hold an id, a login or a name.
        """
        unsure: set[int] = set()
        if entry.system in ("folder", "path"):
            found = [(Person(), self._by_stem(stem))]
        else:
            found = [(person, self._by_person(entry, person)) for person in entry.people]
        people, places, notes = [], [], list(entry.notes)
        for person, rows in found:
            if len(rows) == 1:
                (at,) = rows
                places.append(at)
                people.append(_merged(self.rows[at].person, person))
            else:
                people.append(person)
                unsure |= rows
                notes.append(self._why(person if str(person) else Person(name=stem), rows))
        known = tuple(person for person in people if person != Person())
        late, note = _lateness(entry, known)
        notes += [note] if note else []
        return (
            dataclasses.replace(entry, people=known, late=late, notes=tuple(notes)),
            places,
            unsure,
        )

    def _why(self, person: Person, rows: Iterable[int]) -> str:
        several = ", ".join(
            f"{self.rows[at].person} (row {self.rows[at].number})" for at in sorted(rows)
        )
        return f"{person} may be {several}" if several else f"{person} is not on the roster"

    def _by_person(self, entry: Entry, person: Person) -> set[int]:
        for system, key in (("canvas", "user"), ("moodle", "participant")):
            numbered = self._ids.get((system, entry.ids.get(key, "")), set())
            if system == "moodle":  # the number of a team may be that of somebody else
                numbered = {at for at in numbered if self._agrees(at, person.name)}
            if entry.system == system and numbered:
                return numbered
        number = person.id or (entry.ids.get("user", "") if entry.system == "canvas" else "")
        by_id = self._ids.get(("", number.casefold()), set())
        own = bool(person.id)  # which somebody keeps who is called otherwise now
        if agreeing := {at for at in by_id if self._agrees(at, person.name, changed=own)}:
            return agreeing
        for login in (person.login, person.email):
            if found := self._logins.get(login.casefold()):
                return found
        return self._names.get("".join(words(person.name)), set())

    def _agrees(self, at: int, name: str, *, changed: bool = False) -> bool:
        """Tell whether a name can be that of a row: numbers of different systems may be equal.

        One name has to have all words of the other, or, where it may have `changed`, one of them:
        a part of a word is no name.
        """
        told, known = set(words(name)), set(words(self.rows[at].person.name))
        if not told or not known or at in self._names.get("".join(words(name)), ()):
            return True
        shared = told & known
        return bool(shared) if changed else shared in (told, known)

    def _by_stem(self, stem: str) -> set[int]:
        parts = tokens(stem)
        telling = {stem.casefold(), *(part for part in parts if len(part) >= _TELLING)}
        for found in (
            set().union(*(self._ids.get(("", part), set()) for part in telling)),
            set().union(*(self._logins.get(part, set()) for part in telling)),
            self._names.get("".join(parts), set()),
        ):
            if found:
                return found
        hits = Counter(at for part in set(parts) for at in self._words.get(part, ()))
        return {at for at, count in hits.items() if count == self._counts[at] >= 2}


def _merged(known: Person, told: Person) -> Person:
    """Return what the roster knows, and for the rest what the download tells."""
    pairs = {each: getattr(known, each) or getattr(told, each) for each in known.__struct_fields__}
    return Person(**pairs)


def _lateness(entry: Entry, people: Iterable[Person]) -> tuple[bool | None, str]:
    """Return whether a submission came after its people's own deadline, the last if several.

    Without one it is what the download says. The text says why a deadline was not used.
    """
    deadlines = [datetime.fromisoformat(p.deadline) for p in people if p.deadline]
    if not deadlines or not entry.submitted:
        return entry.late, ""
    when = datetime.fromisoformat(entry.submitted)
    if any((when.tzinfo is None) != (deadline.tzinfo is None) for deadline in deadlines):
        return entry.late, (
            f"handed in at {when}, with a deadline at {deadlines[0]}: not compared, since only one "
            "of them has an offset from UTC"
        )
    return when > max(deadlines), ""
