"""Both graphs of a network on a few digits, under several weights, in one precision.

What stands still when training begins may act later (a residual branch that ends in zeros, a
layer scale of 1e-6), and a ReLU may be dead for one choice of weights. So noise is added to all
that training can change, several times over. What training cannot change stays: a gate that no
gradient reaches, or that the optimiser does not get, never opens. Running statistics are those of
a batch.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import msgspec
import torch

from grader.errors import SubmissionError
from grader.measure.running import (
    Hook,
    Operation,
    Runnable,
    copied,
    differs,
    frozen,
    parts,
    plainly,
    widened,
)
from grader.plan import schema
from grader.plan.arguments import name_of, reads, with_argument
from grader.plan.counting import running_statistics
from grader.plan.drawing import title
from grader.training.network import OPERATION_ERRORS, initial_state

LEAST = 1e-4
"""The least change of the scores that counts, relative to their spread over the images.

Layers that act move them by a hundredth and more under some draw; rounding stays far below.
"""

# How much noise is added to what training will change; at last the weights as they begin.
_STRENGTHS = (1.0, 0.3, 0.1, 0.0)
_KEPT = 4  # runs of which all values are kept
DRAWS = range(len(_STRENGTHS))
"""The choices of weights and images, by number."""


@dataclass(frozen=True)
class Draw:
    """A choice of weights and images [B, *input_shape], and the seed of the random operations."""

    state: dict[str, torch.Tensor]
    images: torch.Tensor
    seed: int


class Laboratory:
    """A network on `batch` of the `pictures` [N, *input_shape], in float64 if `wide`.

    `taught` names the tensors that the recipe hands to the optimiser. What a network counts while
    it is trained is set forward by `late` steps. `learning` names the tensors that do change, where
    that is known from another laboratory. Raises SubmissionError when it cannot be run.
    """

    def __init__(
        self,
        model: schema.Model,
        taught: Collection[str],
        pictures: torch.Tensor,
        *,
        batch: int,
        wide: bool,
        seed: int,
        late: int = 0,
        learning: Collection[str] | None = None,
    ) -> None:
        self.model, self.batch, self.late, self._wide, self._seed = model, batch, late, wide, seed
        self._pictures = pictures
        self.counters: set[str] = set()  # tensors that training changes by more than a gradient
        self._kept: dict[tuple[str, int, int], tuple[Draw, dict[str, Any]]] = {}
        graphs = {"train": model.train, "eval": model.eval, "frozen": frozen(model.train)}
        graphs |= {"settling": _settling(model.train), "live": frozen(model.train, live=True)}
        self._graphs = {k: widened(graph) if wide else graph for k, graph in graphs.items()}
        self._names = [tensor.name for tensor in model.tensors]
        self._runnable = cache(lambda mode: Runnable(self._graphs[mode], self._names))
        self.learning = {t.name for t in model.tensors if t.trainable and t.name in taught}
        self.draw = cache(self._draw)
        self.of_images = cache(self._of_images)
        self.usual = cache(lambda mode, index: self.scores(mode, self.draw(index)))
        self.learning = self._moved_by_training() if learning is None else set(learning)
        self.draw.cache_clear()
        for mode in ("train", "eval"):
            self.usual(mode, DRAWS[0])

    def nodes(self, mode: str) -> list[schema.Node]:
        """Return the operations of a graph."""
        return self._graphs[mode].nodes

    def moved(self, mode: str, index: int, change: Changing) -> float | None:
        """Return how far the scores of a draw move when something is changed in the run.

        How far they move against each other, that is: what raises or scales all scores of an image
        alike decides nothing. Relative to their spread over the images; None if this draw cannot
        tell.
        """
        usual = _compared(self.usual(mode, index))
        scale = spread(usual)
        if scale is None:
            return None
        try:
            scores = self.scores(mode, self.draw(index), change(self, mode, index))
        except SubmissionError:  # an index made of the result, and now out of range
            return None
        return distance(usual, _compared(scores), otherwise=0.0) / scale

    def moves(self, mode: str, *changes: Changing) -> bool:
        """Tell whether some change, under some draw, moves the scores against each other.

        True where no draw can tell.
        """
        told = False
        for index in DRAWS:
            for change in changes:
                moved = self.moved(mode, index, change)
                told = told or moved is not None
                if moved is not None and moved >= LEAST:
                    return True
        return not told

    def scores(
        self, mode: str, draw: Draw, hook: Hook = plainly, *, seed: int | None = None
    ) -> torch.Tensor:
        """Return the scores as float64 [B, classes]; nothing of the draw is changed."""
        with torch.no_grad():
            output = self.run(mode, draw, _cloned(draw.state), hook, seed=seed)
        return output.double()

    def run(
        self,
        mode: str,
        draw: Draw,
        state: dict[str, torch.Tensor],
        hook: Hook = plainly,
        *,
        seed: int | None = None,
    ) -> torch.Tensor:
        """Return the scores as they come; what the graph writes is in `state` afterwards."""
        torch.default_generator.manual_seed(draw.seed if seed is None else seed)
        with self._numbers():
            output = self._runnable(mode).run(state, draw.images.clone(), hook)
        if not isinstance(output, torch.Tensor) or output.dim() != 2 or not output.numel():
            raise SubmissionError("The output is not a row of scores for each image.")
        if len(output) != len(draw.images):
            raise SubmissionError("The output is not a row of scores for each image.")
        return output

    def values(
        self, mode: str, draw: Draw, *, seed: int | None = None, drawn: set[str] | None = None
    ) -> dict[str, Any]:
        """Return every result by its node's name, as it was when it was made.

        The names of nodes that draw random numbers are added to `drawn`. Nobody writes into them.
        """
        key = (mode, id(draw), draw.seed if seed is None else seed)
        if drawn is None and key in self._kept:
            return self._kept[key][1]
        kept: dict[str, Any] = {self._graphs[mode].inputs[0]: draw.images}

        def keep(op: Operation) -> object:
            state = torch.default_generator.get_state() if drawn is not None else None
            result = op()
            kept[op.node.name] = copied(result)
            if drawn is not None and state is not None and _has_moved(state):
                drawn.add(op.node.name)
            return result

        self.scores(mode, draw, keep, seed=seed)
        self._kept[key] = draw, kept
        while len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return kept

    def with_state(self, draw: Draw, state: dict[str, torch.Tensor]) -> Draw:
        """Return the draw with other tensors."""
        return replace(draw, state=state)

    def steepest(self, mode: str, names: Collection[str]) -> tuple[dict[str, float], list[str]]:
        """Return the largest gradient a score has for each tensor, and where gradients end.

        That is at operations that work on what has a gradient and make numbers that have none.
        """
        found: dict[str, float] = {}
        ends: dict[str, None] = {}

        def watch(op: Operation) -> object:
            node, result = op.node, op()
            with_gradient = any(part.requires_grad for part in parts(op.args))
            if with_gradient and isinstance(result, torch.Tensor) and not result.requires_grad:
                ends[f"{title(node)} ({node.where})" if node.where else title(node)] = None
            return result

        for index in DRAWS[:2]:
            for name, slope in (
                self._gradients(mode, self.draw(index), names, watch) or {}
            ).items():
                found[name] = max(found.get(name, 0.0), float(slope.abs().max()))
        return found, list(ends)

    def _gradients(
        self, mode: str, draw: Draw, names: Collection[str], hook: Hook = plainly
    ) -> dict[str, torch.Tensor] | None:
        """Return the gradients that the scores have for tensors; None if there is no way back."""
        state = {
            name: tensor.clone().requires_grad_(name in names and tensor.is_floating_point())
            for name, tensor in draw.state.items()
        }
        leaves = {name: state[name] for name in names if state[name].requires_grad}
        try:
            scores = self.run(mode, draw, dict(state), hook)
            goal = (scores * torch.randn_like(scores)).sum()
            slopes = torch.autograd.grad(goal, list(leaves.values()), allow_unused=True)
        except (SubmissionError, *OPERATION_ERRORS):
            return None
        return {n: slope for n, slope in zip(leaves, slopes, strict=True) if slope is not None}

    def slopes(self, mode: str, name: str, of: Collection[str]) -> dict[str, torch.Tensor]:
        """Return how much each value called in `of` has a say in the value `name`, by gradients.

        A value that has none is missing. `detach` stops no say.
        """
        draw = self.draw(DRAWS[1])
        draw = replace(draw, images=draw.images.clone().requires_grad_())
        kept: dict[str, torch.Tensor] = {}
        ends: list[torch.Tensor] = []

        def keep(op: Operation) -> object:
            node = op.node
            result = op.args[0] if name_of(node) == "detach" else op()
            if node.name in of and isinstance(result, torch.Tensor) and result.requires_grad:
                kept[node.name] = result
            if node.name == name:
                goal = next(parts(result))
                ends.append((goal * torch.randn_like(goal)).sum())
            return result

        try:
            self.run(mode, draw, _cloned(draw.state), keep)
            found = torch.autograd.grad(ends[0], list(kept.values()), allow_unused=True)
        except (SubmissionError, *OPERATION_ERRORS):  # what is written into, or has no gradient
            return {}
        pairs = zip(kept, found, strict=True)
        return {n: slope for n, slope in pairs if slope is not None}

    def _of_images(self, mode: str) -> set[str]:
        """Return the nodes whose results are others for other images, under some weights."""
        found: set[str] = set()
        fed = set(self._graphs[mode].inputs)
        for node in self.nodes(mode):
            if not fed.isdisjoint(reads(node)):
                fed.add(node.name)
        for index in DRAWS:
            if found >= fed:
                break
            draw = self.draw(index)
            others = self.with_images(draw, self.draw(index + 1).images)
            usual, changed = self.values(mode, draw), self.values(mode, others, seed=draw.seed)
            found |= {name for name, value in usual.items() if differs(value, changed.get(name))}
        return found

    def with_images(self, draw: Draw, images: torch.Tensor) -> Draw:
        """Return the draw with other images."""
        return replace(draw, images=_wide(images) if self._wide else images)

    @contextlib.contextmanager
    def _numbers(self) -> Iterator[None]:
        """Let numbers that a graph makes itself be as wide as its tensors."""
        usual = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64 if self._wide else usual)
        try:
            yield
        finally:
            torch.set_default_dtype(usual)

    def _draw(self, index: int) -> Draw:
        first = index * self.batch % max(1, len(self._pictures) - self.batch + 1)
        images = self._pictures[first:][: self.batch]
        return self.drawn(self._seed + index, images, _STRENGTHS[index % len(_STRENGTHS)])

    def drawn(self, seed: int, images: torch.Tensor, strength: float = 1.0) -> Draw:
        """Return weights and images, those with so much noise as follows from a seed."""
        generator = torch.Generator().manual_seed(seed)
        state = {
            name: _shaken(tensor, strength, generator) if name in self.learning else tensor
            for name, tensor in initial_state(self.model, generator).items()
        }
        if self._wide:
            state = {name: _wide(tensor) for name, tensor in state.items()}
            images = _wide(images)
        draw = Draw({name: tensor.detach() for name, tensor in state.items()}, images, seed)
        return replace(draw, state=self._settled(draw))

    def _settled(self, draw: Draw) -> dict[str, torch.Tensor]:
        """Return the tensors with the running statistics of a batch, and counters set forward."""
        after = _cloned(draw.state)
        with torch.no_grad():
            self.run("settling", draw, after)
        statistics = set(running_statistics(self.model.train))
        moved = {
            name
            for name, tensor in draw.state.items()
            if not torch.equal(tensor, after[name]) and not tensor.is_complex()
        }
        self.counters = moved - statistics
        return {
            name: after[name]
            if name in statistics
            else tensor + self.late
            if name in self.counters and self.late
            else tensor
            for name, tensor in draw.state.items()
        }

    def _moved_by_training(self) -> set[str]:
        """Return the tensors the scores have a gradient for, as they begin, or once others moved.

        `x + gate.detach() * layer(x)` leaves a gate of zero where it is, and so does its square.
        All that are taught, where the network would tell no image from another for good: what its
        layers do shows under other weights then, and what it learns, in the accuracy.
        """
        taught, self.learning = self.learning, set()
        while True:
            self.draw.cache_clear()
            indices = DRAWS if self.learning else DRAWS[-1:]
            moved = self.learning.union(
                *(self._with_gradient(self.draw(i), taught) for i in indices)
            )
            if moved in (self.learning, taught):
                return moved if moved and self._sees() else taught
            self.learning = moved

    def _sees(self) -> bool:
        """Tell whether some scores depend on the image."""
        return any(spread(self.scores("frozen", self.draw(index))) for index in DRAWS)

    def _with_gradient(self, draw: Draw, taught: set[str]) -> set[str]:
        slopes = self._gradients("train", draw, taught)
        if slopes is None:  # the training will say so in its words
            return taught
        return {name for name, slope in slopes.items() if bool((slope != 0).any())}


Changing = Callable[[Laboratory, str, int], Hook]
"""Makes the hook that changes something, for one graph (`train`, `eval`) under one draw."""


def _settling(graph: schema.Graph) -> schema.Graph:
    """Let running statistics become those of the batch at once."""
    norms = ("batch_norm", "instance_norm")
    nodes = [with_argument(n, "momentum", 1.0) if name_of(n) in norms else n for n in graph.nodes]
    return msgspec.structs.replace(graph, nodes=nodes)


def _has_moved(state: torch.Tensor) -> bool:
    """Tell whether random numbers were drawn since."""
    return not torch.equal(state, torch.default_generator.get_state())


def _cloned(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def _shaken(tensor: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Add noise to a tensor that training changes, as large as such weights, or these, begin."""
    fan_in = tensor[0].numel() if tensor.dim() > 1 and len(tensor) else 1
    own = float(tensor.detach().abs().mean()) if tensor.numel() else 0.0
    scale = strength * max(1 / math.sqrt(max(fan_in, 1)), own)
    return tensor + (torch.randn(tensor.shape, generator=generator) * scale).to(tensor.dtype)


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor


def _compared(scores: torch.Tensor) -> torch.Tensor:
    """Return each image's scores as they stand to each other: of mean zero and length one."""
    apart = scores - scores.mean(1, keepdim=True)
    length = apart.norm(dim=1, keepdim=True)
    noise = 1e-9 * scores.abs().amax(1, keepdim=True)  # of which a length is no length
    return torch.where(length > noise, apart / length, torch.zeros_like(apart))


def spread(scores: torch.Tensor) -> float | None:
    """Return the largest distance of a score from its mean over the images.

    None if it is not finite, or no more than rounding.
    """
    largest = float((scores - scores.mean(0)).abs().max())
    least = 1e-9 * float(scores.abs().max())
    return largest if least < largest < float("inf") else None


def distance(usual: torch.Tensor, scores: torch.Tensor, *, otherwise: float) -> float:
    """Return the largest difference; where one is not finite, `otherwise`."""
    if usual.shape != scores.shape:
        return otherwise
    gaps = (usual - scores).abs()
    return float(torch.where(gaps.isfinite(), gaps, otherwise).max())
