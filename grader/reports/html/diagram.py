"""A network as a block diagram: what stands where. `templates/diagram.svg` draws it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from grader.record import Facts, Layer
from grader.reports.layers import QUIET, field_text, kind_text, shape_text

_MOST = 120  # blocks that are drawn
_WIDTH, _LEFT, _GAP = 312, 4, 26
_TRACK, _TRACKS = 12, 10  # for what is read from further above, beside the blocks
_HIGH, _CHIPS = 50, 22  # of a block, and of its line of chips
_LINE, _KIND = 34, 30  # characters on that line, and beside what a block sees
_SIDE = 34  # of the picture of an image


@dataclass
class Block:
    """A layer, with what follows it and changes no shape; lengths are in pixels.

    `seen` is the part of an image that one of its outputs sees: x, y, width, height.
    """

    layers: list[Layer]
    sources: list[int] = field(default_factory=list)
    y: int = 0
    high: int = 0
    seen: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    @property
    def first(self) -> Layer:
        """The layer that the block is named after."""
        return self.layers[0]

    @property
    def on_path(self) -> bool:
        """Whether it acts on the scores."""
        return self.layers[-1].on_path

    @property
    def kind(self) -> str:
        """What it is: `convolution 3×3, stride 2`."""
        first = self.first
        more = [
            f"{name} {shape_text(value) if len(set(value)) > 1 else value[0]}"
            for name, value, usual in (
                ("stride", first.stride, 1), ("padding", first.padding, 0),
                ("dilation", first.dilation, 1),
            )
            if value and set(value) != {usual}
        ]  # fmt: skip
        joins = [f"joins {len(first.reads)} results"] * (len(first.reads) > 1)
        return ", ".join([kind_text(first), *more, *joins])

    @property
    def parameters(self) -> int:
        """Those of all its layers."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def shape(self) -> str:
        """What it hands on."""
        return shape_text(self.layers[-1].shape)

    @property
    def sees(self) -> str:
        """Its receptive field in words."""
        found = field_text(self.first)
        return "sees all" if found == "all" else f"sees {found}"

    @property
    def has_line(self) -> bool:
        """Whether there is a line below the kind: for chips, or because the kind is long."""
        return bool(self.chips) or len(self.kind) > _KIND

    @property
    def chips(self) -> list[tuple[int, int, str]]:
        """What follows it: x, width and words."""
        made, x, left = [], 54, _LINE
        for layer in self.layers[1:]:
            words = layer.op.replace("_", " ") if layer.kind == "activation" else layer.kind
            if len(words) + 2 > left:
                break
            made.append((x, 12 + round(5.7 * len(words)), words))
            x, left = x + made[-1][1] + 5, left - len(words) - 3
        return made


@dataclass(frozen=True)
class Edge:
    """A line from one block to another: the points of its path, and whether it acts on scores."""

    path: str
    on_path: bool
    x: int = 0
    y: int = 0
    label: str = ""


@dataclass(frozen=True)
class Diagram:
    """All blocks and edges, and how large the drawing is; `left_out` blocks do not fit."""

    blocks: list[Block]
    edges: list[Edge]
    width: int
    height: int
    left_out: int
    left: int = _LEFT
    block_width: int = _WIDTH
    side: int = _SIDE

    @property
    def unused(self) -> bool:
        """Whether a block is drawn that moves no score."""
        return not all(block.on_path for block in self.blocks)


def diagram(facts: Facts, image: Sequence[int]) -> Diagram:
    """Lay out the layers below each other; `image` is the shape [C, H, W] of what comes in."""
    blocks = _blocks(facts.layers)
    shown = blocks[:_MOST]
    y = 34
    for block in shown:
        y += _GAP
        block.y, block.high = y, _HIGH + _CHIPS * block.has_line
        block.seen = _seen(block.first, image)
        y += block.high
    tracks = _tracks(shown)
    edges = [*_straight(shown, shape_text(list(image))), *_around(shown, tracks)]
    width = 2 * _LEFT + _WIDTH + (_TRACK * (1 + max(tracks.values())) + 6 if tracks else 0)
    return Diagram(shown, edges, width, y + _GAP + 34, len(blocks) - len(shown))


