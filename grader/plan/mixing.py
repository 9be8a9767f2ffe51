"""Operations through which the images of a batch affect each other.

A verdict on test images must not depend on what else is in the batch. The list is conservative:
an operation along a dimension that holds the batch is named even if it might be harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from grader.plan.arguments import argument, dimensions, flag, name_of, reads, reference, words
from grader.plan.axes import (
    PRODUCTS,
    RECURRENT,
    REDUCTIONS,
    einsum_letters,
    is_by_image,
    reduced,
)
from grader.plan.dims import Axes, Dim, holds_batch
from grader.plan.evidence import title
from grader.plan.findings import Mixing
from grader.plan.geometry import CONVOLUTIONS, TRANSPOSED, axes_count
from grader.plan.path import Trace
from grader.plan.schema import Node, Ref

_ALONG = words(
    """softmax log_softmax special_softmax special_log_softmax _safe_softmax cumsum cumprod cummax
    cummin logcumsumexp sort argsort topk select index_select gather scatter scatter_add
    scatter_reduce index_add index_copy index_fill index_reduce take_along_dim unfold unbind
    cosine_similarity msort select_scatter slice_scatter glu"""
)
_TO_THE_END = words("sort argsort topk cosine_similarity glu")  # their default dimension
_RESIZING = words("slice narrow narrow_copy pad constant_pad_nd")
_SPLITS = words("chunk unsafe_chunk split unsafe_split split_with_sizes tensor_split")
_MOVES = words("flip roll fliplr flipud rot90")
_SLID = words(
    """max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
    upsample_linear1d upsample_bilinear2d upsample_bicubic2d upsample_nearest1d upsample_nearest2d
    reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d"""
)
_INDEXED = words("index index_put")
_OPAQUE = words(
    """take masked_select masked_scatter nonzero histc bincount trace dot vdot inner outer ger kron
    tensordot chain_matmul linalg_multi_dot pdist dist equal cross linalg_cross
    fft_fftn fft_ifftn fft_rfftn fft_irfftn renorm searchsorted embedding_bag diag diagonal
    diag_embed diagflat tril triu put isin meshgrid addr _weight_norm fft_fftshift fft_ifftshift
    linalg_matrix_norm frobenius_norm nuclear_norm addbmm"""
)


def mixings(trace: Trace, axes: dict[str, Axes]) -> list[Mixing]:
    """List what lets images of a batch affect each other's scores in this graph."""
    found = [
        Mixing(name_of(node), title(node), why, node.where)
        for node in trace.flow.nodes
        if trace.on_path(node) and (why := _why(trace, node, axes))
    ]
    found += [
        Mixing("write", name, "evaluation changes it, so an image affects those after it")
        for name in sorted(trace.flow.written)
    ]
    return found


def _why(trace: Trace, node: Node, axes: dict[str, Axes]) -> str:
    operands = [axes.get(name, ()) for name in reads(node)]
    source: Axes = operands[0] if operands else ()
    result = axes.get(node.name, ())
    if _is_scrambled(result) and not any(map(_is_scrambled, operands)):
        return "a reshape puts numbers of different images into one row"
    if sum(factor.label == "batch" for dim in result for factor in dim) > 1:
        return "it pairs every image of the batch with every other"
    name = name_of(node)
    if name in _RESIZING:
        return _REASON if _cuts_batch(source, result) else ""
    if name in _OPAQUE:
        return "it may combine images of a batch" if any(map(holds_batch, _all(operands))) else ""
    for group, rule in _RULES:
        if name in group:
            return _REASON if any(map(holds_batch, rule(node, source, operands))) else ""
    return _norm(trace, node, source)


_REASON = "it works along the batch dimension"


def _all(operands: list[Axes]) -> Iterator[Dim]:
    return (dim for operand in operands for dim in operand)


def _is_scrambled(axes: Axes) -> bool:
    return any(factor.label == "mixed" for dim in axes for factor in dim)


def _cuts_batch(source: Axes, result: Axes) -> bool:
    pairs = zip(source, result, strict=False)
    return any(holds_batch(old) and old != new for old, new in pairs)


