"""The backward slice: which statements must run so that some names have their values.

For a name wanted at a place, the statements that bind it before that place are kept, back to
the last one that binds it for sure, and those that build it up (`layers.append(…)`). What a
kept statement reads when it runs is wanted where it stands; what function bodies in it read is
wanted where the function is used. Statements that train, download, read files or talk to a
person are never kept; wanting their result is reported.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from grader.submission.names import COMPOUND, FUNCTIONS, Names, last, names_of
from grader.submission.prune import prune
from grader.submission.source import Stmt

_EFFECTS = frozenset(
    {
        "open",
        "input",
        "next",
        "backward",
        "step",
        "mount",
        "download",
        "urlretrieve",
        "urlopen",
        "imread",
        "read_csv",
        "system",
        "check_output",
        "Popen",
        "sleep",
        "getpass",
        "read",
        "savefig",
        "show",
        "load",
        "load_url",
        "DataLoader",
        "fit",
        "fit_one_cycle",
        "random_split",
        "load_dataset",
    }
)
_TRAINS = re.compile(
    r"^(train|test|fit|evaluate|validate|run_training)"
    r"(_?(model|epoch|loop|net|network|one_epoch|step|and_\w+))?$"
)


def effectful(node: ast.AST) -> bool:
    """Tell whether running it trains, loads data, reads files, or waits for somebody."""
    if isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Lambda, ast.Import, ast.ImportFrom)):
        return False
    if isinstance(node, ast.Call) and _effect_call(node):
        return True
    return any(effectful(child) for child in ast.iter_child_nodes(node))


def loads_data(node: ast.AST) -> bool:
    """Tell whether a function's body makes loaders or downloads, whenever it is called."""
    calls = (n for n in ast.walk(node) if isinstance(n, ast.Call))
    return any(
        last(call.func) == "DataLoader" or any(k.arg == "download" for k in call.keywords)
        for call in calls
    )


def _effect_call(call: ast.Call) -> bool:
    name = last(call.func)
    if name in _EFFECTS or any(k.arg == "download" for k in call.keywords):
        return True
    return bool(_TRAINS.match(name)) and bool(call.args or call.keywords)


@dataclass(eq=False)
class Flow:
    """Statements in the order they run, and where each name is bound or built up.

    `stars` gives the names that a `from … import *` binds; `loading` are functions of the
    submission that load data.
    """

    statements: Sequence[Stmt]
    stars: Callable[[ast.ImportFrom], frozenset[str]] = lambda _: frozenset()
    loading: Collection[str] = ()

    @cached_property
    def writers(self) -> dict[str, list[int]]:
        """For every name the positions of statements that bind it or build it up."""
        found: dict[str, list[int]] = {}
        for index, statement in enumerate(self.statements):
            for name in self.binds(statement) | statement.names.touches:
                found.setdefault(name, []).append(index)
        return found

    @cached_property
    def open_stars(self) -> list[int]:
        """Star imports of which nobody knows what they bind."""
        return [
            i
            for i, s in enumerate(self.statements)
            if isinstance(s.node, ast.ImportFrom)
            and s.node.names[0].name == "*"
            and not self.stars(s.node)
        ]

    def binds(self, statement: Stmt) -> frozenset[str]:
        """Give what a statement binds, star imports included."""
        node = statement.node
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            return self.stars(node)
        return statement.names.binds

    def definition(self, name: str, end: int) -> int | None:
        """Give the position of the last statement before `end` that binds the name for sure."""
        for index in reversed(self.writers.get(name, [])):
            statement = self.statements[index]
            if index < end and name in self.binds(statement) and statement.ran:
                return index
        return None


