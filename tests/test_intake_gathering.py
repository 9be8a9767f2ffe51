"""Each system's download gives the same submissions of the same people, as a folder and a zip."""

from __future__ import annotations

import cProfile
import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from grader.errors import UsageFault
from grader.intake import Entry, Intake, Unpacker, gather
from grader.submission.bounds import RESULTS
from grader.submission.files import handed_in, sha256_of
from tests.downloads import CLASS, SYSTEMS, Student, Tree, in_folder, in_zip, zipped

CODE = {student.sid: {name: data for name, data in student.files.items()
                      if not name.endswith(".pdf")} for student in CLASS}  # fmt: skip
FORMS = [(system, form) for system in SYSTEMS for form in ("folder", "zip")]
NAMED = [form for form in FORMS if "anonymous" not in form[0]]
NET = b"net = 1"


def made(place: Path, form: str, tree: Mapping[str, bytes]) -> Path:
    """Write a download as a folder or a zip."""
    return in_folder(place / "in", tree) if form == "folder" else in_zip(place / "in.zip", tree)


def of(student: Student, intake: Intake) -> Entry:
    """Return the entry of a student, found by the number that every system has, or the login."""
    wanted = {str(student.number), f"Xy{student.number}z", f"submission_{student.number}",
              student.login, f"{student.number}-777"}  # fmt: skip
    (found,) = (entry for entry in intake.entries if wanted & set(entry.ids.values()))
    return found


def contents(path: Path) -> set[bytes]:
    """Return what the reader of submissions finds at a path; of a student's zip what is in it."""
    with handed_in(path) as files:
        return {files.read(key) for key in files.table}


@pytest.fixture
def intake(request: pytest.FixtureRequest, tmp_path: Path) -> Intake:
    """Return what is gathered from a class's download."""
    system, form = request.param
    return gather([], made(tmp_path, form, SYSTEMS[system](CLASS)))


every_form = pytest.mark.parametrize("intake", FORMS, indirect=True, ids="-".join)


@every_form
def test_every_student_has_one_entry(intake: Intake) -> None:
    """Several files and attempts of one student are one submission; namesakes are two."""
    assert len({of(student, intake).key for student in CLASS}) == len(intake.entries) == len(CLASS)


@pytest.mark.parametrize("form", FORMS, ids="-".join)
def test_the_system_is_recognised(tmp_path: Path, form: tuple[str, str]) -> None:
    """The names of a download tell which system made it."""
    intake = gather([], made(tmp_path, form[1], SYSTEMS[form[0]](CLASS)))

    assert {entry.system for entry in intake.entries} == {form[0].split()[0]}


@every_form
def test_what_is_read_is_what_was_handed_in(intake: Intake, tmp_path: Path) -> None:
    """The code of the last attempt is read, from its place or from a copy."""
    with Unpacker(tmp_path / "out") as unpack:
        for student in (CLASS[0], CLASS[1], CLASS[2], CLASS[5]):
            path = unpack(of(student, intake))
            assert contents(path) == set(CODE[student.sid].values())


@every_form
def test_an_archive_in_a_download_is_read(intake: Intake, tmp_path: Path) -> None:
    """What a student zipped is read as if it had been handed in alone."""
    with Unpacker(tmp_path / "out") as unpack:
        assert contents(unpack(of(CLASS[3], intake))) == {b"li = 1"}


@every_form
def test_files_of_one_student_keep_the_names_that_imports_need(
    intake: Intake, tmp_path: Path
) -> None:
    """What the system put around the names of several files is gone."""
    with Unpacker(tmp_path / "out") as unpack, handed_in(unpack(of(CLASS[2], intake))) as files:
        assert sorted(map(str, files.table)) == ["model.py", "train.py"]


@every_form
def test_who_handed_in_no_code_has_an_entry(intake: Intake) -> None:
    """The verdict on a PDF is the student's; they are not lost."""
    assert of(CLASS[4], intake).key


