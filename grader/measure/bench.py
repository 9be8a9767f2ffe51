"""The laboratories a network is looked at in, and whether a change is felt in all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from functools import cache, partial

import torch

from grader.errors import SubmissionError
from grader.measure.chance import Chance
from grader.measure.laboratory import Changing, Laboratory
from grader.plan import schema
from grader.plan.drawing import Drawing

FEW = 8
"""Images for what is looked at closely. A network may normalise a batch in parts: four, or two."""


class Bench:
    """A network in float64 on few images, and as it will be trained, in batches of its recipe.

    In its own precision alone where it holds an operation that float64 does not have; and late in
    its training as well where it counts the steps. One precision would not do: in float32,
    `(x + 1000 * y) - 1000 * y` moves by its rounding, and in float64, `(y / 1000 + 1e6) - 1e6` is
    not rounded away. Nor would one size: a layer may act in small batches alone.
    """

    def __init__(
        self,
        model: schema.Model,
        taught: Collection[str],
        pictures: torch.Tensor,
        *,
        batch: int,
        steps: int,
        seed: int,
    ) -> None:
        laboratory = partial(Laboratory, model, taught, pictures, seed=seed)
        try:
            self.close = laboratory(batch=FEW, wide=True)
        except SubmissionError:
            self.close = laboratory(batch=FEW, wide=False)
        learning = self.close.learning
        self.trained = laboratory(batch=batch, wide=False, learning=learning)
        self.others = [self.trained]
        wired = Drawing(model, "train").wired | Drawing(model, "eval").wired
        if self.close.counters & wired:
            with contextlib.suppress(SubmissionError):
                self.others.append(laboratory(batch=FEW, wide=True, learning=learning, late=steps))
        self._felt: set[tuple[str, str]] = set()
        self.chance = cache(Chance)  # of a laboratory's graph

    def moves(self, kind: str, mode: str, *changes: Changing) -> bool:
        """Tell whether changes move the scores in every laboratory; `kind` is what of.

        Where one of a kind was felt everywhere, the others are tried on few images alone.
        """
        if not self.close.moves(mode, *changes):
            return False
        if (kind, mode) in self._felt:
            return True
        felt = all(laboratory.moves(mode, *changes) for laboratory in self.others)
        if felt:
            self._felt.add((kind, mode))
        return felt
