"""The function a submission trains in, and what each of its parameters is given.

It is the one that holds the loop whose loss is followed backwards, or `train` if that leads
there. A parameter gets what its name says; else what the file's last call of the function passes;
else its default; else what the file calls by its name.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import msgspec

from grader.submission.names import last
from grader.submission.program import ENTRY, Part, Train
from grader.submission.recipe import Finder
from grader.submission.sites import Scope, Site
from grader.submission.slice import loads_data
from grader.submission.source import segment
from grader.submission.values import Undecided, Value, argument, default

_NAMES = {
    "model": "model net network cnn mymodel my_model",
    "train_loader": "train_loader trainloader train_dataloader loader dataloader data_loader"
    " train_dl traindl train_data_loader train_iterator train_iter trn_loader",
    "test_loader": "test_loader testloader test_dataloader test_dl testdl val_loader valloader"
    " valid_loader validloader validation_loader val_dataloader val_dl valid_dl test_data_loader",
    "optimizer": "optimizer optim opt optimiser",
    "scheduler": "scheduler lr_scheduler sched scheduler_",
    "device": "device dev",
}
_LATER_NAMES = {
    "epoch": "epoch curr_epoch current_epoch epoch_number epoch_num ep",
    "epochs": "epochs num_epochs n_epochs max_epochs nb_epochs no_of_epochs total_epochs EPOCHS",
    "loss": "criterion loss_fn loss_func loss_function loss_criterion crit loss",
    "batch_size": "batch_size batchsize bs",
    "log_interval": "log_interval print_every log_every interval",
}


def _meanings(table: dict[str, str]) -> dict[str, str]:
    return {name: role for role, names in table.items() for name in names.split()}


_FIRST, _LATER = _meanings(_NAMES), _meanings(_LATER_NAMES)


def find_training(finder: Finder) -> Train | None:
    """Give the submission's training as something that can be called; None if there is none.

    Why one that is there cannot be called is noted. Adds to the modules of `finder`.
    """
    scope = _function(finder)
    if scope is None:
        return None
    try:
        return _Training(finder, scope).make()
    except Undecided as reason:
        finder.notes.append(
            f"`{scope.called}` is not called, {reason.reason} ({reason.where}): the training is"
            " rebuilt from its recipe"
        )
        return None


def _function(finder: Finder) -> Scope | None:
    """Give the function that loops over the batches, or `train` if that is what leads to it."""
    if finder.choice.explicit and (own := _hook(finder)):
        return own
    around = list(_around(finder))
    looping = [i for i, site in enumerate(around) if site.loops]
    if not looping:
        return None
    outer = [site.scope for site in around[looping[0] :] if _callable(site.scope)]
    outer = [scope for scope in outer if scope.node is None or not loads_data(scope.node)]
    named = [scope for scope in outer if scope.called == "train"]
    return next(iter(named + outer), None)


def _hook(finder: Finder) -> Scope | None:
    scopes = finder.trace.calls.scopes
    own = [s for s in scopes if s.called == "train" and s.module == ENTRY and _callable(s)]
    return own[-1] if own else None


def _around(finder: Finder) -> Iterator[Site]:
    """Yield the call of `backward`, the call of the function it stands in, and so on outwards."""
    site, seen = finder.backward, set[Scope]()
    while site is not None and site.scope.node is not None and site.scope not in seen:
        seen.add(site.scope)
        yield site
        callers = finder.trace.calls.callers(site.scope)
        site = callers[-1] if callers else None


def _callable(scope: Scope) -> bool:
    """Tell whether a scope is a plain function at the top of a module."""
    plain = isinstance(scope.node, ast.FunctionDef) and scope.owner is None
    return plain and scope.parent is not None and scope.parent.node is None


@dataclass
class _Training:
    """Works out how one function is called."""

    finder: Finder
    scope: Scope
    roles: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, Part] = field(default_factory=dict)

    def __post_init__(self) -> None:
        callers = self.finder.trace.calls.callers(self.scope)
        self.caller = callers[-1] if callers else None
        self.end = self.finder.trace.end(ENTRY)

    def make(self) -> Train:
        """Work all of it out; raises Undecided where a parameter cannot be given."""
        assert isinstance(self.scope.node, ast.FunctionDef)
        arguments = self.scope.node.args
        for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            self._give(each.arg)
        modules = self.finder.parts.modules
        function = self._function()
        return Train(
            function, self.roles, self.arguments, modules.build(), sorted(modules.placeholders),
            self._first_epoch(),
            [note for note in self.finder.notes if note.startswith(("loss:", "scheduler:"))],
        )  # fmt: skip

    def _function(self) -> Part:
        if self.caller is not None:
            func = self.caller.call.func
            return self._part(func, self.caller, own=_names(func))
        if self.scope.module != ENTRY:
            raise Undecided(self.end, "nothing calls it")
        return self._named(self.scope.called)

    def _give(self, name: str) -> None:
        role = _FIRST.get(name)
        if role == "scheduler" and "scheduler" not in self.finder.recipe:
            role = None
        if role is None and self._passed(name):
            return
        role = role or _LATER.get(name)
        if role is not None:
            self.roles[name] = role
        elif default(self.scope.node, name) is None:  # type: ignore[arg-type] # a FunctionDef
            self._of_that_name(name)

    def _passed(self, name: str) -> bool:
        """Take what the last call in the file passes, if that can be had."""
        given = argument(self.scope, name, self.caller.call) if self.caller else None
        if self.caller is None or given is None:
            return False
        turn = {n: "epoch" for n in self._turns() if n in _names(given)}
        if turn and _names(given) <= set(turn):
            text = self.caller.stmt.text
            self.arguments[name] = Part(
                segment(given, text), text.where(given.lineno), bindings=turn
            )
            return True
        try:
            self.arguments[name] = self._part(given, self.caller)
        except Undecided:
            return False
        return True

    def _of_that_name(self, name: str) -> None:
        if self.finder.trace.assignment(name, self.end) is None:
            raise Undecided(self.caller or self.end, f"no value found for its parameter `{name}`")
        self.arguments[name] = self._named(name)

    def _named(self, name: str) -> Part:
        """Give what the file calls by a name, at its end."""
        part = self.finder.parts.part(Value(_name(name), self.end), self._role, name)
        flow = self.finder.parts.modules.flow(ENTRY)
        index = flow.definition(name, len(flow.statements))
        where = part.where if index is None else flow.statements[index].where
        return msgspec.structs.replace(part, where=where)

    def _part(self, expr: ast.expr, site: Site, own: Collection[str] = ()) -> Part:
        """Make a part; names that are its `own` mean nothing that could be handed over."""

        def role(name: str, site: Site) -> str | None:
            return None if name in own else self._role(name, site)

        return self.finder.parts.part(Value(expr, site), role)

    def _role(self, name: str, site: Site) -> str | None:
        """As for a recipe, but a second optimiser is not the first one, and schedulers count."""
        finder = self.finder
        role = finder.role(name, site)
        made = finder.trace.resolve(Value(_name(name), site)).expr
        if role == "optimizer" and (finder.optimizer is None or made is not finder.optimizer.call):
            return None
        if role is None and finder.scheduler is not None and made is finder.scheduler.call:
            return "scheduler" if "scheduler" in finder.recipe else None
        return role

    def _loops(self) -> list[ast.For]:
        loops = self.caller.loops if self.caller is not None else []
        return [loop.node for loop in loops if isinstance(loop.node, ast.For)]

    def _turns(self) -> set[str]:
        """Names that count the passes around the call."""
        targets = [loop.target for loop in self._loops()[-1:]]
        return {t.id for t in targets if isinstance(t, ast.Name)}

    def _first_epoch(self) -> int:
        """0 where the file counts its passes with `range(n)`, else 1."""
        for loop in self._loops()[-1:]:
            for node in ast.walk(loop.iter):
                if isinstance(node, ast.Call) and last(node.func) in ("range", "trange"):
                    return 0 if len(node.args) == 1 else 1
        return 1


def _names(expr: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(expr) if isinstance(node, ast.Name)}


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load(), lineno=1, col_offset=0, end_lineno=1, end_col_offset=0)
