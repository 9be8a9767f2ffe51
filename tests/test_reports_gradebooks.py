"""Grades and feedback go back to the course system that a class's download came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace as with_
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from grader import first
from grader import rubric as rubrics
from grader.errors import UsageFault
from grader.intake import gather
from grader.record import Record
from grader.reporting import Wanted
from grader.reports import cells, gradebook
from grader.reports.given import Graded
from grader.reports.html import report
from tests import importing, rosters
from tests.downloads import CLASS, SYSTEMS, in_folder
from tests.importing import Table
from tests.making import record

ADA, OTHER, JOSE, LI, MARY, BOB = (str(student.number) for student in CLASS)
SCORES = {ADA: 87.5, OTHER: 0.0, JOSE: None, LI: 100.0, MARY: 33.333}
"""By numbers; Bob has handed nothing in."""


@pytest.fixture(autouse=True)
def pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the tests the drawing of pages, which has tests of its own."""
    monkeypatch.setattr(report, "render", lambda graded, results: graded.key.encode())


def graded(place: Path, system: str, **more: Any) -> list[Graded]:
    """Grade a class's download, but for one person: records as a run writes them."""
    folder = in_folder(place / "in", SYSTEMS[system](CLASS[:-1]))
    made = []
    for entry in gather([], folder).entries:
        submission = first.of_class(entry)
        key = next(s.number for s in CLASS if _is_of(s.number, s.login, submission.ids))
        score = SCORES[str(key)]
        values = {"status": "complete", "submission": submission, "score": score}
        values |= {"rubric_sha256": rubrics.sha256_of(rubrics.load())} | more
        made.append(Graded(record(60, **values), place / "out" / entry.key))
    return made


def _is_of(number: int, login: str, ids: Mapping[str, str]) -> bool:
    return bool({str(number), login, f"{number}-777"} & set(ids.values()))


def written(
    place: Path, system: str, made: list[Graded], exported: Table, *, delimiter: str = ",",
    column: str = "", rubric: rubrics.Rubric | None = None, times: Path | None = None,
) -> dict[str, bytes]:  # fmt: skip
    """Return what is written for a system, whose exported list is given."""
    roster = place / "roster.csv"
    roster.write_bytes(rosters.as_csv(exported, delimiter))
    rubric = rubric or rubrics.load()
    wanted = Wanted((system,), rubric, place / "out", None, roster, column, times)
    wanted.check()
    return {path.name: path.read_bytes() for path in wanted.write(made)}


def remarks(data: bytes) -> dict[str, str]:
    """Return what is said of each submission, or of each person without one."""
    rows = importing.table(data)
    importing.no_formulas(rows)
    assert rows[0] == ["person", "submission", "remark"]
    return {submission or person: remark for person, submission, remark in rows[1:]}


# Canvas


def canvas(place: Path, exported: Table, **more: Any) -> dict[str, bytes]:
    """Return what is written for Canvas."""
    return written(place, "canvas", graded(place, "canvas"), exported, **more)


def test_canvas_gets_grades_of_those_who_have_one(tmp_path: Path) -> None:
    """Scaled to its points; a fault of the grader, and nobody's submission, are no zeros."""
    exported = rosters.canvas(CLASS)
    made = canvas(tmp_path, exported)

    assert importing.canvas(made["canvas-grades.csv"], exported) == {
        ADA: "8.75", OTHER: "0", LI: "10", MARY: "3.33",
    }  # fmt: skip
    said = remarks(made["canvas-remarks.csv"])
    assert said["oneiljose-14"] == "no grade: the grader failed"
    assert said["Copy, Bob"] == "no submission in these results: nothing filled in"
    assert said[""] == "100 points of the rubric are 10 there"


def test_the_rows_below_the_header_stay(tmp_path: Path) -> None:
    """Manual Posting and Points Possible, as Canvas exported them, with four blanks."""
    exported = rosters.canvas(CLASS)
    rows = importing.table(canvas(tmp_path, exported)["canvas-grades.csv"])

    assert rows[:3] == exported[:3]


def test_decimal_commas_and_semicolons_are_answered_alike(tmp_path: Path) -> None:
    """A gradebook of such a country is filled in as it came."""
    exported = rosters.canvas(CLASS)
    exported[2][-1] = "10,00"
    made = canvas(tmp_path, exported, delimiter=";")["canvas-grades.csv"]

    assert importing.canvas(made, exported, ";")[ADA] == "8,75"


