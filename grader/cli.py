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
from typing import NoReturn

from grader import __version__
from grader.isolation import PACKAGE, forget_current_folder
from grader.options import DEFAULT_OUT, OPTIONS, Option, path

_INTERRUPTED = 2  # pytest.ExitCode.INTERRUPTED
_FAULT = 3  # pytest.ExitCode.INTERNAL_ERROR
_USAGE_ERROR = 4  # pytest.ExitCode.USAGE_ERROR, without importing pytest
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


class Parser(argparse.ArgumentParser):
    """Says what was wrong and what to do, and ends with the exit status that pytest would give."""

    def error(self, message: str) -> NoReturn:
        """Exit."""
        print(f"{self.prog}: {message}\n  try: {self.prog} --help", file=sys.stderr)
        sys.exit(_USAGE_ERROR)


def main() -> None:
    """Run the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Carry out one command; return the exit status."""
    try:
        forget_current_folder()
    except OSError as error:
        print(f"grade: the current folder cannot be used: {error}\n  try: cd", file=sys.stderr)
        return _USAGE_ERROR
    from grader.escape import write_readably

    write_readably(sys.stdout)
    write_readably(sys.stderr)
    from grader import evidence

    commands = {
        **evidence.COMMANDS,
        "check-rubric": check_rubric,
        "class": grade_class,
        "compare": compare,
        "doctor": doctor,
        "gradescope-bundle": gradescope_bundle,
        "init": init,
        "regrade": regrade,
        "report": report,
        "similar": similar,
        "store": store,
    }
    command = commands.get(arguments[0]) if arguments else None
    try:
        return command(arguments[1:]) if command else grade(arguments)
    except SystemExit as end:  # argparse's: wrong usage, or help
        return int(end.code or 0)
    except KeyboardInterrupt as error:  # before pytest began, or after it ended
        from grader.errors import stopped_by

        print(f"grade: {stopped_by(error)}", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # `grade … | head`: its reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CUT_SHORT


def grade(arguments: Sequence[str]) -> int:
    """Grade the submissions that stand first; options that are not ours go to pytest."""
    parser = _grade_parser()
    if not arguments:
        parser.print_help()
        return _USAGE_ERROR
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
            return int(pytest.ExitCode.INTERNAL_ERROR)
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
    except GradingError as error:
        print(error, file=sys.stderr)
        return _USAGE_ERROR
    return 0


def regrade(arguments: Sequence[str]) -> int:
    """Judge the records in a folder again by another rubric; nothing is read or trained."""
    parser = Parser("grade regrade", description=regrade.__doc__)
    parser.add_argument("folder", metavar="DIR", type=path, help="what --out named")
    parser.add_argument("--rubric", metavar="FILE", type=path, help="default: the grader's own")
    parser.add_argument("--salt", metavar="FILE", type=path, help="as for `grade`: seals with it")
    parser.add_argument("--lower", action="store_true", help="lower scores, too")
    values = parser.parse_args(arguments)
    from grader import rubric as rubrics
    from grader import salt as salts
    from grader.errors import GradingError, UsageFault
    from grader.regrade import regraded
    from grader.reports.changes import render

    try:
        rubric = rubrics.load(values.rubric or rubrics.DEFAULT)
        salt = salts.load(values.salt) if values.salt else None
        changes = list(regraded(values.folder, rubric, salt, lower=values.lower))
    except GradingError as error:
        print(error, file=sys.stderr)
        return _USAGE_ERROR if isinstance(error, UsageFault) else _FAULT
    print(render(changes))
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
    from grader.errors import GradingError, UsageFault
    from grader.escape import safe
    from grader.reporting import Wanted, found

    try:
        rubric = rubrics.load(values.rubric or rubrics.DEFAULT)
        wanted = Wanted(
            tuple(values.report), rubric, values.folder, values.data_dir, values.roster,
            values.column or "", values.times,
        )  # fmt: skip
        for written in wanted.write(found(values.folder)):
            print(safe(str(written)))
    except GradingError as error:
        print(error, file=sys.stderr)
        return _USAGE_ERROR if isinstance(error, UsageFault) else _FAULT
    return 0


def init(arguments: Sequence[str]) -> int:
    """Write a rubric with comments, to change, and beside it a JSON schema for editors."""
    parser = Parser("grade init", description=init.__doc__)
    parser.add_argument("file", metavar="FILE", type=path, help="as in rubric.toml; a new one")
    file = parser.parse_args(arguments).file
    import msgspec

    from grader import rubric as rubrics
    from grader.errors import GradingError
    from grader.files import write_atomically

    if file.exists():
        parser.error(f"expected the name of a new file; {file} is there already")
    schema = file.with_suffix(".schema.json")
    text = f"#:schema ./{schema.name}\n{rubrics.DEFAULT.read_text(encoding='utf-8')}"
    try:
        write_atomically(schema, msgspec.json.format(msgspec.json.encode(rubrics.schema())))
        write_atomically(file, text.encode())
    except GradingError as error:
        print(error, file=sys.stderr)
        return _FAULT
    print(f"{file} and {schema} written\n  next: grade check-rubric {file}")
    return 0


def check_rubric(arguments: Sequence[str]) -> int:
    """Read a rubric, and grade the reference solution by it; without training, unless asked to."""
    parser = Parser("grade check-rubric", description=check_rubric.__doc__)
    parser.add_argument("file", metavar="FILE", type=path)
    parser.add_argument("--train", action="store_true", help="train it too, in minutes")
    values = parser.parse_args(arguments)
    from grader import rubric as rubrics
    from grader.errors import GradingError
    from grader.scratch import folder

    try:
        rubric = rubrics.load(values.file)
    except GradingError as error:
        print(error, file=sys.stderr)
        return _USAGE_ERROR
    limits = rubric.limits
    if limits.trained_parameters < limits.parameters - 1:
        print(
            f"note: networks of more than {limits.trained_parameters:,} parameters are not trained"
        )
    quick = [] if values.train else ["--quick"]
    with folder("grader-rubric-") as out:
        command = [str(PACKAGE.parent / "reference_solution"), f"--rubric={values.file}"]
        status = grade([*command, f"--out={out}", *quick])
    words = {0: "meets", 1: "does not meet"}.get(status, "could not be held to")
    part = "" if values.train else " (but for the training: --train)"
    print(f"the reference solution {words} this rubric of {rubric.max_score:g} points{part}")
    return status


def gradescope_bundle(arguments: Sequence[str]) -> int:
    """Write an autograder for Gradescope, with the results that are there (docs/gradescope.md)."""
    parser = Parser("grade gradescope-bundle", description=gradescope_bundle.__doc__)
    parser.add_argument("out", metavar="OUT.zip", type=path)
    parser.add_argument("--grades", metavar="DIR", type=path, help="results of the class, if any")
    parser.add_argument("--rubric", metavar="FILE", type=path, help="default: the grader's own")
    values = parser.parse_args(arguments)
    from grader import rubric as rubrics
    from grader.bundle import bundle
    from grader.errors import GradingError, UsageFault
    from grader.files import write_atomically

    source = values.rubric or rubrics.DEFAULT
    try:
        content, known = bundle(rubrics.load(source), source, values.grades)
        write_atomically(values.out, content)
    except GradingError as error:
        print(error, file=sys.stderr)
        return _USAGE_ERROR if isinstance(error, UsageFault) else _FAULT
    print(f"{values.out}: {len(content) / 1e6:.1f} MB, with the results of {known} submissions")
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
    import msgspec

    from grader.errors import GradingError, UsageFault
    from grader.files import write_atomically
    from grader.reports.similarity import render
    from grader.similar import similar as compared

    try:
        found = compared(values.submissions, values.roster, values.staff, values.grades)
        if values.out:
            encoded = msgspec.json.format(msgspec.json.encode(found.findings))
            write_atomically(values.out, encoded)
        if values.dolos:
            write_atomically(values.dolos, found.dolos())
    except GradingError as error:
        print(error, file=sys.stderr)
        return _USAGE_ERROR if isinstance(error, UsageFault) else _FAULT
    print(render(found.findings))
    return 0


def store(arguments: Sequence[str]) -> int:
    """Look at the results of trainings that are kept, carry them elsewhere, or remove some."""
    parser = Parser("grade store", description=store.__doc__)
    parser.add_argument("--store", metavar="DIR", type=path, help="as for `grade`")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="a line for each result")
    commands.add_parser("check", help="name those that are not whole; status 1 if there are any")
    for name, words in (("export", "write all to a new zip"), ("import", "take over from a zip")):
        commands.add_parser(name, help=words).add_argument("file", metavar="FILE", type=path)
    prune = commands.add_parser("prune", help="remove old results, and those that are not whole")
    prune.add_argument("--days", metavar="N", type=float, default=365, help="older (default: 365)")
    values = parser.parse_args(arguments)
    from grader import store_tools
    from grader.errors import GradingError, UsageFault
    from grader.store import Store, default_place

    place = Store(values.store or default_place())
    try:
        match values.command:
            case "list":
                print(*store_tools.lines(place), f"in {place.place}", sep="\n")
            case "check":
                broken = store_tools.broken(place)
                print(*broken, f"{len(broken)} not whole", sep="\n")
                return int(bool(broken))
            case "export":
                print(f"{store_tools.exported(place, values.file)} written to {values.file}")
            case "import":
                new, refused = store_tools.imported(place, values.file)
                print(f"{new} new" + (f"; {refused} refused: not whole" if refused else ""))
            case "prune":
                print(f"{store_tools.pruned(place, values.days)} removed")
    except GradingError as error:
        print(error, file=sys.stderr)
        return _USAGE_ERROR if isinstance(error, UsageFault) else _FAULT
    return 0


def doctor(arguments: Sequence[str]) -> int:
    """Print which protections this machine gives; exit with 0 if `--official` would run."""
    Parser("grade doctor", description=doctor.__doc__).parse_args(arguments)
    import pytest

    from grader.errors import GradingError
    from grader.sandbox.doctor import held, report

    try:
        found = held()
    except GradingError as error:
        print(error, file=sys.stderr)
        return int(pytest.ExitCode.INTERNAL_ERROR)
    print(report(found))
    return int(pytest.ExitCode.TESTS_FAILED if found.lacks else pytest.ExitCode.OK)


if __name__ == "__main__":
    main()
