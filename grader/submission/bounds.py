"""How much of a submission is read, and which names are looked at."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from grader.errors import SubmissionError
from grader.submission.text import MAX_CODE

SUFFIXES = (".py", ".ipynb")
# Text that code reads as it runs, and commands that run it.
SETTINGS = (".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".sh", ".md")
MAX_SETTINGS = 64 * 2**10  # bytes of such a file; others are data
MOST_SETTINGS = 50
MAX_NOTEBOOK = 300 * 2**20  # bytes, with its outputs
MAX_SCRIPT = 4 * MAX_CODE  # bytes; no coding takes more for a character
MAX_TOTAL = 2 * MAX_NOTEBOOK  # bytes of all files together
MAX_DEPTH = 10  # folders inside each other
MAX_ENTRIES = 200_000  # files and folders of any kind, of a folder
MAX_MEMBERS = 10_000  # files and folders of any kind, of an archive
_IGNORED = re.compile(r"^(\.|__pycache__$|__MACOSX$|venv$|site-packages$|wandb$)")


RESULTS = ".grader-results"
"""A file of this name stands in a folder of the grader's results: nothing in it was handed in."""


def is_ignored(folder: str) -> bool:
    """Tell whether a folder of this name holds no code of the submission's own."""
    return bool(_IGNORED.match(folder))


def is_read(name: str) -> bool:
    """Tell whether a file of this name is a script, a notebook, settings or an archive of them."""
    return not name.startswith(".") and name.lower().endswith((*SUFFIXES, *SETTINGS, ".zip"))


def are_settings(path: PurePosixPath | Path) -> bool:
    """Tell whether a file is neither code nor an archive."""
    return path.suffix.lower() in SETTINGS


def are_commands(path: PurePosixPath) -> bool:
    """Tell whether a text says how code is run, and is not read by it."""
    return path.suffix.lower() in (".sh", ".md")


def is_within_reach(path: PurePosixPath) -> bool:
    """Tell whether a file lies neither too deep nor in a folder that is ignored."""
    return len(path.parts) <= MAX_DEPTH + 1 and not any(map(is_ignored, path.parts[:-1]))


def most_bytes(name: str) -> int:
    """Return how large a file of this name may be."""
    if name.lower().endswith(SETTINGS):
        return MAX_SETTINGS
    return MAX_SCRIPT if name.lower().endswith(".py") else MAX_NOTEBOOK


def too_large(label: str, most: int) -> SubmissionError:
    """Say that a file is larger than any that a person writes."""
    return SubmissionError(
        f"{label} is too large to read",
        expected=f"at most {round(most / 2**20)} MB",
        found="more",
        where=label,
        help="clear the outputs of a notebook, and keep data in files of their own",
    )
