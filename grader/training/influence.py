"""Measures what the layers a requirement asks for do to the scores, by changing their results.

What stands still when training begins may act later (a residual branch that ends in zeros, a
layer scale of 1e-6), and a ReLU may be dead for one choice of weights. So noise is
added to all that training can change, several times over, and only what moves nothing under any
of these draws is called inert. What training cannot change stays: a gate that no gradient
reaches, or that the optimiser does not get, never opens.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import msgspec
import torch

from grader.errors import SubmissionError
from grader.plan import schema
from grader.plan.arguments import name_of
from grader.plan.findings import Facts, Finding
from grader.training.events import Influence
from grader.training.network import OPERATION_ERRORS, CompiledGraph, Network
from grader.training.observed import Hook, run

LEAST = 1e-4
"""The least change of the scores that counts, relative to their spread over the images.

Layers that act move them by a hundredth and more under some draw; rounding stays far below.
"""

# How much noise is added to what training will change; at last the weights as they begin.
_STRENGTHS = (1.0, 0.3, 0.1, 0.0)
_MEASURED = 16  # layers of one kind; further ones only as long as none has acted

_WIDER = {
    "torch.float16": "torch.float64",
    "torch.bfloat16": "torch.float64",
    "torch.float32": "torch.float64",
    "torch.complex64": "torch.complex128",
}

_CPU = torch.device("cpu")
_Change = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class _Draw:
    """A choice of weights and images [B, *input_shape]."""

    state: dict[str, torch.Tensor]
    images: torch.Tensor


class Laboratory:
    """A network on `batch` random images, in float64: there rounding cannot pass for influence.

    Where an operation works in float32 alone, all is measured in that. `taught` names the tensors
    that the recipe hands to the optimiser. Raises SubmissionError when the network cannot be run.
    """

    def __init__(self, model: schema.Model, taught: Collection[str], batch: int) -> None:
        self._model, self._batch = model, batch
        self._learning = {t.name for t in model.tensors if t.trainable and t.name in taught}
        try:
            self._set_precision(wide=True)
        except SubmissionError:
            self._set_precision(wide=False)
        self._learning = self._moved_by_training()
        self._forget()

    def _set_precision(self, *, wide: bool) -> None:
        self._wide = wide
        given = {"train": self._model.train, "eval": self._model.eval}
        self._graphs = {k: _widened(graph) if wide else graph for k, graph in given.items()}
        self._forget()
        for mode in given:
            self._scores(mode, self._drawn(0))

    def _forget(self) -> None:
        self._drawn = cache(self._draw)
        self._usual = cache(lambda index: self._scores("train", self._drawn(index)))

    def _moved_by_training(self) -> set[str]:
        """Return the tensors the scores have a gradient for: only those will change.

        `x + gate.detach() * layer(x)` leaves a gate of zero where it is.
        """
        moved: set[str] = set()
        for index in range(len(_STRENGTHS)):
            if moved != self._learning:
                moved |= self._with_gradient(self._drawn(index))
        return moved

    def _with_gradient(self, draw: _Draw) -> set[str]:
        state = {
            name: tensor.clone().requires_grad_(name in self._learning)
            for name, tensor in draw.state.items()
        }
        leaves = {name: state[name] for name in self._learning}
        try:
            with self._numbers():
                scores = CompiledGraph(self._graphs["train"], state, _CPU)(draw.images.clone())
                goal = (scores * torch.randn_like(scores)).sum()
                slopes = torch.autograd.grad(goal, list(leaves.values()), allow_unused=True)
        except (SubmissionError, *OPERATION_ERRORS):  # the training will say so in its words
            return set(self._learning)
        pairs = zip(leaves, slopes, strict=True)
        return {name for name, slope in pairs if slope is not None and bool((slope != 0).any())}

    def influences(self, facts: Facts) -> list[Influence]:
        """Measure, in training mode, what `facts` counts as batch norm, dropout and pooling."""
        kinds: list[tuple[list[Finding], tuple[_Change, ...]]] = [
            (facts.batch_norm, (_exchanged, _noisy)),
            (facts.dropout, (_dropped,)),
            (facts.global_average_pooling, (_exchanged, _noisy)),
        ]
        return [
            influence
            for findings, changes in kinds
            for influence in self._of_kind([f.node for f in findings if f.counts], changes)
        ]

    def _of_kind(self, nodes: Iterable[str], changes: tuple[_Change, ...]) -> list[Influence]:
        found: list[Influence] = []
        for node in dict.fromkeys(nodes):
            if len(found) >= _MEASURED and any(influence.acts for influence in found):
                break
            found.append(self._influence(node, changes))
        return found

    def _influence(self, node: str, changes: tuple[_Change, ...]) -> Influence:
        """Change a node's result until the scores move, under one draw after another."""
        largest: float | None = None
        for index in range(len(_STRENGTHS)):
            for change in changes:
                moved = self._moved_by(node, change, index)
                if moved is not None:
                    largest = max(largest or 0.0, moved)
                if largest is not None and largest >= LEAST:
                    return Influence(node, largest, acts=True)
        return Influence(node, largest, acts=largest is None)

    def _moved_by(self, node: str, change: _Change, index: int) -> float | None:
        """Return how far a change moves the scores; None if this draw cannot tell."""
        usual = self._usual(index)
        spread = _spread(usual)
        if spread is None:
            return None
        try:
            scores = self._scores("train", self._drawn(index), partial(_at, node, change))
        except SubmissionError:  # an index made of the result, and now out of range
            return None
        return _distance(usual, scores, otherwise=0.0) / spread

    def dependence(self) -> float | None:
        """Return how far an image's scores move, in evaluation, with the other images of a batch.

        Relative to the spread of the scores over the images; None if there is no telling.
        """
        for index in range(len(_STRENGTHS)):
            draw = self._drawn(index)
            usual = self._scores("eval", draw)
            spread = _spread(usual)
            if spread is not None:
                return max(self._mixed(draw, usual, spread)) / spread
        return None

    def _mixed(self, draw: _Draw, usual: torch.Tensor, spread: float) -> Iterator[float]:
        """Yield how far scores move with other images, in another order, and in fewer images."""

        def moved(expected: torch.Tensor, images: torch.Tensor) -> float:
            scores = self._scores("eval", _Draw(draw.state, images))[: len(expected)]
            return _distance(expected, scores, otherwise=spread)

        half = self._batch // 2
        first, others = draw.images[:half], draw.images[half:]
        yield moved(usual[:half], torch.cat([first, 2 * others]))
        if torch.equal(usual, self._scores("eval", draw, seed=1)):  # no random numbers in it
            yield moved(usual.flip(0), draw.images.flip(0))
            yield moved(usual[:half], first)

    def _scores(
        self, mode: str, draw: _Draw, hook: Hook | None = None, seed: int = 0
    ) -> torch.Tensor:
        """Return the scores as float64 [B, classes]."""
        with self._numbers():
            output = run(self._graphs[mode], draw.state, draw.images, hook or _kept, seed)
        if output.dim() != 2 or len(output) != len(draw.images) or not output.numel():
            raise SubmissionError("The output is not a row of scores for each image.")
        return output.double()

    @contextlib.contextmanager
    def _numbers(self) -> Iterator[None]:
        """Let numbers that a graph makes itself be as wide as its tensors."""
        usual = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64 if self._wide else usual)
        try:
            yield
        finally:
            torch.set_default_dtype(usual)

    def _draw(self, index: int) -> _Draw:
        generator = torch.Generator().manual_seed(index)
        state = {
            name: _shaken(tensor, _STRENGTHS[index], generator)
            if name in self._learning
            else tensor
            for name, tensor in Network(self._model, generator).state.items()
        }
        images = torch.randn(self._batch, *self._model.input_shape, generator=generator)
        if self._wide:
            state = {name: _wide(tensor) for name, tensor in state.items()}
            images = _wide(images)
        return _Draw({name: tensor.detach() for name, tensor in state.items()}, images)


