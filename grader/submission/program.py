"""The Program: the few statements of a submission that have to run so that it can describe itself.

It is made by reading text, written as JSON, and executed only inside the sandbox.
"""

from __future__ import annotations

from typing import Literal

import msgspec

RecipeChoice = Literal["own", "default"]
"""Which recipe a person asks for, whatever the submission holds."""


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base: immutable and strict."""


class Statement(Struct, frozen=True):
    """One statement of the submission, as it stands there.

    `file` is the place as a person names it (`net.ipynb, cell 3`, `models/net.py`), `line` the
    first line of the statement in it, counted from one. An `optional` statement serves the recipe
    alone: the model can be had without it.
    """

    source: str
    file: str
    line: int
    optional: bool = False


class Module(Struct, frozen=True):
    """A module of the submission, reduced to the statements that are needed, in their order.

    `name` is the dotted name other statements import it by; the file a submission was given as
    is called `__submission__`.
    """

    name: str
    statements: list[Statement]
    package: bool = False


class Part(Struct, frozen=True):
    """An expression to evaluate in the submission's own module, and where it stands.

    `how` is `value` when the expression gives the thing itself, and `hook` when it gives a
    callable to be called with whatever its parameters name. `setup` are statements of an
    enclosing function that come first, run in a namespace on top of the module's. `bindings`
    are names the expression uses for things the grader hands it: `{"net": "model"}`; what can
    be handed is `model`, `optimizer`, `train_loader`, `test_loader`, `train_set`, `test_set`,
    `device`. `declared` marks what the file says for the grader, by name.
    """

    source: str
    where: str
    how: Literal["value", "hook"] = "value"
    setup: list[Statement] = []
    bindings: dict[str, str] = {}
    declared: bool = False


class Flaw(Struct, frozen=True):
    """A part of the recipe that the file declares and that nobody can make: why, and where."""

    about: str
    message: str
    where: str
    help: str = ""


class Train(Struct, frozen=True):
    """The submission's own training as a function, for one pass over the data or for all.

    `function` evaluates to it. `roles` say what the grader hands to a parameter: `model`,
    `optimizer`, `scheduler`, `train_loader`, `test_loader`, `device`, `loss`, `epochs`, `epoch`
    (the number of the pass, counted from `first_epoch`), `batch_size`, `log_interval`;
    `arguments` are expressions for other parameters, in which `epoch` may be bound too. What is
    left has a default. `modules` and `placeholders` are the Program's, with what this needs.
    `settles` are notes of the Program's that do not hold where this trains.
    """

    function: Part
    roles: dict[str, str]
    arguments: dict[str, Part]
    modules: list[Module]
    placeholders: list[str] = []
    first_epoch: int = 1
    settles: list[str] = []


class SetAside(Struct, frozen=True):
    """A statement that is not run, and why."""

    text: str
    where: str
    why: str


class Program(Struct, frozen=True):
    """All that the sandbox is given.

    `model` evaluates to the model (an `nn.Module`, or a class or function that returns one when
    called without arguments). `recipe` may hold `epochs`, `batch_size`, `drop_last`,
    `plain_epochs`, `averaged_epochs`, `ema_decay`, `train_transform`, `test_transform`,
    `optimizer`, `scheduler`, `loss`. `scheduler_steps` says when the submission steps its
    scheduler, where its text shows it. `placeholders` are the modules that may be missing:
    importing one that is not installed gives a stand-in that raises, with the package's name,
    when it is used. `train` is there if the submission trains in a function that can be
    called.
    """

    modules: list[Module]  # imported ones before those that import them; __submission__ last
    model: Part
    class_name: str
    recipe: dict[str, Part] = {}
    scheduler_steps: Literal["batch", "epoch"] | None = None
    placeholders: list[str] = []
    train: Train | None = None
    set_aside: list[SetAside] = []
    notes: list[str] = []
    flaws: list[Flaw] = []


ENTRY = "__submission__"
