"""The commands that set up a course and its machines."""

from __future__ import annotations

from collections.abc import Sequence

from grader.commands.shared import FAILED, Parser
from grader.isolation import PACKAGE
from grader.options import path


def salt(arguments: Sequence[str]) -> int:
    """Make a secret from which the seeds of trainings follow; publish it after the deadline."""
    parser = Parser("grade salt", description=salt.__doc__)
    parser.add_argument("file", metavar="FILE", type=path, help="a new file")
    values = parser.parse_args(arguments)
    from grader.salt import make

    made = make(values.file)
    print(f"written to {values.file}; its SHA-256, which records name: {made.sha256}")
    return 0


def init(arguments: Sequence[str]) -> int:
    """Write a rubric with comments, to change, and beside it a JSON schema for editors."""
    parser = Parser("grade init", description=init.__doc__)
    parser.add_argument("file", metavar="FILE", type=path, help="as in rubric.toml; a new one")
    file = parser.parse_args(arguments).file
    from grader import rubric as rubrics
    from grader.files import readable, write_atomically

    if file.exists():
        parser.error(f"expected the name of a new file; {file} is there already")
    schema = file.with_suffix(".schema.json")
    text = f"#:schema ./{schema.name}\n{rubrics.DEFAULT.read_text(encoding='utf-8')}"
    write_atomically(schema, readable(rubrics.schema()))
    write_atomically(file, text.encode())
    print(f"{file} and {schema} written\n  next: grade check-rubric {file}")
    return 0


def check_rubric(arguments: Sequence[str]) -> int:
    """Read a rubric, and grade the reference solution by it; without training, unless asked to."""
    parser = Parser("grade check-rubric", description=check_rubric.__doc__)
    parser.add_argument("file", metavar="FILE", type=path)
    parser.add_argument("--train", action="store_true", help="train it too, in minutes")
    values = parser.parse_args(arguments)
    from grader import rubric as rubrics
    from grader.cli import grade
    from grader.scratch import folder

    rubric = rubrics.load(values.file)
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
    from grader.files import write_atomically

    source = values.rubric or rubrics.DEFAULT
    content, known, left = bundle(rubrics.load(source), source, values.grades)
    write_atomically(values.out, content)
    print(f"{values.out}: {len(content) / 1e6:.1f} MB, with the results of {known} submissions")
    if left:
        print(f"left out: {left}, which are not graded whole, or not by this rubric")
    return 0


def doctor(arguments: Sequence[str]) -> int:
    """Print which protections this machine gives; exit with 0 if `--official` would run."""
    Parser("grade doctor", description=doctor.__doc__).parse_args(arguments)
    from grader.sandbox.doctor import held, report

    found = held()
    print(report(found))
    return FAILED if found.lacks else 0
