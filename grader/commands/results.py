"""The commands that look at submissions and their results again, and train nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from grader.commands.shared import USAGE_ERROR, Parser, add_folder
from grader.options import DEFAULT_OUT, OPTIONS, path


def compare(arguments: Sequence[str]) -> int:
    """Show two submissions side by side, untrained unless their results are in `grades`."""
    parser = Parser("grade compare", description=compare.__doc__)
    parser.add_argument("left", metavar="A", type=path)
    parser.add_argument("right", metavar="B", type=path)
    values = parser.parse_args(arguments)
    from grader.compare import compared
    from grader.errors import GradingError

    try:
        print(compared(values.left, values.right))
    except GradingError as error:  # one status, whoever is at fault
        print(error, file=sys.stderr)
        return USAGE_ERROR
    return 0


def regrade(arguments: Sequence[str]) -> int:
    """Judge the records in a folder again by another rubric; nothing is read or trained."""
    parser = Parser("grade regrade", description=regrade.__doc__)
    parser.add_argument("folder", metavar="DIR", type=path, help="what --out named, or one of it")
    parser.add_argument("--rubric", metavar="FILE", type=path, help="default: the grader's own")
    parser.add_argument("--salt", metavar="FILE", type=path, help="as for `grade`")
    parser.add_argument("--lower", action="store_true", help="lower scores, too")
    values = parser.parse_args(arguments)
    from grader import rubric as rubrics
    from grader import salt as salts
    from grader.regrade import regraded
    from grader.reports.changes import render

    rubric = rubrics.load(values.rubric or rubrics.DEFAULT)
    salt = salts.asked_for(values.salt, values.rubric)
    print(render(list(regraded(values.folder, rubric, salt, lower=values.lower))))
    return 0


def report(arguments: Sequence[str]) -> int:
    """Write the results in a folder as other systems read them; nothing is graded or run."""
    parser = Parser("grade report", description=report.__doc__)
    parser.add_argument("folder", metavar="DIR", type=path, help="what --out named, or one of it")
    for option in OPTIONS:
        if option.name in ("--report", "--rubric", "--data-dir", "--roster", "--column", "--times"):
            required = option.name == "--report"
            parser.add_argument(option.name, **option.arguments, required=required)
    values = parser.parse_args(arguments)
    from grader import rubric as rubrics
    from grader.escape import safe
    from grader.reporting import Wanted, found

    rubric = rubrics.load(values.rubric or rubrics.DEFAULT)
    wanted = Wanted(
        tuple(values.report), rubric, values.folder, values.data_dir, values.roster,
        values.column or "", values.times,
    )  # fmt: skip
    for written in wanted.write(*found(values.folder)):
        print(safe(str(written)))
    return 0


def similar(arguments: Sequence[str]) -> int:
    """Show what the submissions of a class share, as evidence; nothing of them is run."""
    parser = Parser("grade similar", description=similar.__doc__)
    parser.add_argument("submissions", metavar="DIR_OR_ZIP", type=path, help="as for `grade class`")
    parser.add_argument("--roster", metavar="FILE", type=path, help="as for `grade`")
    parser.add_argument(
        "--staff", metavar="PATH", type=path, nargs="+", action="extend", default=[],
        help="what students were given: code in it is left out",
    )  # fmt: skip
    parser.add_argument(
        "--grades", metavar="DIR", type=path, default=Path(DEFAULT_OUT),
        help=f"records of the class, for their networks (default: {DEFAULT_OUT})",
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE", type=path, help="write all that was found as JSON")
    parser.add_argument("--dolos", metavar="ZIP", type=path, help="write an archive for Dolos")
    values = parser.parse_args(arguments)
    from grader.files import readable, write_atomically
    from grader.reports.similarity import render
    from grader.similar import similar as compared

    found = compared(values.submissions, values.roster, values.staff, values.grades)
    if values.out:
        write_atomically(values.out, readable(found.findings))
    if values.dolos:
        write_atomically(values.dolos, found.dolos())
    print(render(found.findings))
    return 0


def leaderboard(arguments: Sequence[str]) -> int:
    """Rank the submissions of a class; what noise cannot tell apart shares a rank."""
    parser = Parser("grade leaderboard", description=leaderboard.__doc__)
    add_folder(parser)
    parser.add_argument("--names", action="store_true", help="names instead of pseudonyms")
    values = parser.parse_args(arguments)
    from grader import leaderboard as board
    from grader.reporting import found
    from grader.reports.leaderboard import render
    from grader.reports.text import terminal_width

    graded, remarks = found(values.folder)
    for _, key, why in remarks:
        print(f"{key}: {why}, so it has no place", file=sys.stderr)
    places = board.leaderboard([each.record for each in graded])
    print(render(places, names=values.names, width=terminal_width()))
    return 0
