"""Which model counts: what the file says, else what it trains, else the only one it defines."""

from __future__ import annotations

import functools
import inspect
import linecache
import re
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from capture import capture
from commandline import UnsetOption
from modules import Failure
from noted import NOWHERE, Batch, Enough, Pass, Place
from placeholders import FOREIGN, USED, MissingPackage
from slices import Sliced
from tensors import CannotCapture, owners
from torch import nn
from watch import Watch

Json = dict[str, Any]


class UnknownModel(CannotCapture):
    """`--model` names nothing in the file."""


@dataclass
class Training:
    """All passes in which one model learned, and the optimisers that were stepped for it.

    Where the training did not come that far, there are no passes, and `made` for it only.
    """

    model: nn.Module
    passes: list[Pass] = field(default_factory=list)
    made: list[Any] = field(default_factory=list)

    @property
    def batches(self) -> list[Batch]:
        """All batches that something was learned from."""
        return [batch for p in self.passes for batch in p.batches if batch.backwards]

    @property
    def drawn(self) -> list[Batch]:
        """All batches of its passes, but for a last one that was left in the middle."""
        return [
            batch for p in self.passes for batch in p.batches
            if p.finished or batch is not p.batches[-1] or batch.steps
        ]  # fmt: skip

    @property
    def optimizers(self) -> list[Any]:
        """The optimisers, each once, in the order of their first steps."""
        steps = [optimizer for batch in self.batches for optimizer, _ in batch.steps]
        return list({id(optimizer): optimizer for optimizer in steps}.values()) or self.made


@dataclass(frozen=True)
class Choice:
    """The model that counts; `declared` if the file says so by name."""

    model: nn.Module
    place: Place
    training: Training | None
    declared: bool = False


def trainings(watch: Watch) -> list[Training]:
    """Return what was trained, in the order in which it was trained last."""
    found: dict[int, Training] = {}
    for each in watch.passes:
        if each.trains and (model := _model_of(each, watch)) is not None:
            training = found.pop(id(model), None) or Training(model)
            training.passes.append(each)
            found[id(model)] = training
    for training in found.values():  # a trial of a few images is no part of a training by a loader
        loaded = [each for each in training.passes if not isinstance(each.loader, Sliced)]
        whole = [each for each in loaded if each.finished or each.around]
        training.passes = whole or loaded or training.passes
    return list(found.values()) or list(_begun(watch))


def _begun(watch: Watch) -> Iterator[Training]:
    """Yield what has an optimiser, where no training came further."""
    for made in watch.optimizers:
        if (model := watch.model_of(made.thing)) is not None:
            yield Training(model, made=[made.thing])


def _model_of(each: Pass, watch: Watch) -> nn.Module | None:
    for batch in reversed(each.batches):
        for optimizer, _ in reversed(batch.steps):
            if (model := watch.model_of(optimizer)) is not None:
                return model
        if batch.backwards and batch.model is not None:
            return batch.model
    return None


def choose(name: str | None, namespace: Json, watch: Watch, failures: list[Failure]) -> Choice:
    """Return the model that counts; CannotCapture, or the first error, where there is none."""
    trained = trainings(watch)
    explicit = name or said_in(namespace)
    if explicit is not None:
        return _named(explicit, namespace, watch, trained, declared=name is None)
    if trained:
        _refuse_versions(trained, watch)
        last = trained[-1]
        for loop in watch.around.get(id(last.model), ()):
            if (failure := broken(loop, failures, watch)) is not None:
                raise failure.error
        return Choice(last.model, place_of(last.model, watch), last)
    return Choice(*_untrained(namespace, watch, failures), None)


def said_in(namespace: Json) -> str | None:
    """Return the name by which a file says its model; a factory that needs arguments is its own."""
    if not isinstance(namespace.get("MODEL"), str | None):  # a word is a setting of its own
        return "MODEL"
    maker = namespace.get("build_model")
    return "build_model" if maker is not None and not required(maker) else None


def place_of(model: nn.Module, watch: Watch) -> Place:
    """Return where a model was made."""
    return next((place for module, place in watch.modules if module is model), NOWHERE)


def broken(loop: Place, failures: list[Failure], watch: Watch) -> Failure | None:
    """Return the failure that ended a loop before its time, if one did."""
    ended = (f for f in failures if not isinstance(f.error, Enough))
    return next((f for f in ended if watch.is_within(f.error, loop)), None)


