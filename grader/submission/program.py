"""The Program: a submission's statements, in the order in which they run when it describes itself.

It is made by reading text, written as JSON, and executed only inside the sandbox.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from grader.plan.schema import OwnTraining

RecipeChoice = Literal["own", "default"]
"""Which recipe a person asks for, whatever the submission holds."""


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base: immutable and strict."""


class Statement(Struct, frozen=True):
    """One statement of the submission, as it stands there.

    `file` is what a person would call the place (`net.ipynb, cell 3`, `models/net.py`), `line` the
    first line of the statement in it, counted from one.
    """

    source: str
    file: str
    line: int


class Module(Struct, frozen=True):
    """A module of the submission; the file it was given as is called `__submission__`.

    `name` is the dotted name other statements import it by.
    """

    name: str
    statements: list[Statement]
    package: bool = False


class SetAside(Struct, frozen=True):
    """A statement that is not run, and why."""

    text: str
    where: str
    why: str


class Witness(Struct, frozen=True):
    """What the saved output of a notebook shows of its last training; see `witness`.

    `where` names the cell. `epochs` are those of each training, in order; empty if that is unclear.
    `steps` of an epoch are None if the bars, whose lengths are all in `bars`, leave that open.
    `apart` is a multiple of the batch size, or 0. `accuracies` are the last and the best one on
    test images, in per cent, or none.
    """

    where: str
    epochs: list[int] = []
    steps: int | None = None
    bars: list[int] = []
    apart: int = 0
    accuracies: list[float] = []


class Program(Struct, frozen=True):
    """All that the sandbox is given.

    `model` is the name a person chose by `--model`; `recipe` says whose recipe they asked for;
    `own` which training it is, where the submission's own loop trains. `settings` are texts that
    lie beside the code, by name, and `home` is the folder of the file that is run. `witness` is
    what a notebook's saved output shows.
    """

    modules: list[Module]
    model: str | None = None
    recipe: RecipeChoice | None = None
    own: OwnTraining | None = None
    set_aside: list[SetAside] = []
    notes: list[str] = []
    settings: dict[str, str] = {}
    home: str = ""
    witness: Witness | None = None

    @property
    def where(self) -> str:
        """What a person calls the file that is run."""
        entry = next(m for m in self.modules if m.name == ENTRY)
        return entry.statements[0].file if entry.statements else ""


ENTRY = "__submission__"
