"""Moodle: `{Full name}_{N}_assignsubmission_{plugin}`, a folder or the beginning of a file's name.

The plugin is `file` or `onlinetext`; `_` in names become spaces. N is that of "Participant N" in
the grading worksheet, for teams that of the group; the default team has none. There are no times,
and only the last attempt is in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from grader.intake.listing import Item
from grader.intake.systems.label import Label
from grader.person import Person

NAME = "moodle"
_NAME = re.compile(
    r"(?P<name>[^_]+)(?:_(?P<number>\d+))?_assignsubmission_(?P<plugin>[a-z]+)(?:_(?P<file>.*))?",
    re.DOTALL,
)


def labels(items: Sequence[Item]) -> dict[str, Label]:
    """Return what the names say, by name."""
    return {item.name: _label(m) for item in items if (m := _NAME.fullmatch(item.name))}


def _label(match: re.Match[str]) -> Label:
    name, number = match["name"].strip(), match["number"] or ""
    return Label(
        who=f"{name}_{number}", slug=(name, number), file=match["file"] or "",
        people=(Person(name=name),), ids={"participant": number} if number else {},
        aside="" if match["plugin"] == "file" else f"Moodle's {match['plugin']}, not a file",
    )  # fmt: skip
