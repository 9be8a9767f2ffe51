"""A network on a few images, under several choices of weights, in one precision.

The images are such as the training will see, where they are given: a network could tell random ones
from digits, and show its layers to the random ones alone. What a network counts while it is trained
can be set forward (`late`), so that no layer goes to rest after the first steps.

What stands still when training begins may act later (a residual branch that ends in zeros, a
layer scale of 1e-6), and a ReLU may be dead for one choice of weights. So noise is added to all
that training can change, several times over. What training cannot change stays: a gate that no
gradient reaches, or that the optimiser does not get, never opens.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import msgspec
import torch

from grader.errors import SubmissionError
from grader.plan import schema
from grader.plan.arguments import first_read, name_of, reads, reference
from grader.plan.functional import functional
from grader.training.network import OPERATION_ERRORS, CompiledGraph, Network
from grader.training.observed import Hook, run

# How much noise is added to what training will change; at last the weights as they begin.
_STRENGTHS = (1.0, 0.3, 0.1, 0.0)
DRAWS = range(len(_STRENGTHS))
"""The choices of weights and images, by number."""

_LATE = 10_000  # steps by which counters are set forward: about as many as 19 epochs take

_WIDER = {
    "torch.float16": "torch.float64",
    "torch.bfloat16": "torch.float64",
    "torch.float32": "torch.float64",
    "torch.complex64": "torch.complex128",
}
_CPU = torch.device("cpu")
_Watch = TypeVar("_Watch", bound=Hook)


@dataclass(frozen=True)
class _Draw:
    """A choice of weights and images [B, *input_shape]."""

    state: dict[str, torch.Tensor]
    images: torch.Tensor


class Bench:
    """A network that runs on `batch` images, in float64 if `wide`, else as it will be trained.

    `taught` names the tensors that the recipe hands to the optimiser. `pictures` [N, *input_shape]
    are the images, `batch` of them for each draw; without them they are random. Raises
    SubmissionError when the network cannot be run.
    """

    def __init__(
        self,
        model: schema.Model,
        taught: Collection[str],
        batch: int,
        *,
        wide: bool,
        late: bool = False,
        pictures: torch.Tensor | None = None,
    ) -> None:
        self._model, self._batch, self._wide = model, batch, wide
        self._pictures = pictures
        self._forward = counters(model) if late else frozenset[str]()
        given = {"train": model.train, "eval": model.eval}
        self._graphs = {k: _widened(graph) if wide else graph for k, graph in given.items()}
        self._learning = {t.name for t in model.tensors if t.trainable and t.name in taught}
        self._learning = self._moved_by_training()
        self._drawn = cache(self._draw)
        self._usual = cache(lambda index: self._scores("train", self._drawn(index)))
        for mode in self._graphs:
            self._scores(mode, self._drawn(DRAWS[0]))

    def moved(self, index: int, hook: Hook) -> float | None:
        """Return how far the scores of a draw move, in training mode, when `hook` has its say.

        How far they move against each other, that is: what raises or scales all scores of an image
        alike decides nothing. Relative to their spread over the images; None if this draw cannot
        tell.
        """
        usual = _compared(self._usual(index))
        spread = _spread(usual)
        if spread is None:
            return None
        try:
            scores = self._scores("train", self._drawn(index), hook)
        except SubmissionError:  # an index made of the result, and now out of range
            return None
        return _distance(usual, _compared(scores), otherwise=0.0) / spread

    def watched(self, index: int, hook: _Watch) -> _Watch:
        """Return `hook` after it has seen a draw run in training mode."""
        self._scores("train", self._drawn(index), hook)
        return hook

    def dependence(self) -> float | None:
        """Return how far an image's scores move, in evaluation, with the other images of a batch.

        Relative to the spread of the scores over the images; None if there is no telling.
        """
        for index in DRAWS:
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
            raise SubmissionError("the output is not a row of scores for each image")
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
        if self._pictures is not None:
            images = self._pictures[index * self._batch :][: self._batch]
        state |= {name: state[name] + _LATE for name in self._forward}
        if self._wide:
            state = {name: _wide(tensor) for name, tensor in state.items()}
            images = _wide(images)
        return _Draw({name: tensor.detach() for name, tensor in state.items()}, images)

    def _moved_by_training(self) -> set[str]:
        """Return the tensors the scores have a gradient for: only those will change.

        `x + gate.detach() * layer(x)` leaves a gate of zero where it is.
        """
        moved: set[str] = set()
        for index in DRAWS:
            if moved != self._learning:
                moved |= self._with_gradient(self._draw(index))
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


def counters(model: schema.Model) -> frozenset[str]:
    """Return the buffers that training moves on and something reads, but running statistics."""
    nodes = model.train.nodes
    statistics = {
        reference(node, key)
        for node in nodes
        for key in ("running_mean", "running_var")
        if name_of(node) in ("batch_norm", "instance_norm")
    }
    written = functional(model, model.train).written - statistics
    moved = {n.name: first_read(n) for n in nodes if first_read(n) in written and _moves(n)}
    read = {name for n in nodes for name in reads(n)[1 if n.name in moved else 0 :]}
    return frozenset(moved.get(name) or name for name in read & {*written, *moved})


def _moves(node: schema.Node) -> bool:
    """Tell whether a node changes its first argument."""
    return name_of(node).endswith("_")


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


def _compared(scores: torch.Tensor) -> torch.Tensor:
    """Return each image's scores as they stand to each other: of mean zero and length one."""
    apart = scores - scores.mean(1, keepdim=True)
    length = apart.norm(dim=1, keepdim=True)
    noise = 1e-9 * scores.abs().amax(1, keepdim=True)  # of which a length is no length
    return torch.where(length > noise, apart / length, torch.zeros_like(apart))


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
