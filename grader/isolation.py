"""Import nothing from the current folder. Itself needs nothing but Python's own modules."""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def forget_current_folder() -> None:
    """Take the current folder off the path of imports; OSError if there is none.

    `python -m pytest` looks there first, and an empty entry of PYTHONPATH means it, too. What is
    imported already finds its own modules all the same.
    """
    here = Path.cwd()
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != here]
