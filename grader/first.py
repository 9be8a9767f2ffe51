"""The record of a submission before anything is done with it: who, what, and by which rules."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Literal

import msgspec

from grader import record as records
from grader import results, store
from grader import rubric as rubrics
from grader.errors import GraderFault
from grader.intake import Entry
from grader.record import Record
from grader.request import Request
from grader.submission.files import sha256_of


def first_record(request: Request) -> Record:
    """Return the record that a run begins with."""
    submission = of_class(request.entry) if request.entry else _alone(request.submission)
    rubric = rubrics.sha256_of(request.written or request.rubric)
    judged_by: Literal["", "evidence"] = "evidence" if request.written else ""
    salt = request.salt.sha256 if request.salt else ""
    options = [
        request.model, request.recipe, request.seed, request.runs, request.official,
        request.data_dir and str(request.data_dir), store.source_of("."), salt, judged_by,
    ]  # fmt: skip
    inputs = msgspec.json.encode([submission.sha256, rubric, options])
    return Record(
        submission=submission,
        assignment=request.rubric.assignment,
        data=records.data_of(request.rubric.data),
        rubric_sha256=rubric,
        inputs_sha256=hashlib.sha256(inputs).hexdigest(),
        max_score=request.rubric.max_score,
        official=request.official,
        environment=_environment(),
        salt_sha256=salt,
        grader_sha256=store.source_of("."),
        judged_by=judged_by,
    )  # fmt: skip


def _alone(path: Path) -> records.Submission:
    name, number = results.identity(path)
    digest = ""
    with contextlib.suppress(GraderFault):  # it cannot be read, which the first step will tell
        digest = sha256_of(path)
    return records.Submission(name, _text(path), digest, number)


def of_class(entry: Entry) -> records.Submission:
    """Return what a record says of a submission of a class."""
    name, number = results.identity(entry.path / entry.inside)
    path = f"{_text(entry.path)}: {entry.inside}" if entry.inside else _text(entry.path)
    return records.Submission(
        name, path, entry.sha256, number, entry.key, [*entry.people], entry.system,
        entry.attempt, entry.late, entry.submitted, dict(entry.ids),
    )  # fmt: skip


def _text(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "replace")


def _environment() -> dict[str, str]:
    versions = {
        name: importlib.metadata.version(name) for name in ("mnist-grader", "torch", "torchvision")
    }
    machine = {"system": platform.platform(), "cores": str(os.cpu_count())}
    return versions | machine | {"python": platform.python_version()}
