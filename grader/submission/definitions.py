"""Where classes, functions and modules are defined: in the entry, or in the siblings it imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from grader.errors import SubmissionError
from grader.submission.names import bound_by_import, dotted, last
from grader.submission.program import ENTRY
from grader.submission.render import Modules
from grader.submission.sites import Calls, Scope, Site
from grader.submission.slice import loads_data
from grader.submission.values import end_of, is_definition

MAX_DEPTH = 12
MODULE_BASES = frozenset({"Module", "Sequential", "LightningModule", "ModuleList", "ScriptModule"})

Binder = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Import | ast.ImportFrom


@dataclass
class Definitions:
    """Indexes the entry and the siblings it imports."""

    modules: Modules
    calls: Calls = field(default_factory=Calls)
    read: set[str] = field(default_factory=set)
    binders: dict[str, dict[str, list[Binder]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._read(ENTRY)
        for scope in self.calls.scopes:
            if scope.node is not None and loads_data(scope.node):
                self.modules.loading.add(scope.called)

    def _read(self, name: str) -> None:
        """Index a module and the siblings it imports; unreadable ones count when needed."""
        if name in self.read:
            return
        self.read.add(name)
        statements = list(self.modules.flow(name).statements)
        self.calls.read(name, statements)
        for statement in statements:
            for module in self._siblings(name, statement.node):
                self._read(module)

    def _siblings(self, name: str, statement: ast.stmt) -> Iterator[str]:
        for node in ast.walk(statement):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for module in self._named(name, node):
                    try:
                        if module and self.modules.library.find(module):
                            yield module
                    except SubmissionError:
                        continue

    def _named(self, name: str, node: ast.Import | ast.ImportFrom) -> list[str]:
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        target = self.modules.target(name, node)
        inner = [f"{target}.{a.name}" if target else a.name for a in node.names if a.name != "*"]
        return [target, *inner]

    def end(self, module: str) -> Site:
        """Give a place after the whole of a module."""
        statements = list(self.modules.flow(module).statements)
        return end_of(Scope(module, statements), self.modules.library.entry.label)

    def definition(
        self, module: str, name: str, seen: frozenset[tuple[str, str]] = frozenset()
    ) -> tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef] | None:
        """Give the class or function a dotted name means in a module, and its own module."""
        if not name or (module, name) in seen or module not in self.read:
            return None
        seen |= {(module, name)}
        first, _, rest = name.partition(".")
        for node in self._binders(module, first):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for target, inner in self._through(module, node, first, rest):
                    if found := self.definition(target, inner, seen):
                        return found
            elif not rest:
                return module, node
        return None

    def _binders(self, module: str, name: str) -> list[Binder]:
        """Give definitions and imports that may bind a name at the top of a module, last first."""
        if module not in self.binders:
            index: dict[str, list[Binder]] = {}
            statements = self.modules.flow(module).statements
            for statement in sorted(statements, key=lambda s: s.ran):  # those never run come first
                for bound, node in _binds(statement.node):
                    index.setdefault(bound, []).append(node)
            self.binders[module] = index
        index = self.binders[module]
        return [*reversed(index.get(name, [])), *reversed(index.get("*", []))]

    def _through(
        self, module: str, node: ast.Import | ast.ImportFrom, first: str, rest: str
    ) -> Iterator[tuple[str, str]]:
        """Where an import leads for `first.rest`: pairs of module and name in it."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname == first and rest:
                    yield alias.name, rest
                elif alias.asname is None and f"{first}.{rest}".startswith(alias.name + "."):
                    yield alias.name, f"{first}.{rest}".removeprefix(alias.name + ".")
            return
        target = self.modules.target(module, node)
        for alias in node.names:
            if alias.name == "*":
                yield target, f"{first}.{rest}".rstrip(".")
            elif bound_by_import(alias) == first:
                inner = f"{target}.{alias.name}" if target else alias.name
                if rest and inner in self.read:
                    yield inner, rest
                yield target, f"{alias.name}.{rest}".rstrip(".")

    def is_model(self, module: str, node: ast.ClassDef, depth: int = 0) -> bool:
        """Tell whether the class is an `nn.Module`, as far as its text tells."""
        if depth > MAX_DEPTH:
            return False
        for base in node.bases:
            if last(base) in MODULE_BASES:
                return True
            found = self._earlier_class(module, dotted(base), node)
            if found and self.is_model(*found, depth + 1):
                return True
        forward = any(isinstance(c, ast.FunctionDef) and c.name == "forward" for c in node.body)
        return forward and bool(node.bases) and last(node.bases[0]) not in ("Function", "object")

    def _earlier_class(
        self, module: str, name: str, node: ast.ClassDef
    ) -> tuple[str, ast.ClassDef] | None:
        same = [c for _, c in self.calls.classes.get((module, name), []) if c is not node]
        if same:
            return module, same[-1]
        found = self.definition(module, name)
        return (found[0], found[1]) if found and isinstance(found[1], ast.ClassDef) else None


def _binds(statement: ast.stmt) -> Iterator[tuple[str, Binder]]:
    inner = [statement] if is_definition(statement) else ast.walk(statement)
    for node in inner:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                yield bound_by_import(alias), node
