"""What submissions share does not depend on names, comments, formatting and order."""

from __future__ import annotations

import io
import keyword
import random
import tokenize
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.similarity import program
from grader.similarity import Findings, Source, Submission, compare
from grader.similarity.code import MAX_CHARACTERS, Code, code_of
from grader.similarity.code import read as read_source
from grader.similarity.compare import LEAST, THRESHOLD
from grader.similarity.fingerprints import WINDOW, K, winnow
from grader.similarity.tokens import tokens_of

ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=300) | st.text(
    "'\"\\#()[]{}%!?;,.\n \t0aeimport", max_size=300
)


def source(text: str, label: str = "net.py") -> Source:
    """Return a script as it is read."""
    return Source([[(label, text)]])


def code(text: str) -> Code:
    """Return a script's code."""
    return code_of(source(text))


def prints(text: str) -> list[int]:
    """Return a script's fingerprints in their order."""
    made = code(text)
    return [int(found) for found in made.grams[made.prints]]


def submission(key: str, text: str, **more: object) -> Submission:
    """Return a submission of somebody who handed in nothing else."""
    return Submission(key, "", frozenset([key]), source(text), **more)  # type: ignore[arg-type]


def compared(*texts: str) -> Findings:
    """Compare scripts, whose keys are the first letters."""
    return compare(submission(chr(ord("a") + at), text) for at, text in enumerate(texts))


def reformatted(text: str, names: random.Random) -> str:
    """Give every name of the text's own another one, and add comments, spaces and blank lines."""
    found = [
        token
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in (tokenize.INDENT, tokenize.DEDENT)
    ]
    renamed: dict[str, str] = {}
    lines: dict[int, list[tuple[int, int, str]]] = {}
    kept = {"torch", "nn", "F", "import", "from", "functional"}
    before = ""
    for token in found:
        own = token.type == tokenize.NAME and not keyword.iskeyword(token.string)
        if own and token.string not in kept and not before.startswith(("nn.", "F.", "torch.")):
            new = renamed.setdefault(token.string, f"n{names.randrange(10**9)}_{len(renamed)}")
            lines.setdefault(token.start[0], []).append((token.start[1], token.end[1], new))
        before = token.string + "." if token.string in kept else (
            before if token.string == "." else ""
        )  # fmt: skip
    made = []
    for number, line in enumerate(text.split("\n"), 1):
        new = line
        for start, end, name in sorted(lines.get(number, []), reverse=True):
            new = new[:start] + name + new[end:]
        made += [new + names.choice(["", "  # a remark", "   "])] + [""] * names.randrange(3)
    return "\n".join(made)


@given(st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_names_comments_and_formatting_change_no_fingerprint(draw: random.Random) -> None:
    """Renamed, commented and spread over more lines, code has the very same fingerprints."""
    text = program(draw)
    changed = reformatted(text, draw)

    assert changed != text
    assert prints(changed) == prints(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f(a, b)", "f(\n    a,\n    b,\n)"),
        ("x = 'a'", 'x = "b" \\\n   f"c{1}"'),
        ("a = 1; b = 2", "a = 3\nb = 0x4f"),
        ("def f():\n    return 1", 'def f():\n    """Doc."""\n    return 1.5e-3'),
        ("import torch.nn as nn\nnn.ReLU()", "from torch.nn import ReLU as R\nR()"),
        (
            "import torch\ntorch.nn.functional.relu(x)",
            "from torch.nn import (\n functional as F,\n)\nF.relu(y)",
        ),
        ("x = 1", "%matplotlib inline\n!pip install x\nx = 1"),
        ("x = 1", "%%time\nx = 1"),
    ],
)  # fmt: skip
def test_ways_to_write_the_same_are_the_same(one: str, other: str) -> None:
    """Layout, quotes, docstrings, ways to import and notebook commands make no difference."""
    assert [*tokens_of([one]).codes] == [*tokens_of([other]).codes]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("from torch import nn\nnn.ReLU()", "from torch import nn\nnn.Tanh()"),
        ("a + b", "a - b"),
        ("x = 1", "x = 'a'"),
        ("%%bash\nx = 1", "x = 1"),
        ("x = (1\n% 3)", "x = (1\n)"),
    ],
)
def test_different_code_is_different(one: str, other: str) -> None:
    """Layers, operators and kinds of values tell code apart."""
    assert [*tokens_of([one]).codes] != [*tokens_of([other]).codes]