@dataclass
class Slice:
    """The statements kept, each with the names it is kept for.

    `missing` are names nothing binds (builtins among them), `withheld` those whose value would
    take a statement that is never run, `loops` the heads of enclosing loops it depends on.
    """

    kept: dict[Stmt, set[str]] = field(default_factory=dict)
    before: dict[Stmt, list[Stmt]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    withheld: dict[str, Stmt] = field(default_factory=dict)
    loops: dict[str, Stmt] = field(default_factory=dict)

    def reads(self) -> set[str]:
        """All names that the kept statements read, and those that were not to be had."""
        found = self.missing | set(self.withheld) | set(self.loops)
        for statement, kept_for in self.kept.items():
            names = _needed_names(statement, kept_for)
            found |= names.now | names.late
        return found

    def split(self, given: set[str]) -> tuple[Slice, Slice]:
        """Those statements that depend on the given names, and the others."""
        known = set(given)
        dependent: set[Stmt] = set()
        for statement in self.ordered():
            names = _needed_names(statement, self.kept[statement])
            if (names.now | names.late) & known:
                dependent.add(statement)
                known |= statement.names.binds
        parts = Slice(missing=self.missing), Slice(missing=self.missing)
        for statement, kept_for in self.kept.items():
            part = parts[statement not in dependent]
            part.kept[statement] = kept_for
            part.before[statement] = self.before.get(statement, [])
        return parts

    def merge(self, other: Slice) -> None:
        """Add what another slice of the same statements keeps."""
        for statement, names in other.kept.items():
            self.kept.setdefault(statement, set()).update(names)
        for statement, first in other.before.items():
            self.before.setdefault(statement, []).extend(first)
        self.missing |= other.missing

    def ordered(self) -> list[Stmt]:
        """Give the kept statements in running order, each after those whose names it reads."""
        done: dict[Stmt, None] = {}

        def emit(statement: Stmt, waiting: frozenset[Stmt]) -> None:
            for first in self.before.get(statement, ()):
                late = first.order > statement.order and first in self.kept
                if late and first not in done and first not in waiting:
                    emit(first, waiting | {statement})
            done.setdefault(statement)

        for statement in sorted(self.kept, key=lambda s: s.order):
            emit(statement, frozenset())
        return list(done)


def backward(
    flow: Flow, end: int, names: Iterable[str], given: frozenset[str] = frozenset()
) -> Slice:
    """Slice `flow` for the names as they are just before position `end`.

    Names in `given` are known from elsewhere, and not looked up.
    """
    return _Walk(flow, given).run(names, end)


@dataclass
class _Walk:
    flow: Flow
    given: frozenset[str]
    slice: Slice = field(default_factory=Slice)
    todo: list[tuple[str, int, int | None]] = field(default_factory=list)
    seen: set[tuple[str, int, int | None]] = field(default_factory=set)

    def run(self, names: Iterable[str], end: int) -> Slice:
        for name in sorted(names):
            self._want(name, end, None)
        while self.todo:
            self._resolve(*self.todo.pop())
        return self.slice

    def _want(self, name: str, end: int, reader: int | None) -> None:
        """`reader` is the statement that reads the name as it runs; None: it is read later."""
        if name not in self.given and (name, end, reader) not in self.seen:
            self.seen.add((name, end, reader))
            self.todo.append((name, end, reader))

    def _resolve(self, name: str, end: int, reader: int | None) -> None:
        writers = self.flow.writers.get(name, [])
        earlier = self._alive(name, [i for i in writers if i < end and i != reader])
        bound = False
        for index in reversed(earlier):
            bound |= self._keep(index, name, end, reader)
            if bound and self._settles(index, name):
                return
        if not bound:
            self._resolve_late(name, end, reader)

    def _resolve_late(self, name: str, end: int, reader: int | None) -> None:
        """Nothing before binds it: something after, as in notebooks run out of order."""
        later = [i for i in self.flow.writers.get(name, []) if i >= end and i != reader]
        for index in sorted(later, key=lambda i: not self.flow.statements[i].ran):
            if name in self.flow.binds(self.flow.statements[index]):
                self._keep(index, name, end, reader)
                return
        for index in self.flow.open_stars:
            self._keep(index, "*", end, reader)
        if name not in self.slice.withheld:
            self.slice.missing.add(name)

    def _alive(self, name: str, positions: list[int]) -> list[int]:
        """Leave out cells that never ran, and weak effectful writers, if others remain."""
        statements = self.flow.statements
        binding = [i for i in positions if name in self.flow.binds(statements[i])]
        if any(statements[i].ran for i in binding):
            positions = [i for i in positions if statements[i].ran]
        if any(not self._withheld(i, name) for i in binding):
            positions = [i for i in positions if not self._withheld(i, name)]
        return positions

    def _withheld(self, index: int, name: str) -> bool:
        node: ast.stmt | None = self.flow.statements[index].node
        if isinstance(node, COMPOUND):
            node = prune(node, {name})
        return node is not None and (effectful(node) or self._loads(node))

    def _loads(self, node: ast.stmt) -> bool:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            return False
        calls = (n for n in ast.walk(node) if isinstance(n, ast.Call))
        return any(last(call.func) in self.flow.loading for call in calls)

    def _settles(self, index: int, name: str) -> bool:
        statement = self.flow.statements[index]
        return statement.names.strong and name in self.flow.binds(statement)

    def _keep(self, index: int, name: str, end: int, reader: int | None) -> bool:
        """Keep a statement for a name; say whether it binds the name."""
        statement = self.flow.statements[index]
        binds = name in self.flow.binds(statement)
        if statement.opened and isinstance(statement.node, (ast.For, ast.AsyncFor)):
            self.slice.loops.setdefault(name, statement)
            return binds
        if self._withheld(index, name):
            if binds:
                self.slice.withheld.setdefault(name, statement)
            return binds
        self.slice.kept.setdefault(statement, set()).add(name)
        if reader is not None:
            self.slice.before.setdefault(self.flow.statements[reader], []).append(statement)
        self._want_reads(index, end)
        if not binds and statement.names.binds:  # `group = parser.add_argument_group(…)`
            for other in statement.names.binds:
                self._want(other, end, None)
        return binds

    def _want_reads(self, index: int, end: int) -> None:
        statement = self.flow.statements[index]
        names = _needed_names(statement, self.slice.kept[statement])
        for name in names.now:
            self._want(name, index, index)
        for name in names.late:
            self._want(name, max(end, index), None)


def _needed_names(statement: Stmt, kept_for: set[str]) -> Names:
    """Give what the statement reads, counting only those parts of it that are kept."""
    if isinstance(statement.node, COMPOUND):
        pruned = prune(statement.node, kept_for)
        return names_of(pruned) if pruned is not None else names_of(ast.Pass())
    return statement.names
