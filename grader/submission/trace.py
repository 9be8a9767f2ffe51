"""Following a value to where it is made: through names, parameters, callers and imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from grader.submission.definitions import MAX_DEPTH, Definitions
from grader.submission.names import COMPOUND, bound_by_import, dotted, last, root
from grader.submission.sites import Site
from grader.submission.source import Stmt
from grader.submission.values import (
    NOWHERE,
    Value,
    argument,
    assigned,
    at,
    is_self,
)

# Methods that return the model they are called on, and functions that wrap one.
_SAME = frozenset({"to", "cuda", "cpu", "float", "train", "eval", "apply", "requires_grad_"})
_WRAPS = frozenset(
    {
        "DataParallel",
        "DistributedDataParallel",
        "compile",
        "script",
        "trace",
        "deepcopy",
        "prepare",
        "nn_compile",
    }
)


@dataclass
class Trace(Definitions):
    """Looks values up in the entry and in the siblings it imports."""

    # Values

    def resolve(self, value: Value, depth: int = 0) -> Value:
        """Follow names to the expression that made the value; stops where text does not tell."""
        if depth > MAX_DEPTH:
            return value
        if isinstance(value.expr, ast.Attribute):
            return self._attribute(value.expr, value.site, depth) or value
        if not isinstance(value.expr, ast.Name):
            return value
        name, site = value.expr.id, value.site
        if statement := self.assignment(name, site):
            return self._from_statement(statement, name, site, depth) or value
        if site.scope.node is None:
            return self._from_star(name, site, depth) or value
        return self._from_caller(value, name, depth) if site.scope.node is not None else value

    def _from_statement(self, statement: Stmt, name: str, site: Site, depth: int) -> Value | None:
        if isinstance(statement.node, ast.ImportFrom):
            module = self.modules.target(site.scope.module, statement.node)
            aliases = [a.name for a in statement.node.names if bound_by_import(a) == name]
            return self._from_sibling(module, aliases[-1], depth)
        place = at(site, statement)
        if (given := assigned(statement.node, name)) is not None:
            return self.resolve(Value(given, place), depth + 1)
        return self._unpacked(statement.node, name, place, depth)

    def _from_star(self, name: str, site: Site, depth: int) -> Value | None:
        """Follow a name that `from sibling import *` binds."""
        for statement in reversed(site.before()):
            node = statement.node
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                module = self.modules.target(site.scope.module, node)
                if name in self.modules.library.star_names(module):
                    return self._from_sibling(module, name, depth)
        return None

    def _from_sibling(self, module: str, name: str, depth: int) -> Value | None:
        """Follow a variable of a sibling to where it is set there."""
        if module not in self.read:
            return None
        end = self.end(module)
        statement = self.assignment(name, end)
        return self._from_statement(statement, name, end, depth + 1) if statement else None

    def _attribute(self, expr: ast.Attribute, site: Site, depth: int) -> Value | None:
        """Follow `self.name` to where a method of the class sets it, `__init__` above all."""
        owner = site.scope.owner
        if owner is None or not is_self(expr.value, site.scope):
            return None
        methods = [s for s in self.calls.scopes if s.owner is owner]
        for scope in sorted(methods, key=lambda s: s.called != owner.name):
            for statement in reversed(scope.body):
                if isinstance(statement.node, ast.Assign):
                    for target in statement.node.targets:
                        if ast.unparse(target) == ast.unparse(expr):
                            place = Site(
                                NOWHERE, scope, ((scope.body, scope.body.index(statement)),)
                            )
                            return self.resolve(Value(statement.node.value, place), depth + 1)
        return None

    def _unpacked(self, node: ast.stmt, name: str, place: Site, depth: int) -> Value | None:
        """Give what `a, b = f()` gives to one of its targets."""
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            return None
        target = node.targets[0]
        names = [root(e) for e in target.elts] if isinstance(target, ast.Tuple) else []
        if name not in names:
            return None
        if last(node.value.func) == "random_split" and node.value.args:
            return self.resolve(Value(node.value.args[0], place), depth + 1)
        for value in self.returned(node.value, place):
            if isinstance(value.expr, ast.Tuple) and len(value.expr.elts) == len(names):
                part = value.expr.elts[names.index(name)]
                return self.resolve(Value(part, value.site), depth + 1)
        return None

    def origin(self, value: Value, depth: int = 0) -> Value:
        """Follow a value to the call that makes it, also out of functions that return it."""
        value = self.resolve(value)
        if isinstance(value.expr, ast.Call) and depth < MAX_DEPTH:
            for inner in self.returned(value.expr, value.site):
                return self.origin(inner, depth + 1)
        return value

    def returned(self, call: ast.Call, site: Site) -> Iterator[Value]:
        """Give the expressions that a function of the submission returns when called so."""
        found = self.definition(site.scope.module, dotted(call.func))
        for scope in self.calls.scopes:
            if found is not None and scope.node is found[1] and scope.body:
                place = Site(NOWHERE, scope, ((scope.body, len(scope.body) - 1),))
                for node in ast.walk(scope.node):
                    if isinstance(node, ast.Return) and node.value is not None:
                        yield Value(node.value, place)

    def _from_caller(self, value: Value, name: str, depth: int) -> Value:
        scope = value.site.scope
        callers = self.calls.callers(scope)
        if name in scope.local_names:
            for caller in reversed(callers):
                passed = argument(scope, name, caller.call)
                if passed is not None:
                    return self.resolve(Value(passed, caller), depth + 1)
            return value
        if callers and callers[-1].scope.module == scope.module:
            return self.resolve(Value(value.expr, callers[-1]), depth + 1)
        return self.resolve(Value(value.expr, self.end(scope.module)), depth + 1)

    def assignment(self, name: str, site: Site) -> Stmt | None:
        """Give the last statement before the call, in its own scope, that binds the name."""
        if site.scope.node is not None and name not in site.scope.local_names:
            return None
        statements = site.before()
        for statement in reversed(statements):
            if name in statement.names.binds and statement.ran:
                return statement
        unran = [s for s in (*statements, *site.after()) if name in s.names.binds]
        return unran[-1] if unran else None

    # Classes

    def model_class(self, value: Value, depth: int = 0) -> str | None:
        """Give the class of the model that the expression makes, or None if it makes none."""
        if depth > MAX_DEPTH:
            return None
        value = self.resolve(value)
        expr = value.expr
        if isinstance(expr, ast.Name):
            return self._class_in_block(expr.id, value.site, depth)
        if not isinstance(expr, ast.Call):
            return None
        name = last(expr.func)
        if isinstance(expr.func, ast.Attribute) and name in _SAME:
            return self.model_class(Value(expr.func.value, value.site), depth + 1)
        if name in _WRAPS and expr.args:
            return self.model_class(Value(expr.args[0], value.site), depth + 1)
        return self.class_called(expr.func, value.site) or self._returned(expr, value.site, depth)

    def _class_in_block(self, name: str, site: Site, depth: int) -> str | None:
        """Give the class of a model that an `if`, `try` or loop before the call binds."""
        statement = self.assignment(name, site)
        if statement is None or not isinstance(statement.node, COMPOUND):
            return None
        place = at(site, statement)
        for node in ast.walk(statement.node):
            given = assigned(node, name) if isinstance(node, ast.stmt) else None
            if given and (found := self.model_class(Value(given, place), depth + 1)):
                return found
        return None

    def core(self, value: Value, depth: int = 0) -> ast.AST:
        """Give what makes a model, under all that moves or wraps it: a call, or a block."""
        value = self.resolve(value)
        expr = value.expr
        if isinstance(expr, ast.Call) and depth <= MAX_DEPTH:
            name = last(expr.func)
            if isinstance(expr.func, ast.Attribute) and name in _SAME:
                return self.core(Value(expr.func.value, value.site), depth + 1)
            if name in _WRAPS and expr.args:
                return self.core(Value(expr.args[0], value.site), depth + 1)
        if isinstance(expr, ast.Name) and (block := self.assignment(expr.id, value.site)):
            return block.node
        return expr

    def class_called(self, func: ast.expr, site: Site, depth: int = 0) -> str | None:
        """Give the model class that a call of `func` makes an instance of."""
        if depth > MAX_DEPTH:
            return None
        if dotted(func).endswith("nn.Sequential"):
            return "Sequential"
        func = self._picked(func, site)
        found = self.definition(site.scope.module, dotted(func))
        if found and isinstance(found[1], ast.ClassDef) and self.is_model(found[0], found[1]):
            return found[1].name
        if isinstance(func, ast.Name) and (one := self._alias(func, site)) is not None:
            return self.class_called(one.expr, one.site, depth + 1)
        return None

    def _picked(self, func: ast.expr, site: Site) -> ast.expr:
        """`Net` of `{"net": Net}["net"]`, `models.Net` of `getattr(models, "Net")`."""
        if isinstance(func, ast.Subscript):
            table = self.resolve(Value(func.value, site)).expr
            key = self.resolve(Value(func.slice, site)).expr
            if isinstance(table, ast.Dict) and isinstance(key, ast.Constant):
                for name, value in zip(table.keys, table.values, strict=True):
                    if isinstance(name, ast.Constant) and name.value == key.value:
                        return value
        if isinstance(func, ast.Call) and last(func.func) == "getattr" and len(func.args) > 1:
            name = self.resolve(Value(func.args[1], site)).expr
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                return ast.Attribute(func.args[0], name.value, ast.Load())
        return func

    def _alias(self, func: ast.Name, site: Site) -> Value | None:
        """`Net` of `cls = Net`, for a plain assignment or a class that is passed on."""
        value = self.resolve(Value(func, site))
        plain = isinstance(value.expr, (ast.Name, ast.Attribute))
        return value if plain and dotted(value.expr) != func.id else None

    def _returned(self, call: ast.Call, site: Site, depth: int) -> str | None:
        for value in self.returned(call, site):
            parts = value.expr.elts if isinstance(value.expr, ast.Tuple) else [value.expr]
            for part in parts:
                if name := self.model_class(Value(part, value.site), depth + 1):
                    return name
        return None
