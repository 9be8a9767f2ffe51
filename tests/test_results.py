"""Results of different submissions never share a folder, and complete ones are not lost."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from grader import record as records
from grader import results
from grader.errors import GraderFault
from grader.record import Record, Submission
from tests.grading import EXAMPLES, grade
from tests.making import record


def of(path: Path, **changes: object) -> Record:
    """Return the record of a submission."""
    name, number = results.identity(path)
    text = os.fsencode(path).decode("utf-8", "replace")
    made = record(**changes)
    return records.update(made, submission=Submission(name, text, "0" * 64, number))


def claimed(out: Path, path: Path, *, whole: bool = True, **changes: object) -> Path:
    """Begin a run over a submission; return the folder of its results."""
    return results.claim(out, path, of(path, **changes), whole=whole)


def files(folder: Path) -> set[str]:
    """List the files below a folder."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_the_first_of_a_name_gets_the_name_and_others_a_hash(tmp_path: Path) -> None:
    """Two files of one name in different folders have results of their own, run after run."""
    one, two = tmp_path / "a" / "net.py", tmp_path / "b" / "net.py"
    folders = [claimed(tmp_path / "out", path) for path in (one, two, one, two)]

    assert folders[0] == folders[2] == tmp_path / "out" / "net.py"
    assert folders[1] == folders[3]
    assert folders[1].name.startswith("net.py-")
    assert records.load(folders[0] / "record.json").submission.path == str(one)
    assert records.load(folders[1] / "record.json").submission.path == str(two)


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_names_that_are_no_text_do_not_collide(tmp_path: Path) -> None:
    """Two bytes that are no text look the same and are not."""
    paths = [tmp_path / os.fsdecode(name) for name in (b"\xff.py", b"\xfe.py")]

    assert len({claimed(tmp_path / "out", path) for path in paths}) == 2


def test_submissions_that_begin_at_once_do_not_collide(tmp_path: Path) -> None:
    """A folder never exists without the record that says whose it is."""
    paths = [tmp_path / str(n) / "net.py" for n in range(16)]
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda path: claimed(tmp_path / "out", path), paths))

    assert len(set(folders)) == len(paths)
    for folder, path in zip(folders, paths, strict=True):
        assert records.load(folder / "record.json").submission.path == str(path)
    assert not list((tmp_path / "out").glob(".new-*"))


def test_a_run_replaces_what_an_earlier_one_of_the_same_submission_left(tmp_path: Path) -> None:
    """No plan and no weights of another run stand beside a record; a person's own file stays."""
    path = tmp_path / "net.py"
    folder = claimed(tmp_path / "out", path, status="complete")
    for name in ("plan.json", "weights.safetensors", "weights-2.safetensors", "mine.txt"):
        (folder / name).write_text("old")
    partial = claimed(tmp_path / "out", path, whole=False)
    (partial / "plan.json").write_text("old")

    assert claimed(tmp_path / "out", path) == folder
    assert files(folder) == {"record.json", "mine.txt"}


def test_a_run_of_some_checks_leaves_complete_results_alone(tmp_path: Path) -> None:
    """`--quick` after a full run writes beside it, whatever changed in the submission."""
    path = tmp_path / "net.py"
    folder = claimed(tmp_path / "out", path, status="complete")
    (folder / "weights.safetensors").write_text("kept")
    before = (folder / "record.json").read_bytes()
    partial = claimed(tmp_path / "out", path, whole=False)

    assert partial == claimed(tmp_path / "out", path, whole=False) == folder / "partial"
    assert files(folder) == {"record.json", "weights.safetensors", "partial/record.json"}
    assert (folder / "record.json").read_bytes() == before


def test_a_run_of_some_checks_replaces_another_one(tmp_path: Path) -> None:
    """Where nothing complete is lost, results lie where they always do."""
    path = tmp_path / "net.py"
    unfinished = {"status": "partial", "training": None}
    folder = claimed(tmp_path / "out", path, whole=False, **unfinished)

    assert claimed(tmp_path / "out", path, whole=False, **unfinished) == folder


def test_records_of_before_are_known_by_their_path(tmp_path: Path) -> None:
    """A record without an id still says whose it is."""
    path, folder = tmp_path / "net.py", tmp_path / "out" / "net.py"
    old = of(path)
    records.save(
        records.update(old, submission=msgspec.structs.replace(old.submission, id="")), folder
    )

    assert claimed(tmp_path / "out", path) == folder
    assert results.find(tmp_path / "out", old.submission) == folder


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"submission": 1}', b"\xff"])
def test_what_is_no_result_is_not_written_to(tmp_path: Path, content: bytes) -> None:
    """A folder of the name that holds something else is left as it is."""
    other = tmp_path / "out" / "net.py"
    other.mkdir(parents=True)
    (other / "record.json").write_bytes(content)

    assert claimed(tmp_path / "out", tmp_path / "net.py").name.startswith("net.py-")
    assert (other / "record.json").read_bytes() == content


def test_results_are_never_written_over_the_submission(tmp_path: Path) -> None:
    """With `--out` beside a submission, its results get a folder of another name."""
    script, folder = tmp_path / "net.py", tmp_path / "project"
    script.write_text("x = 1")
    folder.mkdir()

    assert claimed(tmp_path, script).name.startswith("net.py-")
    assert claimed(tmp_path, folder).name.startswith("project-")
    assert not any(folder.iterdir())


def test_a_name_as_long_as_can_be_has_results(tmp_path: Path) -> None:
    """A name of 255 bytes leaves no room for more, and is cut."""
    paths = [tmp_path / folder / ("ä" * 126 + ".py") for folder in "ab"]

    assert len({claimed(tmp_path / "out", path) for path in paths}) == 2


def test_a_place_that_is_taken_is_named(tmp_path: Path) -> None:
    """Where both names hold something else, the run is refused in words."""
    path, out = tmp_path / "in" / "net.py", tmp_path / "out"
    for folder in (out / "net.py", out / f"net.py-{results.identity(path)[1]}"):
        folder.mkdir(parents=True)
        (folder / "notes.txt").write_text("mine")
    with pytest.raises(GraderFault, match="choose another folder"):
        claimed(out, path)


@pytest.mark.slow
def test_grading_the_folder_one_is_in_changes_nothing_of_it(tmp_path: Path) -> None:
    """`grade .` leaves `grades` there, which is neither read nor hashed by the next run."""
    (tmp_path / "net.py").write_bytes((EXAMPLES / "too_short.py").read_bytes())
    first, second = (grade(tmp_path, tmp_path / "grades", "--quick").record for _ in range(2))

    assert first.submission == second.submission
    assert first.submission.sha256
    assert first.plan_sha256 == second.plan_sha256
    assert first.notes == second.notes
