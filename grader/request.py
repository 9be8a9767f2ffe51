"""What a person asked for, of one submission."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grader.intake import Entry
from grader.rubric import Rubric
from grader.salt import Salt
from grader.submission.program import RecipeChoice


@dataclass(frozen=True)
class Request:
    """How a submission is graded. `out` is the folder that gets one folder a submission.

    `entry` is the submission as one of a class, None for one by itself; `unpack` puts it where it
    can be read. `runs` is how often
    the network is trained, if not as often as the rubric says. `store` is where results of
    trainings are kept, None for the user's own place; with `rerun` they are trained again.
    `scheduler` is the address of the cluster that trains, if one does. Seeds and masks follow from
    `salt`, if there is one. `written` is the rubric as it is written, where another way of judging
    was asked for than it names.
    """

    submission: Path
    out: Path
    rubric: Rubric
    data_dir: Path | None = None
    model: str | None = None
    recipe: RecipeChoice | None = None
    seed: int | None = None
    official: bool = False
    runs: int | None = None
    store: Path | None = None
    rerun: bool = False
    scheduler: str | None = None
    salt: Salt | None = None
    entry: Entry | None = None
    unpack: Callable[[Entry], Path] = lambda entry: entry.path
    written: Rubric | None = None