@pytest.mark.parametrize("points", ["0", "0,00", "1,000", "1.000", "-10", "10 or 20"])
def test_points_that_cannot_be_told_are_refused(tmp_path: Path, points: str) -> None:
    """Every grade is scaled to them: of none, everybody would get a zero."""
    exported = rosters.canvas(CLASS)
    exported[2][-1] = points

    with pytest.raises(UsageFault, match="points are possible"):
        canvas(tmp_path, exported)


@pytest.mark.parametrize("system", ["brightspace", "blackboard"])
@pytest.mark.parametrize("points", ["0", "1,000"])
def test_points_in_a_title_that_cannot_be_told_are_refused(
    tmp_path: Path, system: str, points: str
) -> None:
    """Before anything is graded."""
    titles = {
        "brightspace": f"Project 1 Points Grade <Numeric MaxPoints:{points}>",
        "blackboard": f"Project 1 [Total Pts: {points} Score] |12345",
    }
    exported = [["Username", titles[system]], ["ada", ""]]

    with pytest.raises(UsageFault, match="points are possible"):
        written(tmp_path, system, [], exported)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1000", 1000), ("1,000.5", 1000.5), ("1.000,50", 1000.5), ("12,5", 12.5), ("0.125", 0.125),
     ("1,0000", 1), ("1,2,3", None), ("", None), ("EX", None)],
)  # fmt: skip
def test_a_number_is_read_where_there_is_one_way_to(text: str, expected: float | None) -> None:
    """What groups digits, and what separates decimals, differs between countries."""
    assert gradebook.number(text) == expected


def test_other_columns_are_not_handed_back(tmp_path: Path) -> None:
    """What was changed in Canvas since the export is not undone."""
    exported = [
        [*row, more]
        for row, more in zip(
            rosters.canvas(CLASS),
            ["Quiz (78)", "", "5", *["3"] * len(CLASS)], strict=True,
        )
    ]  # fmt: skip
    rows = importing.table(canvas(tmp_path, exported, column="Project")["canvas-grades.csv"])

    assert rows[0][-1] == "Project (77)"
    assert "Quiz (78)" not in rows[0]


@pytest.mark.parametrize(
    ("title", "column", "message"),
    [
        ("Project", "", "which column"),  # without its number it would be a new assignment
        ("Project (77)", "Quiz", "which column"),
        ("Final Score (77)", "", "would drop"),
    ],
)
def test_a_title_that_canvas_would_not_know_is_refused(
    tmp_path: Path, title: str, column: str, message: str
) -> None:
    """Before anything is graded, with what was found and what to do."""
    exported = rosters.canvas(CLASS)
    exported[0][-1] = title
    with pytest.raises(UsageFault, match=message) as error:
        written(tmp_path, "canvas", [], exported, column=column)

    assert error.value.help


def test_the_excused_stay_so(tmp_path: Path) -> None:
    """`EX` is not replaced by a grade."""
    exported = rosters.canvas(CLASS)
    exported[3][-1] = "ex"
    made = canvas(tmp_path, exported)

    assert ADA not in importing.canvas(made["canvas-grades.csv"], exported)
    assert "excused" in remarks(made["canvas-remarks.csv"])["lovelaceada-12"]


def test_canvas_finds_user_and_file_in_the_names_of_feedback(tmp_path: Path) -> None:
    """They are the first two parts between `_` that are numbers."""
    found = importing.files(canvas(tmp_path, rosters.canvas(CLASS))["canvas-feedback.zip"])
    numbers = {
        tuple(part for part in name.split("_") if part.isdecimal())[:2]: text
        for name, text in found.items()
    }

    # José's was a fault of the grader; Mary handed in no code, but a file.
    assert {user for user, _ in numbers} == {ADA, OTHER, LI, MARY}
    assert numbers[ADA, str(9000 + 10 * 12)] == b"lovelaceada-12"


def test_some_checks_alone_are_no_grade(tmp_path: Path) -> None:
    """After `--quick` nothing is handed back."""
    exported = rosters.canvas(CLASS)
    made = written(tmp_path, "canvas", graded(tmp_path, "canvas", status="partial"), exported)

    assert importing.canvas(made["canvas-grades.csv"], exported) == {}
    assert remarks(made["canvas-remarks.csv"])["lovelaceada-12"] == (
        "no grade: only some checks were made"
    )


def test_a_score_by_another_rubric_is_out_of_its_own_points(tmp_path: Path) -> None:
    """Where a verdict was kept, or `--rubric` forgotten; the remarks say so."""
    exported = rosters.canvas(CLASS)
    old = graded(tmp_path, "canvas", max_score=200.0, rubric_sha256="0")
    made = written(tmp_path, "canvas", old, exported)

    assert importing.canvas(made["canvas-grades.csv"], exported)[LI] == "5"
    assert "another rubric" in made["canvas-remarks.csv"].decode()


