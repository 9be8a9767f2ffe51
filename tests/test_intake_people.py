"""Submissions are mapped to the people of a roster, and to nobody where that is not certain."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from grader.intake import Entry, Intake, gather
from tests.downloads import CLASS, SYSTEMS, Tree, in_folder, in_zip
from tests.rosters import ROSTERS, as_csv
from tests.test_intake_gathering import of

NET = b"net = 1"
# Two students are called Ada Lovelace: only an id or a login tells them apart.
CERTAIN = {
    ("canvas", "canvas"), ("moodle", "moodle"), ("gradescope", "plain"), ("gradescope", "canvas"),
    ("gradescope", "gradescope"), ("gradescope", "blackboard"), ("gradescope", "brightspace"),
    ("gradescope", "moodle"),
    *(("blackboard", kind) for kind in ROSTERS),
}  # fmt: skip
NAMED = [system for system in SYSTEMS if "anonymous" not in system]


def gathered(place: Path, system: str, kind: str) -> Intake:
    """Gather a class's download with its roster."""
    (place / "roster.csv").write_bytes(as_csv(ROSTERS[kind](CLASS)))
    return gather([], in_zip(place / "in.zip", SYSTEMS[system](CLASS)), place / "roster.csv")


@pytest.mark.parametrize("kind", ROSTERS)
@pytest.mark.parametrize("system", NAMED)
def test_each_download_is_mapped_by_each_roster(tmp_path: Path, system: str, kind: str) -> None:
    """Everybody who can be told from all others is found, in whatever order names are written."""
    intake = gathered(tmp_path, system, kind)
    everybody = CLASS if (system.split(maxsplit=1)[0], kind) in CERTAIN else CLASS[2:]

    for student in everybody:
        person = of(student, intake).person
        known = {person.id, person.login, person.email, *of(student, intake).ids.values()}
        assert {student.sid, student.login, student.email, str(student.number)} & known
        assert set(person.name.replace(",", "").split()) == set(student.name.split())
    assert intake.missing == ()  # nor is anybody who may have handed in


@pytest.mark.parametrize("system", ["canvas", "moodle", "brightspace"])
def test_namesakes_are_nobody_without_an_id(tmp_path: Path, system: str) -> None:
    """An ambiguous match is none, and both people are named; neither is said to be missing."""
    intake = gathered(tmp_path, system, "gradescope")

    for student in CLASS[:2]:
        (note,) = of(student, intake).notes
        assert "may be Lovelace, Ada (row 2), Lovelace, Ada (row 3)" in note
    assert intake.missing == ()


def test_an_anonymous_download_is_mapped_to_nobody(tmp_path: Path) -> None:
    """That is what anonymous means."""
    assert len(gathered(tmp_path, "canvas anonymous", "canvas").missing) == len(CLASS)


def test_keys_do_not_depend_on_a_roster(tmp_path: Path) -> None:
    """Results stay where they are when a roster is added."""
    mapped = gathered(tmp_path, "canvas", "canvas")
    without = gather([], tmp_path / "in.zip")

    assert [entry.key for entry in mapped.entries] == [entry.key for entry in without.entries]


def plain(place: Path, roster: str, *names: str) -> Intake:
    """Gather files of these names with this roster."""
    tree: Tree = {name: name.encode() for name in names}
    (place / "roster.csv").write_text(roster, encoding="utf-8")
    return gather([], in_folder(place / "in", tree), place / "roster.csv")


@pytest.mark.parametrize(
    "name",
    ["s1001.py", "hw2_S1001.ipynb", "alove.py", "alove_final.py", "Ada Lovelace.py",
     "lovelace-ada.zip", "ada_lovelace_hw2.py", "lovelaceada.py", "alove@x.org.py", "s1001/net.py"],
)  # fmt: skip
def test_names_of_files_in_a_plain_folder_tell_whose_they_are(tmp_path: Path, name: str) -> None:
    """An id, a login, an address or a name, alone or among other words."""
    roster = (
        "id,name,login,email\ns1001,Ada Lovelace,alove,alove@x.org\ns2,Ada Byron,abyron,b@x.org\n"
    )

    assert plain(tmp_path, roster, name).entries[0].person.id == "s1001"


@pytest.mark.parametrize("name", ["ada.py", "net.py", "1.py", "s10011.py", "hw_2.py"])
def test_names_that_tell_too_little_are_nobodys(tmp_path: Path, name: str) -> None:
    """A first name, a number of the homework or a part of an id is no match."""
    roster = "id,name,login\n2,Ada Lovelace,alove\ns1001,Ada Byron,abyron\n"
    (entry,) = plain(tmp_path, roster, name).entries

    assert entry.people == ()
    assert entry.notes == (f"{name[:-3]} is not on the roster",)


def test_a_part_of_a_name_is_no_name(tmp_path: Path) -> None:
    """All words of a name of several words have to be there."""
    roster = "name\nAda Maria Lovelace\nBob\n"
    intake = plain(tmp_path, roster, "ada_lovelace_hw2.py", "bob_hw2.py", "bob/net.py")

    assert [entry.person.name for entry in intake.entries] == ["", "Bob", ""]


