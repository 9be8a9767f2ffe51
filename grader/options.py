"""The options of a grading run: one table, from which pytest and `grade` declare them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from grader.reports.registry import FORMATS

DEFAULT_OUT = "grades"


@dataclass(frozen=True)
class Option:
    """An option's name, and the keyword arguments of argparse that describe it."""

    name: str
    arguments: dict[str, Any]

    @property
    def value(self) -> str:
        """What has to follow it: `DIR`, `own|default`, or nothing."""
        choices = self.arguments.get("choices", ())
        return str(self.arguments.get("metavar", "|".join(choices)))


def path(text: str) -> Path:
    """Read a path, which an empty text (an unset variable of a shell) is not."""
    return Path(_something(text))


def _something(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("expected a value, found an empty text")
    return text


def _seed(text: str) -> int:
    return _between(0, 2**63 - 1, text)


def _runs(text: str) -> int | Literal["auto"]:
    return "auto" if text == "auto" else _between(1, 1000, text)


def _jobs(text: str) -> int:
    return _between(1, 1024, text)


def count(text: str) -> int:
    """Read how many of something are wanted: one at least."""
    return _between(1, 10**6, text)


def _resource(text: str) -> tuple[str, float]:
    name, _, count = text.partition("=")
    if not (name and count.replace(".", "", 1).isdecimal()):
        raise argparse.ArgumentTypeError(f"expected NAME=N, as in GPU=1, found {text!r}")
    return name, float(count)


def _between(least: int, most: int, text: str) -> int:
    if not (text.isdecimal() and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(
            f"expected a whole number from {least} to {most}, found {text!r}"
        )
    return int(text)


def _option(name: str, **arguments: Any) -> Option:  # noqa: ANN401 - argparse's keywords
    return Option(name, arguments)


OPTIONS = (
    _option(
        "--submission", metavar="PATH", type=path, action="append",
        help="the submission to grade: a .py file, a notebook, a folder or a .zip; several make a "
        "class",
    ),
    _option(
        "--submissions", metavar="DIR", type=path,
        help="grade a class: each file, folder and archive in DIR, which may be a .zip, or the "
        "bulk download of Canvas, Moodle, Gradescope, Blackboard or Brightspace",
    ),
    _option(
        "--roster", metavar="FILE", type=path,
        help="CSV with the people of a class: id, name, login, section, deadline",
    ),
    _option(
        "--jobs", metavar="N", type=_jobs,
        help="submissions worked on at once (default: as many as there are cores)",
    ),
    _option(
        "--quick", action="store_true",
        help="judge everything that needs no training, in seconds",
    ),
    _option(
        "--rubric", metavar="FILE", type=path,
        help="limits, points, time bounds and data set (default: grader/rubrics/mnist.toml)",
    ),
    _option(
        "--out", metavar="DIR", type=path, default=Path(DEFAULT_OUT),
        help="folder for results: DIR/<name>/record.json, plan.json, weights.safetensors (and "
        f"weights-2.safetensors for a second run, and so on) (default: {DEFAULT_OUT})",
    ),
    _option(
        "--data-dir", metavar="DIR", type=path,
        help="read the rubric's data set from a torchvision-style folder, not its usual place",
    ),
    _option(
        "--model", metavar="NAME", type=_something,
        help="the class or variable to grade, where a file holds several models",
    ),
    _option(
        "--official", action="store_true",
        help="refuse to run without every protection a submission must be kept in (grade doctor)",
    ),
    _option(
        "--recipe", choices=("own", "default"),
        help="train with the submission's own recipe, or with the grader's (default: its own as "
        "far as it has one)",
    ),
    _option(
        "--store", metavar="DIR", type=path,
        help="folder in which results of trainings are kept, so that nothing is trained twice "
        "(default: the environment variable GRADER_STORE, or a folder of the user's)",
    ),
    _option(
        "--rerun", action="store_true", help="train again what has been trained before",
    ),
    _option(
        "--scheduler", metavar="ADDRESS", type=_something,
        help="train on the Dask cluster at tcp://HOST:PORT or tls://HOST:PORT (docs/cluster.md)",
    ),
    _option(
        "--resources", metavar="NAME=N", type=_resource, action="append",
        help="what a worker of the cluster must have to train, as in GPU=1",
    ),
    _option(
        "--seed", metavar="N", type=_seed,
        help="seed of the training (default: made from what the submission computes)",
    ),
    _option(
        "--runs", metavar="N", type=_runs,
        help="train from N seeds and judge their mean, or as many as the rubric says; as many at "
        "once as there are cores; auto: until the runs decide (default: what the rubric says, "
        "which is 1)",
    ),
    _option(
        "--salt", metavar="FILE", type=path,
        help="the course's secret, made by `grade salt`: seeds and masks follow from it, so that "
        "nobody can choose them (default: the file `salt` beside the rubric, if there is one)",
    ),
    _option(
        "--report", metavar="NAME", action="append", choices=tuple(FORMATS),
        help="also write the results for others to read; several are possible (docs/reports.md): "
        + "; ".join(f"{name}: {each.about}" for name, each in FORMATS.items()),
    ),
    _option(
        "--column", metavar="TITLE", type=_something,
        help="column of the roster, a gradebook, that a report fills with grades",
    ),
    _option(
        "--times", metavar="FILE", type=path,
        help="CSV with who handed in when, for a rubric's late rules: columns as in a roster, and "
        "submitted",
    ),
)  # fmt: skip
