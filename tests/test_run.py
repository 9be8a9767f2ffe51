"""A run over one submission: what it begins with, and where it goes on."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from grader import record as records
from grader import rubric as rubrics
from grader import seal
from grader.intake import Entry
from grader.plan.assemble import assemble
from grader.plan.schema import Description
from grader.reports import class_table
from grader.request import Request
from grader.run import Run
from grader.salt import Salt
from tests.grading import EXAMPLES
from tests.test_plan_assemble import model

SALT = Salt(bytes(range(32)))


def test_a_run_that_was_killed_has_no_score_and_passed_nothing(tmp_path: Path) -> None:
    """The first record says that nothing is known yet, in every table."""
    begun = Run(Request(EXAMPLES / "too_short.py", tmp_path, rubrics.load())).record

    assert (begun.status, begun.score) == ("running", None)
    assert class_table.end_of(begun) == class_table.score_of(begun) == "none"


def begun(tmp_path: Path, **changes: Any) -> Run:
    """Begin a class run over one submission; `changes` are in the request."""
    path = EXAMPLES / "too_short.py"
    entry = Entry("ada", path, sha256="0" * 64)
    made = Run(replace(Request(path, tmp_path, rubrics.load(), salt=SALT, entry=entry), **changes))
    made.begin()
    return made


def ended(run: Run) -> Path:
    """Write complete, sealed results of a run; return their folder."""
    folder = run.begin()
    run.record = records.update(run.record, status="complete", score=50.0)
    run.save()
    seal.seal(folder, run.request.salt)
    return folder


def test_complete_results_are_taken_up_as_they_are(tmp_path: Path) -> None:
    """Nothing is described or trained again."""
    ended(begun(tmp_path))

    assert begun(tmp_path).record.score == 50.0
    assert begun(tmp_path).is_trained


@pytest.mark.parametrize("sealed", [True, False])
def test_results_that_were_changed_are_graded_anew(tmp_path: Path, sealed: bool) -> None:
    """Else the course's salt would seal what somebody wrote; whether a seal is left or not."""
    run = begun(tmp_path)
    folder = ended(run)
    records.save(records.update(run.record, score=100.0), folder)
    if not sealed:
        (folder / "seal.json").unlink()

    assert begun(tmp_path).record.score is None


def test_a_description_that_was_changed_is_made_anew(tmp_path: Path) -> None:
    """Of a run that was ended before its training, what was written is held against the salt."""
    run = begun(tmp_path)
    folder = run.begin()
    encoded = msgspec.json.encode(assemble(Description(model()), 19))
    (folder / "plan.json").write_bytes(encoded)
    run.record = records.update(run.record, plan_sha256=hashlib.sha256(encoded).hexdigest())
    run._keep_description()
    mac = (folder / ".described.mac").read_bytes()

    assert begun(tmp_path).is_described
    run.record = records.update(run.record, notes=["better"])
    run._keep_description()
    (folder / ".described.mac").write_bytes(mac)
    assert not begun(tmp_path).is_described


def test_the_record_names_the_rubric_as_it_is_written(tmp_path: Path) -> None:
    """And apart from it that the command line asked for another way of judging."""
    written = rubrics.load()
    asked = begun(tmp_path, rubric=rubrics.by_evidence(written), written=written).record
    usual = begun(tmp_path).record

    assert asked.rubric_sha256 == usual.rubric_sha256 == rubrics.sha256_of(written)
    assert (asked.judged_by, usual.judged_by) == ("evidence", "")
    assert asked.inputs_sha256 != usual.inputs_sha256
