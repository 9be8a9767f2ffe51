"""The rows a person would draw: one for each step that learns, pools, normalises or activates.

Where a row looks is measured: rows and columns of the image are made NaN, one in each image of a
batch, and NaN spreads to whatever is computed from them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch.utils import flop_counter

from grader.errors import SubmissionError
from grader.measure.bench import Bench
from grader.measure.changes import at, exchanged, noisy
from grader.measure.laboratory import DRAWS, Laboratory
from grader.measure.running import Operation, parts
from grader.plan.arguments import (
    argument,
    first_read,
    integers,
    name_of,
    reads,
    reference,
    words,
)
from grader.plan.drawing import Drawing, title
from grader.plan.findings import Layer
from grader.plan.schema import Node
from grader.training.tuning import spare_the_compiler

spare_the_compiler(flop_counter._FlopCounterMode)

_KINDS = {
    "convolution": "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
    "linear": "linear bilinear",
    "recurrent": "lstm gru rnn_tanh rnn_relu",
    "attention": "scaled_dot_product_attention",
    "embedding": "embedding",
    "batch norm": "batch_norm",
    "norm": "instance_norm layer_norm group_norm rms_norm",
    "dropout": "dropout feature_dropout alpha_dropout feature_alpha_dropout",
    "max pool": """max_pool1d max_pool2d max_pool3d max_pool2d_with_indices adaptive_max_pool1d
        adaptive_max_pool2d""",
    "average pool": """avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
        adaptive_avg_pool3d""",
    "activation": """relu relu6 leaky_relu prelu rrelu elu celu selu gelu silu mish sigmoid
        log_sigmoid hardsigmoid hardswish hardtanh hardshrink softshrink softplus tanh threshold glu
        softmax log_softmax""",
    "upsampling": """upsample_bilinear2d upsample_nearest2d upsample_bicubic2d pixel_shuffle""",
}
_KIND = {name: kind for kind, names in _KINDS.items() for name in words(names)}
_BEHIND = 32  # rows that one value is followed back to

Window = tuple[int, float | None] | None
"""How many pixels along one axis a unit sees, and the step to its neighbour's; None for all."""


def layers(bench: Bench, train: Drawing, averaging: Collection[str]) -> list[Layer]:
    """List the layers of the training graph; `averaging` are nodes that average a map."""
    costs, seen = _costs(bench.close), _windows(bench.close, train)
    of_images = bench.close.of_images("frozen")
    felt = bench.close.slopes("frozen", train.graph.output, train.nodes)
    rows: list[Layer] = []
    taken: set[str] = set()
    behind: dict[str, frozenset[int]] = {}  # the rows behind each value
    for node in train.graph.nodes:
        sources = frozenset().union(*(behind.get(name, ()) for name in reads(node)))
        behind[node.name] = sources = frozenset(islice(sorted(sources, reverse=True), _BEHIND))
        unknown: tuple[Window | int, Window | int]
        unknown = (None, None) if node.name in of_images else (0, 0)
        cost, sees = costs[node.name], seen.get(node.name, unknown)
        kind = "global average pool" if node.name in averaging else _KIND.get(_plain(node), "")
        own = _own_parameters(train, node, taken, is_layer=bool(kind) or sees != (0, 0))
        if not (own or cost.macs or kind):
            continue
        behind[node.name] = frozenset([len(rows)])
        field, jump = _field(node, sees, seen, bench.close)
        rows.append(
            Layer(
                name=title(node),
                kind=kind or "other",
                op=_plain(node),
                shape=train.shape(node.name),
                parameters=sum(math.prod(train.tensors[name].shape) for name in own),
                macs=cost.macs,
                activations=cost.activations,
                receptive_field=field,
                jump=jump,
                on_path=_is_felt(bench.close, train, node, felt) and field != (0, 0),
                where=node.where,
                reads=sorted(sources),
                **_sliding(train, node),
            )
        )
    return rows


def _plain(node: Node) -> str:
    return name_of(node).removesuffix("_")


def _is_felt(
    laboratory: Laboratory, train: Drawing, node: Node, slopes: Mapping[str, torch.Tensor]
) -> bool:
    """Tell whether the scores answer to a node: by a gradient, or else when it is changed."""
    if node.name not in train.wired:
        return False
    slope = slopes.get(node.name)
    if slope is not None and bool((slope != 0).any()):
        return True
    return laboratory.moves("train", *(at([node.name], change) for change in (exchanged, noisy)))


