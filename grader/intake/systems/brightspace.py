"""Brightspace: `{N}-{N} - {Name} - {Dec 5, 2024 1149 AM}`, a folder, or ` - {file name}` after it.

Some sites put the student's number before the name. All attempts are in it; times are the site's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from grader.intake.listing import Item
from grader.intake.systems.label import Label, time_of
from grader.person import Person

NAME = "brightspace"
_NAME = re.compile(
    r"(?P<folder>(?P<numbers>\d+-\d+) ?- (?:(?P<id>[^\s-]*\d[^\s-]*) - )?(?P<name>.+?) ?- "
    r"(?P<time>(?:\w+\.? \d{1,2}|\d{1,2} \w+\.?),? \d{4} \d{3,4}(?: ?[AP]M)?))(?: - (?P<file>.+))?",
    re.DOTALL,
)
_LAYOUTS = ("%b %d %Y %I%M %p", "%B %d %Y %I%M %p", "%d %b %Y %H%M", "%d %B %Y %H%M",
            "%b %d %Y %H%M", "%B %d %Y %H%M")  # fmt: skip


def labels(items: Sequence[Item]) -> dict[str, Label]:
    """Return what the names say, by name."""
    return {item.name: _label(m) for item in items if (m := _NAME.fullmatch(item.name))}


def _label(match: re.Match[str]) -> Label:
    name, numbers, time = match["name"].strip(), match["numbers"], _time(match["time"])
    return Label(
        who=f"{numbers} {name}", slug=(name, numbers), attempt=time, file=match["file"] or "",
        people=(Person(id=match["id"] or "", name=name),), submitted=time,
        ids={"numbers": numbers, "folder": match["folder"]},
    )  # fmt: skip


def _time(text: str) -> str:
    """Return the time in ISO 8601; nothing where its month is in another language."""
    plain = re.sub(r"[.,]", "", re.sub(r"(\d) ?([AP]M)$", r"\1 \2", text))
    plain = re.sub(r"(\d{4}) (\d{3}\b)", r"\1 0\2", plain)
    return next((time for layout in _LAYOUTS if (time := time_of(plain, layout))), "")
