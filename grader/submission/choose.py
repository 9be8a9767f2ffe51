"""Which model is the submission's: what it says, what it trains, or the only one there is."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from grader.submission import refusals
from grader.submission.missing import Missing
from grader.submission.names import dotted, last, parameters
from grader.submission.parts import Parts
from grader.submission.phrases import name_node
from grader.submission.program import ENTRY, Part
from grader.submission.refusals import Candidate
from grader.submission.sites import Site
from grader.submission.trace import Trace
from grader.submission.trained import handed_over, is_optimizer
from grader.submission.values import Made, Undecided, Value, default


@dataclass(frozen=True)
class Choice:
    """The model as a Part, and what is known of it; `made` is None for a bare class."""

    part: Part
    class_name: str
    explicit: bool
    made: Made | None = None
    optimizer: Site | None = None


@dataclass
class Chooser:
    """Looks for the model; `notes` say what a person should know of the choice."""

    parts: Parts
    notes: list[str]

    def __post_init__(self) -> None:
        self.missing = Missing(self.trace)

    @property
    def trace(self) -> Trace:
        """Where values come from."""
        return self.parts.trace

    @property
    def _label(self) -> str:
        return self.trace.modules.library.entry.label

    def choose(self, name: str | None) -> Choice:
        """Find the submission's model. Raises SubmissionError if there is not just one."""
        if name is not None:
            return self.named(name)
        for look in (self.explicit, self.trained, self.alone):
            found = look()
            if found is not None:
                return found
        self.missing.look()
        raise refusals.none_found(
            self.trace.modules.library.entry, self.missing.lost, self.missing.undefined
        )

    # What the person or the file says

    def named(self, name: str) -> Choice:
        """`--model NAME`: a class, a function that returns a model, or a variable."""
        trace = self.trace
        end = trace.end(ENTRY)
        if found := trace.definition(ENTRY, name):
            if isinstance(found[1], ast.ClassDef):
                made = [m for m in self.instances() if m.class_name == found[1].name]
                return self._best(made) or self._class(name, found[1].name)
            return Choice(self._name_part(name), found[1].name, True)
        if trace.assignment(name, end):
            class_name = trace.model_class(Value(ast.Name(name, ast.Load()), end)) or name
            return Choice(self._name_part(name), class_name, True)
        raise refusals.unknown(name, [c.name for c in self.candidates()], self._label)

    def explicit(self) -> Choice | None:
        """`MODEL = …`, or `def build_model()` that needs no arguments."""
        end = self.trace.end(ENTRY)
        if self.trace.assignment("MODEL", end):
            value = Value(ast.Name("MODEL", ast.Load()), end)
            resolved = self.trace.resolve(value).expr
            class_name = self.trace.model_class(value) or dotted(resolved) or "MODEL"
            return Choice(self._name_part("MODEL"), class_name, True, self.made(value))
        found = self.trace.definition(ENTRY, "build_model")
        if found and not isinstance(found[1], ast.ClassDef) and _needs_nothing(found[1]):
            call = ast.parse("build_model()", mode="eval").body
            class_name = self.trace.model_class(Value(call, end)) or "build_model"
            made = self._trained_call("build_model", class_name)
            return Choice(self._name_part("build_model"), class_name, True, made)
        return None

    def _trained_call(self, name: str, class_name: str) -> Made | None:
        """Give the call of a function whose result is handed to an optimiser."""
        for site in self.trace.calls.sites:
            for expr in handed_over(site):
                value = self.trace.resolve(Value(expr, site))
                core = self.trace.core(value)
                if isinstance(core, ast.Call) and last(core.func) == name:
                    return Made(value, core, class_name, Value(expr, site))
        return None

    def _name_part(self, name: str) -> Part:
        self.parts.want(name.partition(".")[0])
        return Part(name, self._place(name))

    def _place(self, name: str) -> str:
        for statement in reversed(self.trace.modules.flow(ENTRY).statements):
            if name in statement.names.binds:
                return statement.where
        return self.trace.modules.library.entry.label

    # What the file trains

    def trained(self) -> Choice | None:
        """Give the instance handed to an optimiser or a training, the last one that ran."""
        found = sorted(self._evidence(), key=lambda pair: self.trace.calls.time(pair[0]))
        undecided: Undecided | None = None
        for site, made in reversed(found):
            optimizer = site if is_optimizer(site.call) else None
            try:
                choice = self._instance(made, optimizer)
            except Undecided as reason:
                undecided = undecided or reason
                continue
            if undecided is not None:
                break
            self._refuse_sweep(made, [m for _, m in found])
            others = {m.class_name for _, m in found} - {made.class_name}
            if others:
                self.notes.append(
                    f"{made.class_name} was taken because it is trained last;"
                    f" also trained: {', '.join(sorted(others))}. --model chooses another."
                )
            return choice
        if undecided is not None:
            raise refusals.undecided(undecided, self.candidates())
        if self.missing.lost:
            raise refusals.not_beside(self.missing.lost, self._label)
        return None

    def _refuse_sweep(self, chosen: Made, others: list[Made]) -> None:
        """One class trained side by side with different arguments: nothing says which counts."""
        rivals = {ast.dump(chosen.core): chosen}
        for made in others:
            apart = made.variable != chosen.variable or not made.variable
            if made.class_name == chosen.class_name and apart:
                rivals.setdefault(ast.dump(made.core), made)
        if len(rivals) > 1:
            raise refusals.sweep(chosen, list(rivals.values()))

    def _evidence(self) -> Iterator[tuple[Site, Made]]:
        for site in self.trace.calls.sites:
            for expr in handed_over(site):
                made = self.made(Value(expr, site))
                if made is not None:
                    yield site, made

    def made(self, value: Value) -> Made | None:
        """Follow an expression to the call that makes a model."""
        resolved = self.trace.resolve(value)
        class_name = self.trace.model_class(resolved)
        if class_name is None and is_optimizer(value.site.call):
            class_name = self.missing.foreign(resolved)
        if class_name is None:
            return None
        return Made(resolved, self.trace.core(resolved), class_name, value)

    def _instance(self, made: Made, optimizer: Site | None) -> Choice:
        part = self.parts.part(made.value)
        if isinstance(made.value.expr, ast.Name):
            block = self.trace.assignment(made.value.expr.id, made.value.site)
            part = msgspec.structs.replace(part, where=block.where if block else part.where)
        elif made.touched and made.handed:
            part = msgspec.structs.replace(self.parts.part(made.handed), where=part.where)
        return Choice(part, made.class_name, False, made, optimizer)

    def instances(self) -> list[Made]:
        """Every place in the entry where a model of a known class is made, in running order."""
        sites = [s for s in self.trace.calls.sites if s.scope.module == ENTRY]
        found = []
        for site in sorted(sites, key=self.trace.calls.time):
            name = self.trace.class_called(site.call.func, site)
            if name and name != "Sequential" and not self._inside_model(site):
                found.append(Made(Value(site.call, site), site.call, name))
        return found

    def _inside_model(self, site: Site) -> bool:
        owner = site.scope.owner
        return owner is not None and self.trace.is_model(site.scope.module, owner)

    def _best(self, made: list[Made]) -> Choice | None:
        for one in reversed(made):
            try:
                return self._instance(one, None)
            except Undecided:
                continue
        return None

    # The only one, or one with a telling name

    def alone(self) -> Choice | None:
        """Give the only model no other uses; the only one made; one called Net or Model."""
        candidates = self.candidates()
        made = self.instances()
        if len(candidates) > 1:
            names = {m.class_name for m in made}
            kept = [c for c in candidates if c.name in names]
            candidates = kept if len(kept) == 1 else candidates
        if len(candidates) > 1:
            kept = [c for c in candidates if c.name in ("Net", "Model")]
            candidates = kept if len(kept) == 1 else candidates
        if not candidates:
            return self._unnamed()
        if len(candidates) > 1:
            raise refusals.ambiguous(candidates, self._label)
        one = candidates[0]
        return self._best([m for m in made if m.class_name == one.name]) or self._bare(one)

    def _bare(self, candidate: Candidate) -> Choice:
        """Take a class that nobody makes an instance of, from the module it stands in."""
        if candidate.module == ENTRY:
            return self._class(candidate.name, candidate.name)
        value = Value(name_node(candidate.name), self.trace.end(candidate.module))
        part = self.parts.part(value, form=candidate.name)
        part = msgspec.structs.replace(part, where=candidate.where)
        return Choice(part, candidate.name, False)

    def _unnamed(self) -> Choice | None:
        """Without any class of a model: a variable that holds one, or a function that makes one."""
        holders = self._holders()
        if len(holders) > 1:
            holders = [h for h in holders if h.name in ("model", "net")] or holders
        if len(holders) > 1:
            raise refusals.ambiguous(holders, self._label)
        if not holders:
            return None
        value = Value(ast.Name(holders[0].name, ast.Load()), self.trace.end(ENTRY))
        class_name = self.trace.model_class(value) or holders[0].name
        return Choice(self._name_part(holders[0].name), class_name, False)

    def _holders(self) -> list[Candidate]:
        """Variables of the entry that hold a model no other one is made of; else functions."""
        end = self.trace.end(ENTRY)
        statements = [s for s in self.trace.modules.flow(ENTRY).statements if s.ran]
        held = {
            name: s
            for s in statements
            if isinstance(s.node, (ast.Assign, ast.AnnAssign))
            for name in s.names.binds
            if self.trace.model_class(Value(ast.Name(name, ast.Load()), end))
        }
        used = {name for s in held.values() for name in s.names.now - s.names.binds}
        makers = {
            s.node.name: s
            for s in statements
            if isinstance(s.node, ast.FunctionDef) and _needs_nothing(s.node)
            if self.trace.model_class(Value(_call(s.node.name), end))
        }
        found = {name: s for name, s in held.items() if name not in used} or makers
        return [Candidate(name, ENTRY, statement) for name, statement in found.items()]

    def _class(self, name: str, class_name: str) -> Choice:
        return Choice(self._name_part(name), class_name, False)

    def candidates(self) -> list[Candidate]:
        """Model classes of the entry that no other model uses; of its siblings, if it has none."""
        every = list(self._models())
        own = [c for c in every if c.module == ENTRY]
        chosen = own or every
        used = {name for c in every for name in self._uses(c)}
        free = [c for c in chosen if c.name not in used] or chosen
        return list({c.name: c for c in free}.values())

    def _models(self) -> Iterator[Candidate]:
        for (module, name), places in self.trace.calls.classes.items():
            for statement, node in places:
                if statement.ran and self.trace.is_model(module, node):
                    yield Candidate(name, module, statement)

    def _uses(self, candidate: Candidate) -> Iterable[str]:
        named = {n.id for n in ast.walk(candidate.statement.node) if isinstance(n, ast.Name)}
        return named - {candidate.name}


def _call(name: str) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), [], [])


def _needs_nothing(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return all(
        default(node, name) is not None
        for name in parameters(node)
        if name not in (getattr(node.args.vararg, "arg", ""), getattr(node.args.kwarg, "arg", ""))
    )
