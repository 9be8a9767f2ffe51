"""The list of a class as a course system exported it, into which grades are filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Gradebook:
    """A CSV: all its rows, the first one that is not empty being the header.

    `owners` says for a row, by its place from 0, which submission of `Results.graded` is that of
    its person. `column` is the title of the column for grades, where somebody named one.
    """

    path: Path
    rows: tuple[tuple[str, ...], ...]
    delimiter: str
    owners: Mapping[int, int] = field(default_factory=dict)
    column: str | None = None