def _named(
    name: str, namespace: Json, watch: Watch, trained: list[Training], *, declared: bool
) -> Choice:
    thing = namespace.get(name)
    if thing is None:
        raise UnknownModel(f"there is no model called {name}", "check the spelling of --model")
    if isinstance(thing, type):
        made = [t for t in trained if type(t.model) is thing]
        if made:
            _refuse_versions(made, watch)
            return Choice(made[-1].model, place_of(made[-1].model, watch), made[-1], declared)
        if name != "MODEL":  # the arguments that the file makes it with
            thing = next((m for m, _ in reversed(watch.modules) if type(m) is thing), thing)
    model = built(thing, name)
    same = [t for t in trained if t.model is model] or [
        t for t in trained if _alike(t.model, model)
    ]
    if same:
        return Choice(same[-1].model, place_of(same[-1].model, watch), same[-1], declared)
    return Choice(model, place_of(model, watch), None, declared)


def built(thing: Any, name: str) -> nn.Module:
    """Make an instance of what a submission calls its model; CannotCapture if that is none."""
    if not isinstance(thing, nn.Module) and callable(thing):
        if needed := required(thing):
            name = getattr(thing, "__name__", name)
            raise CannotCapture(
                f"{name} needs {', '.join(needed)} to be built",
                f"say with which: MODEL = {name}(...)",
            )
        thing = thing()
    if isinstance(thing, nn.Module):
        return thing
    raise CannotCapture(
        f"{name} gives a {type(thing).__name__}, not an nn.Module",
        "end the file with MODEL = YourNetwork()",
    )


def required(maker: Any) -> list[str]:
    """Return the parameters without which a class or function cannot be called."""
    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in optional]


def _refuse_versions(trained: list[Training], watch: Watch) -> None:
    """Refuse to guess where one class, or one line, makes several networks that are trained."""
    last, versions = trained[-1].model, list[nn.Module]()
    for model in (t.model for t in reversed(trained) if _related(t.model, last, watch)):
        if not any(_alike(model, version) for version in versions):
            versions.insert(0, model)
    if len(versions) > 1:
        raise CannotCapture(
            f"{type(last).__name__} is trained in {len(versions)} versions, and nothing says which "
            "one counts: " + "; ".join(_brief(model, versions, watch) for model in versions),
            f"add one line at the end of the file: `MODEL = {place_of(last, watch).text or '...'}`",
            str(place_of(last, watch)),
        )


def _related(model: nn.Module, last: nn.Module, watch: Watch) -> bool:
    return type(model) is type(last) or place_of(model, watch) == place_of(last, watch)


def _form(model: nn.Module) -> str:
    """Write down what a model is made of."""
    parts = (f"{p} {type(m).__name__} {_extra(m)}" for p, m in owners(model))
    return "\n".join(parts)


def _alike(one: nn.Module, other: nn.Module) -> bool:
    """Tell whether two networks are one: in what they are made of, and in what they compute."""
    if _form(one) != _form(other):
        return False
    return _settings(one) == _settings(other) or _graphs(one) == _graphs(other)


def _settings(model: nn.Module) -> Json:
    """Return what a network's own modules note in plain words and numbers."""
    return {
        f"{path}.{name}".lstrip("."): value
        for path, module in owners(model) if not type(module).__module__.startswith("torch.")
        for name, value in vars(module).items()
        if name[:1] != "_" and name != "training" and isinstance(value, str | int | float)
    }  # fmt: skip


@functools.cache
def _graphs(model: nn.Module) -> str:
    """Write down what a network computes, or why that cannot be recorded."""
    try:
        found = capture(model, "", "", set()).json
    except Exception as error:  # of the submission's forward
        return str(error)
    return f"{found['train']} {found['eval']}"


def _extra(module: nn.Module) -> str:
    shapes = [tuple(p.shape) for p in module._parameters.values() if p is not None]
    known = type(module).__module__.startswith("torch.")
    return f"{shapes} {module.extra_repr()}" if known else str(shapes)


def _brief(model: nn.Module, versions: list[nn.Module], watch: Watch) -> str:
    """Say where a network is made, and what tells it from the other versions."""
    place, own = place_of(model, watch), _settings(model)
    count = sum(
        p.numel() for _, m in owners(model) for p in m._parameters.values() if p is not None
    )
    others = [_settings(version) for version in versions]
    parted = [f"{k}={v!r}"[:80] for k, v in own.items() if any(o.get(k) != v for o in others)]
    told = ", ".join([f"{count:,} parameters", *parted[:3]])
    return f"{place.text or type(model).__name__} with {told} ({place})"


