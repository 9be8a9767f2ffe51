"""The record: written whole, read back as it was, with honest arithmetic."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader import record as records
from grader.errors import GraderFault
from tests.making import epoch, record


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """Saving and loading a record changes nothing in it."""
    written = record(80, 60)
    records.save(written, tmp_path)

    assert records.load(tmp_path / "record.json") == written


def test_sixty_errors_in_ten_thousand_are_exactly_the_limit() -> None:
    """60 errors give 99.40 %, 61 give less."""
    exact = records.accuracy_of([epoch(errors=60)], "last")
    short = records.accuracy_of([epoch(errors=61)], "last")

    assert exact.judged >= 99.40 > short.judged


@pytest.mark.parametrize(("judged_on", "errors"), [("last", 70), ("best", 50)])
def test_the_rubric_decides_which_epoch_is_judged(judged_on: str, errors: int) -> None:
    """`last` judges the last epoch, `best` the best; both are kept."""
    epochs = [epoch(1, 90), epoch(2, 50), epoch(3, 70)]
    accuracy = records.accuracy_of(epochs, judged_on)  # type: ignore[arg-type] # of two words

    assert accuracy.errors == errors
    assert (accuracy.final, accuracy.best) == (99.3, 99.5)


def test_wilson_interval_agrees_with_a_published_example() -> None:
    """For 81 of 263 the 95 % interval is 25.5 % to 36.6 % (Newcombe 1998, Statist. Med. 17)."""
    low, high = records.wilson(81, 263)

    assert (round(low, 1), round(high, 1)) == (25.5, 36.6)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share_and_stays_within_bounds(case: tuple[int, int]) -> None:
    """The interval lies in 0 to 100 % and holds the observed share."""
    successes, trials = case
    low, high = records.wilson(successes, trials)

    assert -1e-9 <= low <= 100 * successes / trials + 1e-9
    assert 100 * successes / trials <= high + 1e-9
    assert high <= 100 + 1e-9


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
        records.write_atomically(path, b"new")

    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"version": 2}', b"\xff\xfe"])
def test_what_is_not_a_record_is_refused_with_words(tmp_path: Path, content: bytes) -> None:
    """A file that is no record gives an error that names it, not a traceback."""
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(GraderFault, match=r"record\.json"):
        records.load(path)
