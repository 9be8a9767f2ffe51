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
from grader import results, store
from grader import rubric as rubrics
from grader.datasets.known import KNOWN
from grader.errors import GraderFault
from grader.files import UNREADABLE, readable, write_atomically
from grader.record import Record
from grader.rubric import Rubric
from grader.salt import Salt
from grader.submission.files import sha256_of

_SEALED = ("record.json", "plan.json", "weights*.safetensors")


class Seal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Digests of files by name; `mac` is made of them with the salt, empty without one."""

    files: dict[str, str]
    mac: str = ""


def seal(folder: Path, salt: Salt | None) -> None:
    """Seal the results in a folder as they are. Raises GraderFault where that cannot be written."""
    files = _digests(folder)
    if closed := [name for name, digest in files.items() if not digest]:
        raise GraderFault(
            "the results cannot be sealed", expected="files that can be read",
            found=", ".join(closed), where=str(folder), help="remove what is no result there",
        )  # fmt: skip
    mac = salt.seal(_content(files)) if salt else ""
    write_atomically(folder / results.SEAL, readable(Seal(files, mac)))


def changed(folder: Path, salt: Salt | None = None, rubric: Rubric | None = None) -> Iterator[str]:
    """Say what is not as it was when the results in a folder were sealed.

    With a `salt` also whether the seal is the course's; with a `rubric` whether it is the one that
    was graded by.
    """
    try:
        sealed = msgspec.json.decode((folder / results.SEAL).read_bytes(), type=Seal)
    except FileNotFoundError:
        yield f"{results.SEAL} is missing: these results were never sealed, or the seal was removed"
        return
    except UNREADABLE as error:
        yield f"{results.SEAL} cannot be read: {error}"
        return
    now = _digests(folder)
    for name in sorted(sealed.files | now):
        if now.get(name) == "":
            yield f"{name} cannot be read"
        elif sealed.files.get(name) != now.get(name):
            how = "was added" if name not in sealed.files else "is missing"
            yield f"{name} {'was changed' if name in sealed.files and name in now else how}"
    if salt and not hmac.compare_digest(sealed.mac, salt.seal(_content(sealed.files))):
        yield f"{results.SEAL} was not made with this salt"
    with contextlib.suppress(GraderFault):  # a record that cannot be read was changed, as was said
        record = records.load(folder / "record.json")
        if not results.is_place(folder, record.submission):
            yield f"these are the results of {record.submission.called}"
        yield from _depends(record, now, salt, rubric)


def doubts(folder: Path, record: Record, salt: Salt | None) -> list[str]:
    """Say why the results in a folder must not be sealed again.

    Those of old, which were never sealed, are believed where there is no salt.
    """
    if record.salt_sha256 and salt is None:
        return ["it was graded with a salt, which is not given (--salt)"]
    if salt is None and not (folder / results.SEAL).exists():
        return []
    return list(changed(folder, salt))


def _depends(
    record: Record, now: dict[str, str], salt: Salt | None, rubric: Rubric | None
) -> Iterator[str]:
    """Say what a record names that is another now, `now` being digests of the files beside it."""
    if record.plan_sha256 and now.get("plan.json", record.plan_sha256) != record.plan_sha256:
        yield "plan.json is not the plan that the record names"
    for run in record.accuracy.runs if record.accuracy else ():
        if run.weights_sha256 and now.get(run.weights, run.weights_sha256) != run.weights_sha256:
            yield f"{run.weights} are not the weights that the record names"
    path = Path(record.submission.path)
    if record.submission.sha256 and not record.submission.key:
        with contextlib.suppress(GraderFault, OSError):  # it is not here, or not for this user
            if path.exists() and sha256_of(path) not in ("", record.submission.sha256):
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


def _digests(folder: Path) -> dict[str, str]:
    """Return a digest of each file by its name, empty for what cannot be read."""
    paths = sorted(path for pattern in _SEALED for path in folder.glob(pattern))
    return {path.name: _sha256(path) for path in paths}


def _sha256(path: Path) -> str:
    with contextlib.suppress(OSError):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""


def _content(files: dict[str, str]) -> bytes:
    return msgspec.json.encode(files, order="deterministic")
