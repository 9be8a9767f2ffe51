"""Watches a submission train itself on made-up images, and notes what it does. In the sandbox.

Noted are the modules, loaders, optimisers and schedulers it makes, with their places; each pass
over a loader, with its batches, calls of the model, calls of `backward` and steps; and, for some
batches, all that is needed to do the same step again. What it means is for `trained` to say.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import itertools
import linecache
import random
import sys
import traceback
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import torch
from data import BLOCK, Loader, asked
from noted import (
    NOWHERE,
    Batch,
    Call,
    Enough,
    Json,
    Made,
    Pass,
    Place,
    State,
    without_parameters,
)
from slices import LARGEST, Slices
from tensors import held, owners, weights_of
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim import lr_scheduler
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._pytree import tree_leaves, tree_map_only

_MOST_PASSES = 1_000
_MOST_NUMBERS = 3_000_000  # of a model whose steps are kept to be done again
_MOST_CALLS = 500  # that are kept of one batch
_MANY = 2_000  # batches of passes that end by a count
_KEPT = 40  # batches of which all is kept; large ones weigh more
_GRADIENT = torch.Tensor.grad.__get__  # type: ignore[union-attr] # which `zero_grad` asks for
_CLIPS = ("clip_grad_norm_", "clip_grad_value_", "clip_grad_norm", "clip_grads_with_norm_")


class Watch:
    """What was seen. `files` are the submission's places, `loops` the lines of its loops there.

    `source` yields real batches for the passes that train, where there is somebody to give them.
    """

    def __init__(
        self, files: set[str], loops: dict[str, list[tuple[int, int]]],
        source: Callable[[Watch, Pass], Iterator[Any] | None] | None = None,
    ) -> None:  # fmt: skip
        self._source = source
        self.files, self.loops = files, loops
        self.own: set[str] = set()  # the submission's modules, by name
        self.modules: list[tuple[nn.Module, Place]] = []
        self.around: dict[int, list[Place]] = {}  # the loops that a module was made in
        self._copies: list[tuple[weakref.ref[nn.Module], Place, list[Place]]] = []
        self.turns: dict[Place, int] = {}  # how often a loop says that it turns
        self.uncounted: set[Place] = set()  # loops that no count ends
        self.kept_on: set[Place] = set()  # loops that would have ended early
        self._counting: set[Place] = set()  # loops over batches that are counted
        self.whole = False  # whether passes get as many batches as there are
        self._many = _MANY  # batches that may be handed out like that
        self._fitting: list[Place] = []  # the call that has a loop of its own
        self.loaders: list[tuple[Loader, Place]] = []
        self.undone: set[int] = set()  # modules and loaders of runs that began once more
        self.optimizers: list[Made] = []
        self.schedulers: list[Made] = []
        self.passes: list[Pass] = []
        self.first: dict[int, tuple[nn.Module, dict[str, torch.Tensor]]] = {}
        self.datasets: dict[int, Place] = {}
        self.slices = Slices(self)
        self.now: Batch | None = None
        self._depth = 0  # of calls of modules within a batch
        self._inside = 0  # of all calls of modules
        self._over = False
        self._cut = 0  # images that a module was called with, of which it sees fewer
        self._kept = 0

    # Told by the stand-ins

    def loader_made(self, loader: Loader) -> None:
        """Note a loader."""
        self.loaders.append((loader, self._place()))

    @contextlib.contextmanager
    def fitting(self, epochs: int) -> Iterator[None]:
        """Note that a stand-in goes over the data so often."""
        here = self._here()
        self.turns[here] = epochs
        self._fitting.append(here)
        yield
        self._fitting.pop()

    def dataset_made(self, dataset: Any) -> None:
        """Note where a data set is made."""
        self.datasets[id(dataset)] = self._place(skip=dataset)

    def pass_over(self, loader: Loader) -> Iterator[Any]:
        """Yield the batches of one more pass over a loader."""
        this = self.pass_begun(loader)
        real = self._source(self, this) if self._source is not None else None
        learns = bool(self.optimizers) and torch.is_grad_enabled()
        this.counted = learns and this.at in self._counting and self._many > 0
        many = self._many if self.whole or this.counted else 0
        made_up = loader.batches(this.number, shown=not self.optimizers, many=many)
        for content in made_up if real is None else real:
            batch = self.begin(content)
            if self._source is None:
                this.batches.append(batch)
                self._many -= many > 0
            yield content
            self.end(batch)
        this.finished = True

    def pass_begun(self, loader: Loader, epochs: int = 1) -> Pass:
        """Note that a pass begins."""
        if len(self.passes) >= _MOST_PASSES:
            raise Enough
        self.slices.held()
        earlier = sum(p.loader is loader for p in self.passes)
        around = [place for place in self._around() if place != getattr(loader, "place", None)]
        this = Pass(loader, earlier, [*around, *self._fitting], self._here(), epochs=epochs)
        self.passes.append(this)
        return this

    def turning(self, things: Any, line: int, whole: bool, counts: bool) -> Any:
        """Return what a loop of the submission is to go over; `whole` if it ends at no count.

        How often the last run of a loop over a `range` says that it turns is noted, and whether
        something ends by what it `counts`, which takes batches as many as there are.
        """
        frame = sys._getframe(1)
        if counts or isinstance(things, itertools.islice):
            self._counting.add(Place(frame.f_code.co_filename, line))
        counted = getattr(things, "iterable", things)  # within a progress bar
        if whole and isinstance(counted, range):
            self.turns[Place(frame.f_code.co_filename, line)] = len(counted)
        if self._source is not None or not self.optimizers or self._inside:
            return things
        if any(frame.f_code.co_name == "forward" for frame in self._frames()):
            return things  # what a network computes is left alone
        return self.slices.turns(things, _place_of(frame))

    def goes_on(self, holds: Any, line: int, counted: bool) -> Any:
        """Return whether a `while` goes on: one that trains does, if there is a count to end it.

        `holds` is what it measures, which says nothing here.
        """
        place = Place(sys._getframe(1).f_code.co_filename, line)
        if self._source is not None or not self.passes or place not in self.passes[-1].around:
            return holds
        if not counted:
            self.uncounted.add(place)
        elif not holds:
            self.kept_on.add(place)
        return holds or counted

    @property
    def real(self) -> bool:
        """Whether somebody gives real images."""
        return self._source is not None

    @property
    def learned_nothing(self) -> bool:
        """Whether nothing has learned so far."""
        return not any(each.trains for each in self.passes)

    def begin(self, content: Any) -> Batch:
        """Begin a batch."""
        batch = Batch(content)
        if self._source is None and torch.is_grad_enabled():
            self._keep(batch)
        self.now = batch  # whose calls are noted from now on
        return batch

    def _keep(self, batch: Batch) -> None:
        """Keep the state ahead of a batch, as long as there is room."""
        if not self.optimizers or self._kept >= _KEPT:
            return
        model = self.model_of(self.optimizers[-1].thing)
        if model is not None and _numbers(model) <= _MOST_NUMBERS:
            self._kept += batch.weight
            batch.before = _state_of(model)

    def end(self, batch: Batch) -> None:
        """End a batch."""
        self.now = None
        if batch.before is not None:
            if not batch.backwards:
                batch.before = None
                self._kept -= batch.weight
            else:
                batch.after = weights_of(batch.before.model)
        if batch.loss is None:
            batch.calls.clear()
            batch.outputs.clear()

    def ended(self) -> None:
        """Note no more of the last batch: what follows is the grader's own."""
        self.now, self._over = None, True

    # Told by PyTorch's hooks

    def install(self) -> None:
        """Put the hooks in place, for as long as this process lives."""
        Loader.watch = self
        for owner in (torch.utils.data, torch.utils.data.dataloader):
            vars(owner)["DataLoader"] = Loader
        _replace(nn.Module, "__init__", self._noting_module)
        _replace(nn.Module, "__setstate__", self._noting_copy)
        _replace(torch.optim.Optimizer, "__init__", self._noting_optimizer)
        for name, kind in vars(lr_scheduler).items():
            if isinstance(kind, type) and issubclass(kind, lr_scheduler.LRScheduler):
                if "__init__" in vars(kind):
                    _replace(kind, "__init__", partial(self._noting_scheduler, kind))
                if "step" in vars(kind) and not name.startswith("_"):
                    _replace(kind, "step", self._noting_move)
        _replace(torch.autograd, "backward", self._noting_backward)
        for owner in (nn.utils, nn.utils.clip_grad):
            for name in _CLIPS:
                if hasattr(owner, name):
                    _replace(owner, name, self._noting_clip)
        if self._source is not None:  # what follows serves those who describe
            return
        register_optimizer_step_pre_hook(self._step)
        register_module_forward_pre_hook(self._called)
        register_module_forward_hook(self._returned, always_call=True)
        self._forward_noted(nn.Sequential)

    def _noting_module(self, init: Callable[..., None]) -> Callable[..., None]:
        def noted(module: nn.Module, *args: Any, **options: Any) -> None:
            init(module, *args, **options)
            if type(module).__module__ in ("__main__", *self.own):
                self._forward_noted(type(module))
            self.modules.append((module, self._place(skip=module)))
            self.around[id(module)] = self._around()

        return noted

    def _noting_copy(self, setstate: Callable[..., None]) -> Callable[..., None]:
        """Note what `copy.deepcopy` makes, and let go of it: many keep a copy of every epoch."""

        def noted(module: nn.Module, *args: Any, **options: Any) -> None:
            setstate(module, *args, **options)
            self._copies.append((weakref.ref(module), self._place(), self._around()))

        return noted

    def _take_up(self, optimizer: Any) -> None:
        """Hold the copies of modules that an optimiser is made for."""
        mine, kept = _parameters_of(optimizer), []
        for copied, place, around in self._copies:
            module = copied()
            if module is not None and _holds(module, mine):
                self.modules.append((module, place))
                self.around[id(module)] = around
            elif module is not None:
                kept.append((copied, place, around))
        self._copies = kept

    def _noting_optimizer(self, init: Callable[..., None]) -> Callable[..., None]:
        def noted(optimizer: Any, *args: Any, **options: Any) -> None:
            init(optimizer, *args, **options)
            self._take_up(optimizer)
            made = Made(optimizer, self._place(skip=optimizer), before=len(self.modules))
            made.groups = [without_parameters(group) for group in optimizer.param_groups]
            self.optimizers.append(made)
            model = self.model_of(optimizer)
            if model is not None and _numbers(model) <= _MOST_NUMBERS:
                self.first.setdefault(id(model), (model, weights_of(model)))

        return noted

    def _noting_scheduler(self, kind: type[Any], init: Callable[..., None]) -> Callable[..., None]:
        def noted(scheduler: Any, *args: Any, **options: Any) -> None:
            options.pop("verbose", None)  # which PyTorch no longer takes
            if type(scheduler) is kind:
                made = Made(scheduler, self._place(skip=scheduler), args, options)
                optimizer = options.get("optimizer", args[0] if args else None)
                groups = getattr(optimizer, "param_groups", ())
                made.groups = [without_parameters(group) for group in groups]
                self.schedulers.append(made)
            init(scheduler, *args, **options)
            if type(scheduler) is kind:
                made.moves.clear()  # its first step is its own affair

        return inspect_like(noted, init)

    def _noting_move(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def noted(scheduler: Any, *args: Any, **options: Any) -> Any:
            for made in self.schedulers:
                if made.thing is scheduler:
                    inside = self.now is not None and self.now.backwards > 0 and not self._left()
                    early = self.now is not None and not self.now.steps
                    made.moves.append(("early" if early else "batch") if inside else "pass")
            return step(scheduler, *args, **options)

        return inspect_like(noted, step)

    def _noting_backward(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        def noted(tensors: Any, *args: Any, **options: Any) -> Any:
            now = self.now
            if now is not None and now.loss is None and isinstance(tensors, torch.Tensor):
                now.loss, now.place = tensors, self._place()
            result = backward(tensors, *args, **options)
            if now is not None:
                now.backwards += 1
            return result

        return noted

    def _noting_clip(self, clip: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **options: Any) -> Any:
            if self.now is not None:
                self.now.clipped = True
            return clip(*args, **options)

        return noted

    def _step(self, optimizer: Any, args: object, options: object) -> None:
        if self.now is not None:
            groups = [without_parameters(group) for group in optimizer.param_groups]
            self.now.steps.append((optimizer, groups))
            if self.now.before is not None and self.now.before.optimizer is None:
                self.now.before.optimizer = copy.deepcopy(optimizer.state_dict())

    def _forward_noted(self, kind: type[nn.Module]) -> None:
        """Let `model.forward(x)`, called from outside, be a call of the model."""
        forward = vars(kind).get("forward")
        if self._source is not None:  # no hook notes calls then
            return
        if not inspect.isfunction(forward) or hasattr(forward, "noted"):
            return

        def noted(module: nn.Module, *args: Any, **options: Any) -> Any:
            outside = self._depth == 0 and self.now is not None and not self._is_loss(args)
            return module(*args, **options) if outside else forward(module, *args, **options)

        noted.noted = True  # type: ignore[attr-defined]
        kind.forward = inspect_like(noted, forward)

    def _called(self, module: nn.Module, args: Any) -> Any:
        """Note a call of a module, which sees a block of images of whole data sets."""
        most = LARGEST if self.slices.in_a_loop else BLOCK
        if not (self._inside or self._over) and _is_of_many(module, args, most):
            self._cut = len(args[0])
            args = (args[0][:BLOCK],)
        if not self._inside and args and not self._is_loss(args):
            self.slices.called(*args)
        self._inside += 1
        if self._depth == 0 and self.now is not None and not self._is_loss(args):
            learns = torch.is_grad_enabled() and not self.now.steps
            holds = next(nn.Module.parameters(module), None) is not None  # and is no transform
            if holds and (learns or self.now.model is None):  # and does not only look
                self.now.model, self.now.was_training = module, module.training
                if args and isinstance(args[0], torch.Tensor):
                    self.now.shape = tuple(args[0].shape[1:])
            self._depth = 1
        elif self._depth:
            self._depth += 1
        return args

    def _returned(self, module: nn.Module, args: Any, result: Any) -> Any:
        self._inside = max(0, self._inside - 1)
        if self._cut and not self._inside:
            turns, self._cut = torch.arange(self._cut) % BLOCK, 0
            result = tree_map_only(
                torch.Tensor, lambda t: t[turns] if len(t) == BLOCK else t, result
            )
        if self._depth:
            self._depth -= 1
            looked_for = self.now is not None and self.now.loss is None
            if not self._depth and self.now is not None and looked_for and torch.is_grad_enabled():
                self.now.outputs.append(result)
                self.now.derived |= {id(leaf) for leaf in tree_leaves(result)}
        return result

    def _is_loss(self, args: Any) -> bool:
        """Tell a loss, which is called with what the model returned, from a model."""
        return self.now is not None and any(id(t) in self.now.derived for t in tree_leaves(args))

    def called(self, function: Any, args: tuple[Any, ...], options: Json, result: Any) -> None:
        """Note a call of PyTorch's that is made outside the model, before `backward`."""
        now = self.now
        if now is None or self._depth or now.loss is not None or len(now.calls) >= _MOST_CALLS:
            return
        made = any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(result))
        if made and torch.is_grad_enabled() and function != _GRADIENT:
            now.calls.append(Call(function, args, options, result, self._place()))
            if any(id(leaf) in now.derived for leaf in tree_leaves((args, options))):
                now.derived |= {id(leaf) for leaf in tree_leaves(result)}

    # What belongs together

    def model_of(self, optimizer: Any) -> nn.Module | None:
        """Return the module that holds an optimiser's parameters and is part of no other.

        Of those that were there when it was made: what wraps a trained network is another matter.
        One that holds all of them comes before what holds a part, as what layers were chosen from.
        """
        mine = _parameters_of(optimizer)
        count = next((m.before for m in self.optimizers if m.thing is optimizer), None)
        modules = self.modules[:count]
        inner = {id(child) for module, _ in modules for child in module._modules.values()}
        tops = [m for m, _ in modules if id(m) not in inner]
        roots = [m for top in tops for m in _that_compute(top) if _holds(m, mine)]
        whole = [m for m in roots if mine <= {id(p) for p in nn.Module.parameters(m)}]
        return next(reversed(whole or roots), None)

    # Places

    def _frames(self) -> Iterator[FrameType]:
        """Yield the submission's frames, from the inside out."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename in self.files:
                yield frame
            frame = frame.f_back

    def _place(self, skip: object = None) -> Place:
        """Return the innermost place that is not in the making of `skip` itself."""
        for frame in self._frames():
            first = frame.f_code.co_varnames[:1]
            if skip is None or not first or frame.f_locals.get(first[0]) is not skip:
                return _place_of(frame)
        return NOWHERE

    def _around(self) -> list[Place]:
        """Return the loops that are under way, but for the one that begins."""
        frames = list(self._frames())
        found: list[Place] = []
        for depth, frame in enumerate(frames):
            file, line = frame.f_code.co_filename, frame.f_lineno
            head = frame.f_code.co_firstlineno if frame.f_code.co_name != "<module>" else 0
            loops = [
                Place(file, start) for start, end in self.loops.get(file, ())
                if head <= start <= line <= end and not (depth == 0 and start == line)
            ]  # fmt: skip
            found = sorted(loops, key=lambda place: place.line) + found
        return found

    def _left(self) -> bool:
        """Tell whether the last pass was left in the middle: its loop is not under way here."""
        at = self.passes[-1].at if self.passes else NOWHERE
        codes = [f.f_code for f in self._frames() if f.f_code.co_filename == at.file]
        own = any(line == at.line for code in codes for _, _, line in code.co_lines())
        return own and at not in self._around()

    def is_within(self, error: BaseException, loop: Place) -> bool:
        """Tell whether an error was raised in the turns of a loop."""
        end = dict(self.loops.get(loop.file, ())).get(loop.line, 0)
        trace = traceback.walk_tb(error.__traceback__)
        return any(f.f_code.co_filename == loop.file and loop.line <= at <= end for f, at in trace)

    def _here(self) -> Place:
        """Return the line that is under way."""
        frame = next(self._frames(), None)
        return NOWHERE if frame is None else Place(frame.f_code.co_filename, frame.f_lineno)


def _replace(owner: Any, name: str, wrap: Callable[[Callable[..., Any]], Any]) -> None:
    setattr(owner, name, wrap(getattr(owner, name)))


def _place_of(frame: FrameType) -> Place:
    file, line = frame.f_code.co_filename, frame.f_lineno
    positions = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    first, last, start, end = positions
    if first is None or last is None or start is None or end is None:
        return Place(file, line)
    lines = [linecache.getline(file, number).rstrip("\n") for number in range(first, last + 1)]
    if not lines:
        return Place(file, line)
    lines[-1] = lines[-1].encode()[:end].decode(errors="replace")
    lines[0] = lines[0].encode()[start:].decode(errors="replace")
    return Place(file, first, " ".join(text.strip() for text in lines)[:300])


def inspect_like(function: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Let a wrapper show the signature of what it wraps."""
    function.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    function.__doc__ = original.__doc__
    return function


def _state_of(model: nn.Module) -> State:
    """Copy all that decides what the next step does, but for its optimiser."""
    numbers = torch.get_rng_state(), random.getstate(), np.random.get_state()
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in nn.Module.named_parameters(model)
        if parameter.grad is not None
    }
    return State(model, weights_of(model), numbers, gradients)


def _is_of_many(module: nn.Module, args: Any, most: int) -> bool:
    """Tell whether a network is called with more images than `most`, as with a whole data set.

    What it makes of them on the way may take more memory than there is.
    """
    images = args[0] if len(args) == 1 else None
    if not isinstance(images, torch.Tensor) or images.dim() < 2 or len(images) <= most:
        return False
    large = images[0].numel() >= asked.kind.size**2
    return large and next(nn.Module.parameters(module), None) is not None


def _parameters_of(optimizer: Any) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


def _that_compute(module: nn.Module) -> list[nn.Module]:
    """Return a module; of one that only says how others are trained, those."""
    kind = type(module)
    own = kind.forward is not nn.Module.forward or kind.__call__ is not nn.Module.__call__
    if own or isinstance(module, nn.ModuleList):
        return [module]
    held = [child for child in module._modules.values() if child is not None]
    return [each for child in held for each in _that_compute(child)] or [module]


def _holds(module: nn.Module, wanted: set[int]) -> bool:
    return any(id(p) in wanted for _, m in owners(module) for p in m._parameters.values())


def _numbers(model: nn.Module) -> int:
    return sum(each.tensor.numel() for each in held(model))
