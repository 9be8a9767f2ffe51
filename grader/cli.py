"""`grade PATH`: the run of `pytest grader --submission PATH`, its command line hardened.

pytest starts in an empty folder, finds the checks first on its command line, and gets nothing
from the environment or from the folder it is called in but the paths that a person names.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from grader import __version__
from grader.commands import COMMANDS, command
from grader.commands.shared import FAULT, INTERRUPTED, USAGE_ERROR, Parser, told
from grader.isolation import PACKAGE, forget_current_folder
from grader.options import OPTIONS, Option, path

_CUT_SHORT = 128 + 13  # as a shell tells the signal SIGPIPE
_USAGE = """grade PATH [PATH ...] [options]
       grade class DIR [options]"""
_ABOUT = """\
Grade one submission: a .py file, a notebook, a folder or a .zip. The same as
`pytest grader --submission PATH`, except that no pytest configuration, plugin or
environment variable of the folder you are in, or of the submission, has a say.

  grade reference_solution              everything: reads, judges, trains, tests
  grade net.ipynb --quick               all but the training, in seconds
  grade net.py --model Net2 --out marks
  grade net.py --runs 5                 five seeds: mean, spread, chance of a pass
  grade class DIR                       a folder of submissions, or a download of them
  grade regrade DIR --rubric FILE       new verdicts from kept results, in seconds
  grade report DIR --report NAME        kept results, as other systems read them
  grade gradescope-bundle OUT.zip       an autograder for Gradescope
  grade init rubric.toml                a rubric to change, with a schema for editors
  grade check-rubric rubric.toml        does the reference solution meet it?
  grade similar DIR                     what the submissions of a class share
  grade store list                      results of trainings that are kept
  grade leaderboard DIR                 who is best, as far as noise lets one say
  grade salt FILE                       a secret, for seeds that nobody can choose
  grade verify DIR                      whether results are as they were
  grade reproduce DIR                   train again what a record says, and compare
  grade audit DIR                       the same, for a sample of a class
  grade compare A B                     two submissions beside each other
  grade doctor                          what protects this machine from submissions
"""
_MORE = """\
pytest's own options work as well: -k, -m, -x, -v, -q and more (pytest --help).

Exit status:
  0  all selected checks passed
  1  some did not: the submission's doing
  2  the run was stopped: Ctrl-C, a signal, --timeout
  3  the grader or its machine failed, which is no verdict on the submission
  4  wrong usage: the command line, the path, the rubric, the data folder
"""
_FILES = (
    Option("--junitxml", {"metavar": "FILE", "type": path, "help": "JUnit report of pytest"}),
    Option("--log-file", {"metavar": "FILE", "type": path, "help": "log of pytest"}),
)
"""Options of pytest's that name a file, which is meant to lie where the person is."""


def main() -> None:
    """Run the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Carry out one command; return the exit status."""
    try:
        forget_current_folder()
    except OSError as error:
        print(f"grade: the current folder cannot be used: {error}\n  try: cd", file=sys.stderr)
        return USAGE_ERROR
    from grader.escape import write_readably

    write_readably(sys.stdout)
    write_readably(sys.stderr)
    try:
        return _carried_out(arguments)
    except SystemExit as end:  # argparse's: wrong usage, or help
        return int(end.code or 0)
    except KeyboardInterrupt as error:  # before pytest began, or after it ended
        from grader.errors import stopped_by

        print(f"grade: {stopped_by(error)}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `grade … | head`: its reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CUT_SHORT


def _carried_out(arguments: Sequence[str]) -> int:
    match arguments:
        case ["class", *rest]:
            return grade_class(rest)
        case [name, *rest] if name in COMMANDS:
            return told(command(name), rest)
    return grade(arguments)


def grade(arguments: Sequence[str]) -> int:
    """Grade the submissions that stand first; options that are not ours go to pytest."""
    parser = _grade_parser()
    if not arguments:
        parser.print_help()
        return USAGE_ERROR
    first, *_ = arguments
    if first in ("-h", "--help", "--version"):
        parser.parse_args([first])
    if not first or (first.startswith("-") and not Path(first).exists()):
        parser.error(
            f"the path of the submission comes first, then options; found {first or 'nothing'}"
        )
    more = itertools.takewhile(lambda word: word and not word.startswith("-"), arguments[1:])
    paths = [first, *more]
    named = [f"--submission={Path(path).absolute()}" for path in paths]
    return _grade(parser, named, arguments[len(paths) :])


def grade_class(arguments: Sequence[str]) -> int:
    """Grade each submission in a folder, an archive or the bulk download of a course system."""
    parser = _grade_parser()
    if not arguments or arguments[0].startswith("-"):
        parser.error("the folder of the submissions comes first: grade class DIR [options]")
    return _grade(parser, [f"--submissions={Path(arguments[0]).absolute()}"], arguments[1:])


def _grade(parser: Parser, named: list[str], rest: Sequence[str]) -> int:
    try:
        values, others = parser.parse_known_args(rest)
    except argparse.ArgumentError as error:
        option = next(o for o in (*OPTIONS, *_FILES) if o.name == error.argument_name)
        parser.error(f"{option.name}: {error.message}\n  expected: {option.name} {option.value}")
    if files := [word for word in others if word.startswith("@")]:
        parser.error(f"expected submissions and options; found {files[0]}")  # arguments to read
    options = [word for option in _options() for word in _spelled(option, values)]
    return _run_pytest([*named, *options, *others])


def _run_pytest(options: Sequence[str]) -> int:
    """Run pytest over the checks in an empty folder of its own."""
    import pytest

    from grader.scratch import folder

    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(contextlib.chdir(stack.enter_context(folder("grader-run-"))))
        except OSError as error:
            print(f"grade: no temporary folder can be made: {error}", file=sys.stderr)
            return FAULT
        return int(pytest.main([
            str(PACKAGE / "checks"), f"--rootdir={Path.cwd()}", "--disable-plugin-autoload",
            "-p", "timeout", *options, f"--config-file={PACKAGE / 'pytest.ini'}",
        ]))  # fmt: skip


def _options() -> tuple[Option, ...]:
    return (*OPTIONS[2:], *_FILES)  # all but the submissions, which stand first


def _spelled(option: Option, values: argparse.Namespace) -> list[str]:
    """Return an option as it is passed on, if it was given: paths as they are seen from here."""
    value = getattr(values, option.name.strip("-").replace("-", "_"))
    if value is None or value is False:
        return []
    if value is True:
        return [option.name]
    each = value if isinstance(value, list) else [value]
    return [f"{option.name}={_word(one)}" for one in each]


def _word(value: object) -> str:
    if isinstance(value, Path):
        return str(value.absolute())
    return "=".join(map(str, value)) if isinstance(value, tuple) else str(value)  # NAME=N


def _grade_parser() -> Parser:
    parser = Parser(
        "grade", usage=_USAGE, description=_ABOUT, epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
        exit_on_error=False,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"grade {__version__}")
    for option in _options():
        parser.add_argument(option.name, **option.arguments)
    return parser


if __name__ == "__main__":
    main()
