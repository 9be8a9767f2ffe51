"""A mask: the data set as nobody outside the course knows it.

Classes have other numbers, and images lie in another way. A network that learns from the images
learns as well from these; what was brought along for the original does not fit.
"""

from __future__ import annotations

import msgspec

TURNS = range(8)
"""The symmetries of the square. Of a number's bits, 4 says: transposed first; 2: then upside down;
1: then left to right."""


class Mask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one training sees: class k is called `classes[k]`, images lie as `turn` says."""

    classes: list[int]
    turn: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for what is no mask."""
        if sorted(self.classes) != list(range(len(self.classes))) or self.turn not in TURNS:
            raise ValueError("not a mask")
