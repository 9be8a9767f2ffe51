"""The list of a class: a CSV whose columns are found by their headers.

The gradebook that Canvas exports, Moodle's grading worksheet, and the lists of Gradescope,
Blackboard and Brightspace are read as they are.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path

from grader.errors import UsageFault
from grader.intake.names import folded
from grader.person import Person

_MOST = 64 * 2**20  # bytes
_HEADERS: Mapping[str, tuple[str, ...]] = {
    "id": ("sisuserid", "studentid", "studentnumber", "studentidnumber", "sid", "orgdefinedid",
           "idnumber", "matriculationnumber", "matrikelnummer", "id"),
    "participant": ("identifier", "participant", "identifiant", "identificador", "identificatore"),
    "login": ("login", "loginid", "sisloginid", "username", "user", "netid", "account"),
    "email": ("email", "emailaddress", "mail"),
    "name": ("name", "fullname", "student", "studentname", "displayname",
             "vollstandigername", "nomcomplet", "nombrecompleto"),  # Moodle's worksheet
    "first": ("firstname", "first", "givenname", "forename"),
    "last": ("lastname", "last", "surname", "familyname"),
    "section": ("section", "sections", "group", "class", "tutorial"),
    "deadline": ("deadline", "duedate", "due", "extension"),
    "submitted": ("submitted", "submittedat", "submissiontime", "handedin"),
}  # fmt: skip
_IDENTITY = ("id", "participant", "login", "email", "name", "last")
_EXPECTED = "a first row with a header such as id, login, email, name, or first name and last name"
_NO_PERSON = ("pointspossible", "manualposting")  # rows that Canvas puts below the header


@dataclass(frozen=True)
class Row:
    """A person on the roster, and their ids by what gave them: `canvas`, `moodle`, or any other.

    `number` is that of the row in the file, from 1. `submitted` is when they handed in, where the
    file says so, in ISO 8601.
    """

    person: Person
    number: int
    ids: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    submitted: str = ""


def read_roster(path: Path, *, times: bool = False) -> list[Row]:
    """Read the people of a roster, with `times` also when they handed in.

    Raises UsageFault, with the row and column at fault.
    """
    text = _text(path)
    delimiter, columns = _best_delimiter(path, text)
    rows = _rows(path, text, delimiter)
    header = next(rows)[1]
    found = []
    for number, cells in rows:
        if any(cell.strip() for cell in cells[len(header) :]):
            raise _wrong(path, number, "", f"{len(cells)} cells", f"{len(header)} as in the header",
                         "put quotes around a cell that holds the delimiter")  # fmt: skip
        full = [*cells, *[""] * (len(header) - len(cells))]
        row = _row(path, number, header, columns, full, times=times)
        if any((row.person.name, row.person.login, row.person.email, row.ids)):
            found.append(row)
    if not found:
        raise _wrong(path, 2, "", "nobody", "a row for each person", "check the file")
    return _once(path, found)


def read_table(path: Path) -> tuple[str, list[list[str]]]:
    """Return a roster's delimiter, and its rows as they are. Raises UsageFault."""
    text = _text(path)
    delimiter, _ = _best_delimiter(path, text)
    return delimiter, list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST + 1)
    except OSError as error:
        found = error.strerror or str(error)
        raise _wrong(path, 0, "", found, "a CSV file", "check the path") from None
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    codings = ("utf-16",) if wide else ("utf-8-sig", "cp1252")  # what spreadsheets write
    if len(data) <= _MOST and (wide or b"\0" not in data):
        for coding in codings:
            with contextlib.suppress(UnicodeDecodeError):
                return data.decode(coding)
    raise _wrong(path, 0, "", "no text, or far too much", "a CSV file",
                 "export the list as CSV (UTF-8)")  # fmt: skip


