"""`--report` and `grade report`: results handed on in other formats, made of what is on disk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from grader import intake
from grader import record as records
from grader.errors import GraderFault
from grader.files import write_atomically
from grader.intake.people import Matcher
from grader.intake.roster import read_roster, read_table
from grader.record import Record
from grader.reports import gradebook
from grader.reports.given import Graded, Results
from grader.reports.gradebook import Gradebook, Remark, Row
from grader.reports.registry import FOLDER, FORMATS
from grader.results import results_in
from grader.rubric import Rubric

REMARKS = "remarks.csv"
"""Where remarks lie that no gradebook has."""
Places = defaultdict[int, list[int]]
"""Submissions by the place of a person in a list."""


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

    def write(self, graded: Sequence[Graded], remarks: Sequence[Remark] = ()) -> Iterator[Path]:
        """Write all formats; return the files. Raises GraderFault.

        `remarks` are on results that are left out; they are written, with those on the times, among
        those of a gradebook, or by themselves.
        """
        if not self.names:
            return
        results = self._of(graded, remarks)
        if results.remarks and results.gradebook is None:
            yield from _written(results.folder, {REMARKS: gradebook.as_csv(results.remarks)})
        led_to = [FORMATS[name].leads_to for name in self.names]
        for name in dict.fromkeys(filter(None, (*self.names, *led_to))):
            made = FORMATS[name]
            if made.per == "class":
                yield from _written(results.folder, made.files(results))
            else:
                for each in results.graded:
                    yield from _written(each.folder / FOLDER, made.files(each, results))

    def _of(self, graded: Sequence[Graded], remarks: Sequence[Remark] = ()) -> Results:
        """Match the submissions to people, as their intake did, and to the rows of the roster."""
        book = None
        if self.roster is not None:
            graded, people = _matched(graded, self.roster)
            delimiter, rows = read_table(self.roster)
            book = Gradebook(self.roster, rows, delimiter, people, self.column)
        if self.times is not None:  # in which people may be known by what the roster tells of them
            graded, lost = _timed(graded, self.times)
            remarks = [*remarks, *lost]
        return Results(tuple(graded), self.rubric, self.out, self.data_dir, book, remarks)


def found(folder: Path) -> tuple[list[Graded], list[Remark]]:
    """Return the results below what `--out` named, or in one submission's folder of it.

    The remarks are on records that cannot be read. Raises UsageFault where there are none,
    GraderFault where none can be read.
    """
    made: list[Graded] = []
    faults: list[GraderFault] = []
    for place in results_in(folder):
        try:
            made.append(Graded(records.load(place / "record.json"), place))
        except GraderFault as fault:
            faults.append(fault)
    if not made:
        raise faults[0]
    return made, [("", Path(f.where).parent.name, f"{f.message}: {f.found}") for f in faults]


def _timed(graded: Sequence[Graded], path: Path) -> tuple[list[Graded], list[Remark]]:
    """Return the submissions with times and deadlines of a CSV; of a group the last ones count.

    The remarks are on its rows that are not of one submission, and count for none or for several.
    """
    matcher = Matcher(read_roster(path, times=True))
    matches, own, unsure = _matches(graded, matcher)
    made = []
    for each, (entry, places) in zip(graded, matches, strict=True):
        when = max((matcher.rows[at].submitted for at in places), default="")
        submitted = when or each.record.submission.submitted
        people = [*entry.people]  # with deadlines of their own
        made.append(_changed(each, people=people, submitted=submitted))
    lost = []
    for at, row in enumerate(matcher.rows):
        if len(own[at]) != 1:
            keys = ", ".join(graded[index].key for index in own[at] or unsure[at])
            why = "it counts for each" if own[at] else "nobody's time: it names no one for certain"
            lost.append((str(row.person), keys, f"row {row.number} of {path.name}: {why}"))
    return made, lost


def _matched(graded: Sequence[Graded], path: Path) -> tuple[list[Graded], list[Row]]:
    """Return the submissions with what a roster knows of their people, and the rows of people."""
    matcher = Matcher(read_roster(path))
    matches, own, unsure = _matches(graded, matcher)
    made = [
        _changed(each, people=[*entry.people])
        for each, (entry, _) in zip(graded, matches, strict=True)
    ]
    people = [
        Row(row.number - 1, row.person, own[at], unsure[at]) for at, row in enumerate(matcher.rows)
    ]
    return made, people


def _matches(
    graded: Sequence[Graded], matcher: Matcher
) -> tuple[list[tuple[intake.Entry, list[int]]], Places, Places]:
    """Return entries with their places, and by place the submissions of it, and that may be."""
    made = []
    own, unsure = defaultdict[int, list[int]](list), defaultdict[int, list[int]](list)
    for index, each in enumerate(graded):
        entry, places, maybe = matcher.matched(*_entry(each.record))
        made.append((entry, places))
        for at in places:
            own[at].append(index)
        for at in sorted(maybe):
            unsure[at].append(index)
    return made, own, unsure


def _changed(graded: Graded, **what: Any) -> Graded:  # noqa: ANN401 - any field of Submission
    submission = msgspec.structs.replace(graded.record.submission, **what)
    return Graded(records.update(graded.record, submission=submission), graded.folder)


def _entry(record: Record) -> tuple[intake.Entry, str]:
    """Return a submission as its intake saw it, and what its file is called."""
    submission = record.submission
    people = tuple(submission.people)
    path = Path(submission.path)
    # Whom a roster has named before is looked for by that, not by the name of a file.
    system = "roster" if people and submission.system in ("folder", "path") else submission.system
    entry = intake.Entry(
        submission.key, path, system=system, people=people, late=submission.late,
        submitted=submission.submitted, ids=submission.ids,
    )  # fmt: skip
    return entry, path.stem


def _written(folder: Path, made: Mapping[str, bytes]) -> Iterator[Path]:
    for name, content in made.items():
        write_atomically(folder / name, content)
        yield folder / name
