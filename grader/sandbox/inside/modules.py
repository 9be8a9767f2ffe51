"""Runs the statements of a Program as modules, with stand-ins for packages that are missing."""

from __future__ import annotations
import __future__

import ast
import builtins
import dis
import functools
import importlib.abc
import importlib.machinery
import inspect
import linecache
import operator
import os
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from loops import GOES_ON, LOOPS, TURNS, Turning

Json = dict[str, Any]

_FUTURE = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)


FOREIGN = {
    "tensorflow": "TensorFlow", "keras": "Keras", "jax": "JAX", "flax": "Flax", "fastai": "fastai",
    "mxnet": "MXNet", "paddle": "PaddlePaddle", "tflearn": "TFLearn",
}  # fmt: skip


class MissingPackage(ImportError):
    """Code that runs uses a package that is not installed here."""

    def __init__(self, name: str, where: str = "") -> None:
        self.package, self.where = name.partition(".")[0], where
        if self.package in FOREIGN:
            told = f"this is {FOREIGN[self.package]}; the assignment asks for PyTorch"
            self.help = "write the network with PyTorch"
        else:
            told = (
                f"{name} is used, but {self.package!r} was not handed in and is not installed here"
            )
            self.help = "submit the folder that holds it, or build the model without it"
        super().__init__(told)


USED: dict[str, str] = {}
"""What was used of packages that are missing, where it stood for nothing, and on which line."""


class Placeholder(types.ModuleType):
    """Stands for a missing package, or for something in it: whatever is done with it does nothing.

    Except inside a model: what a network computes cannot be nothing.
    """

    known: Callable[..., Any] = staticmethod(lambda name, /, *args, **options: None)
    """Gives what a function of a missing package returns for its arguments, or None."""

    def __init__(self, name: str) -> None:
        """Stand for the package or thing called `name`."""
        super().__init__(name)
        self.__path__: list[str] = []  # so that modules inside it can be imported too

    def __getattr__(self, name: str) -> Any:
        """Give a placeholder for something in it."""
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return type(self)(f"{self.__name__}.{name}")

    def __call__(self, *args: object, **options: object) -> Any:
        """Do nothing, and give back a function that is decorated, or more of nothing."""
        if (made := self.known(self.__name__, *args, **options)) is not None:
            return made
        self._use()
        alone = len(args) == 1 and not options and inspect.isfunction(args[0])
        return args[0] if alone else type(self)(self.__name__)

    def _use(self) -> None:
        """Note that it is used; raises MissingPackage where that cannot be nothing."""
        if self.__name__.partition(".")[0] in FOREIGN or _in_a_model():
            raise MissingPackage(self.__name__)
        USED.setdefault(self.__name__, _line())

    def __mro_entries__(self, bases: tuple[object, ...]) -> Any:
        """Raise MissingPackage: a class of it would be another."""
        raise MissingPackage(self.__name__)

    def __iter__(self) -> Iterator[Any]:
        """Give as many of nothing as are unpacked: `figure, axes = plt.subplots()`."""
        return iter([self] * unpacked(sys._getframe(1)))

    def __enter__(self) -> Self:
        """Do nothing."""
        return self

    def __exit__(self, *error: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def __len__(self) -> int:
        """Hold nothing."""
        return 0

    def _itself(self, *_: object) -> Self:
        return self

    def _zero(self) -> int:
        return 0

    def _no(self, *_: object) -> bool:
        return False

    def __format__(self, spec: str) -> str:
        """Show nothing."""
        return ""

    def __float__(self) -> float:
        """Be no number that matters."""
        return 0.0

    __int__ = __index__ = _zero
    __lt__ = __le__ = __gt__ = __ge__ = _no
    __rtruediv__ = __floordiv__ = __rfloordiv__ = __pow__ = __mod__ = __round__ = __abs__ = _itself
    __getitem__ = __deepcopy__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = _itself
    __rmul__ = __truediv__ = __or__ = __and__ = __neg__ = __matmul__ = _itself


def unpacked(frame: types.FrameType) -> int:
    """Return how many things a frame unpacks right now: 2 for `x, y = pair`, or 0."""
    code = frame.f_code.co_code
    unpacks = dis.opname[code[frame.f_lasti]] == "UNPACK_SEQUENCE"
    return code[frame.f_lasti + 1] if unpacks else 0


def _line() -> str:
    """Return the innermost line of the submission, whose files have no absolute path."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith("<") and not os.path.isabs(file):  # noqa: PTH117 - no file
            return f"{file}, line {frame.f_lineno}"
        frame = frame.f_back
    return ""


class Quiet(Placeholder):
    """Stands for a package that shows or logs."""

    def _use(self) -> None:
        """Do nothing, wherever it is."""

    def __mro_entries__(self, bases: tuple[object, ...]) -> Any:
        """Let a class inherit from nothing."""
        return ()


def _in_a_model() -> bool:
    """Tell whether a module is being made, or called."""
    from torch import nn

    frame = sys._getframe(1)
    while frame is not None:
        first = frame.f_code.co_varnames[:1]
        if first == ("self",) and isinstance(frame.f_locals.get("self"), nn.Module):
            return True
        frame = frame.f_back  # type: ignore[assignment] # None at the bottom ends the loop
    return False


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
        self.attempted: Callable[[], Callable[[BaseException, bool], bool]] = _only_supplied
        """Is asked ahead of a statement for what tells, by its error, to run it once more."""
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
            self._run(statement, module)
        if above is not None:
            setattr(above, leaf, module)
        return module

    def _run(self, statement: Json, module: types.ModuleType) -> None:
        once_more = self.attempted()
        try:
            self._execute(statement, module)
        except self._ends:
            raise
        except BaseException as error:  # even SystemExit ends a cell alone
            if once_more(error, self._supplied(error, module)):
                self._run(statement, module)
                return
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
                "input": _no_input,
                TURNS: _same,
                GOES_ON: _same,
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
                self.starred = name, _line()
            return builtins.__import__(name, rest[0], rest[1], rest[2] or (), rest[3])


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


def _only_supplied() -> Callable[[BaseException, bool], bool]:
    return lambda error, supplied: supplied


def _same(things: Any, *_: object) -> Any:
    return things


def _no_input(*_: object) -> str:
    return ""


_OF_PYTHON_2: Json = {"xrange": range, "long": int, "unicode": str, "raw_input": _no_input}


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


def _remember_source(statement: Json) -> None:
    """Let `inspect.getsource` and tracebacks see the statement (torch.jit asks for it)."""
    lines = [line + "\n" for line in statement["source"].splitlines()]
    known = linecache.cache.get(statement["file"])
    old = list(known[2]) if known is not None and len(known) == 4 else []
    start = statement["line"] - 1
    old += ["\n"] * (start + len(lines) - len(old))
    old[start : start + len(lines)] = lines
    linecache.cache[statement["file"]] = (len(old), None, old, statement["file"])
