"""The commands for a verdict that is doubted: who can check what, and how."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grader.commands.shared import FAILED, Parser, add_folder
from grader.options import count, path

if TYPE_CHECKING:
    from grader.reproduce import Sources


def verify(arguments: Sequence[str]) -> int:
    """Find what was changed in results since they were written; status 1 if anything was."""
    parser = Parser("grade verify", description=verify.__doc__)
    add_folder(parser)
    _add_sources(parser)
    values = parser.parse_args(arguments)
    from grader import record as records
    from grader import seal
    from grader.results import results_in

    sources = _sources(values)
    asked = sources.rubric if values.rubric else None
    folders, others, wrong = results_in(values.folder), 0, 0
    for folder in folders:
        found = list(seal.changed(folder, sources.salt, asked))
        print(*(f"{folder.name}: {each}" for each in found), sep="\n", end="\n" * bool(found))
        wrong += bool(found)
        others += not found and seal.other_version(records.load(folder / "record.json"))
    print(f"{len(folders) - wrong} of {len(folders)} are as they were")
    if others:
        print(f"{others} of them were made by another version of the grader")
    return FAILED if wrong else 0


def reproduce(arguments: Sequence[str]) -> int:
    """Train again what a record says, and compare; status 1 if the record does not hold."""
    parser = Parser("grade reproduce", description=reproduce.__doc__)
    parser.add_argument(
        "record", metavar="RECORD", type=path, help="a record.json, or the folder it lies in"
    )
    parser.add_argument("--submission", metavar="PATH", type=path, help="read it again, too")
    _add_sources(parser)
    values = parser.parse_args(arguments)
    folder = values.record if values.record.is_dir() else values.record.parent
    return _again([folder], _sources(values))


def audit(arguments: Sequence[str]) -> int:
    """Train some results of a class again, chosen by chance; status 1 if any does not hold."""
    parser = Parser("grade audit", description=audit.__doc__)
    add_folder(parser)
    parser.add_argument(
        "--sample", metavar="N", type=count, default=5, help="how many (default: 5)"
    )
    parser.add_argument("--seed", metavar="N", type=int, help="which (default: nobody knows)")
    _add_sources(parser)
    values = parser.parse_args(arguments)
    from grader.reproduce import sample

    return _again(sample(values.folder, values.sample, values.seed), _sources(values))


def _again(folders: list[Path], sources: Sources) -> int:
    from grader.errors import GradingError
    from grader.reports import progress
    from grader.reports.reproduced import Reproduced, render
    from grader.reports.text import terminal_width
    from grader.reproduce import reproduced

    found = []
    for folder in folders:
        with progress.shown(1, brief=False, quiet=False) as show:
            try:
                each = reproduced(folder, sources, lambda event, run: show(event, ""))
            except GradingError as error:
                if len(folders) == 1:
                    raise
                each = Reproduced([], [], [f"{error.message}: {error.found}"])
            found.append(each)
    print(render(list(zip(folders, found, strict=True)), width=terminal_width()))
    return 0 if all(each.holds for each in found) else FAILED


def _add_sources(parser: Parser) -> None:
    parser.add_argument("--salt", metavar="FILE", type=path, help="the course's, once published")
    parser.add_argument("--rubric", metavar="FILE", type=path, help="the course's")
    parser.add_argument("--data-dir", metavar="DIR", type=path, help="as for `grade`")


def _sources(values: argparse.Namespace) -> Sources:
    from grader import rubric as rubrics
    from grader import salt as salts
    from grader.reproduce import Sources

    secret = salts.asked_for(values.salt, values.rubric)
    rubric = rubrics.load(values.rubric or rubrics.DEFAULT)
    return Sources(rubric, secret, getattr(values, "submission", None), values.data_dir)