@every_form
def test_the_hash_is_that_of_what_is_read(intake: Intake, tmp_path: Path) -> None:
    """A folder, a zip and a copy of either have the same hash as the path that is read."""
    with Unpacker(tmp_path / "out") as unpack:
        for entry in intake.entries:
            assert entry.sha256 == sha256_of(unpack(entry))


@every_form
def test_the_same_bytes_are_reported(intake: Intake) -> None:
    """Two who handed in the same file are named together, and both are graded."""
    keys = {of(CLASS[1], intake).key, of(CLASS[5], intake).key}
    # In a folder of their own the names of files count as well: they are the same here.
    assert any(note.startswith("the same files") and all(k in note for k in keys)
               for note in intake.notes)  # fmt: skip


def test_nothing_is_not_the_same_as_nothing(tmp_path: Path) -> None:
    """Submissions of which nothing is read are not called equal."""
    tree = {"ada/notes.txt": b"1", "bob/notes.txt": b"2", "cyd.py": NET}

    assert gather([], in_folder(tmp_path, tree)).notes == ()


@pytest.mark.parametrize(
    "system", ["canvas", "canvas anonymous", "moodle flat", "blackboard", "brightspace flat"]
)
def test_what_lies_beside_the_code_is_reported_with_its_entry(tmp_path: Path, system: str) -> None:
    """A report beside code is no submission of its own."""
    intake = gather([], in_folder(tmp_path, SYSTEMS[system](CLASS)))
    (beside,) = (stray for stray in intake.strays if stray.place.endswith("report.pdf"))

    assert (beside.key, beside.why) == (of(CLASS[2], intake).key, "not code")


@pytest.mark.parametrize("system", SYSTEMS)
def test_keys_are_the_same_in_a_folder_and_a_zip(tmp_path: Path, system: str) -> None:
    """Results of a download are found again after it has been unpacked."""
    tree = SYSTEMS[system](CLASS)
    both = [gather([], made(tmp_path, form, tree)) for form in ("folder", "zip")]

    assert [e.key for e in both[0].entries] == [e.key for e in both[1].entries]


@pytest.mark.parametrize("system", SYSTEMS)
def test_keys_do_not_depend_on_the_others(tmp_path: Path, system: str) -> None:
    """Whoever hands in later changes nobody's key, not even a namesake."""
    few = gather([], in_zip(tmp_path / "few.zip", SYSTEMS[system](CLASS[:3])))
    all_ = gather([], in_zip(tmp_path / "all.zip", SYSTEMS[system](CLASS)))

    assert {entry.key for entry in few.entries} <= {entry.key for entry in all_.entries}


@every_form
def test_keys_are_safe_everywhere(intake: Intake) -> None:
    """A key names a folder on every system and stands in the id of a test."""
    assert all(re.fullmatch(r"[^\W_]+(-[^\W_]+)*", entry.key) for entry in intake.entries)


@pytest.mark.parametrize(("system", "form"), FORMS)
def test_lateness_is_what_the_download_says(tmp_path: Path, system: str, form: str) -> None:
    """Canvas marks late files; no other system says anything."""
    intake = gather([], made(tmp_path, form, SYSTEMS[system](CLASS)))
    late = [of(student, intake).late for student in CLASS[:2]]

    assert late == ([False, True] if system.startswith("canvas") else [None, None])


@pytest.mark.parametrize(
    ("system", "expected"),
    [("gradescope", "2024-12-05T21:26:00.123456+00:00"), ("blackboard", "2024-12-05T21:26:00"),
     ("brightspace", "2024-12-05T21:26:00"), ("brightspace flat", "2024-12-05T21:26:00"),
     ("canvas", ""), ("moodle", "")],
)  # fmt: skip
def test_the_time_is_what_the_download_says(tmp_path: Path, system: str, expected: str) -> None:
    """The time of the last attempt, with an offset where there is one."""
    intake = gather([], in_zip(tmp_path / "in.zip", SYSTEMS[system](CLASS)))

    assert of(CLASS[2], intake).submitted == expected