def test_a_formula_for_a_name_is_none(tmp_path: Path) -> None:
    """Neither in the gradebook nor in the remarks."""
    exported = rosters.canvas(CLASS)
    exported[3][0] = '=HYPERLINK("http://example.org","x")'
    exported[-1][0] = "@SUM(1)"
    made = canvas(tmp_path, exported)

    importing.no_formulas(importing.table(made["canvas-grades.csv"]))
    importing.no_formulas(importing.table(made["canvas-remarks.csv"]))


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), min_size=1))
def test_cells_of_any_text_are_read_back_as_they_are(rows: Table) -> None:
    """But for what makes a formula."""
    made = [[cells.harmless(cell) for cell in row] for row in rows]
    importing.no_formulas(made)


# Moodle

GERMAN = ["ID", "Vollständiger Name", "E-Mail-Adresse", "Status", "Bewertung", "Bestwertung",
          "Feedback als Kommentar"]  # fmt: skip
ENGLISH = ["Identifier", "Full name", "Email address", "Status", "Grade", "Maximum Grade",
           "Feedback comments"]  # fmt: skip


def worksheet(header: list[str], most: str = "10.00") -> Table:
    """Return a worksheet as Moodle exports it."""
    word = "Teilnehmer/in " if header == GERMAN else "Participant "
    people = [[f"{word}{s.number}", s.name, s.email, "-", "", most, ""] for s in CLASS]
    return [header, *people]


@pytest.mark.parametrize(
    ("header", "most", "grade"),
    [(ENGLISH, "10.00", "8.75"), (GERMAN, "10,00", "8,75"), (ENGLISH, "100.00", "87.5")],
    ids=["english", "german", "hundred"],
)
def test_moodle_gets_its_own_sheet_back(
    tmp_path: Path, header: list[str], most: str, grade: str
) -> None:
    """Only grades are filled in, in the language and with the decimals of the site."""
    exported = worksheet(header, most)
    made = written(tmp_path, "moodle", graded(tmp_path, "moodle"), exported)
    rows = importing.table(made["moodle-grades.csv"])

    assert [row[:4] + row[5:] for row in rows] == [row[:4] + row[5:] for row in exported]
    grades = {row[0].split()[-1]: row[4] for row in rows[1:]}
    assert grades[ADA] == grade
    assert (grades[JOSE], grades[BOB]) == ("", "")
    assert "look there" in remarks(made["moodle-remarks.csv"])["ada-lovelace-13"]


def test_a_title_in_an_unknown_language_can_be_named(tmp_path: Path) -> None:
    """With `--column`; without it the run does not begin."""
    exported = worksheet([*ENGLISH[:4], "Hinne", *ENGLISH[5:]])
    made = graded(tmp_path, "moodle")
    with pytest.raises(UsageFault, match="which column"):
        written(tmp_path, "moodle", made, exported)
    for column in ("Hinne", "Hin"):  # the beginning is enough
        found = written(tmp_path, "moodle", made, exported, column=column)

        assert importing.table(found["moodle-grades.csv"])[1][4] == "8.75"


def test_moodle_finds_participants_in_the_names_of_feedback(tmp_path: Path) -> None:
    """Folders of four parts, of which the second one is the number."""
    made = written(tmp_path, "moodle", graded(tmp_path, "moodle"), worksheet(ENGLISH))
    names = importing.files(made["moodle-feedback.zip"])
    parts = [name.partition("/")[0].split("_") for name in names]

    assert {part[1] for part in parts} == {ADA, OTHER, LI, MARY}
    assert {(len(part), *part[2:]) for part in parts} == {(4, "assignsubmission", "file")}


def test_of_several_submissions_none_has_feedback(tmp_path: Path) -> None:
    """Nobody was graded with them; the remarks name both."""
    made = graded(tmp_path, "moodle")
    found = written(tmp_path, "moodle", [*made, made[0]], worksheet(ENGLISH))

    assert len(importing.files(found["moodle-feedback.zip"])) == 3
    assert found["moodle-remarks.csv"].decode().count("it did not make one person's grade") == 2


