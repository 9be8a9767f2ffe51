"""Results that were changed since they were written are found, to the byte."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from grader import record as records
from grader import rubric as rubrics
from grader import seal
from grader.errors import GraderFault, UsageFault
from grader.record import Submission
from grader.results import results_in
from grader.salt import Salt
from tests.making import record

SALT = Salt(bytes(range(32)))


def results(folder: Path, salt: Salt | None = None) -> Path:
    """Write sealed results of a submission."""
    made = folder / "ada"
    made.mkdir()
    whose = Submission("ada", "ada", "0" * 64, "1234")
    asked = record(60, submission=whose, salt_sha256=salt.sha256 if salt else "", score=50.0)
    records.save(replace(asked, rubric_sha256=rubrics.sha256_of(rubrics.load())), made)
    (made / "plan.json").write_bytes(b"{}")
    (made / "weights.safetensors").write_bytes(bytes(100))
    seal.seal(made, salt)
    return made


def test_results_are_as_they_were(tmp_path: Path) -> None:
    """Nothing is said of results that nobody touched, with their salt and rubric or without."""
    made = results(tmp_path, SALT)

    assert list(seal.changed(made)) == []
    assert list(seal.changed(made, SALT, rubrics.load())) == []


@given(st.sampled_from(["record.json", "plan.json", "weights.safetensors"]), st.data())
@settings(max_examples=50)
def test_a_changed_byte_is_found_in_any_file(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    """Whichever it is, and whatever it becomes."""
    made = results(tmp_path_factory.mktemp("seal"))
    path = made / name
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)

    assert f"{name} was changed" in list(seal.changed(made))


def test_files_that_came_or_went_are_found(tmp_path: Path) -> None:
    """Weights of a run that there was not, and those of one that there was."""
    made = results(tmp_path)
    (made / "weights.safetensors").rename(made / "weights-2.safetensors")

    found = list(seal.changed(made))
    assert found[:2] == ["weights-2.safetensors was added", "weights.safetensors is missing"]


def test_who_seals_again_needs_the_salt(tmp_path: Path) -> None:
    """A record that was changed and sealed by somebody else is no record of the course's."""
    made = results(tmp_path, SALT)
    records.save(replace(records.load(made / "record.json"), score=100.0), made)
    seal.seal(made, Salt(bytes(32)))

    assert list(seal.changed(made)) == []
    assert list(seal.changed(made, SALT)) == ["seal.json was not made with this salt"]


def test_another_salt_or_rubric_than_the_records_is_told(tmp_path: Path) -> None:
    """The record names what it was graded by."""
    made = results(tmp_path, SALT)
    other = replace(rubrics.load(), assignment="another")

    assert "it was not graded with this salt" in list(seal.changed(made, Salt(bytes(32))))
    assert list(seal.changed(made, SALT, other)) == ["it was not graded by this rubric"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff"])
def test_a_seal_that_cannot_be_read_is_no_seal(tmp_path: Path, content: bytes) -> None:
    """Nor is one that was removed."""
    made = results(tmp_path)
    (made / "seal.json").write_bytes(content)
    assert "seal.json cannot be read" in next(seal.changed(made))

    (made / "seal.json").unlink()
    assert "seal.json is missing" in next(seal.changed(made))


def test_a_folder_without_results_is_wrong_usage(tmp_path: Path) -> None:
    """One of a class holds those of each, one of a submission its own."""
    with pytest.raises(UsageFault, match="there are no results"):
        results_in(tmp_path)

    made = results(tmp_path)
    assert results_in(tmp_path) == results_in(made) == [made]


def test_results_whose_record_was_removed_are_found(tmp_path: Path) -> None:
    """The seal is still there."""
    made = results(tmp_path)
    (made / "record.json").unlink()

    assert results_in(tmp_path) == results_in(made) == [made]
    assert list(seal.changed(made)) == ["record.json is missing"]


def test_results_in_the_folder_of_another_submission_are_found(tmp_path: Path) -> None:
    """All files of one, seal and all, are no results of the other; two of a name are told apart."""
    made = results(tmp_path, SALT)
    for name in ("ada-1234", "ada-1234/partial", "bob", "ada-5678"):
        shutil.copytree(made, tmp_path / name)
    names = ("ada", "ada-1234", "ada-1234/partial", "bob", "ada-5678")
    found = [list(seal.changed(tmp_path / name, SALT)) for name in names]

    assert found == [[], [], [], *[["these are the results of ada"]] * 2]


def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder instead of a file, a file or a folder that is closed to whoever looks."""
    made = results(tmp_path)
    (made / "weightsX.safetensors").mkdir()
    assert list(seal.changed(made)) == ["weightsX.safetensors cannot be read"]
    with pytest.raises(GraderFault, match="cannot be sealed"):
        seal.seal(made, None)

    def closed(*_: object, **__: object) -> bytes:
        raise PermissionError(13, "closed")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "exists", closed)
        assert results_in(made) == [made]
    monkeypatch.setattr(Path, "read_bytes", closed)
    assert list(seal.changed(made)) == ["seal.json cannot be read: [Errno 13] closed"]


def test_what_is_doubted_is_not_sealed_again(tmp_path: Path) -> None:
    """Changed results, those of a salt that is not here, and with a salt those without a seal."""
    made = results(tmp_path, SALT)
    whole = records.load(made / "record.json")

    assert seal.doubts(made, whole, SALT) == []
    assert "which is not given" in seal.doubts(made, whole, None)[0]
    assert seal.doubts(made, whole, Salt(bytes(32)))
    records.save(replace(whole, score=100.0), made)
    assert seal.doubts(made, whole, SALT) == ["record.json was changed"]

    (made / "seal.json").unlink()
    assert "is missing" in seal.doubts(made, whole, SALT)[0]
    assert seal.doubts(made, replace(whole, salt_sha256=""), None) == []