def _untrained(namespace: Json, watch: Watch, failures: list[Failure]) -> tuple[nn.Module, Place]:
    """Return the only model that is made, or defined, where nothing is trained."""
    inner = {id(c) for module, _ in watch.modules for c in module._modules.values()}
    roots = [
        (module, place) for module, place in watch.modules
        if id(module) not in inner and _is_model(module)
    ]  # fmt: skip
    if len({type(module) for module, _ in roots}) == 1:
        return roots[-1]
    for failure in failures:
        if isinstance(failure.error, UnsetOption):
            raise failure.error
    classes = list(_defined(namespace.values())) or list(_of_siblings(watch))
    used = {type(module) for module, _ in watch.modules if id(module) in inner}
    bases = {base for kind in classes for base in kind.__mro__[1:]}
    parts = {k for k in classes if any(k.__name__ in _read_by(o) for o in classes if o is not k)}
    kept = [kind for kind in classes if kind not in used | bases | parts]
    named = [kind for kind in kept if kind.__name__ in ("Net", "Model")]
    for few in (kept, named):
        if len(few) == 1:
            return _first_instance(few[0], roots, failures)
    lost = (_lost(kind, failures) for kind in kept)
    if (first := next(filter(None, lost), None)) is not None:
        raise first.error
    if kept:
        raise CannotCapture(
            f"there are {len(kept)} models and nothing says which one to grade: "
            + ", ".join(kind.__name__ for kind in kept),
            f"add one line at the end of the file: `MODEL = {kept[-1].__name__}()`",
        )
    missing = [name for name in USED if re.search(r"model|net|arch", name, re.I)]
    for failure in failures:  # the first that a model may have been lost by
        if isinstance(failure.error, MissingPackage) and failure.error.package in FOREIGN:
            raise failure.error
    if missing:
        raise MissingPackage(missing[0], USED[missing[0]])
    for number, failure in enumerate(failures):
        lost_name = isinstance(failure.error, NameError) and number > 0  # by an earlier one
        if not lost_name and not isinstance(failure.error, OSError | SystemExit):
            raise failure.error
    raise CannotCapture(
        "no model was found", "define a class that inherits from nn.Module, and train it"
    )


def _first_instance(
    kind: type[nn.Module], roots: list[tuple[nn.Module, Place]], failures: list[Failure]
) -> tuple[nn.Module, Place]:
    made = [(module, place) for module, place in roots if type(module) is kind]
    if not made and (failure := _lost(kind, failures)) is not None:
        raise failure.error
    return made[-1] if made else (built(kind, kind.__name__), _place_of_class(kind))


def _lost(kind: type[nn.Module], failures: list[Failure]) -> Failure | None:
    """Return why the file has no instance of a class: its defaults are a guess then."""
    called = re.compile(rf"\b{kind.__name__}\b")
    for failure in failures:
        for frame in traceback.extract_tb(failure.error.__traceback__):
            if called.search(linecache.getline(frame.filename, frame.lineno or 0)):
                return failure
    return failures[0] if failures and required(kind) else None


def _is_model(module: nn.Module) -> bool:
    own = not type(module).__module__.startswith(("torch.", "torchvision."))
    return (own or isinstance(module, nn.Sequential)) and any(
        p is not None for _, m in owners(module) for p in m._parameters.values()
    )


def _defined(things: Iterable[Any]) -> Iterator[type[nn.Module]]:
    for thing in dict.fromkeys(v for v in things if isinstance(v, type)):
        if issubclass(thing, nn.Module) and not thing.__module__.startswith("torch"):
            yield thing


def _read_by(kind: type[nn.Module]) -> set[str]:
    """Return the names that the methods of a class read."""
    codes = [f.__code__ for f in vars(kind).values() if inspect.isfunction(f)]
    return {name for code in codes for name in code.co_names}


def _of_siblings(watch: Watch) -> Iterator[type[nn.Module]]:
    """Yield the classes of models that any module of the submission defines."""
    todo = nn.Module.__subclasses__()
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if _place_of_class(kind).file in watch.files:
            yield kind


def _place_of_class(kind: type[nn.Module]) -> Place:
    """Return the line of a class: the last of its name above its first method."""
    codes = [f.__code__ for f in vars(kind).values() if inspect.isfunction(f)]
    first = min(codes, key=lambda code: code.co_firstlineno, default=None)
    if first is None:
        return NOWHERE
    head = re.compile(rf"\s*class\s+{kind.__name__}\b")
    lines = linecache.getlines(first.co_filename)[: first.co_firstlineno]
    found = [number for number, line in enumerate(lines, start=1) if head.match(line)]
    return Place(first.co_filename, found[-1] if found else first.co_firstlineno)
