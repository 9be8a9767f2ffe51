"""Canvas: `{name}[_LATE]_{user}_{file}_{file name}`, all in one folder.

Anonymous: `[LATE_]anon_{id}_{file}_{file name}`. Text entries end in `_text.html` and links in
`_link.html`, without the number of a file. Groups carry the group's name and the number of one
of its users. There are no times, and only the last attempt is in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from grader.intake.listing import Item
from grader.intake.systems.label import Label
from grader.person import Person

NAME = "canvas"
_NAME = re.compile(
    r"(?:(?:(?P<late1>LATE)_)?anon_(?P<anon>[A-Za-z0-9]{4,})"
    r"|(?P<name>\w+?)_(?:(?P<late2>LATE)_)?(?P<user>\d+))"
    r"_(?:(?P<number>\d+)_(?P<file>.+)|(?P<aside>text|link)\.html)",
    re.DOTALL,
)
# What Canvas adds to a name that this student has used before. No module has such a name.
_AGAIN = re.compile(r"-\d+(?=\.py$)")


def labels(items: Sequence[Item]) -> dict[str, Label]:
    """Return what the names say, by name; nothing where they contradict each other."""
    found = {item.name: m for item in items if (m := _NAME.fullmatch(item.name))}
    # Canvas writes names in lower case.
    found = {name: m for name, m in found.items() if (m["name"] or "").lower() == (m["name"] or "")}
    files = [m["number"] for m in found.values() if m["number"]]
    people = {m["user"] for m in found.values() if m["user"]}
    if len(set(files)) < len(files) or len({m["name"] for m in found.values()}) < min(
        2, len(people)
    ):
        return {}
    return {name: _label(match) for name, match in found.items()}


def _label(match: re.Match[str]) -> Label:
    user, name = match["user"] or match["anon"], match["name"] or ""
    ids = {"user" if match["user"] else "anonymous": user}
    return Label(
        who=user, slug=(name or "anon", user), file=_AGAIN.sub("", match["file"] or ""),
        people=(Person(name=name),), late=bool(match["late1"] or match["late2"]),
        ids=ids | ({"file": match["number"]} if match["number"] else {}),
        aside=f"a {match['aside']} typed into Canvas" if match["aside"] else "",
    )  # fmt: skip
