"""Who handed something in."""

from __future__ import annotations

import msgspec


class Person(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who handed something in, as far as it is known; `deadline` is a deadline of their own.

    Texts are empty where nothing is known. A deadline is in ISO 8601.
    """

    id: str = ""
    name: str = ""
    login: str = ""
    section: str = ""
    email: str = ""
    deadline: str = ""

    def __str__(self) -> str:
        return self.name or self.login or self.email or self.id
