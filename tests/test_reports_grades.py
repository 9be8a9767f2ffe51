"""What is handed on of a score: less what lateness costs, and nothing where nothing is known."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from grader import rubric as rubrics
from grader.errors import UsageFault
from grader.intake.roster import read_roster
from grader.record import Person, Problem, Record, Submission
from grader.reporting import Wanted
from grader.reports.given import Graded
from grader.reports.grades import grade
from grader.rubric import Late
from tests.importing import table
from tests.making import record

NOON = datetime(2026, 12, 1, 12)


def handed_in(when: str, score: float | None = 80.0, deadline: str = "", **more: Any) -> Record:
    """Return the record of somebody who handed in at a time, perhaps with their own deadline."""
    submission = Submission(
        "net.py", "net.py", "", people=[Person(name="Ada", deadline=deadline)], submitted=when,
        late=more.pop("late", None),
    )  # fmt: skip
    values = {"status": "complete", "rubric_sha256": rubrics.sha256_of(rubrics.load())}
    return record(60, submission=submission, score=score, **(values | more))


def points(made: Record, **late: Any) -> float | None:
    """Return the points under a late rule of ten points a day, from noon."""
    values: dict[str, Any] = {"points_a_day": 10.0, "deadline": NOON}
    rule = Late(**(values | late))
    return grade(made, replace(rubrics.load(), late=rule)).points


@pytest.mark.parametrize(
    ("when", "late", "expected"),
    [
        ("2026-12-01T11:59:59", {}, 80), ("2026-12-01T12:00:00", {}, 80),
        ("2026-12-01T12:00:01", {}, 70), ("2026-12-02T12:00:00", {}, 70),
        ("2026-12-02T12:00:01", {}, 60), ("2026-12-01T12:15:00", {"grace_minutes": 15}, 80),
        ("2026-12-01T12:16:00", {"grace_minutes": 15}, 70), ("2026-12-09T12:00:00", {}, 0),
        ("2026-12-09T12:00:00", {"most": 50}, 30), ("2027-12-09T12:00:00", {}, 0),
        ("", {}, 80),
    ],
    ids=str,
)  # fmt: skip
def test_each_day_begun_costs_points(when: str, late: dict[str, Any], expected: float) -> None:
    """After the grace, up to the most, and never below zero."""
    assert points(handed_in(when), **late) == expected


def test_a_deadline_of_ones_own_comes_before_the_rubrics() -> None:
    """Whoever has an extension is on time until it ends, whatever the rubric says."""
    own = handed_in("2026-12-03T11:00:00", deadline="2026-12-03T12:00:00")

    assert points(own) == 80
    assert points(own, deadline=None) == 80
    assert points(handed_in("2026-12-03T12:01:00", deadline="2026-12-03T12:00:00")) == 70


def test_times_that_cannot_be_compared_cost_nothing_and_are_told() -> None:
    """Of two times only one says how far it is from UTC."""
    rule = Late(10, datetime(2026, 12, 1, 12, tzinfo=UTC))
    made = grade(handed_in("2026-12-09T12:00:00"), replace(rubrics.load(), late=rule))

    assert made.points == 80
    assert "offset" in made.remark


def test_late_without_a_time_is_told() -> None:
    """Canvas says `LATE` and not when: nothing is guessed."""
    late = grade(handed_in("", late=True), replace(rubrics.load(), late=Late(10, NOON)))
    no_deadline = grade(handed_in("", late=True), replace(rubrics.load(), late=Late(10)))

    assert (late.points, no_deadline.points) == (80, 80)
    assert "--times" in late.remark
    assert "no deadline" in no_deadline.remark


@given(st.floats(0, 100), st.integers(0, 10**7), st.floats(0, 1e4), st.floats(0, 1e6))
def test_lateness_never_gives_points(
    score: float, seconds: int, grace: float, a_day: float
) -> None:
    """Whatever the rule, a grade lies between zero and the score."""
    when = datetime.fromtimestamp(NOON.timestamp() + seconds).isoformat()
    found = points(handed_in(when, score), grace_minutes=grace, points_a_day=a_day)

    assert found is not None
    assert 0 <= found <= score


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"score": None}, "the grader failed"),
        ({"score": None, "problem": Problem("read", "usage", "no data")}, "used wrongly"),
        ({"status": "interrupted", "score": None}, "stopped"),
        ({"status": "running"}, "not ended"),
        ({"status": "partial"}, "only some checks"),
        ({"score": 0.0, "problem": Problem("read", "no-code", "essay.pdf")}, "look at it"),
    ],
    ids=str,
)
def test_without_a_verdict_there_is_no_grade(more: dict[str, Any], why: str) -> None:
    """Not a zero, and not the points so far either."""
    made = grade(handed_in("", **more), rubrics.load())

    assert made.points is None
    assert why in made.remark


def test_times_come_from_a_file_where_the_download_has_none(tmp_path: Path) -> None:
    """`--times` is matched like a roster, also by what only the roster knows of a person."""
    (tmp_path / "people.csv").write_bytes(
        b"Student,ID,SIS Login ID,Section,Project (7)\r\n    Points Possible,,,,100\r\n"
        b"Lovelace Ada,12,ada,A,\r\n"
    )
    (tmp_path / "times.csv").write_bytes(b"login,submitted\r\nada,2026-12-02 13:00\r\n")
    submission = Submission(
        "net.py", "net.py", "", key="ada", system="canvas", people=[Person(name="ada lovelace")],
        ids={"user": "12", "file": "3"},
    )  # fmt: skip
    late = replace(rubrics.load(), late=Late(10, NOON))
    wanted = Wanted(
        ("canvas",), late, tmp_path, None, tmp_path / "people.csv", times=tmp_path / "times.csv"
    )
    one = Graded(record(60, submission=submission, score=80.0, status="complete"), tmp_path / "ada")
    written = {path.name: path.read_bytes() for path in wanted.write([one])}

    assert table(written["canvas-grades.csv"])[-1][-1] == "60"
    assert "2 days late: 20 points taken off" in written["canvas-remarks.csv"].decode()


def test_a_row_of_times_that_is_nobodys_is_told(tmp_path: Path) -> None:
    """Without a gradebook the remarks have a file of their own."""
    (tmp_path / "times.csv").write_bytes(
        b"login,submitted\r\nada,2026-12-02 13:00\r\nadda,2026-12-03 13:00\r\n"
    )
    submission = Submission("net.py", "", "", key="ada", system="x", people=[Person(login="ada")])
    one = Graded(record(60, submission=submission), tmp_path / "ada")
    wanted = Wanted(("gradescope",), rubrics.load(), tmp_path, times=tmp_path / "times.csv")
    (said,) = [path.read_text() for path in wanted.write([one]) if path.name == "remarks.csv"]

    assert "adda,,row 3 of times.csv" in said
    assert "row 2" not in said


def test_extensions_may_stand_beside_the_times(tmp_path: Path) -> None:
    """A system's list has no column for them."""
    (tmp_path / "times.csv").write_bytes(
        b"name,submitted,deadline\r\nAda,2026-12-02 13:00,2026-12-02 12:00\r\n"
    )
    late = replace(rubrics.load(), late=Late(10, NOON))
    wanted = Wanted(("gradescope",), late, tmp_path, times=tmp_path / "times.csv")
    (one,) = wanted._of([Graded(handed_in(""), tmp_path / "ada")]).graded

    assert grade(one.record, late).remark == "1 day late: 10 points taken off"


def test_the_times_that_gradescope_exports_are_read(tmp_path: Path) -> None:
    """With a blank before the offset; as a roster, the same file has no times."""
    file = tmp_path / "times.csv"
    file.write_bytes(b"Name,SID,Submission Time\r\nAda,7,2026-12-01 18:05:03 -0500\r\n")

    assert read_roster(file, times=True)[0].submitted == "2026-12-01T18:05:03-05:00"
    file.write_bytes(b"Name,SID,Submission Time\r\nAda,7,yesterday\r\n")
    assert read_roster(file)[0].submitted == ""


def test_a_time_that_is_none_is_refused(tmp_path: Path) -> None:
    """With the file, the row and the column."""
    (tmp_path / "times.csv").write_bytes(b"login,submitted\r\nada,yesterday\r\n")
    wanted = Wanted(("gradescope",), rubrics.load(), tmp_path, times=tmp_path / "times.csv")

    with pytest.raises(UsageFault) as error:
        wanted.check()
    assert "row 2" in error.value.where