@given(st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_moved_functions_change_little(draw: random.Random) -> None:
    """Code in another order shares all but what crosses the borders of its functions."""
    parts = [program(draw) for _ in range(6)]
    moved = draw.sample(parts, len(parts))
    one, other = set(prints("\n".join(parts))), set(prints("\n".join(moved)))

    # Each border is crossed by K - 1 runs, and moves the choice in a window on each side of it.
    lost = len(parts) * -(-(K - 1 + 2 * WINDOW) // (WINDOW // 2))
    assert len(one - other) <= lost
    assert len(one & other) > len(one) / 3


@given(st.integers(0, 2**32), st.integers(0, 60))
@settings(max_examples=100, deadline=None)
def test_long_enough_a_passage_shares_a_fingerprint(seed: int, before: int) -> None:
    """Winnowing guarantees it: K + WINDOW - 1 equal tokens have a fingerprint in common."""
    numbers = np.random.default_rng(seed)
    passage = numbers.integers(0, 2**63, WINDOW, dtype=np.uint64)
    around = numbers.integers(0, 2**63, (2, 60), dtype=np.uint64)
    one, other = (np.concatenate([a[:before], passage, a[before:]]) for a in around)

    assert {*one[winnow(one)]} & {*other[winnow(other)]} & {*passage}


def test_unrelated_code_shares_little() -> None:
    """Programs made from different parts are not connected."""
    texts = ["\n".join(program(random.Random(f"{at} {i}")) for i in range(5)) for at in range(8)]
    found = compared(*texts)

    assert min(one.own for one in found.submissions) > LEAST
    assert found.groups == []


@given(st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_the_order_of_submissions_makes_no_difference(draw: random.Random) -> None:
    """The findings are equal whatever comes first."""
    bases = ["\n".join(program(draw) for _ in range(4)) for _ in range(3)]
    class_ = [
        submission(f"s{at}", draw.choice(bases) + program(draw), recipe=draw.choice("xy"))
        for at in range(8)
    ]

    assert compare(class_) == compare(draw.sample(class_, len(class_)))


LONG = "\n".join(program(random.Random(i)) for i in range(8))
OTHER = "\n".join(program(random.Random(f"other {i}")) for i in range(8))


def test_copied_code_is_found_with_its_places() -> None:
    """A group has its pair, both shares, and the passage with its lines in both."""
    found = compared(LONG, "# mine\n\n" + LONG)
    ((pair,),) = [group.pairs for group in found.groups]
    longest = pair.passages[0]
    whole = tokens_of([LONG])

    assert found.groups[0].members == ["a", "b"]
    assert (pair.left_share, pair.right_share) == (1, 1)
    assert longest.tokens == len(whole.codes)
    assert (longest.left.first, longest.left.last) == (whole.lines[0], whole.lines[-1])
    assert (longest.right.first, longest.right.last) == (whole.lines[0] + 2, whole.lines[-1] + 2)


def test_nothing_and_a_class_without_code_share_nothing() -> None:
    """A class of nobody, and one of empty files, has no groups."""
    assert compare([]).groups == []
    assert compared(*[""] * 6).groups == []


def test_a_part_is_found_in_a_larger_whole() -> None:
    """Shares are told in both directions: all of one may be little of the other."""
    more = "\n".join(program(random.Random(f"more {i}")) for i in range(30))
    ((pair,),) = [group.pairs for group in compared(LONG, LONG + "\n" + more).groups]

    assert pair.left_share > 0.9
    assert pair.right_share < THRESHOLD


def test_what_most_of_a_class_shares_is_left_out() -> None:
    """Code of six out of ten is nobody's own; code of two of them is."""
    own = [program(random.Random(f"own {i}")) * 1 for i in range(10)]
    copied = "\n".join(program(random.Random(f"copied {i}")) for i in range(5))
    texts = [LONG * (i < 6) + own[i] + copied * (i in (0, 1)) for i in range(10)]
    found = compared(*texts)

    assert [group.members for group in found.groups] == [["a", "b"]]
    assert any("more than half of 10 people" in line for line in found.left_out)


def test_a_small_class_has_nothing_in_common() -> None:
    """Of four people, three who share code are shown, and it says so."""
    found = compared(LONG, LONG, LONG, program(random.Random("x")))

    assert found.groups[0].members == ["a", "b", "c"]
    assert any("fewer than 5" in line for line in found.left_out)


def test_what_the_staff_gave_is_left_out() -> None:
    """Code of a template is nobody's own, wherever it stands."""
    given_ = source(LONG)
    own = [program(random.Random(f"own {i}")) for i in range(2)]
    class_ = [submission(str(i), text + "\n" + LONG) for i, text in enumerate(own)]
    found = compare(class_, [given_])

    assert compare(class_).groups != []
    assert found.groups == []
    assert all(one.staff > one.own for one in found.submissions)


def test_every_fingerprint_is_common_or_of_the_staff_or_own() -> None:
    """What the staff gave to all is counted once, as theirs."""
    texts = [LONG + OTHER * (at < 4) + program(random.Random(f"own {at}")) for at in range(6)]
    found = compare((submission(str(at), text) for at, text in enumerate(texts)), [source(LONG)])

    assert all(one.common + one.staff + one.own == one.fingerprints for one in found.submissions)
    assert all(one.staff for one in found.submissions)
    common = [one.common for one in found.submissions]
    assert min(common[:4]) > max(common[4:])


def test_submissions_of_one_person_are_not_compared_with_each_other() -> None:
    """Whoever handed in twice is in no pair with themselves, and is with others."""
    class_ = [
        Submission("a", "", frozenset(["ada"]), source(LONG)),
        Submission("b", "", frozenset(["ada", "bob"]), source(LONG)),
        Submission("c", "", frozenset(["cleo"]), source(LONG)),
    ]
    found = compare(class_)

    assert [(p.left, p.right) for p in found.groups[0].pairs] == [("a", "c"), ("b", "c")]
    assert "pairs by one person, who handed in several: a, b" in found.left_out


def test_partners_of_a_partner_are_other_people() -> None:
    """Who worked with Bob on one thing is compared with who worked with him on another."""
    texts = {"ada": LONG, "ada bob": OTHER, "bob cleo": OTHER, "cleo": LONG}
    found = compare(
        Submission(key, "", frozenset(key.split()), source(text), recipe=text)
        for key, text in texts.items()
    )

    assert [group.members for group in found.groups] == [["ada", "cleo"]]
    assert found.same_recipe == [["ada", "cleo"]]


def test_networks_are_told_apart_from_recipes() -> None:
    """Same network and recipe, and same network alone, are two kinds of evidence."""
    plans = {"a": "rg", "b": "rg", "c": "sg", "d": "th", "e": ""}
    texts = {key: program(random.Random(key)) for key in plans}
    found = compare(
        submission(key, texts[key], recipe=plan[:1], graph=plan[1:]) for key, plan in plans.items()
    )

    assert found.same_recipe == [["a", "b"]]
    assert found.same_graph == []  # three of five have it
    assert "a network that 3 share, more than half of the class" in found.left_out


def test_a_group_that_is_large_shows_the_pairs_that_connect_it() -> None:
    """Of 100 equal submissions, a few of 4,950 pairs are written out, the rest counted."""
    others = [program(random.Random(f"o {i}")) for i in range(150)]
    (group,) = compare(
        submission(f"s{i}", text) for i, text in enumerate([LONG] * 100 + others)
    ).groups
    connected = {key for pair in group.pairs for key in (pair.left, pair.right)}

    assert len(group.pairs) + group.further == 4950
    assert len(group.pairs) < 130
    assert connected == {*group.members}


@given(st.lists(ANY_TEXT, max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_text_has_tokens(texts: Sequence[str]) -> None:
    """The lexer takes anything, and every token has a line of its text."""
    found = tokens_of(texts)

    assert len(found.codes) == len(found.lines) == len(found.texts)
    assert all(
        1 <= line <= texts[text].count("\n") + 1
        for line, text in zip(found.lines, found.texts, strict=True)
    )


@pytest.mark.parametrize(
    "text",
    [
        "x = 1 + " * 60_000, "'" * 400_000, '"""\\' * 100_000, "'''\\'" * 90_000, "(" * 400_000,
        "\\" * 400_000, "a" * 400_000, "0x" * 200_000, "%" * 400_000, "f'{" * 130_000,
        "\u2028" * 400_000, "import " * 60_000, "from a import b," + "c as d," * 60_000,
        "torch" + ".a" * 200_000, "import torch\ntorch" + ".a" * 200_000, "\x00" * 400_000,
    ],
    ids=range(16),
)  # fmt: skip
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_text_takes_more_than_its_length(text: str) -> None:
    """Half a million characters of anything are tokens within seconds."""
    tokens_of([text])


@pytest.mark.slow
def test_files_that_are_hostile_fail_alone(tmp_path: Path) -> None:
    """Invalid text, thousands of tiny files and odd names are read as far as they can be."""
    (tmp_path / "a\x1b[31m\n.py").write_text(LONG)
    (tmp_path / "bad.py").write_bytes(b"\xff\xfe\x00\xd8" + bytes(range(256)))
    (tmp_path / "broken.ipynb").write_text("{")
    (tmp_path / "huge.py").write_text("x = 1\n" * MAX_CHARACTERS)
    for at in range(5_000):
        (tmp_path / f"t{at}.py").write_text(f"x{at} = 1\n")
    found = read_source(tmp_path)
    made = code_of(found)

    assert len(made.prints) >= len(code(LONG).prints)
    assert any("broken" in note or "notebook" in note for note in found.notes)
    assert any("too large" in note for note in found.notes)


def test_no_more_code_is_read_than_a_person_writes(tmp_path: Path) -> None:
    """Of many long files the first characters are compared, and a note says so."""
    for at in range(4):
        (tmp_path / f"{at}.py").write_text("x = 1\n" * (MAX_CHARACTERS // 20))
    found = read_source(tmp_path)

    assert sum(len(text) for file in found.files for _, text in file) == MAX_CHARACTERS
    assert "only its first" in found.notes[-1]
