"""The rubric: what the assignment asks, what each check is worth, and how long a run may take."""

from __future__ import annotations

import hashlib
import re
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from grader.datasets.known import KNOWN, MNIST, Dataset
from grader.errors import UsageFault

DEFAULT = Path(__file__).parent / "rubrics" / "mnist.toml"

Count = Annotated[int, Meta(ge=1, le=10**9)]
Points = Annotated[float, Meta(ge=0, le=1e6)]
Seconds = Annotated[float, Meta(gt=0, le=1e7)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Epochs = Annotated[int, Meta(ge=2, le=1000)]  # exclusive: at least one epoch is trained
Runs = Annotated[int, Meta(ge=1, le=1000)]
Rate = Annotated[float, Meta(ge=1e-6, le=0.25)]


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base: immutable and strict."""


class Limits(Struct, frozen=True):
    """What the assignment demands; `parameters` and `epochs` are the first numbers too many.

    `fixed_values` are the most numbers a submission may bring along that no training changes.

    The network is trained `runs` times, each time from another seed. `judged_by` says whether
    their mean has to reach the accuracy, or so many of them as `passes` says. By `evidence` it is
    trained until the runs decide, wrongly no more often than `error_rate`, but `most_runs` times at
    most; who has the benefit of the `doubt` that is left then is judged right.

    With `rebuilt` every network is trained by the grader's own loop, whatever the submission's
    does beyond its recipe.
    """

    parameters: Count
    epochs: Epochs
    accuracy: Percent
    judged_on: Literal["last", "best"]
    trained_parameters: Count
    fixed_values: Count = 256
    rebuilt: bool = False
    runs: Runs = 1
    judged_by: Literal["mean", "passes", "evidence"] = "mean"
    passes: Runs = 1
    most_runs: Runs = 8
    error_rate: Rate = 0.01
    doubt: Literal["student", "course"] = "student"

    @property
    def asked(self) -> str:
        """The accuracy asked for, with two digits, or as many more as it has."""
        rounded = f"{self.accuracy:.2f}"
        return rounded if float(rounded) == self.accuracy else str(self.accuracy)

    def runs_asked_for(self, runs: int | None) -> int:
        """Return how often to train, `runs` being what the command line says, if it does.

        Raises UsageFault where so few runs could never pass, and where there are more than evidence
        was asked of.
        """
        evidence = self.judged_by == "evidence"
        count = runs or (self.most_runs if evidence else self.runs)
        if evidence and count > self.most_runs:
            raise UsageFault(
                "more runs are asked for than the rubric's rate of error allows",
                expected=f"at most {self.most_runs} runs (limits.most_runs)", found=str(count),
                where="--runs", help="leave out --runs, or raise limits.most_runs",
            )  # fmt: skip
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


class Late(Struct, frozen=True):
    """What handing in late costs, off the score that is handed on; records do not know of it.

    `points_a_day` are taken off for each day begun after the deadline, `most` at the most; nothing
    within the first `grace_minutes`. A deadline of a person's own, on the roster, comes before
    `deadline`.
    """

    points_a_day: Points
    deadline: datetime | None = None
    grace_minutes: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    most: Points | None = None


class Rubric(Struct, frozen=True):
    """A rubric file, validated.

    `points` holds the checks that are judged; one without points, or left out, is switched off.
    """

    version: Literal[1]
    assignment: str
    limits: Limits
    points: dict[str, Points]
    seconds: Bounds
    megabytes: Memory
    dataset: str = MNIST.name
    late: Late | None = None

    @property
    def data(self) -> Dataset:
        """What networks are trained and tested on."""
        return KNOWN[self.dataset]

    @property
    def max_score(self) -> float:
        """All points there are."""
        return float(sum(self.points.values()))


def by_evidence(rubric: Rubric) -> Rubric:
    """Return the rubric with `judged_by = "evidence"`."""
    limits = msgspec.structs.replace(rubric.limits, judged_by="evidence")
    return msgspec.structs.replace(rubric, limits=limits)


def sha256_of(rubric: Rubric) -> str:
    """Return a digest of what a rubric says of verdicts, however it is written.

    What is taken off for lateness changes none.
    """
    judged = msgspec.structs.replace(rubric, late=None)
    return hashlib.sha256(msgspec.json.encode(judged)).hexdigest()


def schema() -> dict[str, Any]:
    """Return the JSON schema of a rubric file, for editors; `load` checks more than it can say."""
    made = msgspec.json.schema(Rubric)
    fields = made["$defs"]["Rubric"]["properties"]
    points = fields["points"].pop("additionalProperties")
    checks = dict.fromkeys(load().points, points)
    fields["points"] |= {"properties": checks, "additionalProperties": False}
    fields["dataset"]["enum"] = [*KNOWN]
    return made


def load(path: Path = DEFAULT) -> Rubric:
    """Read a rubric; UsageFault says the line and the reason when it is wrong."""
    try:
        text = path.read_text(encoding="utf-8-sig")
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
        raise _refused(path, text, "", str(error)) from None
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        place = place.strip("`.").replace("[...]", f".{_wrong_points(content)}")
        if missing := re.fullmatch(r"Object missing required field `(\w+)`", reason):
            place, reason = f"{place}.{missing[1]}".lstrip("."), "is missing"
        raise _refused(path, text, place, reason) from None
    _compare_values(path, text, rubric)
    points = {name: points for name, points in rubric.points.items() if points}
    return msgspec.structs.replace(rubric, points=points)


def _wrong_points(content: dict[str, Any]) -> str:
    """Name the check whose points are none, which an error of validation does not tell."""
    points = content.get("points")
    for name, value in points.items() if isinstance(points, dict) else ():
        try:
            msgspec.convert(value, Points)
        except msgspec.ValidationError:
            return str(name)
    return ""


def _compare_values(path: Path, text: str, rubric: Rubric) -> None:
    """Raise UsageFault for what types let through and nobody can mean."""
    if 0 < rubric.limits.accuracy <= 1:
        raise _refused(
            path, text, "limits.accuracy", f"{rubric.limits.accuracy:g} per cent",
            expected="per cent of the test set: 99.4, not 0.994",
            help=f"write accuracy = {100 * rubric.limits.accuracy:g}",
        )  # fmt: skip
    if rubric.dataset not in KNOWN:
        raise _refused(
            path, text, "dataset", f"there is no data set {rubric.dataset!r}",
            expected=" or ".join(f'"{name}"' for name in KNOWN),
            help=f"without this line it is {MNIST.title}",
        )  # fmt: skip
    known = rubric.points.keys() if path == DEFAULT else load().points.keys()
    for name in sorted(rubric.points.keys() - known):
        raise _refused(path, text, f"points.{name}", "there is no such check",
                       expected=", ".join(known))  # fmt: skip
    if not any(rubric.points.values()):
        raise _refused(path, text, "points", "no check is worth any points",
                       expected="points for one check at least")  # fmt: skip


def _refused(
    path: Path, text: str, key: str, reason: str, *, expected: str = "", help: str = ""
) -> UsageFault:
    """Make the error for the value of a dotted key (`limits.epochs`), or for the file."""
    line = _line_of(text, key) if key else None
    return UsageFault(
        "the rubric is refused", expected=expected or "the fields of the default rubric",
        found=f"{key}: {reason}" if key else reason,
        where=f"{path}, line {line}" if line else str(path),
        help=help or f"compare it with {DEFAULT}",
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