@pytest.mark.parametrize("system", ["blackboard", "brightspace", "brightspace flat"])
def test_the_last_attempt_counts(tmp_path: Path, system: str) -> None:
    """An earlier attempt is reported as superseded, with the entry that replaces it."""
    intake = gather([], in_zip(tmp_path / "in.zip", SYSTEMS[system](CLASS)))
    entry = of(CLASS[2], intake)
    earlier = [s for s in intake.strays if s.why == "superseded: attempt 1 of 2"]

    assert entry.attempt == 2
    assert {stray.key for stray in earlier} == {entry.key}


def test_gradescope_tells_how_often_somebody_tried(tmp_path: Path) -> None:
    """The export holds the last attempt alone, and a history."""
    intake = gather([], in_zip(tmp_path / "in.zip", SYSTEMS["gradescope"](CLASS)))

    assert [of(student, intake).attempt for student in CLASS[1:3]] == [1, 2]


def test_a_group_on_gradescope_is_one_entry_of_several_people(tmp_path: Path) -> None:
    """All submitters of a group are known."""
    group = dataclasses.replace(CLASS[0], partners=("Bob Copy", "Eve Third"))
    intake = gather([], in_zip(tmp_path / "in.zip", SYSTEMS["gradescope"]([group])))

    assert [person.name for person in intake.entries[0].people] == [
        "Ada Lovelace", "Bob Copy", "Eve Third",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("system", "ids"),
    [("canvas", {"user": "12", "file": "9120"}),
     ("canvas anonymous", {"anonymous": "Xy12z", "file": "10800"}),
     ("moodle", {"participant": "12"}),
     ("gradescope", {"submission": "submission_12"}),
     ("blackboard", {"username": "alovelace", "attempt": "2024-12-05-11-49-00"}),
     ("brightspace", {"numbers": "12-777",
                      "folder": "12-777 - Ada Lovelace - Dec 5, 2024 1149 AM"})],
)  # fmt: skip
def test_ids_for_feedback_are_kept(tmp_path: Path, system: str, ids: dict[str, str]) -> None:
    """What a system needs in order to take feedback back is in the entry."""
    intake = gather([], in_zip(tmp_path / "in.zip", SYSTEMS[system](CLASS)))

    assert of(CLASS[0], intake).ids == ids


def test_what_was_typed_into_a_system_is_reported(tmp_path: Path) -> None:
    """A text beside a file is set aside; alone it is the submission, and fails as such."""
    tree = SYSTEMS["canvas"](CLASS[:2]) | {
        "lovelaceada_12_text.html": b"", "copybob_17_text.html": b"",
        "smithmaryann_16_link.html": b"",
    }  # fmt: skip
    intake = gather([], in_folder(tmp_path, tree))

    assert [stray.why for stray in intake.strays] == ["a text typed into Canvas"]
    assert len(intake.entries) == 4


# Plain folders


PLAIN: Tree = {
    "ada.py": NET, "bob/net.py": b"bob = 1", "cyd.zip": zipped({"net.py": b"cyd = 1"}),
    "dan.ipynb": b"{}", "eve.rar": b"Rar!", "__MACOSX/._ada.py": b"", ".DS_Store": b"",
    "index.html": b"", "notes.txt": b"", "photo.png": b"", "work.pdf": b"", "Thumbs.db": b"",
    ".hidden.py": NET, "submission_metadata.yml": b"submission_1:\n  :submitters: []\n",
}  # fmt: skip


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_each_entry_of_a_plain_folder_is_a_submission(tmp_path: Path, form: str) -> None:
    """Files, folders and archives count; an archive that is not read gets its verdict."""
    intake = gather([], made(tmp_path, form, PLAIN))

    assert [entry.key for entry in intake.entries] == ["ada", "bob", "cyd", "dan", "eve"]
    assert {entry.system for entry in intake.entries} == {"folder"}


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_strays_are_reported_with_their_reason(tmp_path: Path, form: str) -> None:
    """Whatever is no submission is named."""
    intake = gather([], made(tmp_path, form, PLAIN))
    found = {re.split(r"[/ ]", stray.place)[-1]: stray.why for stray in intake.strays}

    no_code = "no script, notebook, folder or archive"
    assert found == {
        "__MACOSX": "left by a system or a tool", ".DS_Store": "hidden", ".hidden.py": "hidden",
        "Thumbs.db": "left by a system or a tool", "index.html": no_code, "notes.txt": no_code,
        "photo.png": no_code, "work.pdf": no_code, "submission_metadata.yml": no_code,
    }  # fmt: skip


