"""Names that anybody chose become names that are safe, readable and unique."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from grader.intake.names import safe_names, slug, tokens, unique_keys, words

TEXTS = st.text() | st.text(alphabet="aA./\\:-_ \0\n\u202eаé\u0301") | st.sampled_from(
    ["..", "", "con", "NUL.py", "a" * 500, "../" * 50, "C:x", "\ud800", "-rf", "ada.", "ａｄａ"]
)  # fmt: skip


@given(TEXTS)
def test_a_slug_is_safe_everywhere(text: str) -> None:
    """It has letters, digits and hyphens alone, no capitals, and is neither empty nor long."""
    made = slug(text)

    assert re.fullmatch(r"[^\W_]+(-[^\W_]+)*", made)
    assert made == unicodedata.normalize("NFC", made).casefold()
    assert len(made) <= 67
    assert not re.fullmatch(r"con|prn|aux|nul|com\d|lpt\d", made)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Ada Lovelace", "ada-lovelace"), ("José O'Neil", "jose-o-neil"), ("  a__b..c ", "a-b-c"),
     ("ÅSA", "asa"), ("straße", "strasse"), ("12", "12")],
)  # fmt: skip
def test_slugs_are_readable(text: str, expected: str) -> None:
    """Accents go, words stay."""
    assert slug(text) == expected


@pytest.mark.parametrize(
    ("one", "other"), [("ada", "аda"), ("李", "李 "), ("a" * 70, "a" * 71), ("...", "..")]
)
def test_names_that_look_alike_have_slugs_that_do_not(one: str, other: str) -> None:
    """Letters of another alphabet, and what was cut off, show as digits of a hash."""
    assert slug(one) != slug(other)
    assert len({slug(one)[-6:], slug(other)[-6:]}) == 2


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ab")), max_size=8))
def test_keys_are_unique_and_do_not_depend_on_the_order(pairs: list[tuple[str, str]]) -> None:
    """Those that collide are all given a longer key."""
    candidates = [(one, f"{one}-{two}", f"{one}-{two}-{at}") for at, (one, two) in enumerate(pairs)]
    keys = unique_keys(candidates)

    assert len(set(keys)) == len(keys)
    assert unique_keys(candidates[::-1]) == keys[::-1]


@example(["a" * 119 + " b" + "c" * 20])
@given(st.lists(TEXTS, max_size=8))
def test_safe_names_are_relative_and_kept_apart(texts: list[str]) -> None:
    """No name leads out of its folder, and no two are one on any file system."""
    made = safe_names(texts)
    parts = [part for name in made for part in name.split("/")]

    assert len({unicodedata.normalize("NFC", name).casefold() for name in made}) == len(texts)
    assert all(part not in ("", ".", "..") and len(part.encode()) <= 130 for part in parts)
    assert not any(re.search(r'[<>:"\\|?*\0-\x1f\x7f\u202e]|[. ]$', part) for part in parts)


def test_safe_names_keep_what_needs_no_change() -> None:
    """Modules are imported by their names."""
    names = ["net.py", "lib/__init__.py", "réseau 2.ipynb", "work.zip"]

    assert safe_names(names) == names


def test_a_long_name_keeps_its_ending() -> None:
    """The ending says what a file is."""
    assert safe_names(["é" * 300 + ".ipynb"])[0].endswith("é.ipynb")


def test_words_of_a_name() -> None:
    """A comma, an apostrophe and a hyphen make no difference."""
    assert words("O'Neil, José-María") == ["oneil", "josemaria"]


def test_tokens_of_a_name_of_a_file() -> None:
    """Every separator counts."""
    assert tokens("Lovelace_ada-s1001.final (2)") == ["lovelace", "ada", "s1001", "final", "2"]