def _rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Return the rows that hold anything, with their numbers; the first one is 1."""
    number = 0
    try:
        for number, cells in enumerate(
            csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), 1
        ):
            if any(cell.strip() for cell in cells):
                yield number, cells
    except csv.Error as error:
        raise _wrong(path, number + 1, "", str(error), "CSV", "export the list again") from None


def _best_delimiter(path: Path, text: str) -> tuple[str, dict[str, list[int]]]:
    """Return the delimiter that gives the most headers we know, and the columns of each kind."""
    tried = {d: _columns(next(_rows(path, text, d), (0, []))[1]) for d in ",;\t"}
    best = max(tried, key=lambda delimiter: len(tried[delimiter]))
    if not any(kind in tried[best] for kind in _IDENTITY):
        first = next(_rows(path, text, best), (1, ["nothing"]))
        raise _wrong(path, first[0], "", ", ".join(first[1])[:300], _EXPECTED,
                     "name the columns in the first row")  # fmt: skip
    return best, tried[best]


def _columns(header: Sequence[str]) -> dict[str, list[int]]:
    """Return the columns of each kind, in the order in which their headers are preferred."""
    plain = [folded(cell) for cell in header]
    found = {
        kind: [at for name in names for at, cell in enumerate(plain) if cell == name]
        for kind, names in _HEADERS.items()
    }
    return {kind: columns for kind, columns in found.items() if columns}


def _row(
    path: Path, number: int, header: Sequence[str], columns: Mapping[str, Sequence[int]],
    cells: Sequence[str], *, times: bool,
) -> Row:  # fmt: skip
    def all_of(kind: str) -> list[tuple[int, str]]:
        # Brightspace writes `#` before what a spreadsheet would take for a number.
        read = ((at, cells[at].strip().removeprefix("#")) for at in columns.get(kind, ()))
        return [(at, value) for at, value in read if value]

    def first_of(kind: str) -> str:
        return next((value for _, value in all_of(kind)), "")

    parts = (first_of("last"), first_of("first"))
    name = first_of("name") or ", ".join(filter(None, parts))
    if folded(name) in _NO_PERSON:
        return Row(Person(), number)
    ids = {(_namespace(header, at), value.casefold()) for at, value in all_of("id")}
    # Moodle's column has another name in each language; in German it is ID: `Teilnehmer/in 12`.
    participants = all_of("participant") + [each for each in all_of("id") if " " in each[1]]
    ids |= {("moodle", digits) for _, value in participants if (digits := _last_number(value))}
    found = {
        kind: _time(path, number, header, *each)
        for kind in ("deadline", *(["submitted"] if times else []))
        if (each := next(iter(all_of(kind)), None))
    }
    person = Person(
        first_of("id"), name, first_of("login"), first_of("section"), first_of("email"),
        found.get("deadline", ""),
    )  # fmt: skip
    return Row(person, number, frozenset(ids), found.get("submitted", ""))


def _namespace(header: Sequence[str], column: int) -> str:
    """Return `canvas` for the column `ID` of a gradebook that Canvas exported."""
    names = {folded(cell) for cell in header}
    is_gradebook = "sisloginid" in names or "sisuserid" in names or {"student", "section"} <= names
    return "canvas" if is_gradebook and folded(header[column]) == "id" else ""


def _last_number(text: str) -> str:
    """Return the number at the end: of `Participant 12`, in whatever language."""
    return text[len(text.rstrip("0123456789")) :]


def _time(path: Path, number: int, header: Sequence[str], column: int, text: str) -> str:
    try:
        when = datetime.fromisoformat(re.sub(r" (?=[+-]\d\d:?\d\d$)", "", text))
    except ValueError:
        raise _wrong(path, number, header[column], text, "a time such as 2026-12-01 18:00",
                     "write the year first; a date alone is its end") from None  # fmt: skip
    day_alone = len(text) <= len("2026-12-01")
    return (datetime.combine(when, time(23, 59, 59)) if day_alone else when).isoformat()


def _once(path: Path, rows: Sequence[Row]) -> list[Row]:
    """Return the rows without repetitions. Raises UsageFault where an id is that of two people."""
    seen: dict[tuple[str, str], Row] = {}
    kept = []
    for row in rows:
        same = next((seen[key] for key in sorted(row.ids) if key in seen), None)
        if same and folded(same.person.name) != folded(row.person.name):
            raise _wrong(path, row.number, "id", f"{row.person.id}: {row.person.name}",
                         f"one person of this id, as in row {same.number}: {same.person.name}",
                         "correct the id")  # fmt: skip
        if not same:
            kept.append(row)
        seen |= dict.fromkeys(row.ids, row)
    return kept


def _wrong(path: Path, row: int, column: str, found: str, expected: str, advice: str) -> UsageFault:
    where = (
        os.fsdecode(path)
        + (f", row {row}" if row else "")
        + (f", column {column}" if column else "")
    )
    return UsageFault(
        "the roster cannot be used", expected=expected, found=found[:300], where=where, help=advice
    )
