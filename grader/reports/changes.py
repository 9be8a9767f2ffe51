"""The table of what another rubric changed, for `grade regrade`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from grader.escape import safe
from grader.record import Record
from grader.reports.class_table import score_of
from grader.reports.text import rendered, terminal_width, titled


@dataclass(frozen=True)
class Change:
    """A record and what another rubric makes of it.

    `why` names the checks that end differently; `kept` says why the old verdict stands instead.
    """

    folder: Path
    old: Record
    new: Record
    why: list[str]
    kept: str = ""

    @property
    def is_one(self) -> bool:
        """Whether anything is different."""
        return bool(self.why) or self.old.score != self.new.score


def render(changes: Sequence[Change]) -> str:
    """Return who changed, from what, to what and why, as wide as the terminal."""
    table = titled("Submission", "From", "To", "Why", right=(1, 2))
    shown = [change for change in changes if change.is_one or change.kept]
    for change in shown:
        why = f"not changed: {change.kept}" if change.kept else "; ".join(change.why)
        new = "" if change.kept else score_of(change.new)
        table.add_row(safe(change.old.submission.called), score_of(change.old), new, safe(why))
    same = len(changes) - len(shown)
    parts: list[RenderableType] = [table, Text(f"{same} of {len(changes)} stay as they are")]
    return rendered(parts if shown else parts[1:], width=terminal_width(), color=False)