def test_moodle_gets_no_feedback_under_the_number_of_somebody_else(tmp_path: Path) -> None:
    """A team is numbered apart: what is not in the worksheet, or is another's, is left out."""
    made = graded(tmp_path, "moodle")
    li = next(at for at, each in enumerate(made) if each.record.submission.ids["participant"] == LI)
    for number, name in ((BOB, None), (BOB, "Team Rocket")):
        submission = made[li].record.submission
        people = [replace(person, name=name or person.name) for person in submission.people]
        changed = replace(submission, ids={"participant": number}, people=people)
        made[li] = with_(made[li], record=replace(made[li].record, submission=changed))
        found = written(tmp_path, "moodle", made, worksheet(ENGLISH))

        assert len(importing.files(found["moodle-feedback.zip"])) == 3
        assert "no feedback" in found["moodle-remarks.csv"].decode()


def test_comments_of_the_staff_stay_as_they_are(tmp_path: Path) -> None:
    """What looks like a formula there would come back changed."""
    exported = worksheet(ENGLISH)
    exported[1][-1] = "- well done"
    found = written(tmp_path, "moodle", graded(tmp_path, "moodle"), exported)

    assert importing.table(found["moodle-grades.csv"])[1][-1] == "- well done"


# Brightspace and Blackboard


def test_brightspace_gets_its_keys_and_points(tmp_path: Path) -> None:
    """Namesakes, whom its download does not tell apart, get nothing, and are named."""
    title = "Project 1 Points Grade <Numeric MaxPoints:20 Weight:10>"
    exported = [[*row[:-1], "", row[-1]] for row in rosters.brightspace(CLASS)]
    exported[0][-2] = title
    made = written(tmp_path, "brightspace", graded(tmp_path, "brightspace"), exported)

    assert importing.table(made["brightspace-grades.csv"]) == [
        ["OrgDefinedId", "Username", title, "End-of-Line Indicator"],
        ["#s1004", "#lxl", "20", "#"], ["#s1005", "#masmith", "6.67", "#"],
    ]  # fmt: skip
    said = remarks(made["brightspace-remarks.csv"])
    assert "may be submission `ada-lovelace-12-777`" in said["Lovelace, Ada"]


def test_blackboard_gets_user_names_and_the_number_of_the_column(tmp_path: Path) -> None:
    """Whatever its download was separated by."""
    title = "Project 1 [Total Pts: 100 Score] |12345"
    exported = [[*row, ""] for row in rosters.blackboard(CLASS)]
    exported[0][-1] = title
    made = written(tmp_path, "blackboard", graded(tmp_path, "blackboard"), exported, delimiter="\t")

    assert importing.table(made["blackboard-grades.csv"], "\t") == [
        ["Username", title], ["alovelace", "87.5"], ["ada2", "0"], ["lxl", "100"],
        ["masmith", "33.33"],
    ]  # fmt: skip


@pytest.mark.parametrize("system", ["canvas", "moodle", "brightspace", "blackboard"])
def test_another_systems_list_is_refused(tmp_path: Path, system: str) -> None:
    """And so is none at all, before anything is graded."""
    with pytest.raises(UsageFault):
        written(tmp_path, system, [], [["Name", "Login"], ["Ada", "ada"]])
    with pytest.raises(UsageFault, match="go into the list"):
        Wanted((system,), rubrics.load(), tmp_path).check()


def test_whose_submission_is_not_certain_is_not_said_to_have_none(tmp_path: Path) -> None:
    """Of two people of one name; the remarks say which submission it may be."""
    made = graded(tmp_path, "brightspace")
    exported = rosters.brightspace(CLASS)
    exported = [[*row[:-1], "", row[-1]] for row in exported]
    exported[0][-2] = "Project 1 Points Grade"
    said = importing.table(written(tmp_path, "brightspace", made, exported)[
        "brightspace-remarks.csv"
    ])[1:]  # fmt: skip
    keys = [f"`{each.key}`" for each in made if each.record.submission.people[0].name[:3] == "Ada"]

    assert [remark for person, _, remark in said if person == "Lovelace, Ada"] == [
        f"may be submission {', '.join(keys)}: nothing filled in"
    ] * 2
    assert [person for person, _, text in said if "no submission" in text] == ["Copy, Bob"]


def test_who_handed_in_twice_gets_nothing_by_chance(tmp_path: Path) -> None:
    """Two submissions of one person: both are named, and nothing is filled in."""
    exported = rosters.canvas(CLASS)
    once = graded(tmp_path, "canvas")
    again = with_(once[0], record=_with_key(once[0].record, "again"))
    made = written(tmp_path, "canvas", [*once, again], exported)

    assert len(importing.canvas(made["canvas-grades.csv"], exported)) == 3
    said = remarks(made["canvas-remarks.csv"])
    assert any("again" in key and "several" in remark for key, remark in said.items())


def _with_key(made: Record, key: str) -> Record:
    return replace(made, submission=replace(made.submission, key=key))
