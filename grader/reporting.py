"""`--report` and `grade report`: results handed on in other formats, made of what is on disk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from grader import intake
from grader import record as records
from grader.errors import UsageFault
from grader.files import write_atomically
from grader.intake.people import Matcher
from grader.intake.roster import read_roster, read_table
from grader.record import Record
from grader.reports.given import Graded, Results
from grader.reports.gradebook import Gradebook, Row
from grader.reports.registry import FOLDER, FORMATS
from grader.rubric import Rubric


@dataclass(frozen=True)
class Wanted:
    """Which formats somebody asked for by name, and what those need beyond the records.

    `roster` is the list of the class, `column` the title of its column for grades, and `times` a
    CSV with who handed in when.
    """

    names: tuple[str, ...]
    rubric: Rubric
    out: Path
    data_dir: Path | None = None
    roster: Path | None = None
    column: str = ""
    times: Path | None = None

    def check(self) -> None:
        """Raise UsageFault where a format of the class could not be made of any results."""
        if self.names:
            results = self._of(())
            for name in self.names:
                if FORMATS[name].per == "class":
                    FORMATS[name].files(results)

    def write(self, graded: Sequence[Graded]) -> Iterator[Path]:
        """Write all formats; return the files. Raises GraderFault."""
        if not self.names:
            return
        results = self._of(graded)
        for name in self.names:
            made = FORMATS[name]
            if made.per == "class":
                yield from _written(results.folder, made.files(results))
            else:
                for each in results.graded:
                    yield from _written(each.folder / FOLDER, made.files(each, results))

    def _of(self, graded: Sequence[Graded]) -> Results:
        """Match the submissions to people, as their intake did, and to the rows of the roster."""
        book = None
        if self.roster is not None:
            graded, people = _matched(graded, self.roster)
            delimiter, rows = read_table(self.roster)
            book = Gradebook(self.roster, rows, delimiter, people, self.column)
        if self.times is not None:  # in which people may be known by what the roster tells of them
            graded = _timed(graded, self.times)
        return Results(tuple(graded), self.rubric, self.out, self.data_dir, book)


def found(folder: Path) -> list[Graded]:
    """Return the results below what `--out` named, or in one submission's folder of it.

    Raises UsageFault where there are none, GraderFault where a record cannot be read.
    """
    paths = sorted(folder.glob("*/record.json"))
    if (folder / "record.json").exists():
        paths = [folder / "record.json"]
    if not paths:
        raise UsageFault(
            "there is nothing to report", expected="a folder that `grade` wrote results to",
            found="no record.json in it", where=str(folder), help="name the folder of --out",
        )  # fmt: skip
    return [Graded(records.load(path), path.parent) for path in paths]


def _timed(graded: Sequence[Graded], path: Path) -> list[Graded]:
    """Return the submissions with times and deadlines of a CSV; of a group the last ones count."""
    matcher = Matcher(read_roster(path, times=True))

    def timed(each: Graded) -> Graded:
        entry, places = matcher.matched(*_entry(each.record))
        people = [_person(person) for person in entry.people]  # with deadlines of their own
        when = max((matcher.rows[at].submitted for at in places), default="")
        return _changed(each, people=people, submitted=when or each.record.submission.submitted)

    return list(map(timed, graded))


def _matched(graded: Sequence[Graded], path: Path) -> tuple[list[Graded], list[Row]]:
    """Return the submissions with what a roster knows of their people, and the rows of people."""
    matcher = Matcher(read_roster(path))
    of_person: dict[int, list[int]] = defaultdict(list)
    made = []
    for index, each in enumerate(graded):
        entry, places = matcher.matched(*_entry(each.record))
        for at in places:
            of_person[at].append(index)
        made.append(_changed(each, people=[_person(person) for person in entry.people]))
    people = [
        Row(row.number - 1, _person(row.person), of_person[at])
        for at, row in enumerate(matcher.rows)
    ]
    return made, people


def _changed(graded: Graded, **what: Any) -> Graded:  # noqa: ANN401 - any field of Submission
    submission = msgspec.structs.replace(graded.record.submission, **what)
    return Graded(records.update(graded.record, submission=submission), graded.folder)


def _entry(record: Record) -> tuple[intake.Entry, str]:
    """Return a submission as its intake saw it, and what its file is called."""
    submission = record.submission
    people = tuple(intake.Person(**msgspec.structs.asdict(each)) for each in submission.people)
    path = Path(submission.path)
    # Whom a roster has named before is looked for by that, not by the name of a file.
    system = "roster" if people and submission.system in ("folder", "path") else submission.system
    entry = intake.Entry(
        submission.key, path, system=system, people=people, late=submission.late,
        submitted=submission.submitted, ids=submission.ids,
    )  # fmt: skip
    return entry, path.stem


def _person(person: intake.Person) -> records.Person:
    return records.Person(**asdict(person))


def _written(folder: Path, made: Mapping[str, bytes]) -> Iterator[Path]:
    for name, content in made.items():
        write_atomically(folder / name, content)
        yield folder / name