def test_links_are_strays(tmp_path: Path) -> None:
    """A link may lead to someone else's files."""
    (in_folder(tmp_path, {"ada.py": NET}) / "bob.py").symlink_to("ada.py")
    (tmp_path / "cyd").symlink_to(tmp_path)
    intake = gather([], tmp_path)

    assert [entry.key for entry in intake.entries] == ["ada"]
    assert {stray.why for stray in intake.strays} == {"a symbolic link"}


def test_a_folder_that_mixes_everything_is_plain(tmp_path: Path) -> None:
    """Where no system has most of the names, every name is a submission."""
    tree = {
        "lovelaceada_12_99_net.py": NET,
        "bob.py": NET,
        "Cyd X_3_assignsubmission_file/n.py": NET,
    }
    intake = gather([], in_folder(tmp_path, tree))

    assert {entry.system for entry in intake.entries} == {"folder"}
    assert len(intake.entries) == 3


def test_a_name_that_does_not_fit_a_download_is_a_submission_with_a_note(tmp_path: Path) -> None:
    """What an instructor put beside a download is not lost."""
    tree = SYSTEMS["canvas"](CLASS) | {"solution.py": b"solved = 1"}
    intake = gather([], in_folder(tmp_path, tree))
    (entry,) = (entry for entry in intake.entries if entry.system == "folder")

    assert (entry.key, entry.notes) == ("solution", ("its name is not one of Canvas's",))


def test_names_that_contradict_each_other_are_not_of_canvas(tmp_path: Path) -> None:
    """Numbers in names of a person's own making are no numbers of users and files."""
    tree = {f"hw_3_12_{name}.py": NET for name in ("ada", "bob", "cyd")}
    intake = gather([], in_folder(tmp_path, tree))

    assert [entry.key for entry in intake.entries] == ["hw-3-12-ada", "hw-3-12-bob", "hw-3-12-cyd"]


def test_nobody_can_hand_in_for_somebody_else(tmp_path: Path) -> None:
    """The end of a name is the student's, and looks like another system's at will."""
    tree = SYSTEMS["canvas"](CLASS)
    forged = "copybob_17_9999_Ada Lovelace_12_assignsubmission_file_net.py"
    intake = gather([], in_folder(tmp_path, tree | {forged: b"bob = 1"}))

    assert {entry.system for entry in intake.entries} == {"canvas"}
    assert forged.removeprefix("copybob_17_9999_") in {f.name for f in of(CLASS[5], intake).files}


def test_same_stems_are_told_apart_whatever_their_order(tmp_path: Path) -> None:
    """A script, a notebook and a folder of one name have keys that say which is which."""
    tree = {"ada.py": NET, "ada.ipynb": b"{}", "ada/net.py": NET, "ADA.zip": zipped({"a.py": NET})}
    intake = gather([], in_folder(tmp_path, tree))

    assert [e.key for e in intake.entries] == ["ada-folder", "ada-ipynb", "ada-py", "ada-zip"]


def test_names_that_differ_in_case_alone_have_keys_that_differ_more(tmp_path: Path) -> None:
    """Their folders are two also where case does not count."""
    intake = gather([], in_zip(tmp_path / "in.zip", {"w/Ada.py": NET, "w/ada.py": NET}))

    assert len({entry.key.casefold() for entry in intake.entries}) == 2