def test_an_id_counts_more_than_a_name(tmp_path: Path) -> None:
    """A student who changed their name is found."""
    roster = "sid,name\ns1001,Ada Byron\ns9,Bob Copy\n"
    (tmp_path / "roster.csv").write_text(roster, encoding="utf-8")
    path = in_zip(tmp_path / "in.zip", SYSTEMS["gradescope"](CLASS[:1]))

    assert gather([], path, tmp_path / "roster.csv").entries[0].person.name == "Ada Byron"


def test_a_number_of_one_system_is_not_that_of_another(tmp_path: Path) -> None:
    """Canvas's user 12 is not the student number 12 of somebody else."""
    (tmp_path / "roster.csv").write_text("id,name\n12,Eve Else\n99,Bob Copy\n", encoding="utf-8")
    path = in_zip(tmp_path / "in.zip", SYSTEMS["canvas"](CLASS))
    intake = gather([], path, tmp_path / "roster.csv")

    assert of(CLASS[0], intake).person.id == ""
    assert of(CLASS[5], intake).person.id == "99"


def test_the_number_of_a_team_of_moodles_is_not_that_of_a_participant(tmp_path: Path) -> None:
    """A worksheet lists people: whoever has the team's number there is somebody else."""
    team = {"Team Rocket_12_assignsubmission_file/net.py": NET,
            "Ada Lovelace_13_assignsubmission_file/net.py": NET}  # fmt: skip
    (tmp_path / "roster.csv").write_bytes(as_csv(ROSTERS["moodle"](CLASS)))
    intake = gather([], in_zip(tmp_path / "in.zip", team), tmp_path / "roster.csv")
    people = {entry.ids["participant"]: entry.person for entry in intake.entries}

    assert people["13"].email == "ada2@example.org"
    assert people["12"].email == ""


@pytest.mark.parametrize("team", ["Adams Crew", "Ada and Bob", "Lovelaceadam"])
def test_a_team_whose_name_holds_parts_of_a_participants_is_somebody_else(
    tmp_path: Path, team: str
) -> None:
    """Whole words of both names are compared."""
    tree = {f"{team}_12_assignsubmission_file/net.py": NET}
    (tmp_path / "roster.csv").write_bytes(as_csv(ROSTERS["moodle"](CLASS)))
    intake = gather([], in_zip(tmp_path / "in.zip", tree), tmp_path / "roster.csv")

    assert intake.entries[0].person.email == ""


def test_a_text_of_blackboard_that_names_somebody_else_is_not_believed(tmp_path: Path) -> None:
    """The name of a file is Blackboard's."""
    start = "Project 1_bcopy_attempt_2024-12-05-11-49-00"
    tree = {f"{start}.txt": b"Name: Ada (alovelace)\n", f"{start}_net.py": NET}

    assert gather([], in_folder(tmp_path, tree)).entries[0].person.login == "bcopy"


def test_who_handed_nothing_in_is_reported(tmp_path: Path) -> None:
    """A table of grades has a row for everybody."""
    intake = plain(tmp_path, "name,login\nAda,ada1\nBob,bob1\nCyd,cyd1\n", "bob1.py")

    assert [person.name for person in intake.missing] == ["Ada", "Cyd"]
    assert "no submission from Ada, Cyd" in intake.notes


def test_several_submissions_of_one_person_are_all_graded_and_reported(tmp_path: Path) -> None:
    """Nobody knows which of them is the last."""
    intake = plain(tmp_path, "login\nada1\n", "ada1.py", "ada1.ipynb")

    assert "several submissions of ada1, all of them graded: ada1-ipynb, ada1-py" in intake.notes


def late(place: Path, deadline: str) -> Entry:
    """Return an entry of Blackboard handed in at 11:49, with a deadline of one's own."""
    path = in_zip(place / "in.zip", SYSTEMS["blackboard"](CLASS[:1]))
    (place / "roster.csv").write_text(f"login,deadline\nalovelace,{deadline}\n", encoding="utf-8")
    return gather([], path, place / "roster.csv").entries[0]


@pytest.mark.parametrize(
    ("deadline", "expected"),
    [("2024-12-05 11:49", False), ("2024-12-05 11:48", True), ("2024-12-05", False), ("", None),
     ("2024-12-05T11:48Z", None)],
)  # fmt: skip
def test_a_deadline_of_ones_own_decides(
    tmp_path: Path, deadline: str, expected: bool | None
) -> None:
    """Without one, or where the times cannot be compared, nothing is known."""
    assert late(tmp_path, deadline).late is expected


def test_times_with_and_without_an_offset_are_not_compared(tmp_path: Path) -> None:
    """The entry says so."""
    assert "only one of them has an offset" in late(tmp_path, "2024-12-05T11:48Z").notes[0]


def test_deadlines_of_a_group_may_be_written_differently(tmp_path: Path) -> None:
    """One member's deadline has an offset, the other's has none."""
    group = [dataclasses.replace(CLASS[0], partners=("Bob Copy",))]
    roster = "name,deadline\nAda Lovelace,2024-12-01\nBob Copy,2024-12-01T00:00Z\n"
    (tmp_path / "roster.csv").write_text(roster, encoding="utf-8")
    path = in_zip(tmp_path / "in.zip", SYSTEMS["gradescope"](group))

    assert gather([], path, tmp_path / "roster.csv").entries[0].late is None
