"""What each dimension of each result stands for: batch, channel, height, width.

A dimension is a row of factors, slowest first: flattening [B, 10, 7, 7] to [B, 490] leaves
[batch], [channel 10, height 7, width 7]. A dimension of size 1 has no factors. So `mean((2, 3))`,
`flatten(2).mean(-1)` and `permute(0, 2, 3, 1).mean((1, 2))` are seen to average the same things,
and an operation along a dimension that holds the batch is seen to mix images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from grader.plan.arguments import (
    argument,
    dimensions,
    integers,
    name_of,
    reads,
    words,
)
from grader.plan.dims import (
    SPACE,
    Axes,
    Dim,
    Factor,
    fitted,
    holds_batch,
    labelled,
    merged,
    rank,
    regrouped,
    resized,
    size,
)
from grader.plan.functional import REREAD, WRITE
from grader.plan.path import Trace, is_number
from grader.plan.schema import Node
from grader.plan.sizes import BATCH, sizes_of

_REGROUPED = words(
    """view reshape flatten unflatten ravel squeeze unsqueeze _unsafe_view view_as reshape_as
    atleast_1d atleast_2d atleast_3d"""
)
_STRETCHED = words("expand expand_as broadcast_to repeat tile repeat_interleave")
_SWAPPED = words("transpose swapaxes swapdims t mT mH numpy_T matrix_H")
CONVOLUTIONS = words(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d col2im"
)
_REARRANGED = words("pixel_shuffle pixel_unshuffle")
PRODUCTS = words("matmul mm bmm mv")
RECURRENT = words("lstm gru rnn_tanh rnn_relu")
REDUCTIONS = words(
    """mean sum nansum nanmean amax amin prod all any max min median nanmedian argmax argmin
    logsumexp var std var_mean std_mean aminmax norm linalg_vector_norm mode count_nonzero kthvalue
    """
)


def axes_of(trace: Trace) -> dict[str, Axes]:
    """Name the dimensions of every input, tensor and result whose shape is known."""
    batch, image = (Factor("batch", BATCH),), _image(trace.model.input_shape)
    found: dict[str, Axes] = dict.fromkeys(trace.flow.inputs, (batch, *image))
    for tensor in trace.model.tensors:
        found[tensor.name] = tuple(labelled("weight", size) for size in tensor.shape)
    for node in trace.flow.nodes:
        sizes = sizes_of(node.shape)
        known = [found[name] for name in reads(node) if name in found]
        if node.shape is None:
            if known and not is_number(node):
                found[node.name] = _recurred(known[0]) if name_of(node) in RECURRENT else known[0]
        elif sizes is not None:
            axes = fitted(_axes(node, sizes, known) if known else (), sizes)
            found[node.name] = axes if node.name in trace.seen else _repeated(axes)
    return found


def reduced(node: Node, axes: Axes) -> tuple[int, ...]:
    """Return the dimensions that a reduction runs over: all of them if it names none."""
    return dimensions(node, "dim", len(axes)) or tuple(range(len(axes)))


def einsum_letters(node: Node) -> tuple[list[str], str] | None:
    """Return the letters of each operand and of the result; None for what is not plain letters."""
    equation = argument(node, "equation")
    if not isinstance(equation, str):
        return None
    left, arrow, right = equation.replace(" ", "").partition("->")
    operands = left.split(",")
    if not arrow:
        right = "".join(sorted(c for c in set(left) - {","} if left.count(c) == 1))
    plain = all(part.isalpha() or not part for part in (*operands, right))
    return (operands, right) if plain else None


def _image(shape: Sequence[int]) -> Axes:
    """Name the dimensions of an image; a row of pixels, as some networks want it, is a map too."""
    if len(shape) > 2:
        return tuple(map(labelled, ("channel", *SPACE), shape))
    if len(shape) == 2:
        return tuple(map(labelled, SPACE, shape))
    side = math.isqrt(math.prod(shape))
    if len(shape) == 1 and side * side == shape[0] > 1:
        return ((Factor("height", side), Factor("width", side)),)
    return tuple(labelled("width", length) for length in shape)


def _repeated(axes: Axes) -> Axes:
    """Say that a value made without the image (`ones_like(x)`) holds no map and no channels."""
    return tuple(
        tuple(
            Factor("copy" if f.label in ("channel", "unknown", *SPACE) else f.label, f.size)
            for f in dim
        )
        for dim in axes
    )


def _axes(node: Node, sizes: tuple[int, ...], known: list[Axes]) -> Axes:
    for group, rule in _RULES:
        if name_of(node) in group:
            return rule(node, sizes, known)
    return merged(known, sizes)


def _regroup(_: Node, sizes: tuple[int, ...], known: list[Axes]) -> Axes:
    return regrouped(known[0], sizes)


def _reread(_: Node, __: tuple[int, ...], known: list[Axes]) -> Axes:
    return known[-1]


def _join(_: Node, sizes: tuple[int, ...], known: list[Axes]) -> Axes:
    """Name the dimensions as the operand does that says most."""
    first = min(known, key=lambda axes: max(map(rank, axes), default=0))
    copies = sizes[0] // BATCH if sizes and len(first) == len(sizes) else 0
    if copies == len(known) > 1 and all(axes[:1] == first[:1] for axes in known):
        return ((Factor("copy", copies), *first[0]), *first[1:])
    return tuple(map(resized, first, sizes)) if len(first) == len(sizes) else ()


def _stack(node: Node, sizes: tuple[int, ...], known: list[Axes]) -> Axes:
    """Put the operands side by side along a new dimension."""
    place = (dimensions(node, "dim", len(sizes)) or (0,))[0]
    source = min(known, key=lambda axes: max(map(rank, axes), default=0))
    return (*source[:place], labelled("channel", len(known)), *source[place:])


def _unfold(node: Node, sizes: tuple[int, ...], known: list[Axes]) -> Axes:
    """Cut one dimension into windows, which become the last dimension."""
    source = known[0]
    place = (dimensions(node, "dim", len(source)) or (0,))[0]
    if len(sizes) != len(source) + 1 or not source:
        return ()
    dims = tuple(map(resized, source, sizes))
    label = source[place][0].label if source[place] else "copy"
    return (*dims, labelled(label, sizes[-1]))


def _columns(node: Node, sizes: tuple[int, ...], known: list[Axes]) -> Axes:
    """Lay the windows of a map side by side: [B, C·k·k, places]."""
    source = known[0]
    if len(source) != 4 or len(sizes) != 3 or sizes[1] % size(source[1]):
        return ()
    keys = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1}
    windows = zip(*(integers(node, key, 2, default) for key, default in keys.items()), strict=True)
    places = [
        (size(dim) + 2 * padding - dilation * (kernel - 1) - 1) // max(stride, 1) + 1
        for dim, (kernel, stride, padding, dilation) in zip(source[2:], windows, strict=True)
    ]
    channels = (*source[1], *labelled("channel", sizes[1] // size(source[1])))
    if math.prod(places) != sizes[2] or min(places) < 1:
        return (source[0], channels, labelled("height", sizes[2]))
    spread = (*resized(source[2], places[0], "height"), *resized(source[3], places[1], "width"))
    return (source[0], channels, spread)


def _grid(_: Node, sizes: tuple[int, ...], known: list[Axes]) -> Axes:
    """Say for each place of a map where it is read."""
    if not known[0] or len(sizes) != 4:
        return ()
    return (
        known[0][0],
        labelled("height", sizes[1]),
        labelled("width", sizes[2]),
        labelled("channel", 2),
    )


def _sampled(_: Node, sizes: tuple[int, ...], known: list[Axes]) -> Axes:
    """Read a map at other places; what was one place is one place spread out."""
    return tuple(map(resized, known[0], sizes)) if len(known[0]) == len(sizes) else ()


def _recur(_: Node, sizes: tuple[int, ...], known: list[Axes]) -> Axes:
    return (*known[0][:-1], labelled("channel", sizes[-1])) if sizes else ()


def _recurred(source: Axes) -> Axes:
    """Say of the results of a recurrent layer that their last dimension is made of features."""
    return (*source[:-1], tuple(Factor("channel", f.size) for f in source[-1])) if source else ()


def _stretch(_: Node, sizes: tuple[int, ...], known: list[Axes]) -> Axes:
    """Repeat along dimensions, those of size 1 and new ones at the front included."""
    source = known[0]
    padded: Axes = ((),) * (len(sizes) - len(source)) + source
    result: list[Dim] = []
    for dim, length in zip(padded, sizes, strict=False):
        times, rest = divmod(length, size(dim) or 1)
        repeated = labelled("batch" if times % BATCH == 0 else "copy", times) if times > 1 else ()
        result.append((*repeated, *dim) if rest == 0 else resized(dim, length))
    return tuple(result)


def _swap(node: Node, _: tuple[int, ...], known: list[Axes]) -> Axes:
    dims = list(known[0])
    named = [dimensions(node, key, len(dims)) for key in ("dim0", "dim1")]
    first, second = (n[0] if n else i for n, i in zip(named, (-2, -1), strict=True))
    if len(dims) > 1:
        dims[first], dims[second] = dims[second], dims[first]
    return tuple(dims)


def _permute(node: Node, _: tuple[int, ...], known: list[Axes]) -> Axes:
    order = dimensions(node, "dims", len(known[0])) or ()
    return tuple(known[0][i] for i in order)


def _move(node: Node, _: tuple[int, ...], known: list[Axes]) -> Axes:
    source, dims = known[0], len(known[0])
    origin = dimensions(node, "source", dims) or ()
    target = dimensions(node, "destination", dims) or ()
    rest = [dim for i, dim in enumerate(source) if i not in origin]
    for to, come in sorted(zip(target, origin, strict=False)):
        rest.insert(to, source[come])
    return tuple(rest)


def _drop(node: Node, _: tuple[int, ...], known: list[Axes]) -> Axes:
    gone = (dimensions(node, "dim", len(known[0])) or (0,))[0]
    return known[0][:gone] + known[0][gone + 1 :]


def _reduce(node: Node, sizes: tuple[int, ...], known: list[Axes]) -> Axes:
    gone = reduced(node, known[0])
    if len(sizes) == len(known[0]):
        return tuple(() if i in gone else dim for i, dim in enumerate(known[0]))
    return tuple(dim for i, dim in enumerate(known[0]) if i not in gone)


def _convolve(_: Node, sizes: tuple[int, ...], known: list[Axes]) -> Axes:
    """Make channels of the dimension after the batch; the places behind it come from its places.

    What was one place is one place spread out (a transposed convolution of 1×1), and channels that
    were dealt out as if they were places stay channels.
    """
    source = known[0]
    if len(source) != len(sizes) or len(sizes) < 3:
        return ()
    names = SPACE if len(sizes) > 3 else ("width",)
    spread = [
        resized((), length, label)
        if {f.label for f in dim} == {"unknown"}
        else resized(dim, length)
        for dim, length, label in zip(source[2:], sizes[2:], names, strict=False)
    ]
    if is_by_image(known) and sizes[1] % BATCH == 0:
        channels = (source[1][0], *labelled("channel", sizes[1] // BATCH))
    else:
        channels = labelled("batch" if holds_batch(source[1]) else "channel", sizes[1])
    return (source[0], channels, *spread)


def is_by_image(operands: Sequence[Axes]) -> bool:
    """Tell whether the groups of a convolution are the images: [1, B·C, …] with kernels for each.

    That is so when a group reads as many channels as an image has, and the kernels are dealt out
    to the images in order.
    """
    if len(operands) < 2 or len(operands[0]) < 2 or len(operands[1]) < 2:
        return False
    inputs, outputs, each = operands[0][1], operands[1][0], size(operands[1][1])
    in_order = outputs[:1] == inputs[:1] or not holds_batch(outputs)
    return inputs[:1] == (Factor("batch", BATCH),) and in_order and size(inputs) == each * BATCH


def _linear(_: Node, sizes: tuple[int, ...], known: list[Axes]) -> Axes:
    """Make channels of the last dimension; a mix along the map alone (as in mixers) stays a map."""
    source = known[0]
    if len(source) != len(sizes) or not sizes:
        return ()
    labels = {factor.label for factor in source[-1]}
    others = {factor.label for dim in source[:-1] for factor in dim}
    is_map = bool(labels) and labels <= set(SPACE) and bool(others & {"channel", "unknown"})
    label = source[-1][0].label if is_map else "batch" if "batch" in labels else "channel"
    same = is_map and size(source[-1]) == sizes[-1]
    return (*source[:-1], source[-1] if same else labelled(label, sizes[-1]))


def _multiply(_: Node, sizes: tuple[int, ...], known: list[Axes]) -> Axes:
    if len(known) < 2 or not sizes or not all(known[:2]):
        return merged(known, sizes)
    left, right = known[:2]
    if len(right) == 1:
        return left[:-1]
    if len(sizes) < 2 or len(left) < 2:
        return merged(known, sizes)
    front = merged([left[:-2], right[:-2]], sizes[:-2])
    last = labelled("channel", sizes[-1]) if rank(right[-1]) == 2 else right[-1]
    return (*front, left[-2], last)


def _distances(_: Node, sizes: tuple[int, ...], known: list[Axes]) -> Axes:
    """Pair every row of one operand with every row of the other."""
    if len(known) < 2 or not all(len(axes) == len(sizes) for axes in known[:2]):
        return ()
    return (*merged([axes[:-2] for axes in known[:2]], sizes[:-2]), known[0][-2], known[1][-2])


def _attend(_: Node, sizes: tuple[int, ...], known: list[Axes]) -> Axes:
    if len(known) < 3 or not known[0] or not known[2]:
        return ()
    return (*known[0][:-1], known[2][-1])


def _einsum(node: Node, _: tuple[int, ...], known: list[Axes]) -> Axes:
    letters = einsum_letters(node)
    if letters is None or len(letters[0]) != len(known):
        return ()
    named: dict[str, Dim] = {}
    for operand, axes in zip(letters[0], known, strict=True):
        for letter, dim in zip(operand, axes, strict=False):
            if letter not in named or rank(dim) < rank(named[letter]):
                named[letter] = dim
    return tuple(named.get(letter, ()) for letter in letters[1])


def _item(_: Node, sizes: tuple[int, ...], known: list[Axes]) -> Axes:
    """Take one of several results: a piece of the same rank, or a row of what was unbound."""
    source = known[0]
    if len(source) == len(sizes):
        return tuple(map(resized, source, sizes))
    lengths = [size(dim) for dim in source]
    for gone in range(len(source)):
        if lengths[:gone] + lengths[gone + 1 :] == list(sizes):
            return source[:gone] + source[gone + 1 :]
    return ()


_RULES: tuple[tuple[frozenset[str], Callable[[Node, tuple[int, ...], list[Axes]], Axes]], ...] = (
    (words(REREAD), _reread),
    (_REGROUPED | words(WRITE), _regroup),
    (_STRETCHED, _stretch),
    (_SWAPPED, _swap),
    (words("permute"), _permute),
    (words("movedim moveaxis"), _move),
    (words("select"), _drop),
    (REDUCTIONS, _reduce),
    (CONVOLUTIONS | _REARRANGED, _convolve),
    (words("linear"), _linear),
    (PRODUCTS, _multiply),
    (words("scaled_dot_product_attention"), _attend),
    (words("einsum"), _einsum),
    (words("cdist _cdist_forward"), _distances),
    (RECURRENT, _recur),
    (words("getitem"), _item),
    (words("cat concat concatenate"), _join),
    (words("stack"), _stack),
    (words("unfold"), _unfold),
    (words("im2col"), _columns),
    (words("affine_grid_generator"), _grid),
    (words("grid_sampler grid_sampler_2d"), _sampled),
)
