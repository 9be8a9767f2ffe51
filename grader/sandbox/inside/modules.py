"""Runs the statements of a Program as modules, with stand-ins for packages that are missing."""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import linecache
import sys
import types
from collections.abc import Sequence
from typing import Any, NoReturn

Json = dict[str, Any]


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


class SubmissionFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked first: finds the modules of the submission."""

    def __init__(self, modules: Sequence[Json]) -> None:
        """Hold a Program's modules."""
        self.modules = {module["name"]: module for module in modules}

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Answer for the submission's modules."""
        if name not in self.modules:
            return None
        package = bool(self.modules[name].get("package"))
        return importlib.machinery.ModuleSpec(name, self, is_package=package)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Leave the making of the module to Python."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the module's statements."""
        run_statements(self.modules[module.__name__]["statements"], module.__dict__)


class PlaceholderFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked last: gives a placeholder for the missing packages that were announced."""

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


def install(program: Json) -> None:
    """Make the program's modules and placeholders importable in this process."""
    sys.meta_path.insert(0, SubmissionFinder(program["modules"]))
    sys.meta_path.append(PlaceholderFinder(program["placeholders"]))


def run_statements(statements: Sequence[Json], namespace: Json) -> None:
    """Execute statements so that tracebacks show the place they have in the submission."""
    for statement in statements:
        _remember_source(statement)
        tree = ast.parse(statement["source"])
        ast.increment_lineno(tree, statement["line"] - 1)
        code = compile(tree, statement["file"], "exec", dont_inherit=True)
        exec(code, namespace)  # noqa: S102 - running this code is what the box is for


def evaluate(part: Json, namespace: Json, given: Json) -> Any:
    """Evaluate a Part's expression on top of `namespace`, with what the grader hands it."""
    # Comprehensions and lambdas only see globals, so that a copy of them is used, not locals.
    scope = dict(namespace)
    scope |= {name: given[what] for name, what in part["bindings"].items() if what in given}
    run_statements(part["setup"], scope)
    file, _, _ = part["where"].partition(", line")
    return eval(compile(part["source"], file or "submission", "eval"), scope)  # noqa: S307 - as above


def _remember_source(statement: Json) -> None:
    """Let `inspect.getsource` and tracebacks see the statement (torch.jit asks for it)."""
    lines = statement["source"].splitlines(keepends=True)
    known = linecache.cache.get(statement["file"])
    old = list(known[2]) if known is not None and len(known) == 4 else []
    start = statement["line"] - 1
    old += ["\n"] * (start + len(lines) - len(old))
    old[start : start + len(lines)] = lines
    linecache.cache[statement["file"]] = (len(old), None, old, statement["file"])
