"""`grade PATH`: the run of `pytest grader --submission PATH`, its command line hardened."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from grader.errors import GradingError
from grader.escape import write_readably

_PACKAGE = Path(__file__).resolve().parent
_HELP = f"""usage: grade PATH [options]

Grades one submission: a .py file, a notebook, a folder or a .zip. The same as
`pytest grader --submission PATH`, except that no pytest configuration, plugin or
environment variable of the folder you are in, or of the submission, has a say.

  grade reference_solution              everything: reads, judges, trains, tests
  grade net.ipynb --quick               all but the training, in seconds
  grade net.py --model Net2 --out marks
  grade net.py --runs 5                 five seeds: mean, spread, chance of a pass
  grade compare A B                     two submissions beside each other
  grade doctor                          what protects this machine from submissions
  grade --help                          this text
  pytest {_PACKAGE} --help              all options, those of pytest included

Exit status: 0 all checks passed, 1 some did not, 2 interrupted, 4 wrong usage.
"""


def main() -> None:
    """Run the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Grade the submission that stands first among `arguments`; return the exit status.

    Options behind the path go to pytest.
    """
    write_readably(sys.stdout)
    write_readably(sys.stderr)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_HELP)
        return 0 if arguments else int(pytest.ExitCode.USAGE_ERROR)
    if arguments[0] == "compare":
        return compare(arguments[1:])
    if arguments == ["doctor"]:
        return doctor()
    submission, *options = arguments
    if not submission:
        print("grade: the path of the submission is empty\ntry: grade PATH", file=sys.stderr)
        return int(pytest.ExitCode.USAGE_ERROR)
    if submission.startswith("-") and not Path(submission).exists():
        print(
            f"grade: the path of the submission comes first, then options; found {submission}\n"
            "try: grade PATH --quick --out marks",
            file=sys.stderr,
        )
        return int(pytest.ExitCode.USAGE_ERROR)
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]
    here = str(Path.cwd())
    # A console script does not have the current folder on its path, `python -m` does.
    sys.path[:] = [p for p in sys.path if p not in ("", here)]
    return int(
        pytest.main(
            ["-c", str(_PACKAGE / "pytest.ini"), f"--rootdir={_PACKAGE}",
             f"--submission={Path(submission).absolute()}", *options, str(_PACKAGE / "checks")]
        )
    )  # fmt: skip


def compare(paths: list[str]) -> int:
    """Show two submissions side by side, untrained unless their results are in `grades`."""
    if len(paths) != 2:
        print("usage: grade compare A B\n\nShows two submissions beside each other.")
        return int(pytest.ExitCode.USAGE_ERROR)
    from grader.compare import compared

    try:
        print(compared(Path(paths[0]), Path(paths[1])))
    except GradingError as error:
        print(error, file=sys.stderr)
        return int(pytest.ExitCode.USAGE_ERROR)
    return 0


def doctor() -> int:
    """Print which protections this machine gives; return 0 if `--official` would run."""
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
