"""Kernel, stride, padding and dilation of operations that slide over a map."""

from __future__ import annotations

from typing import NamedTuple

from grader.plan.arguments import argument, integers, name_of, reference, words
from grader.plan.path import Trace
from grader.plan.schema import Node
from grader.plan.sizes import sizes_of

CONVOLUTIONS = words("conv1d conv2d conv3d")
TRANSPOSED = words("conv_transpose1d conv_transpose2d conv_transpose3d")
MAX_POOLS = words(
    """max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices
    max_pool3d_with_indices"""
)
AVG_POOLS = words("avg_pool1d avg_pool2d avg_pool3d")
ADAPTIVE_AVG_POOLS = words("adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d")
ADAPTIVE_MAX_POOLS = words("adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d")
SLIDING = CONVOLUTIONS | TRANSPOSED | MAX_POOLS | AVG_POOLS


class Geometry(NamedTuple):
    """One number an axis of the map, the last axis last; `padding` is that before the map."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]


def axes_count(name: str) -> int:
    """Return over how many axes an operation slides: 2 for `conv2d`."""
    return next((n for n in (1, 2, 3) if f"{n}d" in name), 0)


def weight_sizes(trace: Trace, node: Node) -> tuple[int, ...]:
    """Return the shape of a layer's weight; empty if it has none or it is unknown."""
    name = reference(node, "weight")
    if name in trace.tensors:
        return tuple(trace.tensors[name].shape)
    return (sizes_of(trace.nodes[name].shape) or ()) if name in trace.nodes else ()


def geometry(trace: Trace, node: Node) -> Geometry | None:
    """Return how a convolution or pooling slides; None for any other operation."""
    name = name_of(node)
    if name == "im2col":
        keys = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1}
        return Geometry(*(integers(node, key, 2, default) for key, default in keys.items()))
    if name not in SLIDING:
        return None
    count = axes_count(name)
    dilation = integers(node, "dilation", count, 1)
    if "pool" in name:
        kernel = integers(node, "kernel_size", count, 1)
        given = argument(node, "stride") not in (None, [])
        stride = integers(node, "stride", count, 1) if given else kernel
    else:
        weight = weight_sizes(trace, node)[2:]
        kernel = weight if len(weight) == count else (1,) * count
        stride = integers(node, "stride", count, 1)
    padding = integers(node, "padding", count, 0)
    if argument(node, "padding") == "same":
        padding = tuple((k - 1) * d // 2 for k, d in zip(kernel, dilation, strict=True))
    return Geometry(kernel, stride, padding, dilation)
