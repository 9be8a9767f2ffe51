"""The rubric: what the assignment asks, what each check is worth, and how long a run may take."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Set
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from grader.errors import UsageFault

DEFAULT = Path(__file__).parent / "rubrics" / "mnist.toml"

Count = Annotated[int, Meta(ge=1, le=10**9)]
Points = Annotated[float, Meta(ge=0, le=1e6)]
Seconds = Annotated[float, Meta(gt=0, le=1e7)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Runs = Annotated[int, Meta(ge=1, le=1000)]


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base: immutable and strict."""


class Limits(Struct, frozen=True):
    """What the assignment demands; `parameters` and `epochs` are the first numbers too many.

    The network is trained `runs` times, each time from another seed. `judged_by` says whether
    their mean has to reach the accuracy, or so many of them as `passes` says.

    With `rebuilt` every network is trained by the grader's own loop, whatever the submission's
    does beyond its recipe.
    """

    parameters: Count
    epochs: Count
    accuracy: Percent
    judged_on: Literal["last", "best"]
    trained_parameters: Count
    rebuilt: bool = False
    runs: Runs = 1
    judged_by: Literal["mean", "passes"] = "mean"
    passes: Runs = 1

    @property
    def asked(self) -> str:
        """The accuracy asked for, with two digits, or as many more as it has."""
        rounded = f"{self.accuracy:.2f}"
        return rounded if float(rounded) == self.accuracy else str(self.accuracy)

    def runs_asked_for(self, runs: int | None) -> int:
        """Return how often to train, `runs` being what the command line says, if it does.

        Raises UsageFault where so few runs could never pass.
        """
        count = runs or self.runs
        if self.judged_by == "passes" and self.passes > count:
            raise UsageFault(
                "the rubric asks for more passing runs than there are",
                expected=f"at least {self.passes} runs (limits.passes)", found=str(count),
                where="limits.runs in the rubric" if runs is None else "--runs",
                help=f"give --runs {self.passes}, or more",
            )  # fmt: skip
        return count


class Bounds(Struct, frozen=True):
    """Wall-clock bounds in seconds."""

    describe: Seconds
    epoch: Seconds
    run: Seconds


class Memory(Struct, frozen=True):
    """Bounds on resident memory, in megabytes, of a process and its descendants."""

    describe: Count
    train: Count


class Rubric(Struct, frozen=True):
    """A rubric file, validated."""

    version: Literal[1]
    assignment: str
    limits: Limits
    points: dict[str, Points]
    seconds: Bounds
    megabytes: Memory

    @property
    def max_score(self) -> float:
        """All points there are."""
        return float(sum(self.points.values()))


def load(path: Path = DEFAULT) -> Rubric:
    """Read a rubric; UsageFault says the line and the reason when it is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageFault(
            "the rubric cannot be read", expected="a TOML file in UTF-8", found=str(error),
            where=str(path), help=f"start from a copy of {DEFAULT}",
        ) from None  # fmt: skip
    content: dict[str, Any] = {}
    try:
        content = tomllib.loads(text)
        rubric = msgspec.convert(content, Rubric)
    except tomllib.TOMLDecodeError as error:
        raise _refused(path, str(error)) from None
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        place = place.rstrip("`").replace("[...]", f".{_wrong_points(content)}")
        raise _refused(path, reason, _line_of(text, place)) from None
    if path != DEFAULT:
        _compare_checks(path, text, rubric.points.keys(), load().points.keys())
    return rubric


def _wrong_points(content: dict[str, Any]) -> str:
    """Name the check whose points are none, which an error of validation does not tell."""
    for name, value in content["points"].items():
        try:
            msgspec.convert(value, Points)
        except msgspec.ValidationError:
            return str(name)
    return ""


def _compare_checks(path: Path, text: str, found: Set[str], checks: Set[str]) -> None:
    """Raise UsageFault unless points are given for every check, and for nothing else."""
    for name in sorted(found - checks):
        raise _refused(path, f"there is no check `{name}`", _line_of(text, f"points.{name}"))
    for name in sorted(checks - found):
        raise _refused(path, f"the points of `{name}` are missing", _line_of(text, "points"))


def _refused(path: Path, reason: str, line: int | None = None) -> UsageFault:
    where = f"{path}, line {line}" if line else str(path)
    return UsageFault(
        "the rubric is refused", expected="the fields of the default rubric", found=reason,
        where=where, help=f"compare it with {DEFAULT}",
    )  # fmt: skip


def _line_of(text: str, key: str) -> int | None:
    """Return the line on which a dotted key (`limits.epochs`) is set, or its table begins."""
    *tables, name = key.split(".")
    inside = ""
    found = None
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[([^\]]+)\]", line):
            inside = header[1].strip()
            if inside == key:
                found = number
        elif inside == ".".join(tables) and re.match(rf"\s*{re.escape(name)}\s*=", line):
            return number
    return found
