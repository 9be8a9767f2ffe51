"""A folder with several files: which one is the submission's entry.

A file is the entry if it says `MODEL = …` or `def build_model()`; else if it is the only one
with a model that no other file imports; else if it is the only such one that trains its model;
else by its name, in the order of NAMES. What is left is ambiguous, and listed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from grader.errors import SubmissionError
from grader.submission.files import Files, label_of
from grader.submission.program import Program

MAX_FILES = 400
MAX_SECONDS = 40  # of CPU time, for all files together
NAMES = ("submission", "solution", "main", "__main__", "train", "model", "net", "network", "mnist")
_TESTS = re.compile(r"tests?$")
_NO_ENTRIES = re.compile(r"^(test_.*\.py$|.*_test\.py$|setup\.py$|conftest\.py$)")
_EXPLICIT = re.compile(
    rb'^([ \t]*")?(MODEL[ \t]*(:[^=\n]*)?=[^=]|def[ \t]+build_model[ \t]*\()', re.M
)


@dataclass
class Reading:
    """What reading one file as the entry gave: a Program or an error, and the files it used."""

    path: PurePosixPath
    program: Program | None = None
    error: SubmissionError | None = None
    trains: bool = False
    used: set[PurePosixPath] = field(default_factory=set)


def candidates(files: Files) -> list[PurePosixPath]:
    """Return the files that may hold the model. Raises SubmissionError if there are none."""
    found = [
        path
        for path in sorted(files.table)
        if not _NO_ENTRIES.match(path.name) and not any(map(_TESTS.match, path.parts[:-1]))
    ]
    if not found:
        raise SubmissionError(
            f"{files.name} holds no code",
            expected="at least one .py file or .ipynb notebook",
            found="tests and setup alone" if files.table else "none",
            where=files.name,
            help="submit the folder that holds your notebook or script",
        )
    if len(found) > MAX_FILES:
        raise SubmissionError(
            f"{files.name} holds too many files",
            expected=f"at most {MAX_FILES} scripts and notebooks",
            found=str(len(found)),
            where=files.name,
            help="submit the folder of this assignment alone",
        )
    return found


def choose_entry(files: Files, read: Callable[[PurePosixPath], Reading]) -> Program:
    """Read the files and return the Program of the entry. Raises SubmissionError."""
    paths = candidates(files)
    if explicit := [path for path in paths if _says_model(files, path)]:
        paths = explicit
    readings = _within_time(files, paths, read)
    used = {path for reading in readings for path in reading.used}
    roots = [r for r in readings if r.path not in used] or readings
    good = [r for r in roots if r.program] or [r for r in readings if r.program]
    for narrow in (_all, _training, _by_name, _alike):
        kept = narrow(good)
        if len(kept) == 1 and kept[0].program is not None:
            return kept[0].program
    if good:
        raise _ambiguous(files.name, good)
    raise _worst(roots)


def _within_time(
    files: Files, paths: list[PurePosixPath], read: Callable[[PurePosixPath], Reading]
) -> list[Reading]:
    began = time.process_time()
    readings: list[Reading] = []
    for path in paths:
        if time.process_time() - began > MAX_SECONDS:
            raise SubmissionError(
                f"{files.name} holds too much code",
                expected=f"files that can be read within {MAX_SECONDS} s of CPU time",
                found=f"{len(readings)} of {len(paths)} were",
                where=files.name,
                help="submit the folder of this assignment alone",
            )
        readings.append(read(path))
    return readings


def _says_model(files: Files, path: PurePosixPath) -> bool:
    try:
        return bool(_EXPLICIT.search(files.read(path)))
    except SubmissionError:  # which is told when the file is read for its model
        return False


def _all(readings: list[Reading]) -> list[Reading]:
    return readings


def _training(readings: list[Reading]) -> list[Reading]:
    return [r for r in readings if r.trains]


def _by_name(readings: list[Reading]) -> list[Reading]:
    readings = _training(readings) or readings
    for name in NAMES:
        if named := [r for r in readings if r.path.stem.lower() == name]:
            return named
    return []


def _alike(readings: list[Reading]) -> list[Reading]:
    """One of several files that describe the same model in the same way."""
    programs = [r.program for r in _training(readings) or readings if r.program]
    same = {(p.class_name, p.model.source, str(p.modules)) for p in programs}
    return readings[:1] if len(same) == 1 else []


def _ambiguous(name: str, readings: list[Reading]) -> SubmissionError:
    listed = [_brief(label_of(r.path), r.program) for r in readings if r.program]
    return SubmissionError(
        f"{len(readings)} files of the folder hold a model and nothing says which one to grade",
        expected=f"one file with a model, or one called {NAMES[0]}.py",
        found="; ".join(listed[:20]),
        where=name,
        help="submit the one file, or add one line at its end that says so: "
        f"`MODEL = {_maker(readings[-1])}`",
    )


def _brief(label: str, program: Program) -> str:
    return f"{label}: {program.class_name} ({program.model.where.removeprefix(f'{label}, ')})"


def _maker(reading: Reading) -> str:
    """Write a line's worth of how a file makes its model."""
    program = reading.program
    source = program.model.source if program is not None and not program.model.setup else "..."
    return source if len(source) <= 60 else "..."


def _worst(readings: list[Reading]) -> SubmissionError:
    """Give the error that says most: anything before `no model was found`."""
    errors = [r.error for r in readings if r.error]
    return sorted(errors, key=lambda e: (e.message == "no model was found", "empty" in e.message))[
        0
    ]
