"""Runs the statements of a Program as modules, with stand-ins for packages that are missing."""

from __future__ import annotations
import __future__

import ast
import builtins
import functools
import importlib.abc
import importlib.machinery
import linecache
import operator
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

Json = dict[str, Any]

_FUTURE = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)


class MissingPackage(ImportError):
    """Code that runs uses a package that is not installed here."""


class Placeholder(types.ModuleType):
    """Stands for a missing package, or for something in it, until somebody uses it."""

    def __init__(self, name: str) -> None:
        """Stand for the package or thing called `name`."""
        super().__init__(name)
        self.__path__: list[str] = []  # so that modules inside it can be imported too

    def __getattr__(self, name: str) -> Placeholder:
        """Give a placeholder for something in it."""
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Placeholder(f"{self.__name__}.{name}")

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        """Raise MissingPackage."""
        package = self.__name__.partition(".")[0]
        raise MissingPackage(
            f"{self.__name__} is used, but the package {package!r} is not installed here"
        )

    def __mro_entries__(self, bases: tuple[object, ...]) -> NoReturn:
        self()


class Failure:
    """A statement that raised, and that only the recipe needs."""

    def __init__(self, source: str, error: Exception) -> None:
        self.error = error
        nodes = ast.walk(ast.parse(source))
        self.binds = {n.id for n in nodes if isinstance(n, ast.Name)}


class Submission:
    """The modules of a submission, imported by each other and by nobody else.

    They are reached through an `__import__` of their own, so that a submission's `json.py` or
    `transforms.py` is what the submission imports, and never what torch imports.
    """

    def __init__(self, modules: Sequence[Json]) -> None:
        """Hold a Program's modules."""
        self.modules = {module["name"]: module for module in modules}
        self.loaded: dict[str, types.ModuleType] = {}
        self.failures: list[Failure] = []
        self.futures: dict[str, int] = {}
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
        """Run one statement; one that only the recipe needs may fail."""
        future = self.futures.get(module.__name__, 0)
        try:
            self.futures[module.__name__] = run_statements([statement], vars(module), future)
        except Exception as error:
            if not statement["optional"]:
                raise
            self.failures.append(Failure(statement["source"], error))

    def _new(self, name: str) -> types.ModuleType:
        module = types.ModuleType(name)
        is_package = name not in self.modules or self.modules[name]["package"]
        module.__package__ = name if is_package else name.rpartition(".")[0]
        module.__file__ = name.replace(".", "/") + ".py"
        own = {"__import__": self.import_, "len": _length}
        vars(module)["__builtins__"] = {**vars(builtins), **own}
        sys.modules.setdefault(name, module)  # dataclasses look their module up there
        return module

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
        if absolute.partition(".")[0] not in self.names:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        module = self.load(absolute)
        for item in fromlist or ():
            if f"{absolute}.{item}" in self.names and not hasattr(module, item):
                self.load(f"{absolute}.{item}")
        return module if fromlist else self.load(absolute.partition(".")[0])


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


class PlaceholderFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked after all others: gives a placeholder for the missing packages that were announced."""

    def __init__(self, names: Sequence[str]) -> None:
        """Hold the names that may be missing."""
        self.names = set(names)

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Answer for announced packages and all that is inside them."""
        known = name in self.names or name.partition(".")[0] in self.names
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if known else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Make the placeholder."""
        return Placeholder(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Do nothing: a placeholder is empty."""


def run_statements(statements: Sequence[Json], namespace: Json, future: int = 0) -> int:
    """Execute statements so that tracebacks show the place they have in the submission.

    `from __future__ import ...` holds for all that follows it: `future` are the compiler's flags
    so far, and those after the statements are returned.
    """
    for statement in statements:
        _remember_source(statement)
        tree = ast.parse(statement["source"])
        ast.increment_lineno(tree, statement["line"] - 1)
        code = compile(tree, statement["file"], "exec", flags=future, dont_inherit=True)
        future |= code.co_flags & _FUTURE
        exec(code, namespace)  # noqa: S102 - running this code is what the box is for
    return future


def evaluate(part: Json, namespace: Json, given: Json) -> Any:
    """Evaluate a Part's expression on top of `namespace`, with what the grader hands it."""
    # Comprehensions and lambdas only see globals, so that a copy of them is used, not locals.
    scope = dict(namespace)
    scope |= {name: given[what] for name, what in part["bindings"].items() if what in given}
    run_statements(part["setup"], scope)
    file, _, line = part["where"].rpartition(", line ")
    tree = ast.parse(part["source"], mode="eval")
    ast.increment_lineno(tree, int(line) - 1 if line.isdigit() else 0)
    return eval(compile(tree, file or "submission", "eval"), scope)  # noqa: S307 - as above


def _remember_source(statement: Json) -> None:
    """Let `inspect.getsource` and tracebacks see the statement (torch.jit asks for it)."""
    lines = [line + "\n" for line in statement["source"].splitlines()]
    known = linecache.cache.get(statement["file"])
    old = list(known[2]) if known is not None and len(known) == 4 else []
    start = statement["line"] - 1
    old += ["\n"] * (start + len(lines) - len(old))
    old[start : start + len(lines)] = lines
    linecache.cache[statement["file"]] = (len(old), None, old, statement["file"])
