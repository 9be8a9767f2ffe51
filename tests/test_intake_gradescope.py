"""What Gradescope writes about its submissions is read without building any of it."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from grader.intake import Entry, gather
from grader.intake.systems.gradescope import scalars
from tests.downloads import CLASS, SYSTEMS, in_folder

METADATA = SYSTEMS["gradescope"](CLASS)["assignment_7_export/submission_metadata.yml"]


def entry(place: Path, metadata: str) -> Entry:
    """Return the entry of the folder `submission_1` with these facts about it."""
    tree = {"submission_1/net.py": b"net = 1", "submission_metadata.yml": metadata.encode()}
    return gather([], in_folder(place, tree)).entries[0]


def test_numbers_stay_texts(tmp_path: Path) -> None:
    """A student number with a zero in front is no octal number."""
    found = entry(tmp_path, "submission_1:\n  :submitters:\n  - :name: Null\n    :sid: 0012\n")

    assert (found.person.id, found.person.name) == ("0012", "Null")


def test_texts_that_ruby_writes_once_are_found_twice(tmp_path: Path) -> None:
    """A scalar with an anchor is the same wherever it is named."""
    text = "submission_1:\n  :submitters:\n  - :name: &1 Ada\n    :email: *1\n"

    assert entry(tmp_path, text).person.email == "Ada"


def test_objects_of_ruby_are_not_made(tmp_path: Path) -> None:
    """A tag is passed over, whatever class it names."""
    text = (
        "submission_1: !ruby/hash:Evil\n  :submitters:\n  - :name: Ada\n"
        "  :results: !ruby/object:Evil {x: !!python/object/apply:os.abort []}\n"
    )

    assert entry(tmp_path, text).person.name == "Ada"


def test_many_aliases_take_no_room() -> None:
    """A text that stands for gigabytes is not made."""
    bomb = "a0: &a0 x\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40)
    )

    assert sum(len(value) for _, value in scalars(bomb.encode())) < 1_000


def test_deep_nesting_ends_nothing() -> None:
    """Neither recursion nor time runs out."""
    deep = sys.getrecursionlimit() * 20

    found = dict(scalars(b"a: 1\nb: " + b"[" * deep + b"x" + b"]" * deep))

    assert found == {("a",): "1"}


def test_results_of_tests_are_passed_over() -> None:
    """What lies deeper than the people of a group is not looked at."""
    assert dict(scalars(b"a: {b: {c: {d: {e: 1}}, f: 2}}")) == {("a", "b", "f"): "2"}


def test_what_is_no_mapping_says_nothing() -> None:
    """A scalar, or a list without keys, tells of no folder."""
    assert list(scalars(b"just words")) == []
    assert list(scalars(b"? [a, b]\n: c\n? {d: e}\n: f\n"))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_passed_over(data: bytes) -> None:
    """What is no YAML is no metadata."""
    assert all(path and isinstance(value, str) for path, value in scalars(data))


KEYS = st.sampled_from([":submitters", ":history", ":created_at", ":name", ":sid", "x"])
VALUES = st.recursive(
    st.text(max_size=5) | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
)


@given(st.dictionaries(KEYS, VALUES, max_size=4) | VALUES)
def test_facts_of_any_shape_lose_nobody(facts: object) -> None:
    """What is not where it is looked for is not known."""
    with tempfile.TemporaryDirectory() as place:
        assert entry(Path(place), json.dumps({"submission_1": facts})).key


@given(st.integers(0, len(METADATA)))
def test_metadata_that_was_cut_off_loses_nobody(end: int) -> None:
    """Folders of which nothing is known are submissions all the same."""
    tree = SYSTEMS["gradescope"](CLASS)
    tree["assignment_7_export/submission_metadata.yml"] = METADATA[:end]
    with tempfile.TemporaryDirectory() as place:
        intake = gather([], in_folder(Path(place), tree) / "assignment_7_export")

    assert len(intake.entries) == len(CLASS)
