"""Blackboard: `{assignment}_{username}_attempt_{date and time}[_{file name}]`, in one folder.

The one without a file's name is a text about the attempt. Its first line is
`Name: Ada Lovelace (alovelace)`. All attempts are in it; times are the server's.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from grader.intake.listing import Item, Unreadable
from grader.intake.systems.label import Label, time_of
from grader.person import Person

NAME = "blackboard"
_NAME = re.compile(
    r"(?P<head>.+?)_attempt_(?P<time>\d{4}(?:-\d\d){5})(?:_(?P<file>.+)|\.txt)", re.DOTALL
)
_FIRST_LINE = re.compile(r"\s*\w+: *(?P<name>[^\r\n]*?) *\((?P<login>[^()\r\n]+)\) *[\r\n]")
_MOST = 2_000  # bytes of the text that are read


def labels(items: Sequence[Item]) -> dict[str, Label]:
    """Return what the names, and the texts about attempts, say."""
    found = [(item, m) for item in items if (m := _NAME.fullmatch(item.name))]
    people = {m["head"]: person for item, m in found if (person := _told(item, m))}
    return {item.name: _label(m, people.get(m["head"])) for item, m in found}


def _told(item: Item, match: re.Match[str]) -> Person | None:
    """Return whom the text names, if it is about whom its own name is."""
    if match["file"]:
        return None
    with contextlib.suppress(Unreadable):
        told = _FIRST_LINE.match(item.read(_MOST).decode("utf-8-sig", "replace"))
        if told and match["head"].endswith(f"_{told['login']}"):
            return Person(name=told["name"], login=told["login"])
    return None


def _label(match: re.Match[str], person: Person | None) -> Label:
    # A user name with `_` is known from the text alone; `who` does not depend on it.
    person = person or Person(login=match["head"].rpartition("_")[2])
    time = time_of(match["time"], "%Y-%m-%d-%H-%M-%S")
    return Label(
        who=match["head"], slug=(person.login,), attempt=match["time"], file=match["file"] or "",
        people=(person,), submitted=time, ids={"username": person.login, "attempt": match["time"]},
        aside="" if match["file"] else "Blackboard's text about the attempt",
    )  # fmt: skip