def test_a_folder_with_two_downloads_is_read_as_both(tmp_path: Path) -> None:
    """A download is recognised inside a collection, beside plain submissions."""
    in_folder(tmp_path / "class" / "section a", SYSTEMS["canvas"](CLASS))
    in_zip(tmp_path / "class" / "section b.zip", SYSTEMS["moodle"](CLASS))
    in_folder(tmp_path / "class", {"guest.py": NET})
    intake = gather([], tmp_path / "class")
    systems = [entry.system for entry in intake.entries]

    assert [systems.count(s) for s in ("canvas", "moodle", "folder")] == [len(CLASS), len(CLASS), 1]
    assert "Moodle in section b.zip: 6 submissions" in intake.notes


def test_the_same_students_in_two_downloads_keep_their_keys_apart(tmp_path: Path) -> None:
    """The name of the download tells them apart."""
    for name in ("week1", "week2"):
        in_folder(tmp_path / name, SYSTEMS["canvas"](CLASS[4:]))
    intake = gather([], tmp_path)

    assert [entry.key for entry in intake.entries] == [
        "copybob-17-week1", "copybob-17-week2", "smithmaryann-16-week1", "smithmaryann-16-week2",
    ]  # fmt: skip


def test_a_download_beside_what_was_unpacked_from_it_has_keys_of_its_own(tmp_path: Path) -> None:
    """Everything is there twice, and the same files are reported."""
    tree = SYSTEMS["canvas"](CLASS)
    in_folder(tmp_path / "in" / "week1", tree)
    in_zip(tmp_path / "in" / "week1.zip", tree)
    intake = gather([], tmp_path / "in")

    assert len({entry.key for entry in intake.entries}) == 2 * len(CLASS)
    assert len([note for note in intake.notes if note.startswith("the same files")]) >= 4


def test_a_submission_whose_files_look_like_a_download_is_one(tmp_path: Path) -> None:
    """A student's own numbers in names make no class of them."""
    tree = {"ada/model_1_2_a.py": NET, "ada/model_2_3_b.py": NET, "bob.py": NET}
    intake = gather([], in_folder(tmp_path, tree))

    assert [entry.key for entry in intake.entries] == ["ada", "bob"]


def test_a_folder_that_holds_more_than_a_download_is_a_submission(tmp_path: Path) -> None:
    """A student's copies of downloads, beside their own code, are not taken apart."""
    tree = {f"ada/{name}": data for name, data in SYSTEMS["canvas"](CLASS).items()}
    intake = gather([], in_folder(tmp_path, {"ada/net.py": NET, "bob.py": NET} | tree))

    assert [entry.key for entry in intake.entries] == ["ada", "bob"]


# Submissions named by themselves


def test_files_of_one_name_have_keys_by_their_folders(tmp_path: Path) -> None:
    """Two files called `main.ipynb` never share a key."""
    in_folder(tmp_path, {"ada/main.ipynb": b"{}", "bob/main.ipynb": b"{}"})
    intake = gather([tmp_path / "ada" / "main.ipynb", tmp_path / "bob" / "main.ipynb"])

    assert [entry.key for entry in intake.entries] == ["ada-main", "bob-main"]


def test_the_same_path_twice_is_one_submission(tmp_path: Path) -> None:
    """However it is spelled."""
    in_folder(tmp_path, {"ada/net.py": NET})
    intake = gather([tmp_path / "ada", tmp_path / "x" / ".." / "ada"])

    assert len(intake.entries) == 1


def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    """An instructor's mistake ends the run at once."""
    with pytest.raises(UsageFault, match="no such file"):
        gather([tmp_path / "nothing.py"])


def test_a_collection_without_submissions_is_refused(tmp_path: Path) -> None:
    """An empty table would look like a class that failed."""
    with pytest.raises(UsageFault, match="holds no submissions"):
        gather([], in_folder(tmp_path, {"readme.txt": b""}))


def test_a_collection_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    """The message says what was found."""
    (tmp_path / "in.zip").write_bytes(b"PK nonsense")

    with pytest.raises(UsageFault, match="no collection of submissions"):
        gather([], tmp_path / "in.zip")


