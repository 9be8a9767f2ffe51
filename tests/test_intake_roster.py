"""Rosters are read whatever program wrote them, and refused with the place of what is wrong."""

from __future__ import annotations

import contextlib
import csv
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.errors import UsageFault
from grader.intake.roster import Row, read_roster
from tests.downloads import CLASS
from tests.rosters import ROSTERS, as_csv

WORDS = st.text(
    st.characters(categories=["L", "N"], include_characters=" ,;'\"\t\n-"), max_size=20
).map(str.strip)
LATIN = [student for student in CLASS if student.name.isascii() or student.first == "José"]


def read(path: Path, data: bytes | str) -> list[Row]:
    """Read a roster of this content."""
    path = path / "roster.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_roster(path)


def refusal(path: Path, data: bytes | str) -> UsageFault:
    """Return the error that a roster of this content gives."""
    with pytest.raises(UsageFault) as refused:
        read(path, data)
    return refused.value


@pytest.mark.parametrize("kind", ROSTERS)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16"])
def test_everyone_is_read(tmp_path: Path, kind: str, delimiter: str, coding: str) -> None:
    """No row is lost, and none that is no person is added, in whatever form it was saved."""
    rows = read(tmp_path, as_csv(ROSTERS[kind](CLASS), delimiter, coding))

    assert len(rows) == len(CLASS)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("plain", ("s1003", "José O'Neil", "j_oneil", "A", "", "2024-12-05T23:00:00")),
     ("canvas", ("s1003", "O'Neil, José", "j_oneil", "Math 101", "", "")),
     ("moodle", ("", "José O'Neil", "", "", "j_oneil@example.org", "")),
     ("gradescope", ("s1003", "O'Neil, José", "", "A", "j_oneil@example.org", "")),
     ("blackboard", ("s1003", "O'Neil, José", "j_oneil", "", "", "")),
     ("brightspace", ("s1003", "O'Neil, José", "j_oneil", "", "j_oneil@example.org", ""))],
)  # fmt: skip
def test_what_is_known_of_a_person(tmp_path: Path, kind: str, expected: tuple[str, ...]) -> None:
    """Columns are found by their headers."""
    person = read(tmp_path, as_csv(ROSTERS[kind](CLASS)))[2].person
    known = (person.id, person.name, person.login, person.section, person.email, person.deadline)

    assert known == expected


@pytest.mark.parametrize(
    ("kind", "ids"),
    [("canvas", {("canvas", "14"), ("", "s1003")}), ("moodle", {("moodle", "14")}),
     ("gradescope", {("", "s1003")})],
)  # fmt: skip
def test_numbers_of_a_system_are_kept_apart(
    tmp_path: Path, kind: str, ids: set[tuple[str, str]]
) -> None:
    """A number of Canvas or Moodle is not that of a student elsewhere."""
    assert read(tmp_path, as_csv(ROSTERS[kind](CLASS)))[2].ids == ids


def test_what_old_spreadsheets_write_is_read(tmp_path: Path) -> None:
    """Windows' Western coding is taken where the text is no UTF-8."""
    rows = read(tmp_path, as_csv(ROSTERS["plain"](LATIN), ";", "cp1252"))

    assert "José O'Neil" in [row.person.name for row in rows]


@given(
    st.lists(st.tuples(WORDS, WORDS, WORDS).filter(any),
             min_size=1, max_size=5),
    st.sampled_from(",;\t"), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.permutations(["name", "login", "section"]),
)  # fmt: skip
def test_any_text_in_a_cell_is_read_as_it_is(
    people: list[tuple[str, str, str]], delimiter: str, coding: str, quoting: int, order: list[str]
) -> None:
    """Quotes, delimiters and new lines in names, and columns in any order, change nothing."""
    columns = ["name", "login", "section"]
    table = [["Full Name", "User name", "Section"], *map(list, people)]
    sorted_ = [[row[columns.index(column)] for column in order] for row in table]
    expected = [p for p in people if p[0] or p[1]]
    with tempfile.TemporaryDirectory() as place:
        data = as_csv(sorted_, delimiter, coding, quoting)
        if not expected:
            assert refusal(Path(place), data).found == "nobody"
            return
        found = [row.person for row in read(Path(place), data)]

    assert [(p.name, p.login, p.section) for p in found] == expected


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """What is no roster gives words, and nobody."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "roster.csv")
        path.write_bytes(data)
        found = None
        with contextlib.suppress(UsageFault):
            found = read_roster(path)
    assert found is None or len(found) > 0


def test_unknown_headers_are_named(tmp_path: Path) -> None:
    """The message shows what was found and what is expected."""
    fault = refusal(tmp_path, "Vorname;Alter\nAda;36\n")

    assert fault.found == "Vorname;Alter"
    assert "login" in fault.expected
    assert fault.where.endswith("roster.csv, row 1")


def test_a_name_that_was_not_quoted_is_named_with_its_row(tmp_path: Path) -> None:
    """A comma too many would move every cell behind it."""
    fault = refusal(tmp_path, "name,login\nAda,ada\n\nLovelace, Ada,ada2\n")

    assert fault.where.endswith("roster.csv, row 4")
    assert "quotes" in fault.help


def test_a_deadline_that_is_no_time_is_named_with_its_column(tmp_path: Path) -> None:
    """Day and month are never guessed."""
    fault = refusal(tmp_path, "name,Due date\nAda,03/04/2026\n")

    assert fault.where.endswith("roster.csv, row 2, column Due date")
    assert fault.found == "03/04/2026"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2026-12-01 18:00", "2026-12-01T18:00:00"), ("2026-12-01", "2026-12-01T23:59:59"),
     ("2026-12-01T18:00Z", "2026-12-01T18:00:00+00:00")],
)  # fmt: skip
def test_deadlines(tmp_path: Path, text: str, expected: str) -> None:
    """A date alone lasts until its end."""
    assert read(tmp_path, f"name,deadline\nAda,{text}\n")[0].person.deadline == expected


def test_an_id_of_two_people_is_refused(tmp_path: Path) -> None:
    """Both rows are named."""
    fault = refusal(tmp_path, "id,name\n7,Ada\n8,Bob\n7,Cyd\n")

    assert fault.where.endswith("row 4, column id")
    assert "row 2: Ada" in fault.expected


def test_a_person_in_two_sections_is_one(tmp_path: Path) -> None:
    """The first row counts."""
    rows = read(tmp_path, "id,name,section\n7,Ada,A\n7,Ada,B\n")

    assert [row.person.section for row in rows] == ["A"]


def test_a_roster_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The message names it."""
    with pytest.raises(UsageFault, match="roster"):
        read_roster(tmp_path / "nothing.csv")


def test_a_spreadsheet_is_refused(tmp_path: Path) -> None:
    """The message says how to save it."""
    assert "as CSV" in refusal(tmp_path, b"PK\x03\x04\0\0\0\0").help
