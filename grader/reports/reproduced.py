"""What came of training records again, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from grader.escape import safe
from grader.record import TrainingRun
from grader.reports.text import Item, rendered, titled


@dataclass(frozen=True)
class Again:
    """A run, and what came of training it again: the `same` weights, or others."""

    run: TrainingRun
    curve: list[int] = field(default_factory=list)
    same: bool = False
    failed: str = ""

    @property
    def errors(self) -> int | None:
        """Wrong answers after the last epoch, None before the first."""
        return self.curve[-1] if self.curve else None


@dataclass(frozen=True)
class Reproduced:
    """What came of a record.

    `remarks` say in what this machine is another one, and what was not checked; `objections` what
    is not as the record says, or why it could not be trained.
    """

    runs: list[Again]
    remarks: list[str]
    objections: list[str]

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against the record."""
        return not self.objections


def render(found: Sequence[tuple[Path, Reproduced]], *, width: int = 100) -> str:
    """Return a line for each run, then what is another one here, and what speaks against it."""
    table = titled("Results", "Seed", "Errors then", "Errors now", "Weights", right=(1, 2, 3))
    below: list[RenderableType] = []
    for folder, each in found:
        for again in each.runs:
            then = f"{again.run.curve[-1]:,}" if again.run.curve else ""
            now = "" if again.errors is None else f"{again.errors:,}"
            table.add_row(safe(folder.name), str(again.run.seed), then, now, _weights(again))
        below += [Item(f"{safe(folder.name)}:", f"note: {safe(r)}") for r in each.remarks]
        below += [Item(f"{safe(folder.name)}:", safe(o)) for o in each.objections]
    good = sum(each.holds for _, each in found)
    below.append(Text(f"{good} of {len(found)} records hold", style="bold"))
    return rendered([table, *below], width=width, color=False)


def _weights(again: Again) -> str:
    if again.failed:
        return safe(again.failed)
    return "the same, bit for bit" if again.same else "others"
