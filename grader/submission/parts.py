"""From an expression somewhere in the submission to a Part that can be evaluated on its own."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from grader.submission.definitions import MAX_DEPTH
from grader.submission.names import FUNCTIONS, dotted, last, parameters, reads
from grader.submission.program import ENTRY, Part, Statement
from grader.submission.render import Modules
from grader.submission.sites import Scope, Site
from grader.submission.slice import Slice, backward
from grader.submission.source import Stmt, segment
from grader.submission.trace import Trace
from grader.submission.values import Undecided, Value, argument, default, end_of, is_self

# What the grader hands over for a name at a place (`model`, `train_loader`), or None.
Role = Callable[[str, Site], str | None]


def nothing(_name: str, _site: Site) -> None:
    """Hand nothing over."""
    return


@dataclass
class Parts:
    """Builds Parts; what they need from modules is added to `trace.modules`."""

    trace: Trace

    @property
    def modules(self) -> Modules:
        """The modules of the Program."""
        return self.trace.modules

    def part(self, value: Value, role: Role = nothing, form: str = "{}") -> Part:
        """Make the Part of an expression; `form` is put around its text.

        Raises Undecided when what it needs takes data, files, training or a turn of a loop.
        """
        setup = Setup(self, role, attributes=_attributes([value.expr], value.site.scope))
        setup.note(value.expr)
        statements = setup.run(value.site, set(reads(value.expr)))
        if named := setup.demanded & setup.named:
            raise Undecided(value.site, f"it depends on the command-line option `{min(named)}`")
        text = value.site.stmt.text
        source = form.format(flat(segment(value.expr, text), value.expr))
        setup.commit()
        return Part(
            source, text.where(value.expr.lineno), setup=statements, bindings=setup.bindings
        )

    def want(self, name: str) -> None:
        """Keep what a name of the entry needs, as it is at the end."""
        setup = Setup(self, nothing)
        setup.run(self.trace.end(ENTRY), {name})
        setup.commit()


@dataclass
class Setup:
    """The statements of enclosing functions that one Part needs, outermost first.

    What the modules must hold is collected, and added by `commit` once all is decided.
    """

    parts: Parts
    role: Role
    bindings: dict[str, str] = field(default_factory=dict)
    wanted: list[tuple[str, Slice]] = field(default_factory=list)
    follows: list[tuple[str, ast.stmt, set[str]]] = field(default_factory=list)
    attributes: set[str] = field(default_factory=set)  # of `self`, as far as needed
    demanded: set[str] = field(default_factory=set)  # options without a default
    named: set[str] = field(default_factory=set)  # attributes of anything

    def note(self, node: ast.AST) -> None:
        """Note what part of the command line a kept piece of code asks for."""
        self.demanded |= required_options(node)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Attribute):
                self.named.add(dotted(inner) if dotted(inner) == "sys.argv" else inner.attr)
            if isinstance(inner, ast.Subscript) and isinstance(inner.slice, ast.Constant):
                self.named.add(str(inner.slice.value))  # vars(args)["name"]
        self.demanded |= self.named & {"sys.argv"}

    def commit(self) -> None:
        """Add what the Part needs to the modules."""
        for module, found in self.wanted:
            self.parts.modules.add(module, found)
        for module, node, names in self.follows:
            self.parts.modules.follow(module, node, names)

    def run(self, site: Site, names: set[str], depth: int = 0) -> list[Statement]:
        """Statements after which the names have the values they have before the call."""
        if depth > MAX_DEPTH:
            raise Undecided(site, "functions call each other recursively")
        if site.scope.node is not None:
            return self._in_function(site, site.scope, names, depth)
        if site.scope.module != ENTRY:
            return self._from_sibling(site.scope.module, names, site)
        found, _ = self._slice(site, names)
        dependent, free = found.split(set(self.bindings))
        self.wanted.append((ENTRY, free))
        return self._statements(ENTRY, dependent)

    def _slice(self, site: Site, names: set[str]) -> tuple[Slice, set[str]]:
        """Slice the scope of a site for names, less what is handed over."""
        scope = site.scope
        while True:
            before = [s for s in site.before() if not _sets_others(s, self.attributes, scope)]
            after = site.after() if scope.node is None else []
            flow = self.parts.modules.flow_of(scope.module, [*before, *after])
            given = frozenset(self.bindings)
            names = names - given
            found = backward(flow, len(before), names, given)
            new = {n: self.role(n, site) for n in (found.reads() | names) - given}
            handed = {name: what for name, what in new.items() if what}
            attributes = _attributes([s.node for s in found.kept], scope) - self.attributes
            if not handed and not attributes:
                break
            self.bindings.update(handed)
            self.attributes |= attributes
        for name, statement in found.loops.items():
            raise Undecided(statement, f"it depends on `{name}`, which a loop changes")
        for name, statement in found.withheld.items():
            raise Undecided(statement, f"it needs `{name}`, made from data, files or training")
        for statement in found.kept:
            if not isinstance(statement.node, (*FUNCTIONS, ast.ClassDef)):
                self.note(statement.node)
        return found, names

    def _statements(self, module: str, found: Slice) -> list[Statement]:
        for statement, kept in found.kept.items():
            self.follows.append((module, statement.node, kept))
        render = self.parts.modules.statement
        return [render(module, s, found.kept[s]) for s in found.ordered()]

    def _in_function(
        self, site: Site, scope: Scope, names: set[str], depth: int
    ) -> list[Statement]:
        assert scope.node is not None
        found, names = self._slice(site, names)
        heads = parameters(scope.node)
        passed = [name for name in heads if name in found.missing]
        outer = (names - scope.local_names) | (found.missing - scope.local_names)
        before, assigns = self._call(scope, passed, outer - set(self.bindings), depth + 1)
        return [*before, *assigns, *self._statements(scope.module, found)]

    def _call(
        self, scope: Scope, passed: list[str], outer: set[str], depth: int
    ) -> tuple[list[Statement], list[Statement]]:
        """Give what comes before a call, and assignments that stand for passing its arguments."""
        assert scope.node is not None
        callers = self.parts.trace.calls.callers(scope)
        caller = callers[-1] if callers else self.parts.trace.end(scope.module)
        if len({_arguments(scope, passed, c) for c in callers}) > 1:
            raise Undecided(caller, f"`{scope.called}` is called with different arguments")
        assigns: list[Statement] = []
        if scope.owner is not None and parameters(scope.node)[0] in passed:
            assigns = self._self(scope, passed[0], outer, depth)
            passed = passed[1:]
        for name in passed:
            given = argument(scope, name, caller.call) if callers else None
            text = caller.stmt.text
            if given is None and callers and _spreads(caller.call):
                raise Undecided(caller, f"`{name}` of `{scope.called}` is passed with * or **")
            if given is None:
                given, text = default(scope.node, name), scope.body[0].text
            if given is None:
                raise Undecided(caller, f"`{name}` of `{scope.called}` is not known")
            outer |= reads(given)
            self.note(given)
            source = flat(segment(given, text), given)
            if source != name:
                assigns.append(Statement(f"{name} = {source}", text.label, given.lineno))
        return self._outside(scope, caller, outer, depth), assigns

    def _self(self, scope: Scope, name: str, outer: set[str], depth: int) -> list[Statement]:
        """Stand in for the object of a method: its attributes, as `__init__` sets them."""
        assert scope.owner is not None
        owner = scope.owner.name
        methods = {s.node.name: s for s in self._methods(scope) if s.node is not None}
        bare = "__import__('types').SimpleNamespace()"
        if self.attributes & set(methods):
            outer.add(owner)
            bare = f"{owner}.__new__({owner})"
        make = Statement(f"{name} = {bare}", scope.body[0].text.label, 1)
        init = methods.get("__init__")
        if init is None or init is scope:
            return [make]
        inner = self._in_function(end_of(init), init, {name}, depth + 1)
        # A class body keeps the constructor's names apart, and still sees the module's.
        body = textwrap.indent("\n".join(s.source for s in inner), "    ")
        source = f"class _Made:\n{body}\n{name} = _Made.{name}"
        return [Statement(source, make.file, make.line)]

    def _methods(self, scope: Scope) -> list[Scope]:
        return [s for s in self.parts.trace.calls.scopes if s.owner is scope.owner]

    def _outside(self, scope: Scope, caller: Site, names: set[str], depth: int) -> list[Statement]:
        """Names from outside a function; those of another module are imported from it."""
        if caller.scope.module == scope.module:
            return self.run(caller, names, depth)
        flow = self.parts.modules.flow(scope.module)
        theirs = {n for n in names if any(n in flow.binds(s) for s in flow.statements)}
        imports = self._from_sibling(scope.module, theirs, caller)
        return [*imports, *self.run(caller, names - theirs, depth)]

    def _from_sibling(self, module: str, names: set[str], site: Site) -> list[Statement]:
        """Import names of a sibling; names handed over are not its to give."""
        for name in set(names):
            if what := self.role(name, site):
                self.bindings[name] = what
        names = names - set(self.bindings)
        if module == ENTRY:
            self.run(self.parts.trace.end(ENTRY), names)
            return []
        flow = self.parts.modules.flow(module)
        bound = sorted(n for n in names if any(n in flow.binds(s) for s in flow.statements))
        if not bound:
            return []
        found = backward(flow, len(flow.statements), bound)
        for name, statement in found.withheld.items():
            raise Undecided(statement, f"it needs `{name}`, made from data, files or training")
        node = ast.ImportFrom(module, [ast.alias(n) for n in bound], 0)
        self.follows.append((ENTRY, node, set(bound)))
        return [Statement(ast.unparse(node), site.stmt.text.label, 1)]


def _attributes(nodes: Sequence[ast.AST], scope: Scope) -> set[str]:
    """Attributes of `self` that the nodes name."""
    inner = (n for node in nodes for n in ast.walk(node) if isinstance(n, ast.Attribute))
    return {n.attr for n in inner if is_self(n.value, scope)}


def _sets_others(statement: Stmt, wanted: set[str], scope: Scope) -> bool:
    """Tell whether a statement of `__init__` sets attributes that nobody wants."""
    node = statement.node
    targets = node.targets if isinstance(node, ast.Assign) else []
    each = [e for t in targets for e in (t.elts if isinstance(t, ast.Tuple) else [t])]
    set_here = {t.attr for t in each if isinstance(t, ast.Attribute) and is_self(t.value, scope)}
    return bool(set_here) and not set_here & wanted


def required_options(node: ast.AST) -> set[str]:
    """Names under which options of a command line arrive that have no default."""
    found = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call) and last(inner.func) == "add_argument" and inner.args:
            options = {k.arg: k.value for k in inner.keywords}
            flags = [str(a.value) for a in inner.args if isinstance(a, ast.Constant)]
            named = any(flag.startswith("-") for flag in flags)
            if flags and "default" not in options and (not named or "required" in options):
                longest = max(flags, key=lambda flag: flag.startswith("--"))
                dest = options.get("dest", ast.Constant(longest.lstrip("-").replace("-", "_")))
                found.add(str(dest.value) if isinstance(dest, ast.Constant) else longest)
    return found


def _spreads(call: ast.Call) -> bool:
    starred = any(isinstance(a, ast.Starred) for a in call.args)
    return starred or any(k.arg is None for k in call.keywords)


def _arguments(scope: Scope, names: list[str], site: Site) -> tuple[str, ...]:
    given = (argument(scope, name, site.call) for name in names)
    return tuple("" if value is None else ast.dump(value) for value in given)


def flat(source: str, node: ast.expr) -> str:
    """Give the source of an expression, on one line if it stood on several."""
    return source if "\n" not in source else ast.unparse(node)
