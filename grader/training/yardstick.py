"""What one image costs a plain loop: the measure for how much work a submission's own loop does.

Work that such a loop may leave out is no part of it: operations whose result changes neither the
scores nor a gradient, and gradients of what is never trained. Else a network could carry ballast,
and its loop spend the time of it on images it was never handed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import msgspec
import torch

from grader.plan import schema
from grader.plan.arguments import first_read, name_of, reads, words
from grader.training.loop import Run
from grader.training.network import CompiledGraph

_STEPS = 4
_FEW = 8  # images that tell whether an operation does anything
_MOST = 400  # operations that are tried; the largest results first
_LEAST = 1e-4  # of the scores' or the gradients' size

_VIEWS = words(
    """alias chunk detach diagonal expand expand_as flatten getitem movedim narrow permute
    reshape select slice split squeeze t transpose unbind unflatten unsqueeze view view_as"""
)

_State = dict[str, torch.Tensor]


class Yardstick:
    """Times training steps on a copy of the network, unfused, as any PyTorch program runs them."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._initial = {name: t.detach().clone() for name, t in run.network.state.items()}
        self._times: list[float] = []
        self.trained: set[str] = set()
        self._idle: frozenset[str] | None = None

    @property
    def seconds(self) -> float:
        """CPU seconds an image, averaged over all measurements."""
        return fmean(self._times)

    def measure(self) -> None:
        """Make a few steps; called again and again, since a machine is not always as fast.

        As soon as the loop has trained something, only that is trained here, too.
        """
        run = self._run
        images, labels = next(run.batches(run.plan.recipe.epochs))
        if self._idle is None:
            self._idle = idle(run, _copied(run.network.state), images[:_FEW], labels[:_FEW])
        if not self.trained and (trained := self._changed()):
            self.trained = trained
            self._times.clear()
        state = _copied(run.network.state)
        if self.trained:
            for name in state.keys() - self.trained:
                state[name].requires_grad_(False)
        self._times.append(self._timed(state, images, labels))

    def _changed(self) -> set[str]:
        return {
            name
            for name, tensor in self._run.network.state.items()
            if tensor.requires_grad and not torch.equal(tensor, self._initial[name])
        }

    def _timed(self, state: _State, images: torch.Tensor, labels: torch.Tensor) -> float:
        """Return the CPU seconds an image of a few steps on a batch."""
        run, idle = self._run, self._idle or frozenset()
        graph, fixed = without(run.plan.model.train, state, idle, images)
        compiled = CompiledGraph(graph, state | fixed, run.device)
        learned = [tensor for tensor in state.values() if tensor.requires_grad]
        optimizer = torch.optim.Adam(learned, lr=0.0)  # one of the costlier
        for step in range(_STEPS + 1):
            if step == 1:  # the first makes the optimiser's state
                began = time.process_time()
            optimizer.zero_grad()
            run.loss(compiled(images), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return (time.process_time() - began) / (_STEPS * len(labels))


def _copied(state: Mapping[str, torch.Tensor]) -> _State:
    return {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in state.items()}


def idle(run: Run, state: _State, images: torch.Tensor, labels: torch.Tensor) -> frozenset[str]:
    """Return operations whose result, changed and cut off from gradients, changes nothing."""
    graph = without(run.plan.model.train, state, frozenset(), images)[0]
    usual = _outcome(run, graph, state, images, labels, "")
    written = {first_read(node) for node in graph.nodes if name_of(node).endswith("_")}
    tried = [n for n in graph.nodes if n.name not in written and not name_of(n).endswith("_")]
    tried.sort(key=_size, reverse=True)
    return frozenset(
        node.name
        for node in tried[:_MOST]
        if node.dtype.startswith("torch.float") and node.name != graph.output
        and _alike(usual, _outcome(run, graph, state, images, labels, node.name))
    )  # fmt: skip


def _size(node: schema.Node) -> int:
    return math.prod(size for size in node.shape or () if isinstance(size, int))


def _outcome(
    run: Run, graph: schema.Graph, state: _State, images: torch.Tensor, labels: torch.Tensor,
    changed: str,
) -> list[torch.Tensor]:  # fmt: skip
    """Return scores and gradients, with one operation's result replaced by noise."""
    own = _copied(state)
    learned = [tensor for tensor in own.values() if tensor.requires_grad]

    def look(node: schema.Node, result: object) -> object:
        if node.name != changed or not isinstance(result, torch.Tensor):
            return result
        still = result.detach()
        return still + (1 + still.abs().mean()) * torch.randn_like(still)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        scores = _Watched(graph, own, run.device, look)(images)
        loss = run.loss(scores.clone(), labels)
        slopes: list[torch.Tensor | None] = [None] * len(learned)
        if loss.requires_grad:
            slopes[:] = torch.autograd.grad(loss, learned, allow_unused=True)
    found = [torch.zeros_like(t) if s is None else s for t, s in zip(learned, slopes, strict=True)]
    return [scores.detach(), *found]


class _Watched(CompiledGraph):
    """A graph in which every result is looked at, and may be replaced."""

    def __init__(
        self, graph: schema.Graph, state: _State, device: torch.device,
        look: Callable[[schema.Node, object], object],
    ) -> None:  # fmt: skip
        super().__init__(graph, state, device)
        self._steps = [
            replace(step, function=partial(_looked_at, step.function, step.node, look))
            for step in self._steps
        ]


def _looked_at(
    function: Callable[..., Any], node: schema.Node,
    look: Callable[[schema.Node, object], object], *args: object, **kwargs: object,
) -> object:  # fmt: skip
    return look(node, function(*args, **kwargs))


def _alike(usual: list[torch.Tensor], found: list[torch.Tensor]) -> bool:
    return all(
        bool((one - other).abs().max() <= _LEAST * one.abs().max()) if one.numel() else True
        for one, other in zip(usual, found, strict=True)
    )


def without(
    graph: schema.Graph, state: _State, idle: frozenset[str], images: torch.Tensor
) -> tuple[schema.Graph, _State]:
    """Return what of a graph leads to its output, and the results that stand for idle ones."""
    results: _State = {}

    def look(node: schema.Node, result: object) -> object:
        if node.name in idle and isinstance(result, torch.Tensor):
            results[node.name] = result.detach().clone()
        return result

    if idle:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            _Watched(graph, _copied(state), images.device, look)(images)
    roots = _roots(graph)
    needed, kept = {graph.output}, list[schema.Node]()
    for node in reversed(graph.nodes):
        target = first_read(node) if name_of(node).endswith("_") else None
        writes = target is not None and roots.get(target, target) in {
            roots.get(name, name) for name in needed
        }
        if node.name not in results and (node.name in needed or writes):
            kept.append(node)
            needed.update(reads(node))
    used = {name: result for name, result in results.items() if name in needed}
    return msgspec.structs.replace(graph, nodes=kept[::-1]), used


def _roots(graph: schema.Graph) -> dict[str, str]:
    """Return for every view, and every result of writing in place, whose memory it shows."""
    roots: dict[str, str] = {}
    for node in graph.nodes:
        first = first_read(node)
        if first is not None and (name_of(node) in _VIEWS or name_of(node).endswith("_")):
            roots[node.name] = roots.get(first, first)
    return roots
