"""A secret of the course's decides seeds and masks; nobody else can work them out."""

from __future__ import annotations

import random
from pathlib import Path
from statistics import fmean

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader import salt
from grader.datasets.mask import TURNS, Mask
from grader.errors import UsageFault
from grader.salt import Salt
from tests.plans import patterns

CONTENT = st.text("0123456789abcdef", min_size=64, max_size=64)
SALTS = st.binary(min_size=32, max_size=32).map(Salt)


@given(SALTS, CONTENT, st.integers(1, 8))
def test_the_same_salt_and_plan_have_the_same_seed_and_mask(
    one: Salt, content: str, run: int
) -> None:
    """Whoever has the salt can work out again what a run got."""
    again = Salt(bytes(one.secret))

    assert again.seed(content, run) == one.seed(content, run)
    assert again.mask(content, run, 10) == one.mask(content, run, 10)
    assert again.sha256 == one.sha256


@given(SALTS, SALTS, CONTENT)
def test_another_salt_or_run_has_another_seed(one: Salt, other: Salt, content: str) -> None:
    """Neither a number of the run nor a plan that is known tells the seed."""
    seeds = [one.seed(content, run) for run in range(1, 9)]

    assert len(set(seeds)) == 8
    assert (one.secret == other.secret) == (one.seed(content, 1) == other.seed(content, 1))


def test_all_classes_are_renamed_and_all_turns_come_up() -> None:
    """Over many plans each name and each turn is as likely as another."""
    secret = Salt(bytes(32))
    masks = [secret.mask(f"{n:064x}", 1, 10) for n in range(4_000)]

    assert np.mean([mask.classes for mask in masks], axis=0) == pytest.approx(4.5, abs=0.3)
    assert np.bincount([m.turn for m in masks]) / 4_000 == pytest.approx(1 / 8, abs=0.03)


@given(SALTS, CONTENT, st.lists(st.sampled_from(TURNS), unique=True))
def test_a_mask_turns_images_only_as_the_network_allows(
    secret: Salt, content: str, turns: list[int]
) -> None:
    """Without any turn that it does not notice they stay as they are."""
    assert secret.mask(content, 1, 10, turns).turn in (turns or [0])


def test_a_masked_data_set_has_the_same_images_under_other_names() -> None:
    """Each label is replaced by its new name, to train on and to test on; images come later."""
    data = patterns()
    mask = Mask([3, 1, 2, 0, 4, 5, 6, 7, 9, 8], turn=5)
    masked = data.masked(mask)

    assert masked.train_labels[:10].tolist() == mask.classes
    assert masked.test_labels[:10].tolist() == mask.classes
    assert masked.train_images is data.train_images
    assert (masked.turn, data.turn, data.masked(None)) == (5, 0, data)


@pytest.mark.parametrize("bad", [([0, 0], 0), ([0, 1], 8), ([1, 2], 0)])
def test_a_mask_that_is_none_is_refused(bad: tuple[list[int], int]) -> None:
    """Also one that comes as JSON from a record or a job."""
    text = msgspec.json.encode({"classes": bad[0], "turn": bad[1]})

    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Mask)


def test_a_salt_is_written_once_and_read_again(tmp_path: Path) -> None:
    """Only its owner may read it, and no other replaces it."""
    path = tmp_path / "salt"
    made = salt.make(path)

    assert salt.load(path) == made
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(UsageFault, match="the salt cannot be written"):
        salt.make(path)


@pytest.mark.parametrize("content", [b"", b"swordfish", b"\xff" * 64, b"0" * 63])
def test_what_is_no_salt_is_refused(tmp_path: Path, content: bytes) -> None:
    """A word that somebody could guess is none."""
    path = tmp_path / "salt"
    path.write_bytes(content)

    with pytest.raises(UsageFault, match="this is no salt"):
        salt.load(path)


def test_a_salt_beside_a_rubric_is_found(tmp_path: Path) -> None:
    """By its name; the default rubric has none."""
    salt.make(tmp_path / "salt")

    assert salt.beside(tmp_path / "rubric.toml") == tmp_path / "salt"
    assert salt.beside(tmp_path / "other" / "rubric.toml") is None
    assert salt.beside(None) is None


def test_a_seed_hunted_at_home_is_worth_nothing_under_a_salt() -> None:
    """Of fifty nudges the luckiest passes at home; officially it passes as often as any other."""

    def passes(seed: int, limit: float = 60) -> bool:  # stands in for a training
        return random.Random(seed).gauss(62, 5) <= limit

    def home(content: str) -> int:
        return int(content[:8], 16)

    def nudged(student: int, n: int) -> str:
        return f"{random.Random(1000 * student + n).getrandbits(256):064x}"

    plain, hunted, lucky = [], [], []
    for student in range(1_500):
        secret = Salt(random.Random(-student - 1).randbytes(32))
        nudges = [nudged(student, n) for n in range(50)]
        best = next((c for c in nudges if passes(home(c))), nudges[0])
        lucky.append(passes(home(best)))
        hunted.append(passes(secret.seed(best, 1)))
        plain.append(passes(secret.seed(nudges[0], 1)))

    assert fmean(lucky) > 0.99
    assert fmean(hunted) == pytest.approx(0.345, abs=0.05)  # the normal distribution at -0.4
    assert fmean(hunted) == pytest.approx(fmean(plain), abs=0.05)
