"""What in a graph is up to chance: every node once more, on what went into it before.

A node whose result is another number, though it works on the same numbers, is random itself. What
depends on neither image nor weights (a mask, a draw of noise) is made anew each time.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from grader.measure.laboratory import DRAWS, Laboratory
from grader.measure.running import Operation, copied, differs


class Chance:
    """One graph under one draw: `values` as they were, and which nodes are `random`.

    `alone` names the nodes whose results depend on neither image nor weights.
    """

    def __init__(self, laboratory: Laboratory, mode: str) -> None:
        self._laboratory, self._mode = laboratory, mode
        self._draw, other = (laboratory.draw(index) for index in DRAWS[:2])
        self.values = laboratory.values(mode, self._draw)
        elsewhere = laboratory.values(mode, other, seed=self._draw.seed)
        self.alone = {n for n, v in self.values.items() if not differs(v, elsewhere.get(n))}
        self.sources = {name for name in self.values if name not in self.alone}
        again = self.again(1, self.values)
        self.random = {name for name, value in again.items() if differs(value, self.values[name])}

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
            return copied(self.values[name])

        self._laboratory.scores(self._mode, self._draw, only, seed=self._draw.seed + number)
        return results
