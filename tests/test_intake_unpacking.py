"""Archives with hostile members: nothing is written but an entry's own folder."""

from __future__ import annotations

import contextlib
import stat
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.errors import GraderFault, SubmissionError, UsageFault
from grader.intake import Intake, Unpacker, gather
from grader.submission import bounds
from tests.downloads import CLASS, SYSTEMS, in_folder, in_zip, zipped
from tests.test_submission_archive import MEMBERS, everything
from tests.test_submission_archive import zipped as hostile

NET = b"net = 1"


@settings(max_examples=60)
@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(MEMBERS, st.booleans())
def test_nothing_is_written_outside(members: list[tuple[str, int]], wrapped: bool) -> None:
    """Whatever members are called, only the folder of their entry gets files."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path = folder / "class.zip"
        names = [(f"top/{name}" if wrapped else name, kind) for name, kind in members]
        path.write_bytes(hostile(names, NET))
        (folder / "below").mkdir()
        before = everything(folder)
        with contextlib.suppress(UsageFault), Unpacker(folder / "below" / "mine") as unpack:
            entries = gather([], path).entries
            assert len({entry.key.casefold() for entry in entries}) == len(entries)
            for entry in entries:
                home = folder / "below" / "mine" / entry.key
                assert unpack(entry) in (home, *home.iterdir())
        after = everything(folder)
        assert before.items() <= after.items()
        new = after.keys() - before.keys()
        assert all(name.startswith(str(Path("below", "mine"))) for name in new)


@settings(max_examples=60)
@given(st.data())
def test_damaged_archives_are_listed_or_refused(data: st.DataObject) -> None:
    """Any bytes in any place of a download give entries or words."""
    raw = bytearray(zipped(SYSTEMS["moodle"](CLASS)))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(raw) - 1))
        new = data.draw(st.binary(min_size=1, max_size=8) | st.just(b"\xff\xff\xff\xff"))
        raw[at : at + len(new)] = new
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "class.zip")
        path.write_bytes(raw)
        with contextlib.suppress(UsageFault), Unpacker(Path(place, "out")) as unpack:
            for entry in gather([], path).entries:
                with contextlib.suppress(SubmissionError):
                    unpack(entry)


def gathered(place: Path, members: list[tuple[str, int]]) -> Intake:
    """Gather an archive whose members have these names and kinds, beside an honest one."""
    path = place / "class.zip"
    path.write_bytes(hostile([("class/bob.py", 0), ("class/cyd.py", 0), *members], NET))
    return gather([], path)


@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [("../evil.py", 0, "outside"), ("class/../../evil.py", 0, "outside"),
     ("/evil.py", 0, "outside"), ("C:evil.py", 0, "outside"), ("..\\evil.py", 0, "outside"),
     ("a/" * 50 + "e.py", 0, "too deep"), ("class/" + "e" * 1_200, 0, "too long"),
     ("class/evil.py", stat.S_IFLNK, "a link"), ("class/evil.py", stat.S_IFIFO, "a link"),
     ("class/cyd.py/", 0, "same name"), ("class/cyd.py/evil.py", 0, "in a file")],
)  # fmt: skip
def test_hostile_members_are_strays(tmp_path: Path, name: str, kind: int, why: str) -> None:
    """They are reported, and harm nobody else."""
    intake = gathered(tmp_path, [(name, kind)])

    assert any(why in stray.why for stray in intake.strays)
    assert [entry.key for entry in intake.entries] == ["bob", "cyd"]


def test_control_characters_reach_no_path(tmp_path: Path) -> None:
    """A name that would move a terminal's cursor is written without."""
    intake = gathered(tmp_path, [("class/\x1b[2J\u202enet.py", 0)])
    with Unpacker(tmp_path / "out") as unpack:
        names = [unpack(entry).name for entry in intake.entries]

    assert sorted(names) == ["_[2J_net.py", "bob.py", "cyd.py"]


def test_a_bomb_is_its_own_entrys_trouble(tmp_path: Path) -> None:
    """A member that unpacks to too much is refused when its turn comes."""
    path = in_zip(tmp_path / "class.zip", {
        "ada.py": b"0" * (bounds.MAX_SCRIPT + 1), "bob.py": NET,
    })  # fmt: skip
    ada, bob = gather([], path).entries
    with Unpacker(tmp_path / "out") as unpack:
        with pytest.raises(SubmissionError, match="too large"):
            unpack(ada)
        assert unpack(bob).read_bytes() == NET
    assert ada.sha256 == ""


def test_an_encrypted_member_is_its_own_entrys_trouble(tmp_path: Path) -> None:
    """The message says so."""
    raw = bytearray(zipped({"ada.py": NET}))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(mark) + at] |= 1
    (tmp_path / "class.zip").write_bytes(raw)
    (ada,) = gather([], tmp_path / "class.zip").entries

    with Unpacker(tmp_path / "out") as unpack, pytest.raises(SubmissionError) as refused:
        unpack(ada)
    assert "encrypted" in refused.value.found


def with_long_list(path: Path, megabytes: int) -> Path:
    """Write an archive that says its list of files has this size."""
    raw = bytearray(zipped({"ada.py": NET}))
    end = raw.index(b"PK\x05\x06")
    raw[end + 12 : end + 16] = (megabytes * 2**20).to_bytes(4, "little")
    with path.open("wb") as sparse:
        sparse.seek(megabytes * 2**20)
        sparse.write(raw)
    return path


def test_too_many_files_are_refused_without_being_read(tmp_path: Path) -> None:
    """A list of files of a hundred megabytes is not parsed."""
    with pytest.raises(UsageFault) as refused:
        gather([], with_long_list(tmp_path / "class.zip", 100))
    assert refused.value.found == "a list of files of 100 MB"


def test_a_student_can_make_nobody_wait(tmp_path: Path) -> None:
    """An archive with too many files among others is a submission that is not looked into."""
    with_long_list(tmp_path / "ada.zip", 9)
    peak = tracemalloc_peak(lambda: gather([], in_folder(tmp_path, {"bob.py": NET})))

    assert peak < 4 * 2**20


def tracemalloc_peak(work: Callable[[], object]) -> int:
    """Return the most bytes that were in use at once."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_what_can_be_read_in_its_place_is_not_copied(tmp_path: Path) -> None:
    """Files, folders and archives on the disk stay where they are."""
    tree = {"ada.py": NET, "bob/net.py": NET, "cyd.zip": zipped({"net.py": NET})}
    intake = gather([], in_folder(tmp_path / "in", tree))
    with Unpacker(tmp_path / "out") as unpack:
        paths = [unpack(entry) for entry in intake.entries]

    assert paths == [tmp_path / "in" / name for name in ("ada.py", "bob", "cyd.zip")]
    assert not (tmp_path / "out").exists()


def test_only_what_is_read_is_copied(tmp_path: Path) -> None:
    """Data sets and pictures stay in the archive."""
    tree = {"ada/net.py": NET, "ada/data/images.bin": b"0", "ada/venv/x.py": NET, "bob.py": NET}
    ada, _ = gather([], in_zip(tmp_path / "class.zip", tree)).entries

    assert [file.name for file in ada.files] == ["net.py"]


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    """Nothing is overwritten or mixed."""
    intake = gather([], in_zip(tmp_path / "class.zip", {"ada.py": NET, "bob.py": NET}))
    (tmp_path / "out" / "ada").mkdir(parents=True)

    with Unpacker(tmp_path / "out") as unpack, pytest.raises(GraderFault, match="cannot be copied"):
        unpack(intake.entries[0])
