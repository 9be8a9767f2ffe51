"""`read_program`: from a path to the statements that are run to describe the submission."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

from grader.errors import SubmissionError
from grader.submission.bounds import SUFFIXES
from grader.submission.files import Files, handed_in, label_of
from grader.submission.folder import choose_entry
from grader.submission.library import Library
from grader.submission.program import ENTRY, Module, Program, RecipeChoice, SetAside
from grader.submission.source import Stmt, Unit, read_unit

_MOST_MODULES = 200
# What a cell that cannot be read may not hold, or the rest would be judged without it.
_MATTERS = re.compile(
    r"nn\.Module|\.backward\(|\boptim\b|DataLoader\(|\bMODEL\b|\bbuild_model\b|\.fit\(|\bepochs?\b"
    r"|\btrain\w*\(",
)
_TARGET = re.compile(r"^\s*_target_:\s*['\"]?([\w.]+)", re.M)
_BINDS = re.compile(r"^\s*(?:(?:async\s+)?def\s+|class\s+)?(\w+)\s*[=:(]", re.M)


def read_program(
    path: Path, *, model: str | None = None, recipe: RecipeChoice | None = None
) -> Program:
    """Read a submission into statements; nothing of it is executed.

    `path` is a `.py` file, a notebook, a folder or a `.zip`; `model` names the model to take, and
    `recipe` says whose recipe to train by. Raises SubmissionError for everything its author can
    correct, UsageFault where the path names nothing.
    """
    with handed_in(path.absolute()) as files:
        alone = path.suffix.lower() in SUFFIXES and not path.is_dir()
        entry = PurePosixPath(path.name) if alone else choose_entry(files)
        program = _program(entry, files)
    notes = [*program.notes, *files.notes]
    return msgspec.structs.replace(program, model=model, recipe=recipe, notes=notes)


def _program(path: PurePosixPath, files: Files) -> Program:
    try:
        entry = read_unit(path, label_of(path), files.read(path))
        library = Library(entry, files)
        _refuse_broken(entry)
        kept, left = _settled(entry)
        settings = files.settings()
        targets = {name for text in settings.values() for name in _TARGET.findall(text)}
        modules = [*_imported(library, kept, targets), Module(ENTRY, [s.statement() for s in kept])]
    except (RecursionError, MemoryError):
        raise SubmissionError(
            "the code is too large or nested too deeply to read",
            expected="expressions that Python's parser and compiler accept",
            found="more memory or more levels of nesting than there are",
            where=label_of(path),
            help="build long tables or chains in a loop, and keep data in files of their own",
        ) from None
    broken = [SetAside(e.found, e.where, f"not Python: {e.message}") for e, _ in entry.broken]
    return Program(
        modules, set_aside=[*entry.commands, *broken, *left], settings=settings,
        home=label_of(path.parent), witness=entry.witness, notes=library.notes,
    )  # fmt: skip


def _refuse_broken(unit: Unit) -> None:
    """Refuse a cell that is not Python and may hold the model, how it is trained, or a name.

    A name matters that the rest reads and that only this cell may have bound.
    """
    bound = {name for s in unit.statements for name in s.names.binds} | set(dir(builtins))
    needed = {name for s in unit.statements for name in s.names.now | s.names.late} - bound
    for error, source in unit.broken:
        if _MATTERS.search(source) or needed & set(_BINDS.findall(source)):
            raise error


def _settled(unit: Unit) -> tuple[list[Stmt], list[SetAside]]:
    """Leave out cells that were never run, unless only they define a name."""
    own = [s for s in unit.statements if s.runs != "imported"]
    ran = {name for s in own if s.ran for name in s.names.binds}
    kept = [s for s in own if s.ran or s.names.binds - ran]
    left = [s for s in own if not (s.ran or s.names.binds - ran)]
    return kept, [SetAside(s.brief, s.where, "its cell was never run") for s in left]


def _imported(library: Library, statements: list[Stmt], targets: set[str]) -> list[Module]:
    """Return the modules of the submission that its statements import, and those these import.

    `targets` are dotted names that its settings have made.
    """
    found: dict[str, Module] = {}
    todo = [name for s in statements for name in _names(library, "", s.node)]
    todo += [name for target in targets for name in _prefixes(target)]
    while todo and len(found) < _MOST_MODULES:
        name = todo.pop()
        unit = None if name in found else library.find(name)
        if unit is None:
            continue
        _refuse_broken(unit)
        kept = [s for s in unit.statements if s.runs != "entry"]
        found[name] = Module(name, [s.statement() for s in kept], library.is_package(name))
        todo += [n for s in kept for n in _names(library, name, s.node)]
    return list(found.values())


def _names(library: Library, module: str, statement: ast.stmt) -> Iterator[str]:
    """Yield the dotted names that a statement may import, packages around them first."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _prefixes(alias.name)
        elif isinstance(node, ast.ImportFrom):
            package = bool(module) and library.is_package(module)
            base = library.absolute(module, package, node)
            yield from _prefixes(base)
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and _is_import(node.func):
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield from _prefixes(first.value)


def _is_import(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")


def _prefixes(name: str) -> Iterator[str]:
    parts = name.split(".") if name else []
    yield from (".".join(parts[: count + 1]) for count in range(len(parts)))
