"""The rows a person would draw: one for each step that learns, pools, normalises or activates."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import islice

import msgspec

from grader.plan.arguments import name_of, reads, words
from grader.plan.costs import activations, macs
from grader.plan.dims import Axes
from grader.plan.evidence import title
from grader.plan.findings import Layer
from grader.plan.geometry import geometry
from grader.plan.path import Trace
from grader.plan.receptive import Field, fields_of
from grader.plan.schema import Node
from grader.plan.sizes import MOST, capped, per_image

_BEHIND = 32  # rows that one value is followed back to

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


def layers_of(trace: Trace, axes: dict[str, Axes], averaging: frozenset[str]) -> list[Layer]:
    """List the layers of a graph; `averaging` names the nodes that are global average pooling."""
    fields = fields_of(trace, axes)
    taken: set[str] = set()
    rows: list[Layer] = []
    behind: dict[str, frozenset[int]] = {}  # the rows behind each value
    for node in trace.flow.nodes:
        sources = frozenset().union(*(behind.get(name, ()) for name in trace.inputs[node.name]))
        behind[node.name] = sources = frozenset(islice(sources, _BEHIND))
        own = _own_parameters(trace, node, taken)
        cost = macs(trace, node, axes)
        kind = "global average pool" if node.name in averaging else _KIND.get(name_of(node), "")
        if own or cost or kind:
            row = _row(trace, node, kind or "other", fields.get(node.name))
            count = sum(math.prod(trace.tensors[name].shape) for name in own)
            behind[node.name] = frozenset([len(rows)])
            rows.append(
                msgspec.structs.replace(
                    row, parameters=count, macs=capped(cost), reads=sorted(sources)
                )
            )
    return rows


def _own_parameters(trace: Trace, node: Node, taken: set[str]) -> list[str]:
    """Return the parameters that a layer is the first to use; `taken` is what others have.

    Those that are worked on before (a normalised weight) come with the value they are part of.
    """
    if node.name not in trace.seen and name_of(node) not in _KIND:
        return []
    own: list[str] = []
    pending = reads(node)
    while pending:
        name = pending.pop()
        if name in taken or name in trace.seen:
            continue
        taken.add(name)
        if name in trace.nodes:
            pending.extend(reads(trace.nodes[name]))
        elif name in trace.tensors and trace.tensors[name].role == "parameter":
            own.append(name)
    return own


def _row(trace: Trace, node: Node, kind: str, field: Field | None) -> Layer:
    window, jump = _seen(field)
    sliding = geometry(trace, node)
    kernel, stride, padding, dilation = map(list, sliding) if sliding else (None,) * 4
    return Layer(
        name=title(node),
        kind=kind,
        op=name_of(node),
        shape=per_image(trace.shape(node)),
        parameters=0,
        macs=0,
        activations=capped(activations(trace, node)),
        receptive_field=window,
        jump=jump,
        on_path=trace.on_path(node),
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        where=node.where,
    )


def _seen(field: Field | None) -> tuple[tuple[int, int] | None, tuple[float, float] | None]:
    """Return receptive field and jump as (height, width): None for the whole image, 0 for none."""
    if not field:
        return (0, 0), None
    height, width = field["height"], field["width"]
    if height is None or width is None:
        return None, None
    jumps = [min(window.jump, Fraction(MOST)) for window in (height, width)]
    return (capped(height.width), capped(width.width)), (float(jumps[0]), float(jumps[1]))
