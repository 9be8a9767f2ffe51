"""What submissions share, as it is written and shown: evidence, and no verdict."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Plan = Literal["", "graph", "graph and recipe"]


class Place(Struct, frozen=True):
    """A passage of a file, from a line to a line; in a notebook it may end in another cell."""

    where: str
    first: int
    end_where: str
    last: int

    def __str__(self) -> str:
        if self.where != self.end_where:
            cell = self.end_where.rpartition(", ")[2]  # of the same notebook
            return f"{self.where}, line {self.first}, to {cell}, line {self.last}"
        if self.last == self.first:
            return f"{self.where}, line {self.first}"
        return f"{self.where}, lines {self.first}–{self.last}"


class Passage(Struct, frozen=True):
    """A run of tokens that two submissions have in common, up to names."""

    tokens: int
    left: Place
    right: Place


class Pair(Struct, frozen=True):
    """Two submissions; a share is the part of one's own fingerprints that the other has, too.

    `plan` is what their networks have in common, as far as the records of a class tell.
    """

    left: str
    right: str
    shared: int
    left_share: float
    right_share: float
    plan: Plan = ""
    passages: list[Passage] = []


class Group(Struct, frozen=True):
    """Submissions that pairs connect; `further` pairs of them are above the threshold, too."""

    members: list[str]
    pairs: list[Pair]
    further: int = 0


class Compared(Struct, frozen=True):
    """A submission: how many fingerprints it has, and how many are left as its own."""

    key: str
    name: str
    fingerprints: int = 0
    common: int = 0
    staff: int = 0
    own: int = 0
    templates: list[str] = []
    notes: list[str] = []


class Findings(Struct, frozen=True):
    """What a class shares: sets by their networks, groups by their code, and what was left out."""

    submissions: list[Compared]
    same_recipe: list[list[str]]
    same_graph: list[list[str]]
    groups: list[Group]
    left_out: list[str]
    notes: list[str] = []
    threshold: float = 0.0
    least: int = 0
    version: Literal[1] = 1
