"""Expressions with their places, and what their text says by itself."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from grader.submission.names import parameters
from grader.submission.sites import Scope, Site
from grader.submission.source import Stmt
from grader.submission.text import Text


@dataclass(frozen=True)
class Value:
    """An expression, and the call before which it is evaluated."""

    expr: ast.expr
    site: Site


@dataclass(frozen=True)
class Made:
    """Where a model is made: the expression, its site, and its class as far as text tells."""

    value: Value
    core: ast.AST
    class_name: str
    handed: Value | None = None  # the expression that was handed to the training

    @property
    def variable(self) -> str:
        """The name under which it was handed to the training, if it has one."""
        expr = self.handed.expr if self.handed else None
        return expr.id if isinstance(expr, ast.Name) else ""

    @property
    def touched(self) -> bool:
        """Tell whether the model is changed after it is made, as by `model.apply(init)`."""
        if self.handed is None or not self.variable:
            return False
        return any(self.variable in s.names.touches for s in self.handed.site.before() if s.ran)


class Undecided(Exception):
    """What the text says does not settle a value; `reason` says why."""

    def __init__(self, site: Site | Stmt, reason: str) -> None:
        super().__init__(reason)
        self.where, self.reason = site.where, reason


NOWHERE = ast.Call(ast.Name("nowhere"), [], [], lineno=1, col_offset=0)


def end_of(scope: Scope, label: str = "") -> Site:
    """Give a place after all statements of a scope."""
    nothing = ast.Pass(lineno=1, col_offset=0, end_lineno=1, end_col_offset=4)
    text = scope.body[-1].text if scope.body else Text(label, [""])
    after = max((s.order[0] for s in scope.body), default=0) + 1
    body = [*scope.body, Stmt(nothing, text, (after,))]
    return Site(NOWHERE, scope, ((body, len(scope.body)),))


def at(site: Site, statement: Stmt) -> Site:
    """Give the place of a statement that stands before a call in the same scope."""
    before = [s for s in site.before() if s is not statement and s.order < statement.order]
    return Site(site.call, site.scope, (([*before, statement], len(before)),))


def is_definition(node: ast.AST) -> bool:
    """Tell whether it is a class or a function."""
    return isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))


def assigned(node: ast.stmt, name: str) -> ast.expr | None:
    """Give the expression a statement gives to the name, if it says so plainly."""
    match node:
        case ast.AnnAssign(target=ast.Name(id=bound), value=value) if bound == name:
            return value
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                if isinstance(target, ast.Name) and target.id == name:
                    return value
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                    for one, given in zip(target.elts, value.elts, strict=False):
                        if isinstance(one, ast.Name) and one.id == name:
                            return given
    return None


def argument(scope: Scope, name: str, call: ast.Call) -> ast.expr | None:
    """Give what a call passes for a parameter; None when it leaves it to the default."""
    assert scope.node is not None
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    heads = [a.arg for a in (*scope.node.args.posonlyargs, *scope.node.args.args)]
    if scope.owner is not None and heads:
        heads = heads[1:]
    if any(isinstance(a, ast.Starred) for a in call.args) or name not in heads:
        return None
    index = heads.index(name)
    return call.args[index] if index < len(call.args) else None


def default(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> ast.expr | None:
    """Give the default of a parameter, or None."""
    positional = [*node.args.posonlyargs, *node.args.args]
    for arg, value in zip(reversed(positional), reversed(node.args.defaults), strict=False):
        if arg.arg == name:
            return value
    for arg, given in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if arg.arg == name:
            return given
    return None


def is_self(node: ast.AST, scope: Scope) -> bool:
    """Tell whether a name is the first parameter of the method it stands in."""
    heads = parameters(scope.node) if scope.node is not None and scope.owner is not None else []
    return isinstance(node, ast.Name) and node.id in heads[:1]


def model_root(expr: ast.expr, scope: Scope) -> ast.expr | None:
    """`model` of `model.parameters()`, `model.fc`; `self.model` of `self.model.parameters()`."""
    node: ast.expr = expr
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        inner = node.func if isinstance(node, ast.Call) else node.value
        if isinstance(node, ast.Attribute) and node is not expr and is_self(inner, scope):
            return node
        node = inner
    return node if isinstance(node, ast.Name) else None
