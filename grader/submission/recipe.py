"""The recipe that a submission trains its model with, found where the training happens.

The training is the loop whose loss is followed backwards (`loss.backward()`) for the chosen
model's optimiser. Epochs are counted by the loop around it, the batch size and the training
transform belong to the loader it runs over. Only what feeds this training counts; the names a
file may define for the grader (`EPOCHS`, `optimizer`, …) fill in, and win in a file that
says `MODEL` or `build_model`.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from grader.submission.choose import Choice
from grader.submission.loaders import Loaders, argument_of, site_of
from grader.submission.names import last, reads, root
from grader.submission.parts import Parts
from grader.submission.phrases import (
    count,
    in_batch_loop,
    is_hook,
    loss_calls,
    makes_loss,
    name_node,
    plain,
    quiet,
)
from grader.submission.program import ENTRY, Flaw, Part
from grader.submission.sites import Site
from grader.submission.source import Stmt, segment
from grader.submission.trace import Trace
from grader.submission.trained import is_optimizer
from grader.submission.values import Undecided, Value, at, model_root

SCHEDULERS = re.compile(r"LR$|^ReduceLROnPlateau$|^CosineAnnealing|WarmRestarts$|Scheduler$")
_EPOCH_WORDS = ("epochs", "num_epochs", "n_epochs", "max_epochs", "epoch", "nb_epochs")
LOOPS = (ast.For, ast.AsyncFor, ast.While)
VALUES = {
    "EPOCHS": "epochs",
    "BATCH_SIZE": "batch_size",
    "PLAIN_EPOCHS": "plain_epochs",
    "AVERAGED_EPOCHS": "averaged_epochs",
    "EMA_DECAY": "ema_decay",
    "train_transform": "train_transform",
    "test_transform": "test_transform",
}
HOOKS = ("optimizer", "scheduler", "loss")


@dataclass
class Finder:
    """Finds the parts of one submission's recipe.

    `notes` say what was left out, and why; `flaws` what the file declares and nobody can make.
    """

    parts: Parts
    choice: Choice
    notes: list[str]
    recipe: dict[str, Part] = field(default_factory=dict)
    steps: Literal["batch", "epoch"] | None = None
    flaws: list[Flaw] = field(default_factory=list)
    optimizer: Site | None = None
    scheduler: Site | None = None
    backward: Site | None = None

    @property
    def trace(self) -> Trace:
        """Where values come from."""
        return self.parts.trace

    @property
    def loaders(self) -> Loaders:
        """What is known of loaders."""
        return Loaders(self.trace)

    def find(self) -> None:
        """Fill `recipe` and `steps`."""
        if self.choice.explicit:
            self._named()
        self._inferred()
        self._named()
        self._hooks(self._not_functions)

    @property
    def declares(self) -> bool:
        """Tell whether the file was written for the grader: it says so, or trains nothing."""
        return self.choice.explicit or not (self.trained or self._named_calls("backward"))

    @property
    def trained(self) -> bool:
        """Tell whether the file makes an optimiser."""
        return any(is_optimizer(site.call) for site in self.trace.calls.sites)

    # Names that a file may define for the grader

    def _named(self) -> None:
        end = self.trace.end(ENTRY)
        for name, key in VALUES.items():
            if key not in self.recipe and self.trace.assignment(name, end):
                self._try(key, Value(name_node(name), end), name, self._place(name), self.declares)
        self._hooks(self._hook)

    def _hook(self, name: str, statement: Stmt) -> None:
        """Take the function that a hook's name is bound to."""
        if is_hook(statement.node):
            self.parts.want(name)
            self.recipe[name] = Part(name, statement.where, "hook", declared=True)

    def _not_functions(self, name: str, statement: Stmt) -> None:
        """Take what else a hook's name is bound to, if a hook was meant: it may be at fault."""
        node = statement.node
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        if value is not None and (self.declares or (name == "loss" and makes_loss(node))):
            place = at(self.trace.end(ENTRY), statement)
            self._try(name, Value(value, place), "{}", statement.where, self.declares)

    def _hooks(self, take: Callable[[str, Stmt], None]) -> None:
        flow = self.parts.modules.flow(ENTRY)
        for name in HOOKS:
            index = flow.definition(name, len(flow.statements))
            if name not in self.recipe and index is not None:
                take(name, flow.statements[index])

    def _place(self, name: str) -> str:
        statement = self.trace.assignment(name, self.trace.end(ENTRY))
        return statement.where if statement else ""

    def _try(
        self, key: str, value: Value, form: str = "{}", place: str = "", declared: bool = False
    ) -> None:
        """Add a part, or a note that says why it cannot be had."""
        if key in self.recipe:
            return
        try:
            part = self.parts.part(value, self.role, form)
        except Undecided as reason:
            if declared:
                self.flaws.append(Flaw(key, reason.reason, reason.where, "give it a plain value"))
            else:
                self.notes.append(f"{key}: not used, {reason.reason} ({reason.where})")
            return
        where = place or part.where
        self.recipe[key] = msgspec.structs.replace(part, where=where, declared=declared)

    # What feeds the training

    def _inferred(self) -> None:
        optimizer = self.optimizer = self._optimizer_site()
        if optimizer is not None:
            self._try("optimizer", Value(optimizer.call, optimizer))
            self._scheduler(optimizer)
        backward = self.backward = self._backward(optimizer)
        if backward is not None:
            self._loss(backward)
            self._epochs(backward)
        loader = self.loaders.for_training(backward)
        if loader is not None:
            self._batches(loader)
        self._transform("train_transform", loader, train=True)
        self._transform("test_transform", self.loaders.for_testing(), train=False)

    def _optimizer_site(self) -> Site | None:
        """Give the optimiser of the chosen model that is made last."""
        sites = [s for s in self.trace.calls.sites if is_optimizer(s.call) and self._is_ours(s)]
        return max(sites, key=self.trace.calls.time, default=None)

    def _is_ours(self, site: Site) -> bool:
        made = self.choice.made
        if made is None:
            return False
        for node in ast.walk(site.call):
            if isinstance(node, ast.Call) and last(node.func) in ("parameters", "named_parameters"):
                owner = model_root(node.func, site.scope)
                if owner and self.trace.core(Value(owner, site)) is made.core:
                    return True
        return False

    def role(self, name: str, site: Site) -> str | None:
        """Give what the grader hands over for a name: the model, the optimiser, a loader."""
        if hasattr(builtins, name):
            return None
        value = self.trace.resolve(Value(ast.Name(name, ast.Load()), site))
        made = self.choice.made
        if made is not None and self.trace.core(value) is made.core:
            return "model"
        origin = self.trace.origin(value).expr
        if isinstance(origin, ast.Call) and is_optimizer(origin):
            return "optimizer"
        loader = self.loaders.behind(value)
        if loader is not None:
            return "test_loader" if self.loaders.kind(loader, name) is False else "train_loader"
        if self.loaders.is_dataset(value):
            return "test_set" if self.loaders.tests(value, name) else "train_set"
        return None

    def _scheduler(self, optimizer: Site) -> None:
        sites = [
            s
            for s in self.trace.calls.sites
            if SCHEDULERS.search(last(s.call.func)) and self._schedules(s, optimizer)
        ]
        site = max(sites, key=self.trace.calls.time, default=None)
        if site is None:
            return
        steps = [s for s in self._named_calls("step") if self._value_of(s) is site.call]
        if not steps:
            self.notes.append(f"scheduler: never stepped, so not used ({site.where})")
            return
        self.scheduler = site
        self._try("scheduler", Value(site.call, site))
        if part := self.recipe.get("scheduler"):
            self.recipe["scheduler"] = msgspec.structs.replace(part, source=quiet(part.source))
        by_batch = any(in_batch_loop(s) for s in steps)
        self.steps = "batch" if by_batch else "epoch"

    def _schedules(self, site: Site, optimizer: Site) -> bool:
        given = [
            *site.call.args[:1],
            *(k.value for k in site.call.keywords if k.arg == "optimizer"),
        ]
        return any(self.trace.origin(Value(g, site)).expr is optimizer.call for g in given)

    def _named_calls(self, name: str) -> list[Site]:
        return self.trace.calls.by_name.get(name, [])

    def _value_of(self, site: Site) -> ast.expr | None:
        """Give what the object of a method call resolves to."""
        func = site.call.func
        if not isinstance(func, ast.Attribute):
            return None
        return self.trace.origin(Value(func.value, site)).expr

    def _backward(self, optimizer: Site | None) -> Site | None:
        """Give the call of `backward` in the training, the last that runs."""
        sites = self._named_calls("backward")
        if optimizer is not None:
            stepped = {
                s.scope for s in self._named_calls("step") if self._value_of(s) is optimizer.call
            }
            sites = [s for s in sites if s.scope in stepped] or sites
        return max(sites, key=self.trace.calls.time, default=None)

    # Loss

    def _loss(self, backward: Site) -> None:
        func = backward.call.func
        base = root(func)
        if base is None:
            return
        written = [s for s in backward.before() if base in s.names.binds and not s.opened]
        calls = [(s, call) for s in written for call in loss_calls(s.node)]
        if not calls:
            return
        statement, call = calls[0]
        if len(written) > 1 or not plain(statement.node, call):
            self.notes.append(
                f"loss: only `{segment(call, statement.text)[:80]}` is taken over; what is added"
                f" to it is not ({statement.where})"
            )
        site = site_of(backward, statement)
        options = [f"{k.arg}={segment(k.value, statement.text)}" for k in call.keywords if k.arg]
        form = "lambda output, target: {}(" + ", ".join(["output", "target", *options]) + ")"
        if not any(reads(k.value) for k in call.keywords):
            self._try("loss", Value(call.func, site), form, statement.where)

    # Epochs

    def _epochs(self, backward: Site) -> None:
        loop = self._epoch_loop(backward, outside=backward.loops[-1:])
        if loop is None:
            return
        statement, site = loop
        if isinstance(statement.node, ast.For) and (found := count(statement.node.iter)):
            expr, form = found
            self._try("epochs", Value(expr, site), form, statement.where)
        elif not isinstance(statement.node, LOOPS) and backward.loops:
            self.recipe.setdefault("epochs", Part("1", statement.where))

    def _epoch_loop(
        self, site: Site, outside: list[Stmt], seen: frozenset[Site] = frozenset()
    ) -> tuple[Stmt, Site] | None:
        """Give the innermost loop around the training of one epoch, across callers.

        Without any, the statement at the top of a module that trains once; None if unknown.
        """
        for depth in range(len(site.path) - 2, -1, -1):
            block, index = site.path[depth]
            if isinstance(block[index].node, LOOPS) and block[index] not in outside:
                return block[index], Site(site.call, site.scope, site.path[: depth + 1])
        if site.scope.node is None:
            return site.top, site
        callers = self.trace.calls.callers(site.scope)
        if site in seen or not callers:
            return None
        return self._epoch_loop(callers[-1], [], seen | {site})

    def _batches(self, loader: Value) -> None:
        for key, position in (("batch_size", 1), ("drop_last", 8)):
            assert isinstance(loader.expr, ast.Call)
            given = argument_of(loader.expr, key, position)
            if given is not None:
                value = self._on_gpu(Value(given, loader.site))
                self._try(key, value)
            else:
                self._from_options(key, loader)

    def _from_options(self, key: str, loader: Value) -> None:
        """`DataLoader(data, **options)`."""
        assert isinstance(loader.expr, ast.Call)
        for keyword in loader.expr.keywords:
            if keyword.arg is None:
                value = self._on_gpu(Value(keyword.value, loader.site))
                resolved = self.trace.resolve(value)
                if re.search(rf"\b{key}\b", ast.unparse(resolved.expr)):
                    self._try(key, value, "({})['" + key + "']")

    def _on_gpu(self, value: Value) -> Value:
        """Of `a if cuda else b` the first: submissions were trained on a GPU."""
        resolved = self.trace.resolve(value)
        if isinstance(resolved.expr, ast.IfExp) and "cuda" in ast.unparse(resolved.expr.test):
            return Value(resolved.expr.body, resolved.site)
        return value

    def _transform(self, key: str, loader: Value | None, *, train: bool) -> None:
        dataset = self.loaders.dataset(loader) if loader is not None else None
        dataset = dataset or self.loaders.last_dataset(train=train)
        if dataset is None:
            return
        found = self.loaders.transforms(loader) if loader is not None else []
        found = found or self.loaders.transforms_of(dataset)
        if found:
            self._try(key, found[0])
        for other in found[1:]:
            self.notes.append(
                f"{key}: `{ast.unparse(other.expr)[:80]}` is added to it and is not applied"
                f" ({other.site.where})"
            )
