"""From slices to the modules of a Program: imports narrowed, sibling modules sliced in turn."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable
from dataclasses import dataclass, field

from grader.submission.library import RESERVED, Library, imported, is_standard
from grader.submission.names import COMPOUND, blocks, bound_by_import, names_of
from grader.submission.program import ENTRY, Module, Statement
from grader.submission.prune import prune
from grader.submission.slice import Flow, Slice, backward
from grader.submission.source import Stmt, first_line

_GUARDS = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


@dataclass
class Modules:
    """Collects what every module of the submission has to run."""

    library: Library
    slices: dict[str, Slice] = field(default_factory=dict)
    flows: dict[str, Flow] = field(default_factory=dict)
    wanted: dict[str, set[str]] = field(default_factory=dict)
    placeholders: set[str] = field(default_factory=set)
    loading: set[str] = field(default_factory=set)  # functions that load data
    settled: dict[str, set[Stmt]] = field(default_factory=dict)  # what the model needs

    def flow(self, name: str) -> Flow:
        """Give the statements that importing this module runs."""
        if name not in self.flows:
            unit = self.library.entry if name == ENTRY else self.library.find(name)
            assert unit is not None
            kept = [s for s in unit.statements if name == ENTRY or not s.guarded]
            self.flows[name] = self.flow_of(name, kept)
        return self.flows[name]

    def flow_of(self, name: str, statements: list[Stmt]) -> Flow:
        """Give a flow of statements of the module, with its star imports resolved."""
        return Flow(
            statements,
            lambda node: self.library.star_names(self.target(name, node)),
            self.loading,
        )

    def target(self, name: str, node: ast.ImportFrom) -> str:
        """Give the dotted name a `from x import` in the module `name` means."""
        if name == ENTRY:
            return self._entry_target(node)
        return self.library.absolute(name, self.library.is_package(name), node)

    def _entry_target(self, node: ast.ImportFrom) -> str:
        """Place the entry at the root of its folder; folders above it go by their path.

        What would lie above all that was handed in is looked for at its top.
        """
        above = self.library.entry.path.parent.parents
        folder = above[node.level - 2].parts if 2 <= node.level <= len(above) + 1 else ()
        return ".".join([*folder, *([node.module] if node.module else [])])

    def settle(self) -> None:
        """Take what is kept so far for the model's; what comes later is the recipe's alone."""
        self.settled = {name: set(found.kept) for name, found in self.slices.items()}

    def add(self, name: str, found: Slice) -> None:
        """Take a slice of a module, and what it imports from its siblings."""
        self.slices.setdefault(name, Slice()).merge(found)
        for statement, names in found.kept.items():
            self.follow(name, statement.node, names)

    def follow(self, name: str, node: ast.stmt, names: set[str], guarded: bool = False) -> None:
        """Want from siblings what the imports inside a kept statement take from them."""
        for inner, tried in _imports(node, names, guarded):
            for module, taken in self._taken(name, inner, names):
                self._want(module, taken, tried)

    def _taken(
        self, name: str, node: ast.Import | ast.ImportFrom, names: set[str]
    ) -> Iterable[tuple[str, set[str]]]:
        """Which names of which modules an import statement takes."""
        if isinstance(node, ast.Import):
            for alias in imported(node, names) or node.names:
                module = alias.name
                bound = alias.asname or module
                yield module, self._attributes(name, module, bound)
            return
        module = self.target(name, node)
        if node.names[0].name == "*":
            yield module, names & self.library.star_names(module)
            return
        for alias in imported(node, names) or node.names:
            inner = f"{module}.{alias.name}" if module else alias.name
            if self._is_submodule(module, alias.name):
                yield inner, self._attributes(name, inner, bound_by_import(alias))
            else:
                yield module, {alias.name}

    def _is_submodule(self, module: str, name: str) -> bool:
        if not module:
            return self.library.find(name) is not None
        if not self.library.is_package(module):
            return False
        unit = self.library.find(module)
        assert unit is not None
        defined = any(name in self.flow(module).binds(s) for s in unit.statements)
        return not defined and self.library.find(f"{module}.{name}") is not None

    def _attributes(self, importer: str, module: str, bound: str) -> set[str]:
        """Names of `module` that the importing module takes by `bound.name`; all, if unclear."""
        unit = self.library.find(module)
        if unit is None:
            return set()
        parts = bound.split(".")
        found: set[str] = set()
        plain = False
        for statement in self.flow(importer).statements:
            for node in ast.walk(statement.node):
                if isinstance(node, ast.Attribute):
                    chain = _chain(node)
                    if chain[: len(parts)] == parts and len(chain) > len(parts):
                        found.add(chain[len(parts)])
                elif isinstance(node, ast.Call):
                    plain |= any(_chain(a) == parts for a in node.args)
        public = self.library.star_names(module)
        return set(public) if plain else found

    def _want(self, module: str, names: set[str], tried: bool) -> None:
        unit = self.library.find(module)
        if unit is None:
            self._foreign(module, tried)
            return
        self._want_parents(module)
        known = self.wanted.setdefault(module, set())
        if new := names - known:
            known |= new
            flow = self.flow(module)
            found = backward(flow, len(flow.statements), new)
            self.add(module, found)
            for name in found.missing & new:  # `import pkg` and then `pkg.part.Net`
                if self.library.is_package(module) and self.library.find(f"{module}.{name}"):
                    self._want(
                        f"{module}.{name}", set(self.library.star_names(f"{module}.{name}")), tried
                    )
        self.slices.setdefault(module, Slice())

    def _want_parents(self, module: str) -> None:
        parent = module.rpartition(".")[0]
        while parent:
            self.slices.setdefault(parent, Slice())
            parent = parent.rpartition(".")[0]

    def _foreign(self, module: str, tried: bool) -> None:
        if module and not is_standard(module) and not tried:
            parts = module.split(".")
            # What torch lacks it may look for itself: only a name the file gives in full.
            shortest = 2 if parts[0] in RESERVED else 1
            self.placeholders |= {".".join(parts[:n]) for n in range(shortest, len(parts) + 1)}

    def build(self) -> list[Module]:
        """Give the modules, imported ones first and the entry last."""
        order: dict[str, None] = {}
        for name in self.slices:
            self._order(name, order, frozenset())
        order.pop(ENTRY, None)
        return [self._module(name) for name in (*order, ENTRY)]

    def _order(self, name: str, order: dict[str, None], waiting: frozenset[str]) -> None:
        if name in order or name in waiting:
            return
        parent = name.rpartition(".")[0]
        for other in (parent, *self._imported_by(name)):
            if other in self.slices:
                self._order(other, order, waiting | {name})
        order.setdefault(name)

    def _imported_by(self, name: str) -> list[str]:
        found = self.slices[name].kept if name in self.slices else {}
        return [
            module
            for statement, names in found.items()
            for node, _ in _imports(statement.node, names, False)
            for module, _ in self._taken(name, node, names)
        ]

    def _module(self, name: str) -> Module:
        found = self.slices.get(name, Slice())
        statements = [self.statement(name, s, found.kept[s]) for s in found.ordered()]
        package = name != ENTRY and (
            self.library.is_package(name) or self.library.find(name) is None
        )
        futures = [s for s in self.flow(name).statements if _is_future(s)] if found.kept else []
        return Module(name, [*(f.statement() for f in futures), *statements], package)

    def statement(self, name: str, statement: Stmt, names: set[str]) -> Statement:
        """One kept statement as text, reduced to the names it is kept for."""
        source = self._text(name, statement, names)
        optional = statement not in self.settled.get(name, ())
        return Statement(source, statement.text.label, first_line(statement.node), optional)

    def _text(self, name: str, statement: Stmt, names: set[str]) -> str:
        node = statement.node
        if isinstance(node, COMPOUND):
            return self._compound(name, statement, names)
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            return self._import(name, node, names) or statement.source
        return statement.source

    def _compound(self, name: str, statement: Stmt, names: set[str]) -> str:
        pruned = prune(statement.node, names)
        if pruned is None:
            return "pass"
        rewritten = _Imports(self, name, pruned).visit(copy.deepcopy(pruned))
        if ast.dump(rewritten) == ast.dump(statement.node):
            return statement.source
        return ast.unparse(ast.fix_missing_locations(rewritten))

    def _import(self, name: str, node: ast.Import | ast.ImportFrom, names: set[str]) -> str | None:
        """Narrow an import to the aliases wanted, by absolute name; None leaves it as it is."""
        if isinstance(node, ast.Import):
            aliases = imported(node, names) or node.names
            return None if len(aliases) == len(node.names) else ast.unparse(ast.Import(aliases))
        module = self.target(name, node)
        star = node.names[0].name == "*"
        known = self.library.find(module) is not None if module else True
        if star and known:
            aliases = [ast.alias(n) for n in sorted(names & self.library.star_names(module))]
        else:
            aliases = node.names if star else imported(node, names) or node.names
        if not known and len(aliases) == len(node.names) and not node.level:
            return None
        if not module:  # `from . import net` at the root
            return ast.unparse(ast.Import([ast.alias(a.name, a.asname) for a in aliases]))
        return ast.unparse(ast.ImportFrom(module, aliases, 0)) if aliases else "pass"


class _Imports(ast.NodeTransformer):
    """Narrows the import statements inside a compound statement."""

    def __init__(self, modules: Modules, name: str, whole: ast.stmt) -> None:
        self.modules, self.name = modules, name
        self.wanted = {n for s in ast.walk(whole) for n in _binds(s)}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        text = self.modules._import(self.name, node, self.wanted)
        return node if text is None else ast.parse(text).body[0]


def _binds(node: ast.AST) -> frozenset[str]:
    is_import = isinstance(node, (ast.Import, ast.ImportFrom))
    return names_of(node).binds if is_import else frozenset()  # type: ignore[arg-type]


def _imports(
    node: ast.stmt, names: set[str], tried: bool
) -> Iterable[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Import statements in a kept statement, and whether an ImportError there is caught."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield node, tried
    elif isinstance(node, COMPOUND):
        pruned = prune(node, names)
        if pruned is not None:
            yield from _imports_in(pruned, tried)
    else:
        for inner in ast.walk(node):
            if isinstance(inner, (ast.Import, ast.ImportFrom)):
                yield inner, tried


def _imports_in(node: ast.stmt, tried: bool) -> Iterable[tuple[ast.Import | ast.ImportFrom, bool]]:
    caught = isinstance(node, ast.Try) and any(_catches(h) for h in node.handlers)
    for block in blocks(node):
        attempt = caught and block is getattr(node, "body", None)
        for child in block:
            if isinstance(child, COMPOUND):
                yield from _imports_in(child, tried or attempt)
            else:
                for inner in ast.walk(child):
                    if isinstance(inner, (ast.Import, ast.ImportFrom)):
                        yield inner, tried or attempt


def _catches(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    return any(isinstance(n, ast.Name) and n.id in _GUARDS for n in ast.walk(handler.type))


def _chain(node: ast.AST) -> list[str]:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else []


def _is_future(statement: Stmt) -> bool:
    return isinstance(statement.node, ast.ImportFrom) and statement.node.module == "__future__"
