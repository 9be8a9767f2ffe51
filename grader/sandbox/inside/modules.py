"""Runs the statements of a Program as modules, with stand-ins for packages that are missing."""

from __future__ import annotations
import __future__

import ast
import builtins
import copy
import functools
import importlib.abc
import importlib.machinery
import linecache
import operator
import os
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loops import GOES_ON, LOOPS, TURNS, Turning
from passing import FAILS, NOTHING, Passing, guard
from placeholders import MissingPackage, Placeholder, line_of_submission

Json = dict[str, Any]

_FUTURE = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)


_MOST_ATTEMPTS = 20  # at one statement
_SHORT = 1_000  # things in a list


@dataclass(frozen=True)
class Failure:
    """A statement that raised."""

    error: BaseException


class Submission:
    """The modules of a submission, imported by each other and by nobody else.

    They are reached through an `__import__` of their own, so that a submission's `json.py` or
    `transforms.py` is what the submission imports, and never what torch imports. A statement that
    raises ends alone, as a cell of a notebook does; `ends` are exceptions that end the run.
    """

    def __init__(self, modules: Sequence[Json], ends: tuple[type[BaseException], ...] = ()) -> None:
        """Hold a Program's modules."""
        self.modules = {module["name"]: module for module in modules}
        self.loaded: dict[str, types.ModuleType] = {}
        self.failures: list[Failure] = []
        self.bound: dict[str, tuple[str, str]] = {}  # text and place of what a name is bound by
        self.loops: dict[str, list[tuple[int, int]]] = {}
        self._guarded: dict[str, list[tuple[int, int]]] = {}
        self._futures: dict[str, int] = {}
        self._ends = ends
        self.builtins: Json = {}
        self.starred: tuple[str, str] | None = None  # a missing module that gives its names
        self.given: Callable[[str], Any] = lambda name: None
        """Makes what a name stands for that nothing defines, or None."""
        self.lent: dict[str, str] = {}  # packages that another file imports, and who uses them
        self.passing = Passing(self.expects_errors)
        self.attempted: Callable[[], Any]
        """Begins an `Attempt` at a statement."""
        self._missing: set[str] = set()  # packages that turned out to be missing
        known = self._missing.__contains__
        sys.meta_path.append(Finder(lambda name: known(name.partition(".")[0]), Placeholder))
        packages = {name.rpartition(".")[0] for name in self.modules} - {""}
        self.names = set(self.modules) | packages | {p.partition(".")[0] for p in packages}

    def load(self, name: str) -> types.ModuleType:
        """Run a module's statements, once; ModuleNotFoundError if there is no such module."""
        if name in self.loaded:
            return self.loaded[name]
        if name not in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        parent, _, leaf = name.rpartition(".")
        above = self.load(parent) if parent else None
        module = self.loaded[name] = self._new(name)
        for statement in self.modules.get(name, {}).get("statements", []):
            self.run(statement, module)
        if above is not None:
            setattr(above, leaf, module)
        return module

    def run(self, statement: Json, module: types.ModuleType) -> None:
        """Run a statement; what ended it, if anything did, is written down."""
        outer, lines = (self.passing.on, self.passing.possible), dict(self.passing.lines)
        begun = self.attempted()
        error = self._tried(statement, module)
        if error is not None:
            begun.failed()
            self.passing.lines = lines
            self._fail(error)
        self.passing.on, self.passing.possible = outer

    def _tried(self, statement: Json, module: types.ModuleType) -> BaseException | None:
        """Run a statement, once more where that may help, and at last past the lines that fail.

        Returns the error that ended it: the first one, where what learns depends on it.
        """
        before, first = _held(vars(module)), None
        for _ in range(_MOST_ATTEMPTS):
            attempt, self.passing.possible = self.attempted(), False
            try:
                self._execute(statement, module)
            except self._ends:
                raise
            except BaseException as error:  # even SystemExit ends a cell alone
                if isinstance(error, SystemExit) and not error.code and attempt.learned:
                    return None
                again = attempt.once_more(error, supplied=self._supplied(error, module))
                if first is None or isinstance(error, MissingPackage):  # which is what stops it
                    first = None if again else error
                if not again and not self._passes_over(attempt):
                    return first
            else:
                return None if attempt.learned else first
            _put_back(vars(module), before)
        return first

    def _passes_over(self, attempt: Any) -> bool:
        """Tell whether to run a statement past the lines that fail, from now on."""
        if self.passing.on or not self.passing.possible or not attempt.passing():
            return False
        self.passing.on = self.passing.used = True
        return True

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, NameError) and self.starred:
            starred, where = self.starred
            error = MissingPackage(f"{starred}.{error.name}", where)
        self.failures.append(Failure(error))

    def _supplied(self, error: BaseException, module: types.ModuleType) -> bool:
        """Make what a name stands for that a snippet leaves out; tell whether that could be.

        A package that another of the files imports by this name is meant wherever it is missing.
        """
        name = error.name if isinstance(error, NameError) else None
        scope, where = _innermost(error)
        known = [vars(each) for each in self.loaded.values()]
        if not name or name in scope or not any(scope is each for each in known):
            return False  # or it would run without end
        meant = (each[name] for each in known if isinstance(each.get(name), types.ModuleType))
        made = next(meant, None)
        if made is not None:
            self.lent[name] = where
        elif scope is vars(module):
            made = self.given(name)
        if made is not None:
            scope[name] = made
        return made is not None

    def _execute(self, statement: Json, module: types.ModuleType) -> None:
        file = statement["file"]
        _remember_source(statement)
        tree = ast.parse(statement["source"])
        ast.increment_lineno(tree, statement["line"] - 1)
        self.loops.setdefault(file, []).extend(_lines_of(tree, LOOPS))
        self._guarded.setdefault(file, []).extend(_guarded(tree))
        future = self._futures.get(module.__name__, 0)
        tree = Turning(tree).visit(tree)
        guard(tree)
        code = compile(tree, file, "exec", flags=future, dont_inherit=True)
        self._futures[module.__name__] = future | (code.co_flags & _FUTURE)
        if module is self.loaded.get(ENTRY):
            place = f"{file}, line {statement['line']}"
            told = dict.fromkeys(_bound(statement["source"]), (_value(statement["source"]), place))
            self.bound |= told
        exec(code, vars(module))  # noqa: S102 - running this code is what the sandbox is for

    def _new(self, name: str) -> types.ModuleType:
        module = types.ModuleType(name)
        is_package = name not in self.modules or self.modules[name]["package"]
        module.__package__ = name if is_package else name.rpartition(".")[0]
        module.__file__ = name.replace(".", "/") + ".py"
        own = (
            {
                "__import__": self.import_,
                "len": _length,
                TURNS: _same,
                GOES_ON: _same,
                FAILS: self.passing.fails,
                NOTHING: self.passing.nothing,
            }
            | _OF_PYTHON_2
            | self.builtins
        )
        vars(module)["__builtins__"] = {**vars(builtins), **own}
        if name == ENTRY:
            module.__name__ = "__main__"
        sys.modules.setdefault(name, module)  # dataclasses look their module up there
        return module

    def expects_errors(self, file: str, line: int) -> bool:
        """Tell whether a line stands in a `try` that catches something."""
        return any(first <= line <= last for first, last in self._guarded.get(file, ()))

    def import_(
        self,
        name: str,
        globals: Json | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> types.ModuleType:
        """Do what `__import__` does, also where keywords are used: see Python's documentation."""
        absolute = _absolute(name, globals or {}, level)
        if level and not absolute:  # of the entry, beside which its modules lie
            found = [item for item in fromlist or () if item in self.names]
            return types.SimpleNamespace(**{item: self.load(item) for item in found})  # type: ignore[return-value]
        if absolute.partition(".")[0] not in self.names:
            return self._installed(name, globals, locals, fromlist, level)
        module = self.load(absolute)
        for item in fromlist or ():
            if f"{absolute}.{item}" in self.names and not hasattr(module, item):
                self.load(f"{absolute}.{item}")
        return module if fromlist else self.load(absolute.partition(".")[0])

    def _installed(self, name: str, *rest: Any) -> types.ModuleType:
        """Import a package that is no part of the submission, or a placeholder for it."""
        try:
            return builtins.__import__(name, rest[0], rest[1], rest[2] or (), rest[3])
        except ModuleNotFoundError as error:
            frame = sys._getframe(2)
            expected = self.expects_errors(frame.f_code.co_filename, frame.f_lineno)
            ours = error.name is not None and error.name.partition(".")[0] == "grader"
            if error.name is None or ours or expected:
                raise
            self._missing.add(error.name.partition(".")[0])
            if "*" in (rest[2] or ()):
                self.starred = name, line_of_submission()
            return builtins.__import__(name, rest[0], rest[1], rest[2] or (), rest[3])


def _held(scope: Json) -> Json:
    """Return the numbers, texts and short lists that names stand for, as they are now."""
    kept = {k: v for k, v in scope.items() if isinstance(v, int | float | str)}
    short = {k: v for k, v in scope.items() if isinstance(v, list | dict) and len(v) <= _SHORT}
    return kept | {k: (v, copy.copy(v)) for k, v in short.items() if k != "__builtins__"}


def _put_back(scope: Json, held: Json) -> None:
    """Let names stand for what they stood for ahead of a statement that is run once more."""
    for name, value in held.items():
        if isinstance(value, tuple):
            thing, content = value
            thing.clear()
            thing.extend(content) if isinstance(thing, list) else thing.update(content)
        scope[name] = value[0] if isinstance(value, tuple) else value


def _innermost(error: BaseException) -> tuple[Json, str]:
    """Return the globals of the frame that raised an error, and the file it is of."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return (trace.tb_frame.f_globals, trace.tb_frame.f_code.co_filename) if trace else ({}, "")


def hide() -> None:
    """Let nothing of ours be importable by name: a submission may have a `data.py` of its own."""
    here = sys.path.pop(0)
    for name, module in [*sys.modules.items()]:
        file = getattr(module, "__file__", None)
        if name != "__main__" and isinstance(file, str) and os.path.dirname(file) == here:  # noqa: PTH120
            del sys.modules[name]


ENTRY = "__submission__"


def _lines_of(tree: ast.AST, kinds: tuple[type[ast.AST], ...]) -> list[tuple[int, int]]:
    found = [n for n in ast.walk(tree) if isinstance(n, kinds)]
    return [(n.lineno, n.end_lineno or n.lineno) for n in found]  # type: ignore[attr-defined]


def _guarded(tree: ast.AST) -> list[tuple[int, int]]:
    """Return the lines in which something that is missing is expected."""
    return [
        (node.body[0].lineno, node.body[-1].end_lineno or node.body[-1].lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Try) and node.handlers
    ]


def _bound(source: str) -> set[str]:
    """Return the names that a statement may bind."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        return set()
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    named = (ast.ClassDef, ast.FunctionDef)
    return names | {n.name for n in nodes if isinstance(n, named)}


def _value(source: str) -> str:
    """Return what stands behind the `=` of a statement, or its first line."""
    node = ast.parse(source).body[0]
    if isinstance(node, ast.FunctionDef):
        return f"{node.name}({', '.join(arg.arg for arg in node.args.args)})"
    value = getattr(node, "value", None)
    text = ast.get_source_segment(source, value) if isinstance(value, ast.expr) else None
    return text or source.partition("\n")[0]


def _same(things: Any, *_: object) -> Any:
    return things


_OF_PYTHON_2: Json = {"xrange": range, "long": int, "unicode": str}


def _length(thing: Any) -> Any:
    """Do what `len` does, except that a batch of any size keeps its size open."""
    import torch

    is_batch = isinstance(thing, torch.Tensor) and thing.dim() > 0
    return thing.shape[0] if is_batch else len(thing)


def _absolute(name: str, scope: Json, level: int) -> str:
    if level == 0:
        return name
    base = scope.get("__package__") or ""
    for _ in range(level - 1):
        base = base.rpartition(".")[0]
    return ".".join(part for part in (base, name) if part)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives stand-ins for the packages and modules whose names it `knows`."""

    def __init__(
        self, knows: Callable[[str], bool], make: Callable[[str], types.ModuleType],
        fill: Callable[[types.ModuleType], None] = lambda module: None,
    ) -> None:  # fmt: skip
        """Let `make` make a stand-in by its name, and `fill` put into it what programs need."""
        self._knows, self._make, self._fill = knows, make, fill

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Answer for what it knows."""
        known = self._knows(name)
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if known else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Make the stand-in."""
        return self._make(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Fill it."""
        self._fill(module)


class Changed(importlib.abc.MetaPathFinder):
    """Lets real packages be changed as soon as they are imported; `changes` are told by name."""

    def __init__(self, changes: dict[str, Callable[[types.ModuleType], None]]) -> None:
        self._changes = changes

    def find_spec(self, name: str, path: Any = None, target: object = None) -> Any:
        """Find one of them, and leave everything else to others."""
        change = self._changes.get(name)
        spec = importlib.machinery.PathFinder.find_spec(name, path) if change else None
        if spec is not None and spec.loader is not None and change is not None:
            run = spec.loader.exec_module

            def changed(module: types.ModuleType) -> None:
                run(module)
                change(module)

            vars(spec.loader)["exec_module"] = changed
        return spec


def _remember_source(statement: Json) -> None:
    """Let `inspect.getsource` and tracebacks see the statement (torch.jit asks for it)."""
    lines = [line + "\n" for line in statement["source"].splitlines()]
    known = linecache.cache.get(statement["file"])
    old = list(known[2]) if known is not None and len(known) == 4 else []
    start = statement["line"] - 1
    old += ["\n"] * (start + len(lines) - len(old))
    old[start : start + len(lines)] = lines
    linecache.cache[statement["file"]] = (len(old), None, old, statement["file"])
