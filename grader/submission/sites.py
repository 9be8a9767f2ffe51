"""Calls in a submission, each with what runs before it: across loops, functions and callers.

A site knows the path of statements from the top of its function down to the call. `flow(site)`
lays that path out as one line of statements, with enclosing `if`, `for`, `with` and `try`
opened, so that a slice can be cut from it. A function's parameters are followed to the place
it is called from.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from grader.submission.names import (
    COMPOUND,
    FUNCTIONS,
    _scope_locals,
    blocks,
    last,
    parameters,
    root,
)
from grader.submission.program import ENTRY
from grader.submission.source import Stmt

# Methods that every `nn.Module` has: called on a model, they are its own.
_OF_MODULES = frozenset(
    ("train", "eval", "forward", "to", "parameters", "apply", "cuda", "cpu", "state_dict")
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(eq=False)
class Scope:
    """The top of a module, or the body of one function; `owner` is the class of a method."""

    module: str
    body: list[Stmt]
    node: Function | None = None
    owner: ast.ClassDef | None = None
    parent: Scope | None = None
    home: Stmt | None = None  # the top-level statement it stands in

    @cached_property
    def local_names(self) -> frozenset[str]:
        """Names that belong to the function; none for the top of a module."""
        if self.node is None:
            return frozenset()
        return frozenset({*parameters(self.node), *_scope_locals(self.node.body)})

    @property
    def called(self) -> str:
        """The name by which it is called: a constructor goes by its class."""
        if self.node is None:
            return ""
        if self.owner is not None and self.node.name == "__init__":
            return self.owner.name
        return self.node.name


@dataclass(eq=False)
class Site:
    """One call, with the blocks from its scope's body down to its statement."""

    call: ast.Call
    scope: Scope
    path: tuple[tuple[list[Stmt], int], ...]

    @property
    def stmt(self) -> Stmt:
        """The innermost statement the call stands in."""
        block, index = self.path[-1]
        return block[index]

    @property
    def top(self) -> Stmt:
        """The statement of the scope's body the call stands in."""
        block, index = self.path[0]
        return block[index]

    @property
    def ran(self) -> bool:
        """False in a notebook cell that was never executed."""
        return (self.scope.home or self.top).ran

    @property
    def where(self) -> str:
        """Its place in words."""
        return self.stmt.text.where(self.call.lineno)

    @property
    def loops(self) -> list[Stmt]:
        """The loops around the call inside its scope, outermost first."""
        around = [block[index] for block, index in self.path[:-1]]
        return [s for s in around if isinstance(s.node, (ast.For, ast.AsyncFor, ast.While))]

    def before(self) -> list[Stmt]:
        """Give the statements of the scope before the call, with what encloses it opened."""
        found: list[Stmt] = []
        for depth, (block, index) in enumerate(self.path):
            found += block[:index]
            if depth + 1 < len(self.path):
                found.append(_opened(block[index]))
        return found

    def after(self) -> list[Stmt]:
        """Give the statements of the scope's body that follow, the call's own first."""
        block, index = self.path[0]
        return [self.stmt, *block[index + 1 :]]


def _opened(statement: Stmt) -> Stmt:
    return Stmt(
        statement.node, statement.text, statement.order, statement.ran, statement.guarded, True
    )


