"""Where the results of a submission lie: a folder that no other submission's results share.

Below `out`, the folder `<name>` belongs to the submission whose record is in it. Another one of
that name gets `<name>-<id>`, with the first digits of the hash of its path. A run replaces what is
there of the same submission, as a whole; but a run of some checks alone leaves complete results,
and those of a training, as they are, and writes its own to the folder `partial` beside them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

import msgspec

from grader import record as records
from grader.errors import GraderFault, UsageFault
from grader.files import UNREADABLE, new_beside, unwritten
from grader.record import Record, Submission
from grader.reports.registry import FOLDER
from grader.submission import bounds

PARTIAL = "partial"
_LONGEST = 200  # bytes of a name; file systems take 255, and a hash follows
DESCRIBED = ".described.json"
"""The record of a class run as it stood before the training, from which another one may go on."""
DESCRIBED_MAC = ".described.mac"
"""What only the holder of the salt can make of that, where there is a salt."""
SEAL = "seal.json"
"""The digests that tell whether anything was changed: `grader.seal`."""
ANSWERS = "answers.json"
"""What the weights answer to the test images, as reports found out."""
_WRITTEN = ("plan.json", "weights*.safetensors", SEAL, DESCRIBED, DESCRIBED_MAC, ANSWERS)


class _Whose(msgspec.Struct):
    """Which submission a record is of; records of version 1 know no id."""

    id: str = ""
    path: str = ""


class _Found(msgspec.Struct):
    """What has to be known of a record to tell whose it is, whatever its version."""

    submission: _Whose
    status: str = ""
    training: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def is_kept(self) -> bool:
        """Whether a run of some checks alone must not replace it."""
        return self.status == "complete" or bytes(self.training) != b"null"


def identity(path: Path) -> tuple[str, str]:
    """Return a submission's name as text, and an id of its path, whatever bytes are in them."""
    whole = os.path.abspath(path)  # noqa: PTH100 - a loop of links cannot be resolved
    name = os.fsencode(Path(whole).name).decode("utf-8", "replace") or "submission"
    return name, hashlib.sha256(os.fsencode(whole)).hexdigest()[:8]


def claim(out: Path, submission: Path, record: Record, *, whole: bool) -> Path:
    """Write the first record of a run, and return the folder it lies in.

    `whole` says that every check is going to be judged. Raises GraderFault where nothing can be
    written.
    """
    _mark(out)
    for folder in _places(out, record.submission):
        if _is_same(folder, submission):
            continue
        if (found := _found_in(folder, record.submission)) is not None:
            return _replaced(folder / PARTIAL if found.is_kept and not whole else folder, record)
        if _created(folder, record):
            return folder
    raise GraderFault(
        "there is no folder for the results", found="something else of the same name",
        expected=f"a new folder in {out}, or one with results of this submission",
        where=str(folder), help="choose another folder with --out",
    )  # fmt: skip


def _mark(out: Path) -> None:
    """Let nobody take results for something handed in: they may lie among submissions."""
    with contextlib.suppress(OSError):  # which the results themselves will tell
        out.mkdir(parents=True, exist_ok=True)
        (out / bounds.RESULTS).touch()


def find(out: Path, submission: Submission) -> Path | None:
    """Return the folder in which the results of a submission lie, if there are any."""
    return next((f for f in _places(out, submission) if _found_in(f, submission)), None)


def results_in(folder: Path) -> list[Path]:
    """Return the folders of results: this one, or those in it. Raises UsageFault without any."""
    if _holds_results(folder):
        return [folder]
    found = sorted(path for path in folder.glob("*") if _holds_results(path))
    if not found:
        raise UsageFault(
            "there are no results", expected="a folder that `grade` wrote results to",
            found="no record.json in it, nor in a folder below", where=str(folder),
            help="name the folder of --out",
        )  # fmt: skip
    return found


def _holds_results(folder: Path) -> bool:
    """Tell whether there is a record, or the seal of one that was removed."""
    try:
        return any((folder / name).exists() for name in ("record.json", SEAL))
    except PermissionError:  # who wants to read it will be told
        return True


def is_place(folder: Path, submission: Submission) -> bool:
    """Tell whether a folder is one that results of a submission are written to."""
    folder = folder.resolve()
    folder = folder.parent if folder.name == PARTIAL else folder
    return folder in _places(folder.parent, submission)


def _places(out: Path, submission: Submission) -> tuple[Path, Path]:
    name = submission.called.encode()[:_LONGEST].decode("utf-8", "ignore")
    return out / name, out / f"{name}-{submission.id}"


def _created(folder: Path, record: Record) -> bool:
    """Make a folder with a record in it; False if there is one: it is never seen without."""
    try:
        with new_beside(folder) as new:
            (new / "record.json").write_bytes(records.encoded(record))
            with contextlib.suppress(OSError):
                new.rename(folder)
                return True
            return False
    except OSError as error:
        raise unwritten(folder / "record.json", error) from error


def _replaced(folder: Path, record: Record) -> Path:
    """Write a record, and remove what an earlier run left beside it."""
    records.save(record, folder)
    for pattern in _WRITTEN:
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    for below in (PARTIAL, FOLDER):
        shutil.rmtree(folder / below, ignore_errors=True)
    return folder


def _found_in(folder: Path, submission: Submission) -> _Found | None:
    """Return what is known of the record in a folder, if it is one of this submission."""
    with contextlib.suppress(*UNREADABLE):
        found = msgspec.json.decode((folder / "record.json").read_bytes(), type=_Found)
        ours = found.submission.id or found.submission.path
        return found if ours in (submission.id, submission.path) else None
    return None


def _is_same(folder: Path, submission: Path) -> bool:
    """Tell whether a folder is the submission itself, whatever lies in it."""
    with contextlib.suppress(OSError):
        return folder.samefile(submission)
    return False
