"""Which names a statement binds, changes in place, reads when it runs, and reads later.

`now` are the names that must exist when the statement runs; `late` are the names that stand
inside function bodies and lambdas, and are looked up only when those are called.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

# Methods that build up the object they are called on, as an expression statement of its own.
BUILDERS = frozenset(
    {
        "append",
        "extend",
        "insert",
        "update",
        "add",
        "add_argument",
        "add_argument_group",
        "add_mutually_exclusive_group",
        "set_defaults",
        "add_module",
        "register_buffer",
        "register_parameter",
        "register_module",
        "setdefault",
        "apply",
        "remove",
        "pop",
        "clear",
        "sort",
        "reverse",
    }
)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPOUND = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True)
class Names:
    """The names of one statement; `strong` says it binds for sure, whatever was bound before."""

    binds: frozenset[str]
    touches: frozenset[str]
    now: frozenset[str]
    late: frozenset[str]
    strong: bool


def names_of(node: ast.stmt) -> Names:
    """Read one statement. Star imports bind nothing here: that takes the other module."""
    reader = _Reader()
    reader.visit(node)
    plain = not isinstance(node, (*COMPOUND, ast.AugAssign)) and not _dotted_import(node)
    return Names(
        frozenset(reader.binds),
        frozenset(reader.touches),
        frozenset(reader.now),
        frozenset(reader.late),
        plain,
    )


def reads(node: ast.AST) -> frozenset[str]:
    """All names an expression or a statement reads, now or later."""
    reader = _Reader()
    reader.visit(node)
    return frozenset(reader.now | reader.late)


def root(node: ast.AST) -> str | None:
    """`x` of `x`, `x.a.b`, `x[0].c` and `x.a()[1]`."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call, ast.Starred)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def dotted(node: ast.AST) -> str:
    """`torch.optim.SGD` of that expression, and the empty text of anything less plain."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def last(node: ast.AST) -> str:
    """`SGD` of `torch.optim.SGD`, `fit` of `trainers[0].fit`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[str]:
    """Give the parameters of a function in the order of its head."""
    args = node.args
    every = [*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg]
    return [arg.arg for arg in every if arg is not None]


def blocks(node: ast.stmt) -> list[list[ast.stmt]]:
    """Give the lists of statements inside a compound statement, in the order of the text."""
    found = [getattr(node, part, None) or [] for part in ("body", "orelse", "finalbody")]
    inner = [branch.body for branch in (*_handlers(node), *getattr(node, "cases", ()))]
    return [block for block in (found[0], *inner, *found[1:]) if block]


def _handlers(node: ast.stmt) -> list[ast.ExceptHandler]:
    return node.handlers if isinstance(node, ast.Try) else []


def _dotted_import(node: ast.stmt) -> bool:
    """`import a.b` adds to `a` and does not replace it."""
    return isinstance(node, ast.Import) and any(
        "." in alias.name and alias.asname is None for alias in node.names
    )


def bound_by_import(alias: ast.alias) -> str:
    """Give the name that an alias of an import statement binds."""
    return alias.asname or alias.name.partition(".")[0]


def _scope_locals(body: Iterable[ast.AST]) -> set[str]:
    """Names bound in a function or class body, without those of the functions inside it."""
    found: set[str] = set()
    outside: set[str] = set()
    for node in _same_scope(body):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                found.add(name)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.alias() if node.name != "*":
                found.add(bound_by_import(node))
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                found.add(name)
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                found.add(name)
            case ast.Global(names=names):
                outside.update(names)
    return found - outside


def _same_scope(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    todo = list(body)
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, COMPREHENSIONS):
            todo.extend(n for n in ast.walk(node) if isinstance(n, ast.NamedExpr))
        elif not isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))


@dataclass
class _Reader(ast.NodeVisitor):
    """Walks a statement; `hidden` are names that belong to a scope inside it."""

    binds: set[str] = field(default_factory=set)
    touches: set[str] = field(default_factory=set)
    now: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)
    hidden: frozenset[str] = frozenset()
    class_names: frozenset[str] = frozenset()
    inside: bool = False  # in a function body: reads are late, bindings are its own
    local: bool = False  # in any inner scope: bindings are not the module's

    def _scoped(
        self, nodes: Iterable[ast.AST], names: Iterable[str], *, function: bool = False
    ) -> None:
        kept = self.hidden, self.inside, self.local, self.class_names
        self.hidden |= frozenset(names)
        self.inside, self.local = self.inside or function, True
        self.class_names = frozenset() if function else self.class_names
        for node in nodes:
            self.visit(node)
        self.hidden, self.inside, self.local, self.class_names = kept

    def _bind(self, name: str) -> None:
        if not self.local:
            self.binds.add(name)

    def _touch(self, node: ast.AST) -> None:
        name = root(node)
        if name and not self.inside and name not in self.hidden:
            self.touches.add(name)

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._bind(node.id)
        elif node.id not in self.hidden and node.id not in self.class_names:
            (self.late if self.inside else self.now).add(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Store):
            self._touch(node)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.ctx, ast.Store):
            self._touch(node)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        self._builder(node.value)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._builder(node.value)
        self.generic_visit(node)

    def _builder(self, value: ast.expr) -> None:
        if (
            isinstance(value, ast.Call)
            and isinstance(value.func, ast.Attribute)
            and value.func.attr in BUILDERS
        ):
            self._touch(value.func.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is None and isinstance(node.target, ast.Name):
            self.visit(node.annotation)
        else:
            self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.visit_Name(ast.Name(node.target.id, ast.Load()))
        self.generic_visit(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._bind(node.name)
        for part in (*node.decorator_list, node.args, node.returns):
            if part is not None:
                self.visit(part)
        own = {*parameters(node), *_scope_locals(node.body)}
        self._scoped(node.body, own, function=True)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def visit_arguments(self, node: ast.arguments) -> None:
        """Defaults and annotations belong to the scope around the function."""
        self.generic_visit(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit(node.args)
        self._scoped([node.body], parameters(node), function=True)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name)
        for part in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(part)
        kept = self.class_names
        self.class_names |= frozenset(_scope_locals(node.body))
        self._scoped(node.body, ())
        self.class_names = kept

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    ) -> None:
        targets = [n for g in node.generators for n in ast.walk(g.target)]
        own = {n.id for n in targets if isinstance(n, ast.Name)}
        self.visit(node.generators[0].iter)
        self._scoped(ast.iter_child_nodes(node), own)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._bind(bound_by_import(alias))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name != "*":
                self._bind(bound_by_import(alias))

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind(node.name)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self._bind(node.name)
        self.generic_visit(node)
