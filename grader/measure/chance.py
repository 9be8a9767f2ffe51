"""What in a graph is up to chance: every node once more, on what went into it before.

A node whose result is another number, though it works on the same numbers, is random itself. What
depends on neither image nor weights (a mask, a draw of noise) is made anew each time.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable
from typing import Any

import torch

from grader.measure.laboratory import DRAWS, Laboratory
from grader.measure.running import Operation, copied, differs, parts
from grader.plan.arguments import reads
from grader.plan.schema import Node

_RARE = 512  # draws, in one of which a mask is another one, if it is so in one of fifty
_DROPPED = 16  # draws, in one of which a branch is not dropped, if that is so in two of five
_TRIES = 128  # draws of a mask, at most, of which the share of zeros is the mean
_FEW, _PRECISE = 8, 0.02  # draws that are enough where the mean's error is so small a part of it


class Chance:
    """One graph under one draw: `values` as they were, and which nodes are `random`.

    `alone` names the nodes whose results depend on neither image nor weights.
    """

    def __init__(self, laboratory: Laboratory, mode: str) -> None:
        self._laboratory, self._mode = laboratory, mode
        self._draw, other = (laboratory.draw(index) for index in DRAWS[:2])
        drawn: set[str] = set()
        self.values = laboratory.values(mode, self._draw, drawn=drawn)
        self.alone = set(self.values)
        for number in range(_DROPPED):  # a branch may be dropped whole, and then depends on nothing
            one, elsewhere = (
                laboratory.values(mode, draw, seed=self._draw.seed + number)
                for draw in (self._draw, other)
            )
            self.alone -= {n for n, v in one.items() if differs(v, elsewhere.get(n))}
            if not drawn & self.alone:
                break
        self.sources = self.values.keys() - self.alone
        self.random = self._changed(1, self.values) if drawn else set()
        for node in laboratory.nodes(mode):
            if not drawn.isdisjoint(reads(node)):
                drawn.add(node.name)  # what is made of it
        for number in range(2, _RARE):
            if drawn & self.alone <= self.random:
                break
            if not self._changed(number, ()) <= self.random:
                self.random |= self._changed(number, self.values)

    def _changed(self, number: int, watched: Collection[str]) -> set[str]:
        again = self.again(number, watched).items()
        return {name for name, value in again if differs(value, self.values[name])}

    def again(self, number: int, watched: Collection[str]) -> dict[str, Any]:
        """Carry out what depends on chance alone, and the nodes `watched`; return their results.

        Each `number` gives other random numbers.
        """
        results: dict[str, Any] = {}

        def only(op: Operation) -> object:
            name = op.node.name
            if name in self.alone:
                results[name] = copied(result := op())
                return result
            if name in watched:
                results[name] = op(*map(copied, op.args))
            return self.values[name]

        self._laboratory.scores(self._mode, self._draw, only, seed=self._draw.seed + number)
        return results

    def shares(self, nodes: Iterable[Node], tries: int = _TRIES) -> dict[str, float]:
        """Return, for each node, the share of zeros among what would not be zero."""
        whole = {node.name: self._undropped(node) for node in nodes}
        shares: dict[str, list[float]] = {name: [] for name in whole}
        for number in range(1, tries + 1) if whole else ():
            again = self.again(number, whole)
            for name, alive in whole.items():
                zeros = int(((first(again[name]) == 0) & alive).sum())
                shares[name].append(zeros / max(int(alive.sum()), 1))
            if number >= _FEW and all(map(_is_certain, shares.values())):
                break
        return {name: statistics.fmean(each) for name, each in shares.items()}

    def source(self, node: Node) -> str | None:
        """Return what a node drops from: a value of the image, as large as its result."""
        shape = first(self.values[node.name]).shape
        names = (name for name in reads(node) if name in self.sources)
        return next((n for n in names if first(self.values[n]).shape == shape), None)

    def _undropped(self, node: Node) -> torch.Tensor:
        """Return where a result would not be zero: where the value that it is made of is not."""
        return first(self.values[self.source(node) or node.name]) != 0


def _is_certain(shares: list[float]) -> bool:
    """Tell whether more draws would hardly give another mean."""
    error = statistics.stdev(shares) / math.sqrt(len(shares))
    return 0 < error < _PRECISE * statistics.fmean(shares)


def first(value: object) -> torch.Tensor:
    """Return the first tensor of a result; one of nothing if there is none."""
    return next(parts(value), torch.zeros(0))
