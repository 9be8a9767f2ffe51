"""Who is best, as far as noise lets one say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from grader.commands import results
from grader.leaderboard import leaderboard, pseudonyms
from grader.record import Record, Submission, save
from grader.reports.leaderboard import render
from tests.making import accuracy, check, facts, record


def entry(key: str, *errors: int, parameters: int = 10_000, **more: Any) -> Record:
    """Make the record of a submission whose runs ended with so many errors."""
    return record(
        60, accuracy=accuracy(*([each] for each in errors)), checks=[check()],
        model=facts(parameters=parameters),
        submission=Submission(f"{key}.py", f"{key}.py", key * 8, key=key),
        **({"status": "complete"} | more),
    )  # fmt: skip


def test_what_noise_cannot_tell_apart_shares_a_rank() -> None:
    """Two errors apart are the same, twenty are not; the next rank counts all before it."""
    places = leaderboard([entry("a", 52), entry("b", 50), entry("c", 75), entry("d", 51)])

    assert [(place.name, place.rank) for place in places] == [
        ("b", 1), ("d", 1), ("a", 1), ("c", 4),
    ]  # fmt: skip


def test_more_runs_tell_more_apart() -> None:
    """Eight errors are noise in one run, and none in the mean of eight."""
    one = leaderboard([entry("a", 50), entry("b", 58)])
    eight = leaderboard([entry("a", *[49, 51] * 4), entry("b", *[57, 59] * 4)])

    assert [place.rank for place in one] == [1, 1]
    assert [place.rank for place in eight] == [1, 2]


@given(st.lists(st.integers(0, 200), min_size=1, max_size=12))
def test_fewer_errors_never_rank_behind(errors: list[int]) -> None:
    """Ranks grow with errors, begin with 1, and leave no room for nobody."""
    places = leaderboard([entry(f"s{n}", each) for n, each in enumerate(errors)])
    ranks = [place.rank for place in places]

    assert [p.accuracy for p in places] == sorted((p.accuracy for p in places), reverse=True)
    assert ranks == sorted(ranks)
    assert ranks[0] == 1
    assert all(rank <= number for number, rank in enumerate(ranks, start=1))


def test_the_front_is_of_those_that_none_beats_in_everything() -> None:
    """Fewer parameters for more errors are on it; more of both are not."""
    places = leaderboard([
        entry("small", 60, parameters=3_000), entry("good", 40, parameters=19_000),
        entry("beaten", 65, parameters=4_000),
    ])  # fmt: skip

    assert {place.name for place in places if place.front} == {"small", "good"}


def test_who_failed_a_check_is_not_ranked() -> None:
    """But that of accuracy, which is what is ranked; nor who was judged in part."""
    assert leaderboard([entry("a", 50, status="partial")]) == []
    failed = replace(entry("a", 50), checks=[check("failed")])
    short = replace(entry("b", 70), checks=[check("failed", id="test_accuracy"), check()])

    assert [place.name for place in leaderboard([failed, short])] == ["b"]
    assert "No submission" in render(leaderboard([failed]))


def test_a_record_that_cannot_be_read_keeps_nobody_else_from_a_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named, and the others are ranked."""
    for name in ("ada", "bob"):
        (tmp_path / name).mkdir()
        save(entry(name, 50), tmp_path / name)
    (tmp_path / "bob" / "record.json").write_bytes(b"{")

    assert results.leaderboard([str(tmp_path), "--names"]) == 0
    shown = capsys.readouterr()
    assert "ada" in shown.out
    assert "bob: the record cannot be read" in shown.err


def test_names_are_shown_only_where_they_are_asked_for() -> None:
    """A pseudonym needs the submission's own hash, which others do not have."""
    places = leaderboard([entry("ada", 50)])

    assert "ada" not in render(places)
    (shown,) = pseudonyms([places[0].record])
    assert shown in render(places)
    assert "ada" in render(places, names=True)
    other = replace(entry("ada", 50), submission=Submission("x", "x", "1", key="ada"))
    assert [*pseudonyms([other])] != [shown]


def test_a_pseudonym_without_a_hash_of_files_cannot_be_worked_out() -> None:
    """What else is known of a submission, everybody may know."""
    nameless = replace(entry("ada", 50), submission=Submission("x", "x", "", key="ada"))

    assert [*pseudonyms([nameless])] != [*pseudonyms([nameless])]


def test_no_two_submissions_have_one_pseudonym() -> None:
    """Not even equal ones, nor many, of which some have the first six digits in common."""
    same = [replace(entry("", 50), submission=Submission("x", "x", "1"))] * 3
    many = [replace(same[0], submission=Submission("x", "x", f"{n}")) for n in range(20_000)]
    made = [*pseudonyms([*many, *same])]

    assert len({*made}) == len(made)
    assert all(a.startswith(b) for a, b in zip(made, pseudonyms(many), strict=False))
