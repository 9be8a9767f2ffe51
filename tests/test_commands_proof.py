"""A salted run from its training to its proof, with real trainings of a very small network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from grader import record as records
from grader import salt as salts
from tests.grading import REPO, Graded, grade
from tests.reading import write
from tests.test_session_runs import SUBMISSION, rubric

pytestmark = pytest.mark.slow


def command(*words: str | Path) -> tuple[int, str]:
    """Run `grade` with some words; return its status and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "grader.cli", *map(str, words)], cwd=REPO, capture_output=True,
        text=True, check=False, timeout=600,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def salted(tmp_path_factory: pytest.TempPathFactory) -> Graded:
    """Grade under the salt that lies beside the rubric, until the runs decide."""
    folder = tmp_path_factory.mktemp("salted")
    status, told = command("salt", folder / "salt")
    assert status == 0, told
    easy = rubric(folder, accuracy="11")
    path = write(folder, "net.py", SUBMISSION)
    return grade(path, folder / "out", "--runs=auto", easy)


def test_a_salted_run_names_its_salt_and_shows_its_masks(salted: Graded) -> None:
    """One clear run is enough; seed and mask are those that the salt gives to its plan."""
    record, secret = salted.record, salts.load(salted.folder.parents[1] / "salt")
    assert salted.status == 0, salted.output
    assert record.accuracy is not None
    (run,) = record.accuracy.runs

    assert record.salt_sha256 == secret.sha256
    assert run.seed == secret.seed(record.content_sha256, 1)
    assert run.mask is not None
    assert sorted(run.mask.classes) == list(range(10))
    assert record.accuracy.judged > 20  # an untrained network gets 10
    check = next(check for check in record.checks if check.id == "test_accuracy")
    assert check.found.endswith("in the mean of one run: passed")


def test_it_is_verified_and_a_change_is_found(salted: Graded, tmp_path: Path) -> None:
    """With the salt, once it is published."""
    out = salted.folder.parent
    secret = out.parent / "salt"

    assert command("verify", out, "--salt", secret) == (0, "1 of 1 are as they were\n")
    record = salted.record
    records.save(replace(record, score=1.0), salted.folder)
    try:
        status, told = command("verify", out, "--salt", secret)
    finally:
        records.save(record, salted.folder)
    assert (status, told) == (1, "net.py: record.json was changed\n0 of 1 are as they were\n")


def test_it_is_reproduced_bit_for_bit(salted: Graded) -> None:
    """By anybody who has the record; with the submission, that is read again as well."""
    out = salted.folder.parent
    status, told = command(
        "reproduce", salted.folder, "--salt", out.parent / "salt", "--submission",
        out.parent / "net.py", "--rubric", out.parent / "rubric.toml",
    )  # fmt: skip

    assert status == 0, told
    assert "the same, bit for bit" in told
    assert "1 of 1 records hold" in told


def test_a_record_that_claims_too_much_does_not_hold(salted: Graded, tmp_path: Path) -> None:
    """Its curve is not that of its seed, and its seed not that of the salt."""
    record = salted.record
    assert record.accuracy is not None
    (run,) = record.accuracy.runs
    better = replace(run, seed=7, curve=[40], weights_sha256="0" * 64)
    accuracy = replace(record.accuracy, runs=[better])
    (tmp_path / "net.py").mkdir()
    (tmp_path / "net.py" / "plan.json").write_bytes((salted.folder / "plan.json").read_bytes())
    records.save(replace(record, accuracy=accuracy), tmp_path / "net.py")
    status, told = command(
        "audit", tmp_path, "--sample", "3", "--salt", salted.folder.parents[1] / "salt",
        "--rubric", salted.folder.parents[1] / "rubric.toml",
    )  # fmt: skip

    assert status == 1, told
    assert "the seed of run 1 does not follow from the salt" in told
    assert "other weights, though machine and software are the same" in " ".join(told.split())
    assert "0 of 1 records hold" in told


def test_a_seed_has_no_place_beside_a_salt(tmp_path: Path) -> None:
    """Nobody chooses what the salt decides."""
    salts.make(tmp_path / "salt")
    path = write(tmp_path, "net.py", SUBMISSION)
    graded = grade(path, tmp_path / "out", "--seed=1", f"--salt={tmp_path / 'salt'}")

    assert graded.status == 4
    assert "with a salt nobody chooses a seed" in graded.output
