"""The leaderboard as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from grader.escape import safe
from grader.leaderboard import Place, pseudonyms
from grader.reports.text import Item, rendered, titled

_WORDS = (
    "What noise between seeds cannot tell apart shares a rank. * is on the front: no other is at "
    "least as good in accuracy, parameters, epochs and multiply-adds, and better in one."
)


def render(
    places: Sequence[Place], *, names: bool = False, width: int = 100, color: bool = False
) -> str:
    """Return the places as text, under pseudonyms unless `names` are asked for."""
    table = titled(
        "Rank", "Submission", "Accuracy", "Parameters", "Epochs", "Multiply-adds", "",
        right=(0, 2, 3, 4, 5, 6),
    )  # fmt: skip
    for place, pseudonym in zip(places, pseudonyms([p.record for p in places]), strict=True):
        table.add_row(
            str(place.rank), safe(place.name if names else pseudonym),
            f"{place.accuracy:.2f}%", f"{place.parameters:,}", str(place.epochs),
            f"{place.macs:,}", "*" if place.front else "",
        )  # fmt: skip
    if not places:
        return "No submission that was trained has passed every check but that of accuracy."
    return rendered([table, Item("", _WORDS), Text()], width=width, color=color)
