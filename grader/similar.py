"""`grade similar DIR`: what the submissions of a class share; nothing of them is run."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec.structs import replace

from grader import record as records
from grader import results
from grader.errors import GraderFault, SubmissionError, UsageFault
from grader.files import UNREADABLE
from grader.intake import Entry, Unpacker, gather
from grader.person import Person
from grader.plan.content import content_of
from grader.plan.schema import Plan
from grader.scratch import folder
from grader.similarity import Findings, Row, Source, Submission, compare, dolos, read


class _Content(msgspec.Struct):
    """What is looked at of a plan's content."""

    model: msgspec.Raw


@dataclass(frozen=True)
class Class:
    """A class as it was read: what its submissions share, and what Dolos wants to know."""

    findings: Findings
    rows: Sequence[Row]
    staff: Sequence[Source]

    def dolos(self) -> bytes:
        """Return the archive for Dolos."""
        return dolos(self.rows, self.staff)


def similar(collection: Path, roster: Path | None, staff: Sequence[Path], grades: Path) -> Class:
    """Compare the submissions of a class with each other.

    `grades` holds the records of a class run, if there was one. Raises UsageFault where a path
    leads to nothing that can be read, GraderFault where nothing can be unpacked.
    """
    given = [_of_staff(path) for path in staff]
    templates = frozenset().union(*(source.hashes for source in given))
    intake = gather([], collection, roster)
    rows, submissions, notes = [], [], list(intake.notes)
    with folder("grader-similar-") as below, Unpacker(Path(below)) as unpack:
        for entry in intake.entries:
            try:
                source = read(unpack(entry), templates)
            except (SubmissionError, UsageFault) as error:
                notes.append(f"{entry.key} is not compared: {error.message}")
                continue
            recipe, graph, note = _plan(entry, grades)
            notes += [note] if note else []
            name, person = ", ".join(map(str, entry.people)), entry.person
            rows.append(Row(entry.key, source, person.section, entry.submitted, name))
            system = entry.system if roster is None else ""
            people = frozenset(known for each in entry.people for known in _known(each, system))
            submissions.append(Submission(entry.key, name, people, source, recipe, graph))
    if not any(submission.recipe for submission in submissions):
        notes.append(f"networks are not compared: no records of these submissions in {grades}")
    return Class(replace(compare(submissions, given), notes=notes), rows, given)


def _of_staff(path: Path) -> Source:
    try:
        return read(path)
    except SubmissionError as error:
        raise UsageFault(
            error.message, expected=error.expected, found=error.found, where=str(path),
            help="give files that students were handed: scripts, notebooks, folders, .zip",
        ) from None  # fmt: skip


def _known(person: Person, system: str) -> list[str]:
    """Return what tells a person apart in a system or, if empty, in the roster: not the name."""
    found = {"id": person.id, "login": person.login, "email": person.email}
    return [f"{system} {kind} {text.casefold()}" for kind, text in found.items() if text]


def _plan(entry: Entry, grades: Path) -> tuple[str, str, str]:
    """Return hashes of a submission's plan and of its network alone, and a note if any."""
    name, number = results.identity(entry.path / entry.inside)
    place = results.find(grades, records.Submission(name, "", entry.sha256, number, key=entry.key))
    with contextlib.suppress(GraderFault, *UNREADABLE):
        if place is None:
            return "", "", ""
        record = records.load(place / "record.json")
        encoded = (place / "plan.json").read_bytes()
        if record.submission.sha256 != entry.sha256:
            return "", "", f"{entry.key} has changed since it was graded: its network is unknown"
        if hashlib.sha256(encoded).hexdigest() == record.plan_sha256:
            content = content_of(msgspec.json.decode(encoded, type=Plan))
            model = bytes(msgspec.json.decode(content, type=_Content).model)
            return record.content_sha256, hashlib.sha256(model).hexdigest(), ""
    return "", "", ""
