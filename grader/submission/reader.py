"""`read_program`: from a path to the few statements that describe the submission."""

from __future__ import annotations

import ast
import re
from pathlib import Path, PurePosixPath

import msgspec

from grader.errors import SubmissionError, UsageFault
from grader.submission.bounds import SUFFIXES
from grader.submission.choose import Choice, Chooser
from grader.submission.files import Files, handed_in, label_of
from grader.submission.folder import Reading, choose_entry
from grader.submission.library import Library
from grader.submission.parts import Parts, required_options
from grader.submission.program import ENTRY, Flaw, Program, RecipeChoice, SetAside
from grader.submission.recipe import Finder
from grader.submission.refusals import UnknownModel
from grader.submission.render import Modules
from grader.submission.slice import effectful
from grader.submission.source import Stmt, Unit, read_unit
from grader.submission.trace import Trace
from grader.submission.training import find_training
from grader.submission.values import Undecided

MAX_SET_ASIDE = 2_000


def read_program(
    path: Path, *, model: str | None = None, recipe: RecipeChoice | None = None
) -> Program:
    """Read a submission and reduce it to what has to run; nothing of it is executed.

    `path` is a `.py` file, a notebook, a folder or a `.zip`; `model` names the model to take.
    With `recipe` "default" the submission's own is not looked at; with "own" it must have one.
    Raises SubmissionError for everything its author can correct, UsageFault where the path or
    `model` names nothing.
    """
    try:
        program = _read(path, model)
    except UnknownModel as error:
        raise UsageFault(
            error.message, expected=error.expected, found=error.found, where=error.where,
            help=error.help,
        ) from None  # fmt: skip
    if recipe == "default":
        set_aside = "the grader's recipe is used, because --recipe default asks for it"
        return msgspec.structs.replace(
            program, recipe={}, scheduler_steps=None, flaws=[], notes=[*program.notes, set_aside]
        )
    if recipe == "own" and "optimizer" not in program.recipe:
        missing = Flaw("optimizer", "no optimiser for the model was found", program.model.where)
        return msgspec.structs.replace(program, flaws=[*program.flaws, missing])
    return program


def _read(path: Path, model: str | None) -> Program:
    with handed_in(path.absolute()) as files:
        if path.suffix.lower() in SUFFIXES and not path.is_dir():
            program = _result(_read_file(PurePosixPath(path.name), files, model))
        else:
            program = choose_entry(files, lambda entry: _read_file(entry, files, model))
    return msgspec.structs.replace(program, notes=[*program.notes, *files.notes])


def _result(reading: Reading) -> Program:
    if reading.program is None:
        assert reading.error is not None
        raise reading.error
    return reading.program


def _read_file(path: PurePosixPath, files: Files, model: str | None) -> Reading:
    """Read one file as the entry."""
    reading = Reading(path)
    try:
        entry = read_unit(path, label_of(path), files.read(path))
        modules = Modules(Library(entry, files))
        reading.program, reading.trains = program_of(entry, modules, model)
        reading.used = {unit.path for unit in modules.library.units.values() if unit}
    except SubmissionError as error:
        reading.error = error
    except (RecursionError, MemoryError):
        reading.error = SubmissionError(
            "the code is too large or nested too deeply to read",
            expected="expressions that Python's parser and compiler accept",
            found="more memory or more levels of nesting than there are",
            where=label_of(path),
            help="build long tables or chains in a loop, and keep data in files of their own",
        )
    return reading


def program_of(entry: Unit, modules: Modules, model: str | None) -> tuple[Program, bool]:
    """Give the Program of an entry file, and whether the file trains its model."""
    trace = Trace(modules)
    notes: list[str] = []
    parts = Parts(trace)
    choice = _choose(parts, notes, model)
    _refuse_broken(entry, modules)
    modules.settle()
    finder = Finder(parts, choice, notes)
    finder.find()
    program = Program(
        modules=modules.build(),
        model=choice.part,
        class_name=choice.class_name,
        recipe=finder.recipe,
        scheduler_steps=finder.steps,
        placeholders=sorted(modules.placeholders),
        set_aside=_set_aside(entry, modules),
        notes=notes,
        flaws=finder.flaws,
    )
    notes += _command_line(modules)
    # Last, and with modules of its own: what only the training needs cannot break the model.
    program = msgspec.structs.replace(program, train=find_training(finder))
    return program, choice.optimizer is not None


def _choose(parts: Parts, notes: list[str], model: str | None) -> Choice:
    try:
        return Chooser(parts, notes).choose(model)
    except Undecided as reason:
        raise SubmissionError(
            "the model cannot be built from the values in the code",
            expected="constructor arguments that need no data, files or training",
            found=reason.reason,
            where=reason.where,
            help="add one line to the file, such as `MODEL = Net(...)` with plain values",
        ) from None


def _refuse_broken(entry: Unit, modules: Modules) -> None:
    """Refuse a cell that is not Python when it defines something that is needed."""
    missing = modules.slices[ENTRY].missing if ENTRY in modules.slices else set()
    for error, source in entry.broken:
        defined = re.findall(r"^(?:class|def)\s+(\w+)|^(\w+)\s*=", source, re.M)
        if missing & {name for pair in defined for name in pair}:
            raise error


def _set_aside(entry: Unit, modules: Modules) -> list[SetAside]:
    kept = modules.slices[ENTRY].kept if ENTRY in modules.slices else {}
    orders = {s.order for s in kept}
    bound = {name for s in kept for name in s.names.binds}
    left = [
        SetAside(s.brief, s.where, _why(s, bound))
        for s in entry.statements
        if s.order not in orders and not _says_nothing(s.node)
    ]
    broken = [SetAside(e.found, e.where, f"not Python: {e.message}") for e, _ in entry.broken]
    return [*entry.commands, *broken, *left][:MAX_SET_ASIDE]


def _command_line(modules: Modules) -> list[str]:
    """Say which options the author's command line would have to give."""
    kept = modules.slices[ENTRY].kept if ENTRY in modules.slices else {}
    needed = sorted({name for s in kept for name in required_options(s.node)})
    if not needed:
        return []
    return [f"the command line is taken as empty: no value for {', '.join(needed)}"]


def _says_nothing(node: ast.stmt) -> bool:
    """Tell whether a statement would do nothing if it ran: `pass`, or a text by itself."""
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return text or isinstance(node, ast.Pass)


def _why(statement: Stmt, bound: set[str]) -> str:
    node = statement.node
    if not statement.ran:
        return "its cell was never run"
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return "imports what the model does not need"
    if replaced := sorted(statement.names.binds & bound):
        return f"another definition of `{replaced[0]}` is used"
    if effectful(node):
        return "trains, tests, or touches data or files"
    return "the model does not need it"
