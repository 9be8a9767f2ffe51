"""The record: written whole, read back as it was, with honest arithmetic."""

import errno
import os
from pathlib import Path

import msgspec
import pytest

from grader import record as records
from grader import statistics
from grader.errors import GraderFault
from grader.files import write_atomically
from tests.making import accuracy, record, run

OLD = b'{"version": 1, "training": {"epochs": [1]}, "accuracy": {"runs": 1}}'


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """Saving and loading a record changes nothing in it."""
    written = record(80, 60)
    records.save(written, tmp_path)

    assert records.load(tmp_path / "record.json") == written


def test_sixty_errors_in_ten_thousand_are_exactly_the_limit() -> None:
    """60 errors give 99.40 %, 61 give less."""
    assert accuracy([60]).judged >= 99.40 > accuracy([61]).judged


@pytest.mark.parametrize(("judged_on", "errors"), [("last", 70), ("best", 50)])
def test_the_rubric_decides_which_epoch_is_judged(judged_on: str, errors: int) -> None:
    """`last` judges the last epoch, `best` the best; both are kept."""
    made = records.accuracy_of([run(90, 50, 70)], judged_on, 99.4)  # type: ignore[arg-type] # of two words

    assert made is not None
    assert made.errors == errors
    assert (made.final, made.best) == (99.3, 99.5)


def test_one_run_has_wilsons_interval_and_no_spread() -> None:
    """What only several runs tell is null for one."""
    alone = accuracy([41])

    assert alone.interval == statistics.wilson(9959, 10_000)
    assert (alone.deviation, alone.p_value) == (None, None)
    assert alone.chance == statistics.chance([41], 60)


def test_several_runs_are_judged_by_their_mean() -> None:
    """44, 48 and 52 errors: mean 99.52 %, deviation 0.04 points, Student's interval."""
    made = accuracy([90, 44], [80, 48], [70, 52])

    assert (made.judged, made.errors, made.tested) == (99.52, 144, 30_000)
    assert made.deviation == pytest.approx(0.04)
    assert made.interval == pytest.approx((99.4206, 99.6194), abs=1e-4)
    assert made.chance == statistics.chance([44, 48, 52], 60)
    assert made.p_value == pytest.approx(statistics.p_value([44, 48, 52], 60))


@pytest.mark.parametrize(
    ("errors", "words"), [([44, 48, 52], "97%"), ([900, 910, 905], "under 1%"), ([61], "47%")]
)
def test_a_chance_is_never_called_certain(errors: list[int], words: str) -> None:
    """What rounds to 0 % is told as less than 1 %."""
    assert accuracy(*([e] for e in errors)).odds == words


def test_an_interval_ends_at_a_hundred_per_cent() -> None:
    """Two runs far apart leave everything open, but nothing above 100 % or below 0."""
    assert accuracy([0], [9_000]).interval == (0, 100)


def test_runs_that_failed_are_no_part_of_the_mean_but_of_the_chance() -> None:
    """A run of four that diverged takes a quarter of the chance that one run passes."""
    problem = records.Problem("train", "error", "the loss became nan")
    runs = [run(44), run(48), run(52), run(900, finished=False, problem=problem)]
    made = records.accuracy_of(runs, "last", 99.4)

    assert made is not None
    assert made.judged == 99.52
    assert made.chance == pytest.approx(0.75 * statistics.chance([44, 48, 52], 60))


def test_runs_under_way_are_summed_up_until_one_is_finished() -> None:
    """Before that an accuracy is a look at the latest epochs; before any epoch there is none."""
    under_way = [run(300, finished=False), run(100, finished=False), run(finished=False)]
    early = records.accuracy_of(under_way, "last", 99.4)
    later = records.accuracy_of([*under_way, run(60)], "last", 99.4)

    assert early is not None
    assert later is not None
    assert (early.judged, later.judged) == (98.0, 99.4)
    assert records.accuracy_of([run(finished=False)], "last", 99.4) is None


def test_the_limit_is_within_the_noise_of_a_near_run_only() -> None:
    """62 errors may turn out otherwise, 200 will not."""
    assert accuracy([62]).unsure(99.4)
    assert not accuracy([200]).unsure(99.4)


def test_a_record_of_version_1_is_read(tmp_path: Path) -> None:
    """Its accuracy of one run becomes that run; the rest stays as it was."""
    new = record(80, 60)
    old = msgspec.to_builtins(new) | {"version": 1}
    old["accuracy"]["runs"] = [99.4]
    for name in ("deviation", "chance", "p_value"):
        del old["accuracy"][name]
    (tmp_path / "record.json").write_bytes(msgspec.json.encode(old))
    read = records.load(tmp_path / "record.json")

    assert read.accuracy is not None
    assert new.accuracy is not None
    assert read.training == new.training
    assert read.accuracy.judged == new.accuracy.judged
    assert [(r.seed, r.curve, r.finished) for r in read.accuracy.runs] == [(1, [80, 60], True)]


def test_a_full_disk_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When writing fails, the previous record stands as it was and no scrap is left."""
    path = tmp_path / "record.json"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(GraderFault, match="could not be written"):
        write_atomically(path, b"new")

    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b'{"version": 3}', b'{"version": 1}', OLD, b"\xff\xfe"]
)
def test_what_is_not_a_record_is_refused_with_words(tmp_path: Path, content: bytes) -> None:
    """A file that is no record gives an error that names it, not a traceback."""
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(GraderFault, match=r"record\.json"):
        records.load(path)
