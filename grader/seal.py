"""Seals results: any file of theirs that was changed since is found, weights included.

    <results>/seal.json     the SHA-256 of every other file that belongs to the verdict

A record holds the hashes of all it depends on; the seal holds the record's. Whoever changes a
record can seal it again, but not with the course's salt: a salted seal is genuine or it is not.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path

import msgspec

from grader import record as records
from grader import rubric as rubrics
from grader import store
from grader.datasets.known import KNOWN
from grader.errors import GraderFault, UsageFault
from grader.files import UNREADABLE, write_atomically
from grader.record import Record
from grader.rubric import Rubric
from grader.salt import Salt
from grader.submission.files import sha256_of

NAME = "seal.json"
_SEALED = ("record.json", "plan.json", "weights*.safetensors")


class Seal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Digests of files by name; `mac` is made of them with the salt, empty without one."""

    files: dict[str, str]
    mac: str = ""


def seal(folder: Path, salt: Salt | None) -> None:
    """Seal the results in a folder as they are. Raises GraderFault where that cannot be written."""
    files = _digests(folder)
    mac = salt.seal(_content(files)) if salt else ""
    encoded = msgspec.json.format(msgspec.json.encode(Seal(files, mac)))
    write_atomically(folder / NAME, encoded)


def changed(folder: Path, salt: Salt | None = None, rubric: Rubric | None = None) -> Iterator[str]:
    """Say what is not as it was when the results in a folder were sealed.

    With a `salt` also whether the seal is the course's; with a `rubric` whether it is the one that
    was graded by.
    """
    try:
        sealed = msgspec.json.decode((folder / NAME).read_bytes(), type=Seal)
    except FileNotFoundError:
        yield f"{NAME} is missing: these results were never sealed, or the seal was removed"
        return
    except UNREADABLE as error:
        yield f"{NAME} cannot be read: {error}"
        return
    now = _digests(folder)
    for name in sorted(sealed.files | now):
        if sealed.files.get(name) != now.get(name):
            how = "was added" if name not in sealed.files else "is missing"
            yield f"{name} {'was changed' if name in sealed.files and name in now else how}"
    if salt and not hmac.compare_digest(sealed.mac, salt.seal(_content(sealed.files))):
        yield f"{NAME} was not made with this salt"
    with contextlib.suppress(GraderFault):  # a record that cannot be read was changed, as was said
        yield from _depends(records.load(folder / "record.json"), folder, salt, rubric)


def _depends(
    record: Record, folder: Path, salt: Salt | None, rubric: Rubric | None
) -> Iterator[str]:
    """Say what a record names that is another now."""
    plan = folder / "plan.json"
    if record.plan_sha256 and plan.exists() and _sha256(plan) != record.plan_sha256:
        yield "plan.json is not the plan that the record names"
    for run in record.accuracy.runs if record.accuracy else ():
        weights = folder / run.weights
        if run.weights_sha256 and weights.exists() and _sha256(weights) != run.weights_sha256:
            yield f"{run.weights} are not the weights that the record names"
    path = Path(record.submission.path)
    if record.submission.sha256 and not record.submission.key and path.exists():
        with contextlib.suppress(GraderFault):
            if sha256_of(path) != record.submission.sha256:
                yield f"the submission was changed: {path}"
    known = KNOWN.get(record.data.name)
    if known is None or known.digest != record.data.sha256:
        yield f"the data set {record.data.name} is another one here"
    if salt and record.salt_sha256 != salt.sha256:
        yield "it was not graded with this salt"
    if rubric and record.rubric_sha256 != rubrics.sha256_of(rubric):
        yield "it was not graded by this rubric"


def other_version(record: Record) -> bool:
    """Tell whether another version of the grader made the record, which is no change of it."""
    return record.grader_sha256 != store.source_of(".")


def results_in(folder: Path) -> list[Path]:
    """Return the folders of results: this one, or those in it. Raises UsageFault without any."""
    if (folder / "record.json").exists():
        return [folder]
    found = sorted(path.parent for path in folder.glob("*/record.json"))
    if not found:
        raise UsageFault(
            "there are no results", expected="a folder that `grade` wrote results to",
            found="no record.json in it, nor in a folder below", where=str(folder),
            help="name the folder of --out",
        )  # fmt: skip
    return found


def _digests(folder: Path) -> dict[str, str]:
    paths = sorted(path for pattern in _SEALED for path in folder.glob(pattern))
    return {path.name: _sha256(path) for path in paths}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _content(files: dict[str, str]) -> bytes:
    return msgspec.json.encode(files, order="deterministic")
