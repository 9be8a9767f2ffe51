"""The commands for a verdict that is doubted: who can check what, and how."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grader.options import DEFAULT_OUT, path

if TYPE_CHECKING:
    from grader.reproduce import Sources

_CHANGED = 1
_FAULT, _USAGE_ERROR = 3, 4  # as those of `grade`


def salt(arguments: Sequence[str]) -> int:
    """Make a secret from which the seeds of trainings follow; publish it after the deadline."""
    parser = _parser("salt", salt)
    parser.add_argument("file", metavar="FILE", type=path, help="a new file")
    values = parser.parse_args(arguments)
    from grader.salt import make

    def write() -> int:
        made = make(values.file)
        print(f"written to {values.file}; its SHA-256, which records name: {made.sha256}")
        return 0

    return _told(write)


def verify(arguments: Sequence[str]) -> int:
    """Find what was changed in results since they were written; status 1 if anything was."""
    parser = _parser("verify", verify)
    _add_folder(parser)
    _add_sources(parser)
    values = parser.parse_args(arguments)

    def look() -> int:
        from grader import record as records
        from grader import seal

        sources = _sources(values)
        asked = sources.rubric if values.rubric else None
        folders, others, wrong = seal.results_in(values.folder), 0, 0
        for folder in folders:
            found = list(seal.changed(folder, sources.salt, asked))
            print(*(f"{folder.name}: {each}" for each in found), sep="\n", end="\n" * bool(found))
            wrong += bool(found)
            others += not found and seal.other_version(records.load(folder / "record.json"))
        print(f"{len(folders) - wrong} of {len(folders)} are as they were")
        if others:
            print(f"{others} of them were made by another version of the grader")
        return _CHANGED if wrong else 0

    return _told(look)


def reproduce(arguments: Sequence[str]) -> int:
    """Train again what a record says, and compare; status 1 if the record does not hold."""
    parser = _parser("reproduce", reproduce)
    parser.add_argument(
        "record", metavar="RECORD", type=path, help="a record.json, or the folder it lies in"
    )
    parser.add_argument("--submission", metavar="PATH", type=path, help="read it again, too")
    _add_sources(parser)
    values = parser.parse_args(arguments)
    folder = values.record if values.record.is_dir() else values.record.parent
    return _told(lambda: _again([folder], _sources(values)))


def audit(arguments: Sequence[str]) -> int:
    """Train some results of a class again, chosen by chance; status 1 if any does not hold."""
    parser = _parser("audit", audit)
    _add_folder(parser)
    parser.add_argument("--sample", metavar="N", type=int, default=5, help="how many (default: 5)")
    parser.add_argument("--seed", metavar="N", type=int, help="which (default: nobody knows)")
    _add_sources(parser)
    values = parser.parse_args(arguments)

    def train() -> int:
        from grader.reproduce import sample

        return _again(sample(values.folder, values.sample, values.seed), _sources(values))

    return _told(train)


def leaderboard(arguments: Sequence[str]) -> int:
    """Rank the submissions of a class; what noise cannot tell apart shares a rank."""
    parser = _parser("leaderboard", leaderboard)
    _add_folder(parser)
    parser.add_argument("--names", action="store_true", help="names instead of pseudonyms")
    values = parser.parse_args(arguments)

    def show() -> int:
        import shutil

        from grader import leaderboard as board
        from grader import record as records
        from grader import seal
        from grader.reports.leaderboard import render

        folders = seal.results_in(values.folder)
        places = board.leaderboard([records.load(f / "record.json") for f in folders])
        width = max(shutil.get_terminal_size().columns, 80)
        print(render(places, names=values.names, width=width))
        return 0

    return _told(show)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "audit": audit,
    "leaderboard": leaderboard,
    "reproduce": reproduce,
    "salt": salt,
    "verify": verify,
}


def _again(folders: list[Path], sources: Sources) -> int:
    import shutil

    from grader.reports import progress
    from grader.reports.reproduced import render
    from grader.reproduce import reproduced

    found = []
    for folder in folders:
        with progress.shown(1, brief=False, quiet=False) as show:
            found.append(reproduced(folder, sources, lambda event, run: show(event, "")))
    width = max(shutil.get_terminal_size().columns, 80)
    print(render(list(zip(folders, found, strict=True)), width=width))
    return 0 if all(each.holds for each in found) else _CHANGED


def _parser(name: str, command: Callable[[Sequence[str]], int]) -> argparse.ArgumentParser:
    from grader.cli import Parser

    return Parser(f"grade {name}", description=command.__doc__)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", metavar="DIR", type=path, nargs="?", default=Path(DEFAULT_OUT),
        help=f"results of one submission or of a class (default: {DEFAULT_OUT})",
    )  # fmt: skip


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--salt", metavar="FILE", type=path, help="the course's, once published")
    parser.add_argument("--rubric", metavar="FILE", type=path, help="the course's")
    parser.add_argument("--data-dir", metavar="DIR", type=path, help="as for `grade`")


def _sources(values: argparse.Namespace) -> Sources:
    from grader import rubric as rubrics
    from grader import salt as salts
    from grader.reproduce import Sources

    secret = salts.load(values.salt) if values.salt else None
    rubric = rubrics.load(values.rubric or rubrics.DEFAULT)
    return Sources(rubric, secret, getattr(values, "submission", None), values.data_dir)


def _told(command: Callable[[], int]) -> int:
    """Carry out a command; say what keeps it from its work."""
    from grader.errors import GradingError, UsageFault

    try:
        return command()
    except GradingError as error:
        print(error, file=sys.stderr)
        return _USAGE_ERROR if isinstance(error, UsageFault) else _FAULT