def _own_parameters(train: Drawing, node: Node, taken: set[str], *, is_layer: bool) -> list[str]:
    """Return the parameters that a layer is the first to use; `taken` is what others have.

    Those that are worked on before (a normalised weight) come with the value they are part of.
    """
    own: list[str] = []
    pending = reads(node) if is_layer else []
    while pending:
        name = pending.pop()
        if name in taken:
            continue
        taken.add(name)
        if name in train.nodes and not train.behind(name) & set(train.graph.inputs):
            pending.extend(reads(train.nodes[name]))
        elif name in train.tensors and train.tensors[name].role == "parameter":
            own.append(name)
    return own


def _sliding(train: Drawing, node: Node) -> dict[str, list[int]]:
    """Return kernel, stride, padding and dilation of a convolution or a pooling with windows."""
    name = name_of(node)
    axes = next((n for n in (1, 2, 3) if f"{n}d" in name), 0)
    weight = train.shape(reference(node, "weight"))[2:]
    if not axes or "adaptive" in name or not ("conv" in name or "pool" in name):
        return {}
    is_pool = "pool" in name
    kernel = integers(node, "kernel_size", axes, 1) if is_pool else tuple(weight) or (1,) * axes
    is_told = not is_pool or argument(node, "stride") not in (None, [])
    dilation = integers(node, "dilation", axes, 1)
    padding = integers(node, "padding", axes, 0)
    if argument(node, "padding") == "same":
        padding = tuple((k - 1) * d // 2 for k, d in zip(kernel, dilation, strict=False))
    return {
        "kernel": list(kernel),
        "stride": list(integers(node, "stride", axes, 1) if is_told else kernel),
        "padding": list(padding),
        "dilation": list(dilation),
    }


@dataclass
class _Cost:
    macs: int = 0
    activations: int = 0


@dataclass
class _Counted:
    """A hook that counts, for one image, what each node costs."""

    images: int
    counter: flop_counter.FlopCounterMode
    costs: dict[str, _Cost] = field(default_factory=dict)

    def __call__(self, op: Operation) -> object:
        before = self.counter.get_total_flops()
        result = op()
        known = {part.data_ptr() for part in parts(op.args)}
        made = [part for part in parts(result) if part.dim() and part.data_ptr() not in known]
        self.costs[op.node.name] = _Cost(
            int(self.counter.get_total_flops() - before) // (2 * self.images),
            made[0].numel() // self.images if made else 0,
        )
        return result


def _costs(laboratory: Laboratory) -> dict[str, _Cost]:
    draw = laboratory.draw(DRAWS[0])
    with flop_counter.FlopCounterMode(display=False) as counter:
        counted = _Counted(len(draw.images), counter)
        laboratory.scores("frozen", draw, counted)
    return counted.costs


def _windows(
    laboratory: Laboratory, train: Drawing
) -> dict[str, tuple[Window | int, Window | int]]:  # fmt: skip
    """Return, for each value, what its units see along both axes; 0 if they see no image."""
    draw = laboratory.draw(DRAWS[0])
    shape = laboratory.model.input_shape
    rows, columns = shape[-2:]
    count = rows + columns
    images = draw.images[:1].repeat(count + 1, *[1] * len(shape))
    square = images.view(count + 1, -1, rows, columns)
    for row in range(rows):
        square[row, :, row] = math.nan
    for column in range(columns):
        square[rows + column, :, :, column] = math.nan
    found: dict[str, tuple[Window | int, Window | int]] = {}
    reach: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {}
    try:
        values = laboratory.values("frozen", laboratory.with_images(draw, images))
    except SubmissionError:
        return {}
    for name, value in values.items():
        units = _units(next(parts(value), None), count + 1)
        if units is None:
            continue
        seen = (units.isnan() & ~units[-1:].isnan()).any(1)
        by_row, by_column = seen[:rows], seen[rows:-1]
        is_map = seen.shape[2] > 1
        down = by_row.any(2) if is_map else by_row.flatten(1)
        across = by_column.any(1) if is_map else by_column.flatten(1)
        steps = _steps(train, name, found)
        node = train.nodes.get(name)
        edges = reach.get((node and first_read(node)) or "", ((0, rows - 1), (0, columns - 1)))
        reach[name] = _reach(down), _reach(across)
        found[name] = (_window(down, steps[0], edges[0]), _window(across, steps[1], edges[1]))
    return found


def _reach(seen: torch.Tensor) -> tuple[int, int]:
    """Return the first and the last pixel that some unit sees."""
    pixels = torch.nonzero(seen.any(1)).flatten().tolist() or [0]
    return pixels[0], pixels[-1]


def _steps(
    train: Drawing, name: str, seen: Mapping[str, tuple[Window | int, Window | int]]
) -> list[float | None]:
    """Return the pixels from a unit to the next by those of the map before it, where it slides."""
    node = train.nodes.get(name)
    source = first_read(node) if node is not None else None
    if node is None or source is None or source not in seen:
        return [None, None]
    same = [1, 1] if train.shape(name) == train.shape(source) else []
    strides = _sliding(train, node).get("stride", same)
    before = [window[1] if isinstance(window, tuple) else None for window in seen[source]]
    steps = [step and step * s for step, s in zip(before, strides, strict=False)]
    return steps if len(steps) == 2 else [None, None]


def _units(value: torch.Tensor | None, count: int) -> torch.Tensor | None:
    """Return a result of so many images as [images, channels, rows, columns], if it is one.

    What is no map becomes one of a single column.
    """
    if value is None or not value.dim() or not value.is_floating_point():
        return None
    if value.dim() == 4 and value.numel() % (count * math.prod(value.shape[2:]) or 1) == 0:
        return value.reshape(count, -1, *value.shape[2:])
    return value.reshape(count, 1, -1, 1) if len(value) == count else None


def _window(
    seen: torch.Tensor, usual: float | None, edges: tuple[int, int]
) -> Window | int:  # fmt: skip
    """Return what units [pixel, unit] see: where the image cuts no unit off, if there is such.

    `edges` are the first and the last pixel seen by the map before. Where they cut off all of them,
    what a unit at one edge and one at the other see is put together; `usual` is the step from one
    to the next where too few are left to tell.
    """
    pixels = seen.shape[0]
    places = torch.arange(pixels)[:, None].expand_as(seen)
    low = torch.where(seen, places, pixels).amin(0)
    high = torch.where(seen, places, -1).amax(0)
    from_low, from_high = (high >= 0) & (low > edges[0]), (high >= 0) & (high < edges[1])
    if not bool(seen.any()):
        return 0
    if not bool((from_low | from_high).any()):
        return None
    step = _step(low, from_low) or _step(high, from_high) or usual
    # Of all units: one that the edge cuts off may show a gap of its dilation there.
    width = int((high - low + 1)[(high >= 0) & ~_wrapped(seen, from_low & from_high)].max())
    if (
        step is None
        or bool((from_low & from_high).any())
        or not (from_low.any() and from_high.any())
    ):
        return width, step
    first, last = int(torch.nonzero(from_high)[-1]), int(torch.nonzero(from_low)[0])
    joined = math.ceil(int(high[first]) - int(low[last]) + (last - first) * step + 1)
    return max(joined, width), step


def _wrapped(seen: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Tell which units [pixel, unit] see, across the image's border, what units inside see."""
    wrapped = torch.zeros(seen.shape[1], dtype=torch.bool)
    across = torch.nonzero(seen[0] & seen[-1]).flatten().tolist()
    if across and bool(inside.any()):
        usual = {_on_ring(unit) for unit in seen.T[inside]}
        wrapped[[unit for unit in across if _on_ring(seen[:, unit]) in usual]] = True
    return wrapped


def _on_ring(seen: torch.Tensor) -> tuple[int, int]:
    """Return how many pixels are seen, and the widest gap if the last were next to the first."""
    pixels = torch.nonzero(seen).flatten()
    if not len(pixels):
        return 0, len(seen)
    around = torch.cat([pixels, pixels[:1] + len(seen)])
    return len(pixels), int(around.diff().max())


def _step(edge: torch.Tensor, cut: torch.Tensor) -> float | None:
    """Return by how many pixels an edge moves from one unit to the next."""
    moves = [abs(float(move)) for move in edge[cut].diff()]
    if not moves:
        return None
    usual = statistics.median(moves)
    return usual if usual >= 1 else statistics.fmean(moves)


def _field(
    node: Node,
    sees: tuple[Window | int, Window | int],
    seen: Mapping[str, tuple[Window | int, Window | int]],
    laboratory: Laboratory,
) -> tuple[tuple[int, int] | None, tuple[float, float] | None]:
    """Return receptive field and jump as (height, width): None for the whole image, 0 for none."""
    height, width = sees
    if isinstance(height, int) or isinstance(width, int):
        return (0, 0), None
    if height is not None and width is not None:
        down, right = height[1], width[1]
        jump = (down, right) if down is not None and right is not None else None
        return (height[0], width[0]), jump
    before = [seen[name] for name in reads(node) if name in seen]
    if _KIND.get(_plain(node)) == "convolution" and before and None not in sum(before, ()):
        rows, columns = laboratory.model.input_shape[-2:]
        return ((height or (rows, None))[0], (width or (columns, None))[0]), None
    return None, None
