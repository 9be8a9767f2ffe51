"""Arguments of a node by the names ATen gives them, whatever a hostile Plan put there.

Source of the names and defaults: PyTorch's `native_functions.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from grader.plan.schema import Node, Ref, Value

_SIGNATURES = {
    "conv1d conv2d conv3d": "input weight bias stride padding dilation groups",
    "conv_transpose1d conv_transpose2d conv_transpose3d":
        "input weight bias stride padding output_padding groups dilation",
    "batch_norm": "input weight bias running_mean running_var training momentum eps",
    "instance_norm": "input weight bias running_mean running_var use_input_stats momentum eps",
    "dropout feature_dropout alpha_dropout feature_alpha_dropout native_dropout": "input p train",
    "max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices "
    "max_pool3d_with_indices": "self kernel_size stride padding dilation ceil_mode",
    "avg_pool1d avg_pool2d avg_pool3d": "self kernel_size stride padding ceil_mode",
    "mean nanmean sum nansum amax max": "self dim keepdim",
    "scaled_dot_product_attention": "query key value attn_mask dropout_p",
    "lstm": "input hx params has_biases num_layers dropout train bidirectional batch_first",
    "gru rnn_tanh rnn_relu":
        "input hx params has_biases num_layers dropout train bidirectional batch_first",
    "rrelu": "self lower upper training",
    "getitem": "self index",
}  # fmt: skip

_NAMES = {op: names.split() for ops, names in _SIGNATURES.items() for op in ops.split()}


_ELEMENTWISE = {"max": "maximum", "min": "minimum"}  # `max(a, b)` is no reduction


def words(text: str) -> frozenset[str]:
    """Return the words of a text: how tables of operations are written here."""
    return frozenset(text.split())


DROPOUTS = words("dropout feature_dropout alpha_dropout feature_alpha_dropout native_dropout")


def name_of(node: Node) -> str:
    """Return `conv2d` for `aten.conv2d.default`, `getitem` or `operator.add` for Python's own."""
    library, _, rest = node.op.partition(".")
    if library == "aten" or rest == "getitem":
        name, _, overload = rest.partition(".")
        return _ELEMENTWISE.get(name, name) if overload == "other" else name
    return node.op


def argument(node: Node, name: str, default: Value = None) -> Value:
    """Return an argument by its ATen name, whether it was given by position or by keyword."""
    if name in node.kwargs:
        return node.kwargs[name]
    names = _names(node)
    position = names.index(name) if name in names else len(node.args)
    return node.args[position] if position < len(node.args) else default


def with_argument(node: Node, name: str, value: Value) -> Node:
    """Return the node with one argument replaced, where it is given."""
    if name in node.kwargs:
        return msgspec.structs.replace(node, kwargs={**node.kwargs, name: value})
    names = _names(node)
    position = names.index(name) if name in names else len(node.args)
    if position >= len(node.args):
        return node
    arguments = [*node.args[:position], value, *node.args[position + 1 :]]
    return msgspec.structs.replace(node, args=arguments)


def _names(node: Node) -> list[str]:
    """Return the names of a node's arguments, which are the same where it works in place."""
    name = name_of(node)
    return _NAMES.get(name) or _NAMES.get(name.removesuffix("_"), [])


def number(node: Node, name: str, default: float) -> float:
    """Return a number, or the default where the argument is none."""
    value = argument(node, name)
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else default


def is_in_place(node: Node) -> bool:
    """Tell whether a node changes its first argument."""
    name = name_of(node)
    return (name.endswith("_") and not name.endswith("__")) or name.startswith("__i")


def flag(node: Node, name: str, default: bool = False) -> bool:
    """Return a truth value, or the default where the argument is none."""
    value = argument(node, name)
    return value if isinstance(value, bool) else default


def integers(node: Node, name: str, count: int, default: int) -> tuple[int, ...]:
    """Return `count` whole numbers: 3 stands for (3, 3), and the default for what is no number."""
    value = argument(node, name)
    values = value if isinstance(value, list) else [value]
    found = [v if type(v) is int and abs(v) < 10**9 else default for v in values] or [default]
    return tuple(found if len(found) == count else found[:1] * count)


def dimensions(node: Node, name: str, rank: int) -> tuple[int, ...] | None:
    """Return dimensions counted from the front; None where the argument names none."""
    value = argument(node, name)
    values = value if isinstance(value, list) else [value]
    found = [v for v in values if type(v) is int and -rank <= v < rank]
    return tuple(v % rank for v in found) or None


def reference(node: Node, name: str) -> str | None:
    """Return the name an argument refers to, if it is a reference."""
    value = argument(node, name)
    return value.ref if isinstance(value, Ref) else None


def references(value: object) -> Iterator[str]:
    """Yield every name referred to in a value, in order."""
    if isinstance(value, Ref):
        yield value.ref
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def reads(node: Node) -> list[str]:
    """Return every name a node refers to, in order."""
    return [*references(node.args), *references(list(node.kwargs.values()))]


def first_read(node: Node) -> str | None:
    """Return the name of the node's first argument that refers to something."""
    return next(references([node.args, [*node.kwargs.values()]]), None)