def test_a_broken_archive_among_others_is_a_submission(tmp_path: Path) -> None:
    """One submission's trouble never touches another's."""
    intake = gather([], in_folder(tmp_path, {"ada.zip": b"PK nonsense", "bob.py": NET}))

    assert [entry.key for entry in intake.entries] == ["ada", "bob"]


def test_names_that_are_no_text_have_keys(tmp_path: Path) -> None:
    """A name of any bytes is a submission, also beside one that is shown alike."""
    try:
        for raw in (b"\xff.py", b"\xfe.py"):
            Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + raw)).write_bytes(NET)
    except OSError:
        pytest.skip("this file system takes text alone")
    keys = {entry.key for entry in gather([], tmp_path).entries}

    assert len(keys) == 2
    assert all(key.startswith("submission-") for key in keys)


def calls(students: int, place: Path) -> int:
    """Return how many functions are called in order to gather a class."""
    many = [
        Student(f"First{n}", f"Last{n % 70}", f"user{n}", f"s{n:05}", n, {"net.py": b"%d" % n})
        for n in range(students)
    ]
    path = in_zip(place / f"{students}.zip", SYSTEMS["canvas"](many))
    roster = place / "roster.csv"
    rows = (f"{s.name},{s.sid},{s.login}" for s in many)
    roster.write_text("\n".join(["name,sid,login", *rows]), encoding="utf-8")
    profile = cProfile.Profile()
    intake = profile.runcall(gather, [], path, roster)
    assert (len(intake.entries), intake.missing) == (students, ())
    return sum(entry.callcount for entry in profile.getstats())


def test_names_in_utf_8_that_do_not_say_so_are_read(tmp_path: Path) -> None:
    """Some systems' tools leave out the mark."""
    raw = zipped({"José Pérez_7_assignsubmission_file/net.py": NET})
    for mark, at in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        raw = raw[: raw.index(mark) + at] + b"\0" + raw[raw.index(mark) + at + 1 :]
    (tmp_path / "in.zip").write_bytes(raw)
    (entry,) = gather([], tmp_path / "in.zip").entries

    assert entry.person.name == "José Pérez"
    with Unpacker(tmp_path / "out") as unpack:
        assert contents(unpack(entry)) == {NET}


def test_strays_inside_a_submission_are_its_own(tmp_path: Path) -> None:
    """What a student's archive holds is looked at when it is read."""
    intake = gather([], in_folder(tmp_path, {"a.zip": zipped({"../x.py": NET}), "b.py": NET}))

    assert intake.strays == ()


def test_hostile_members_of_a_download_in_a_folder_are_reported(tmp_path: Path) -> None:
    """It is listed like a download that is named by itself."""
    in_zip(tmp_path / "w.zip", SYSTEMS["moodle"](CLASS) | {"../x.py": NET})
    intake = gather([], in_folder(tmp_path, {"b.py": NET}))

    assert "it would lie outside the archive" in [stray.why for stray in intake.strays]


@pytest.mark.slow
def test_work_grows_with_the_class_and_no_faster(tmp_path: Path) -> None:
    """Twice as many students take twice the work; 5,000 of them take a few seconds."""
    assert calls(1_000, tmp_path) < 2.1 * calls(500, tmp_path)


@pytest.mark.slow
def test_5000_submissions_are_gathered(tmp_path: Path) -> None:
    """Everyone of a large course is found and mapped."""
    assert calls(5_000, tmp_path)


def test_results_of_the_grader_are_not_taken_for_a_submission(tmp_path: Path) -> None:
    """They may lie in the folder that is graded, as `grade class .` leaves them there."""
    (tmp_path / "ada.py").write_text("x = 1\n", encoding="utf-8")
    (tmp_path / "grades" / "ada").mkdir(parents=True)
    (tmp_path / "grades" / RESULTS).touch()
    (tmp_path / "grades" / "ada" / "plan.json").write_text("{}", encoding="utf-8")
    found = gather([], tmp_path)

    assert [entry.key for entry in found.entries] == ["ada"]
    assert [stray.why for stray in found.strays] == ["results of the grader"]