def _norm(trace: Trace, node: Node, source: Axes) -> str:
    name = name_of(node)
    if name == "batch_norm":
        known = reference(node, "running_mean") is not None
        live = flag(node, "training") or not known
        return "it normalises with the statistics of the test batch" if live else ""
    inner: Axes = ()
    if name in ("layer_norm", "rms_norm"):
        shape = argument(node, "normalized_shape")
        inner = source[-len(shape) :] if isinstance(shape, list) and shape else source
    elif name in ("group_norm", "instance_norm"):
        inner = source[1:]
    return _REASON if any(map(holds_batch, inner)) else ""


def _reduction(node: Node, source: Axes, _: list[Axes]) -> Iterator[Dim]:
    return (source[i] for i in reduced(node, source))


def _along(node: Node, source: Axes, _: list[Axes]) -> Iterator[Dim]:
    default = () if not source else (len(source) - 1,) if name_of(node) in _TO_THE_END else (0,)
    return (source[i] for i in dimensions(node, "dim", len(source)) or default)


def _moved(node: Node, source: Axes, _: list[Axes]) -> Axes:
    chosen = dimensions(node, "dims", len(source))
    return tuple(source[i] for i in chosen) if chosen else source


def _windows(node: Node, source: Axes, operands: list[Axes]) -> Axes:
    """Return what a sliding operation runs along; a convolution sums over the channels too."""
    name = name_of(node)
    if name in CONVOLUTIONS and is_by_image(operands):
        return source[2:]
    count = axes_count(name) + (name in CONVOLUTIONS | TRANSPOSED)
    return source[-count:] if count else ()


def _linear(_: Node, source: Axes, __: list[Axes]) -> Axes:
    return source[-1:]


def _product(_: Node, source: Axes, operands: list[Axes]) -> Axes:
    return source[-1:] + (operands[1][-2:-1] if len(operands) > 1 else ())


def _rows(_: Node, source: Axes, operands: list[Axes]) -> Axes:
    return source[-1:] + (operands[1][-1:] if len(operands) > 1 else ())


def _added_product(_: Node, __: Axes, operands: list[Axes]) -> Axes:
    return operands[1][-1:] + operands[2][-2:-1] if len(operands) > 2 else tuple(_all(operands))


def _attention(_: Node, source: Axes, operands: list[Axes]) -> Axes:
    return source[-1:] + (operands[1][-2:] if len(operands) > 1 else ())


def _sequence(node: Node, source: Axes, _: list[Axes]) -> Axes:
    """Return the steps of a sequence and the features; without a batch the steps come first."""
    first = 1 if flag(node, "batch_first") and len(source) > 2 else 0
    return source[first : first + 1] + source[-1:]


def _summed(node: Node, _: Axes, operands: list[Axes]) -> Iterator[Dim]:
    letters = einsum_letters(node)
    if letters is None:
        yield from _all(operands)
        return
    for names, operand in zip(letters[0], operands, strict=False):
        yield from (dim for c, dim in zip(names, operand, strict=False) if c not in letters[1])


def _split(node: Node, source: Axes, _: list[Axes]) -> Axes:
    """Return the dimension split, unless copies of a whole batch are taken apart again."""
    dim = source[(dimensions(node, "dim", len(source)) or (0,))[0]] if source else ()
    copies = len(dim) == 2 and dim[1].label == "batch" and dim[0].size == argument(node, "chunks")
    return () if copies else (dim,)


def _indexed(node: Node, source: Axes, _: list[Axes]) -> Iterator[Dim]:
    indices = node.args[1] if len(node.args) > 1 else []
    chosen = indices if isinstance(indices, list) else [indices]
    return (dim for dim, index in zip(source, chosen, strict=False) if isinstance(index, Ref))


_RULES: tuple[
    tuple[frozenset[str], Callable[[Node, Axes, list[Axes]], Axes | Iterator[Dim]]], ...
] = (
    (REDUCTIONS, _reduction),
    (_ALONG, _along),
    (_MOVES, _moved),
    (words("linear"), _linear),
    (PRODUCTS, _product),
    (words("cdist _cdist_forward"), _rows),
    (words("addmm baddbmm addmv"), _added_product),
    (words("scaled_dot_product_attention"), _attention),
    (RECURRENT, _sequence),
    (words("einsum"), _summed),
    (_SPLITS, _split),
    (CONVOLUTIONS | TRANSPOSED | _SLID, _windows),
    (_INDEXED, _indexed),
)
