"""What a system tells in the name of a file or folder of its download."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from grader.person import Person


@dataclass(frozen=True)
class Label:
    """`who` and `attempt` are the same for all that was handed in together, and differ otherwise.

    Attempts are ordered by their text. `file` is the name that a file had; `aside` says why it is
    no part of the code, as far as the system knows. For the rest see `Entry`.
    """

    who: str
    slug: tuple[str, ...]
    attempt: str = ""
    file: str = ""
    people: tuple[Person, ...] = ()
    number: int | None = None
    late: bool | None = None
    submitted: str = ""
    ids: Mapping[str, str] = field(default_factory=dict)
    aside: str = ""


def time_of(text: str, layout: str) -> str:
    """Return a time in ISO 8601, or nothing where the text has another layout."""
    try:
        return datetime.strptime(text, layout).isoformat()
    except ValueError:
        return ""