@dataclass(eq=False)
class Calls:
    """Every call of one or more modules, by the last part of the name that is called."""

    scopes: list[Scope] = field(default_factory=list)
    sites: list[Site] = field(default_factory=list)
    by_name: dict[str, list[Site]] = field(default_factory=dict)
    classes: dict[tuple[str, str], list[tuple[Stmt, ast.ClassDef]]] = field(default_factory=dict)
    _callers: dict[Scope, list[Site]] = field(default_factory=dict)
    _times: dict[Scope, tuple[int, ...]] = field(default_factory=dict)

    def read(self, module: str, statements: list[Stmt]) -> None:
        """Add all calls of a module."""
        self._scope(Scope(module, statements))

    def _scope(self, scope: Scope) -> None:
        self.scopes.append(scope)
        self._block(scope, scope.body, ())

    def _block(
        self, scope: Scope, block: list[Stmt], path: tuple[tuple[list[Stmt], int], ...]
    ) -> None:
        for index, statement in enumerate(block):
            here = (*path, (block, index))
            home = scope.home or statement
            if isinstance(statement.node, COMPOUND):
                for inner in _inner_blocks(statement):
                    self._block(scope, inner, here)
            for node in _own_nodes(statement.node):
                if isinstance(node, ast.Call):
                    site = Site(node, scope, here)
                    self.sites.append(site)
                    self.by_name.setdefault(last(node.func), []).append(site)
                elif isinstance(node, (*FUNCTIONS, ast.ClassDef)):
                    self._definition(scope, statement, node, home)

    def _definition(
        self, scope: Scope, statement: Stmt, node: Function | ast.ClassDef, home: Stmt
    ) -> None:
        if isinstance(node, ast.ClassDef):
            self.classes.setdefault((scope.module, node.name), []).append((statement, node))
            methods = [child for child in node.body if isinstance(child, FUNCTIONS)]
            for method in methods:
                body = _wrap(method.body, statement)
                self._scope(Scope(scope.module, body, method, node, scope, home))
        else:
            body = _wrap(node.body, statement)
            self._scope(Scope(scope.module, body, node, None, scope, home))

    def callers(self, scope: Scope) -> list[Site]:
        """Where a function is called from, as far as names tell, in running order."""
        if scope not in self._callers:
            found = [s for s in self.by_name.get(scope.called, []) if _may_call(s, scope)]
            alive = [s for s in found if s.ran] or found
            self._callers[scope] = sorted(alive, key=self.time)
        return self._callers[scope]

    def time(self, site: Site) -> tuple[int, ...]:
        """When a call runs: in a function, when that is called last."""
        return self._time(site, frozenset())

    def _time(self, site: Site, seen: frozenset[Scope]) -> tuple[int, ...]:
        if site.scope.node is None:
            if not site.ran:
                return (0, *site.stmt.order)
            # What a sibling does when it is imported comes before what the entry does.
            return (2 if site.scope.module == ENTRY else 1, *site.stmt.order)
        if site.scope in seen:
            return (-1,)
        if site.scope not in self._times:
            inner = seen | {site.scope}
            outer = [s for s in self.by_name.get(site.scope.called, []) if _may_call(s, site.scope)]
            self._times[site.scope] = max((self._time(s, inner) for s in outer), default=(-1,))
        return (*self._times[site.scope], *site.stmt.order)


def _may_call(site: Site, scope: Scope) -> bool:
    """Can the call mean this function? `model.train()` is no call of a function `train`."""
    func = site.call.func
    if site.scope is scope:
        return False
    if isinstance(func, ast.Name):
        return scope.owner is None or scope.called == scope.owner.name
    if not isinstance(func, ast.Attribute):
        return False
    if scope.owner is None:
        module = scope.module.rpartition(".")[2]
        return isinstance(func.value, ast.Name) and _is_import(func.value.id, site, module)
    of_model = re.search(r"model|net", ast.unparse(func.value), re.I)
    return root(func) is not None and not (of_model and scope.called in _OF_MODULES)


def _is_import(name: str, site: Site, module: str) -> bool:
    """Tell whether the name, in the call's module, is bound by an import of that module."""
    scope: Scope | None = site.scope
    while scope is not None:
        for statement in scope.body:
            node = statement.node
            if isinstance(node, (ast.Import, ast.ImportFrom)) and name in statement.names.binds:
                return any(alias.name.rpartition(".")[2] == module for alias in node.names)
        scope = scope.parent
    return False


def _wrap(body: list[ast.stmt], around: Stmt) -> list[Stmt]:
    return [
        Stmt(node, around.text, (*around.order, index), around.ran, around.guarded)
        for index, node in enumerate(body)
    ]


def _inner_blocks(statement: Stmt) -> Iterator[list[Stmt]]:
    for number, block in enumerate(blocks(statement.node)):
        yield [
            Stmt(
                node,
                statement.text,
                (*statement.order, number, i),
                statement.ran,
                statement.guarded,
            )
            for i, node in enumerate(block)
        ]


def _own_nodes(statement: ast.stmt) -> Iterator[ast.AST]:
    """Give the nodes of a statement without the statements inside it; definitions come whole."""
    if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
        yield statement
        return
    todo: list[ast.AST] = [statement]
    while todo:
        node = todo.pop()
        if node is not statement and isinstance(node, (ast.stmt, ast.ExceptHandler)):
            continue
        yield node
        todo.extend(ast.iter_child_nodes(node))
