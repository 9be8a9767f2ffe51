"""Measures what the layers a requirement asks for do to the scores, by changing their results.

A layer acts if the scores move against each other under some choice of weights, and do so both in
float64 and in the network's own precision. One alone would not do: in float32,
`(x + 1000 * y) - 1000 * y` moves by its rounding, and in float64, `(y / 1000 + 1e6) - 1e6` is not
rounded away.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

import torch

from grader.errors import SubmissionError
from grader.plan import schema
from grader.plan.arguments import first_read, name_of, number
from grader.plan.findings import Facts, Finding
from grader.training.bench import DRAWS, Bench, counters
from grader.training.events import Influence
from grader.training.observed import Hook

LEAST = 1e-4
"""The least change of the scores that counts, relative to their spread over the images.

Layers that act move them by a hundredth and more under some draw; rounding stays far below.
"""

LEAST_VARIANCE = 0.1
"""The least share of the batch's variance in what a batch norm divides by; the rest is its eps."""

_STILL = (
    "no score moves against the others when its result is changed, whatever the weights are: it "
    "decides nothing"
)
_SWAMPED = "what comes in varies so little that its eps decides: it normalises next to nothing"

_MEASURED = 16  # layers of one kind; further ones only as long as none has acted

_Change = Callable[[torch.Tensor], torch.Tensor]


class Laboratory:
    """A network on `batch` images, in both precisions; see `Bench`.

    In its own alone, where it holds an operation that float64 does not have; and late in a training
    as well, where it counts the steps.
    """

    def __init__(
        self,
        model: schema.Model,
        taught: Collection[str],
        batch: int,
        pictures: torch.Tensor | None = None,
    ) -> None:
        self._nodes = model.train.nodes
        bench = partial(Bench, model, taught, batch, pictures=pictures)
        self._benches = [bench(wide=False)]
        with contextlib.suppress(SubmissionError):
            self._benches.insert(0, bench(wide=True))
        if counters(model):
            self._benches += [bench(wide=False, late=True)]

    def dependence(self) -> float | None:
        """Return how far an image's scores move with its batch mates, see `Bench`."""
        return self._benches[0].dependence()

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

    def _is_swamped(self, name: str) -> bool:
        """Tell whether a node is a batch norm whose eps decides, for all channels and draws."""
        norms = [n for n in self._nodes if n.name == name and name_of(n) == "batch_norm"]
        shares = (
            self._benches[0].watched(i, _Variance(norm)).share for norm in norms for i in DRAWS
        )
        return bool(norms) and all(share < LEAST_VARIANCE for share in shares)

    def _of_kind(self, nodes: Iterable[str], changes: tuple[_Change, ...]) -> list[Influence]:
        found: list[Influence] = []
        for node in dict.fromkeys(nodes):
            if len(found) >= _MEASURED and any(influence.acts for influence in found):
                break
            found.append(self._influence(node, changes))
        return found

    def _influence(self, node: str, changes: tuple[_Change, ...]) -> Influence:
        hooks = [partial(_at, node, change) for change in changes]
        found = [_largest(bench, hooks) for bench in self._benches]
        told = [moved for moved in found if moved is not None]
        least = min(told, default=None)
        still = least is not None and least < LEAST
        why = _STILL if still else _SWAMPED if self._is_swamped(node) else ""
        return Influence(node, least, acts=not why, why=why)


class _Variance:
    """A hook that looks at what goes into a batch norm.

    `share` is the variance over the variance and eps, of the channel where it is largest; 1 where
    there is no seeing it.
    """

    def __init__(self, norm: schema.Node) -> None:
        self.share = 1.0
        self._norm = norm
        self._source: torch.Tensor | None = None

    def __call__(self, node: schema.Node, result: Any) -> Any:  # noqa: ANN401
        """Note the result that the norm reads, and judge it when the norm has run."""
        if node.name == first_read(self._norm):
            self._source = result
        elif node.name == self._norm.name and self._source is not None:
            inner = [dim for dim in range(self._source.dim()) if dim != 1]
            variance = float(self._source.double().var(inner, correction=0).max())
            self.share = variance / (variance + number(node, "eps", 0.0) or 1.0)
        return result


def _largest(bench: Bench, hooks: Sequence[Hook]) -> float | None:
    """Change a result in every way, under one draw after another, until the scores move."""
    largest: float | None = None
    for index in DRAWS:
        for hook in hooks:
            moved = bench.moved(index, hook)
            if moved is not None:
                largest = max(largest or 0.0, moved)
            if largest is not None and largest >= LEAST:
                return largest
    return largest


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