def _shaken(tensor: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Add noise to a tensor that training changes, as large as such weights usually begin."""
    fan_in = tensor[0].numel() if tensor.dim() > 1 and len(tensor) else 1
    noise = torch.randn(tensor.shape, generator=generator) * (strength / math.sqrt(max(fan_in, 1)))
    return tensor + noise.to(tensor.dtype)


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor


def _widened(graph: schema.Graph) -> schema.Graph:
    """Let a graph convert to float64 wherever it converts to a narrower type."""
    nodes = [
        msgspec.structs.replace(
            node,
            args=[_in_words(value) for value in node.args],
            kwargs={key: _in_words(value) for key, value in node.kwargs.items()},
        )
        for node in graph.nodes
    ]
    return msgspec.structs.replace(graph, nodes=nodes)


def _in_words(value: Any) -> Any:  # noqa: ANN401 - the depth of a list is kept
    if isinstance(value, list):
        return [_in_words(item) for item in value]
    return _WIDER.get(value, value) if isinstance(value, str) else value


def _kept(_: schema.Node, result: object) -> object:
    return result


def _at(name: str, change: _Change, node: schema.Node, result: Any) -> Any:  # noqa: ANN401
    """Change the result of the node called `name`, and what it was written into."""
    if node.name != name:
        return result
    if isinstance(result, tuple | list):
        return type(result)([_changed(part, change) for part in result])
    changed = _changed(result, change)
    return result.copy_(changed) if name_of(node).endswith("_") else changed


def _changed(value: Any, change: _Change) -> Any:  # noqa: ANN401
    is_number = isinstance(value, torch.Tensor) and value.is_floating_point()
    return change(value) if is_number and value.numel() else value


def _exchanged(value: torch.Tensor) -> torch.Tensor:
    """Give each image another image's result: numbers the layer really makes."""
    return value.roll(1, 0) if value.dim() else value


def _noisy(value: torch.Tensor) -> torch.Tensor:
    """Add noise of the result's own scale."""
    scale = value.std(correction=0) or value.abs().mean() or 1.0
    return value + torch.randn(value.shape, generator=_own(), dtype=value.dtype) * scale


def _dropped(value: torch.Tensor) -> torch.Tensor:
    """Drop half of the result: how likely dropout does so is known already."""
    return value * (torch.rand(value.shape, generator=_own()) < 0.5)


def _own() -> torch.Generator:
    """Return random numbers apart from the graph's: a dropout further on must not notice."""
    return torch.Generator().manual_seed(1)


def _spread(scores: torch.Tensor) -> float | None:
    """Return the largest distance of a score from its mean over the images.

    None if it is not finite, or no more than rounding.
    """
    spread = float((scores - scores.mean(0)).abs().max())
    least = 1e-9 * float(scores.abs().max())
    return spread if least < spread < float("inf") else None


def _distance(usual: torch.Tensor, scores: torch.Tensor, *, otherwise: float) -> float:
    """Return the largest difference; where one is not finite, `otherwise`."""
    if usual.shape != scores.shape:
        return otherwise
    gaps = (usual - scores).abs()
    return float(torch.where(gaps.isfinite(), gaps, otherwise).max())
