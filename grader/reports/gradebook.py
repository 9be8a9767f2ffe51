"""The list of a class as a course system exported it, into which grades are filled."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from grader.errors import UsageFault
from grader.record import Person
from grader.reports import cells
from grader.reports.grades import Grade, grade

if TYPE_CHECKING:  # it holds a gradebook
    from grader.reports.given import Results


_NUMBER = re.compile(r"(\d+|\d{1,3}(?:,\d{3})+(?=\.)|\d{1,3}(?:\.\d{3})+(?=,))(?:[.,](\d+))?", re.A)

Remark = tuple[str, str, str]
"""A person, the key of a submission, and what is to be known; the first two may be empty."""


@dataclass(frozen=True)
class Row:
    """The row of a person, by its place from 0, and their submissions among `Results.graded`.

    `unsure` are submissions that may be theirs or somebody else's.
    """

    place: int
    person: Person
    graded: Sequence[int]
    unsure: Sequence[int] = ()


@dataclass(frozen=True)
class Gradebook:
    """A CSV: all its rows as they are, and which of them are people.

    `column` is the title of the column for grades, where somebody named one.
    """

    path: Path
    rows: Sequence[Sequence[str]]
    delimiter: str
    people: Sequence[Row] = ()
    column: str = ""

    @property
    def top(self) -> int:
        """The place of the header: the first row that is not empty."""
        return next(at for at, row in enumerate(self.rows) if any(cell.strip() for cell in row))

    @property
    def header(self) -> list[str]:
        """The titles of the columns, without blanks around them."""
        return [cell.strip().removeprefix("\ufeff") for cell in self.rows[self.top]]

    def columns(self, *titles: str) -> list[int]:
        """Return the columns of these titles, in the file's order."""
        return [at for at, title in enumerate(self.header) if title in titles]

    def ids(self, system: str, *titles: str, how: str) -> list[int]:
        """Return the columns of these titles, by which a system knows people.

        Raises UsageFault where there is none of them; `how` says how to get such a list.
        """
        if not (found := self.columns(*titles)):
            raise UsageFault(
                f"this is no list of {system}'s", expected=f"a column {' or '.join(titles)}",
                found=", ".join(self.header)[:300], where=str(self.path),
                help=f"{how}, and give it as the roster",
            )  # fmt: skip
        return found

    def target(self, title: re.Pattern[str], what: str) -> int:
        """Return the column for grades: the one named, or the only one of such a title.

        `what` says what a title is. Raises UsageFault: a title that the system does not know makes
        a new assignment there.
        """
        fitting = [at for at, text in enumerate(self.header) if title.fullmatch(text)]
        wanted = self.column.strip()
        named = [at for at in fitting if self.header[at] == wanted] or [
            at for at in fitting if self.header[at].startswith(wanted)
        ]
        if len(named) == 1:
            return named[0]
        titles = ", ".join(self.header[at] for at in fitting) or "none"
        raise UsageFault(
            "there is no telling which column the grades belong in",
            expected=f"one column with a title such as {what}"
            + f", that is or begins with {wanted}" * bool(wanted),
            found=titles[:300], where=str(self.path),
            help="export it with the assignment in it, and name its column with --column",
        )  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """What of a gradebook is handed back.

    `kept` are the columns that tell who somebody is, `names` those of them that are no ids, `after`
    those behind the grades, and `above` the rows of no person below the header. `possible` are the
    points that the system gives, None where it does not say. With `whole` everything stays; else
    only rows with a grade do, because an empty cell may remove one. `comma` is how decimals are
    written.
    """

    kept: Sequence[int]
    target: int
    names: Container[int] = ()
    above: Sequence[int] = ()
    possible: float | None = None
    whole: bool = False
    comma: bool = False
    after: Sequence[int] = ()


def of(results: Results, system: str) -> Gradebook:
    """Return the gradebook. Raises UsageFault where none was given."""
    if results.gradebook is None:
        raise UsageFault(
            f"grades for {system} go into the list that it exported", found="no list",
            expected="--roster FILE",
            help=f"export the list in {system}, and give it as the roster",
        )  # fmt: skip
    return results.gradebook