def _blocks(layers: list[Layer]) -> list[Block]:
    """Put layers that change no shape to the one they follow, unless others read that as well."""
    readers = Counter(read for layer in layers for read in layer.reads)
    blocks: list[Block] = []
    owner: dict[int, int] = {}
    for number, layer in enumerate(layers):
        follows = owner.get(layer.reads[0]) if len(layer.reads) == 1 else None
        joined = (
            follows is not None and layer.kind in QUIET and readers[layer.reads[0]] == 1
            and blocks[follows].layers[-1] is layers[layer.reads[0]]
            and blocks[follows].on_path == layer.on_path
        )  # fmt: skip
        if joined and follows is not None:
            blocks[follows].layers.append(layer)
            owner[number] = follows
        else:
            sources = dict.fromkeys(owner[read] for read in layer.reads if read in owner)
            blocks.append(Block([layer], list(sources)))
            owner[number] = len(blocks) - 1
    return blocks


def _seen(layer: Layer, image: Sequence[int]) -> tuple[float, float, float, float]:
    """Return the receptive field in the middle of a picture of the image."""
    sides = layer.receptive_field or (image[-2], image[-1])
    high, wide = (
        _SIDE * min(side, whole) / whole for side, whole in zip(sides, image[-2:], strict=True)
    )
    return (
        round((_SIDE - wide) / 2, 1),
        round((_SIDE - high) / 2, 1),
        round(wide, 1),
        round(high, 1),
    )


def _straight(blocks: list[Block], image: str) -> Iterator[Edge]:
    """Draw arrows between neighbours; what reads nothing in the list reads the image."""
    x = _LEFT + 54
    for number, block in enumerate(blocks):
        above = blocks[number - 1] if number else None
        if number == 0 or number - 1 in block.sources:
            top = above.y + above.high if above else 34
            label = above.shape if above else image
            yield Edge(f"M{x} {top}V{block.y - 1}", block.on_path, x + 9, block.y - 9, label)
    if blocks:
        end = blocks[-1].y + blocks[-1].high
        yield Edge(f"M{x} {end}V{end + _GAP - 1}", True, x + 9, end + _GAP - 9, blocks[-1].shape)


def _skips(blocks: list[Block]) -> list[tuple[int, int]]:
    """Return pairs of blocks that are not neighbours, where the second reads the first."""
    return [
        (source, number)
        for number, block in enumerate(blocks)
        for source in (block.sources or [-1] * bool(number))
        if source != number - 1
    ]


def _tracks(blocks: list[Block]) -> dict[tuple[int, int], int]:
    """Give each line beside the blocks the innermost track that is free; the last one is shared."""
    busy: list[int] = []
    given: dict[tuple[int, int], int] = {}
    for source, target in sorted(_skips(blocks)):
        track = next((t for t, until in enumerate(busy) if until <= source), len(busy))
        track = min(track, _TRACKS - 1)
        busy[track : track + 1] = [target]
        given[source, target] = track
    return given


def _around(blocks: list[Block], tracks: dict[tuple[int, int], int]) -> Iterator[Edge]:
    right = _LEFT + _WIDTH
    for (source, target), track in tracks.items():
        from_ = blocks[source].y + blocks[source].high - 12 if source >= 0 else 17
        to, x = blocks[target].y + 14, right + _TRACK * (track + 1)
        path = (
            f"M{right} {from_}H{x - 5}Q{x} {from_} {x} {from_ + 5}V{to - 5}Q{x} {to} {x - 5} {to}"
            f"H{right + 1}"
        )
        yield Edge(path, blocks[target].on_path)