def filled(results: Results, book: Gradebook, layout: Layout) -> tuple[bytes, list[Remark]]:
    """Return the gradebook with grades as CSV, and remarks on people and submissions.

    A grade is scaled to the points that the system gives. Who has none, for any reason, keeps what
    is there, and is in the remarks: nobody gets a zero for what is not known.
    """
    outcomes = {row.place: _outcome(results, book, layout, row) for row in book.people}
    rows = [book.rows[at] for at in (book.top, *layout.above)]
    head = {book.top, *layout.above}
    for at, row in enumerate(book.rows):
        made = outcomes.get(at, Grade(None))
        if at not in head and (made.points is not None or layout.whole):
            rows.append(_filled(row, made, layout))
    if not layout.whole:
        places = [*layout.kept, layout.target, *layout.after]
        rows = [[_cell(row, at) for at in places] for row in rows]
    return cells.as_csv(rows, book.delimiter), list(_remarks(results, book, outcomes, layout))


def as_csv(remarks: Sequence[Remark]) -> bytes:
    """Return remarks as CSV."""
    rows = [("person", "submission", "remark"), *remarks]
    return cells.as_csv(map(cells.harmless, row) for row in rows)


def possible(book: Gradebook, texts: Iterable[str]) -> float | None:
    """Return the points that a system gives: what the first text with a digit says, None if none.

    Raises UsageFault where that is not above zero, or cannot be told: every grade depends on it.
    """
    told = next((text.strip() for text in texts if re.search(r"\d", text)), None)
    points = None if told is None else number(told)
    if told is not None and not points:
        raise UsageFault(
            "there is no telling how many points are possible", found=told[:300],
            expected="a number above zero, such as 1000 or 12.5", where=str(book.path),
            help="give the assignment points in the system, or correct them in the file",
        )  # fmt: skip
    return points


def number(text: str) -> float | None:
    """Return the number in a cell, with a point or a comma; None where there is no telling.

    `1,000` is a thousand to some and one to others.
    """
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        return None
    whole, part = re.sub(r"\D", "", found[1]), found[2] or "0"
    if found[1].isdecimal() and len(part) == 3 and int(whole):
        return None
    return float(f"{whole}.{part}")


def has_commas(texts: Iterable[str]) -> bool:
    """Tell whether decimals are written with a comma."""
    return any(re.search(r",\d+\s*$", text) for text in texts)


def _outcome(results: Results, book: Gradebook, layout: Layout, row: Row) -> Grade:
    """Return the grade of the person in a row; the remark says why there is none."""
    if not row.graded:
        keys = ", ".join(f"`{results.graded[at].key}`" for at in row.unsure)
        words = f"may be submission {keys}" if keys else "no submission in these results"
        return Grade(None, f"{words}: nothing filled in")
    if len(row.graded) > 1:
        return Grade(None, "several submissions: nothing filled in")
    if _cell(book.rows[row.place], layout.target).strip().upper() == "EX":
        return Grade(None, "excused there: nothing filled in")
    record = results.graded[row.graded[0]].record
    made = grade(record, results.rubric)
    if made.points is None or layout.possible is None:
        return made
    return replace(made, points=made.points * layout.possible / record.max_score)


def _filled(row: Sequence[str], made: Grade, layout: Layout) -> list[str]:
    """Return a person's row: ids have to stay as they are, names must do no harm."""
    new = [cells.harmless(cell) if at in layout.names else cell for at, cell in enumerate(row)]
    if made.points is not None:
        new += [""] * (layout.target + 1 - len(new))
        text = f"{made.points:.2f}".rstrip("0").rstrip(".")
        new[layout.target] = text.replace(".", ",") if layout.comma else text
    return new


def _cell(row: Sequence[str], at: int) -> str:
    return row[at] if at < len(row) else ""


def _remarks(
    results: Results, book: Gradebook, outcomes: dict[int, Grade], layout: Layout
) -> Iterator[Remark]:
    yield from results.remarks
    most = results.rubric.max_score
    if layout.possible not in (None, most):
        yield "", "", f"{most:g} points of the rubric are {layout.possible:g} there"
    named: set[int] = set()
    for row in book.people:
        named |= {*(row.graded or row.unsure)}
        keys = ", ".join(results.graded[at].key for at in row.graded)
        if remark := outcomes[row.place].remark:
            yield str(row.person), keys, remark
    for at, graded in enumerate(results.graded):
        if at not in named:
            yield "", graded.key, "nobody on the list: nothing filled in"
