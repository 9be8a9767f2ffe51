"""Finds, in a graph, what runs on packed arrays, and turns it into calls that do.

Values of four dimensions that begin with the batch may be packed. Convolutions, norms, ReLUs,
SiLUs, dropout and 2×2 max-pooling that follow one another become chains; what works number by
number, joins channels, pools or averages maps takes packed arrays as they are; anything else gets
what it reads unpacked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from grader.plan import schema
from grader.training.calls import Call
from grader.training.lanes.arrays import packed, unpacked
from grader.training.lanes.chain import Chain, Keys
from grader.training.lanes.geometry import Convolution, fits
from grader.training.lanes.layer import Activation, Norm

_SILU = ("aten.silu.default", "aten.silu_.default")
_RELU = ("aten.relu.default", "aten.relu_.default")
_DROPOUT = ("aten.dropout.default", "aten.dropout_.default")
_POINTWISE = frozenset(
    f"aten.{name}" for name in (
        "relu.default", "relu_.default", "relu6.default", "gelu.default", "silu.default",
        "silu_.default", "mish.default", "elu.default", "elu_.default", "celu.default",
        "selu.default", "leaky_relu.default", "leaky_relu_.default", "hardtanh.default",
        "hardtanh_.default", "hardswish.default", "hardswish_.default", "hardsigmoid.default",
        "sigmoid.default", "tanh.default", "softplus.default", "add.Tensor", "add_.Tensor",
        "sub.Tensor", "sub_.Tensor", "mul.Tensor", "mul_.Tensor", "neg.default", "abs.default",
        "clamp.default", "clamp_min.default", "clone.default",
    )
)  # fmt: skip
_POOLING = (
    "aten.max_pool2d.default", "aten.avg_pool2d.default", "aten.adaptive_avg_pool2d.default",
)  # fmt: skip
# A value that one of these makes is its own, not a view of another.
_FRESH = ("conv", "linear", "addmm", "batch_norm", "add", "sub", "mul", "cat", "relu", "dropout")
_RANKS = {"rectified": 0, "norm": 1, "relu": 2, "silu": 2, "dropout": 3, "pool": 4}


def pack(
    calls: list[Call], inputs: list[str], output: str, state: Mapping[str, torch.Tensor], keys: Keys
) -> list[Call]:
    """Return the calls of a graph with chains in the place of what they do.

    As they were, where a value might be written over that others see, or nothing is gained.
    `output` names the value the graph returns; `state` has the model's tensors.
    """
    packer = _Packer([call.node for call in calls], inputs, output, state, keys)
    if not packer.is_safe():
        return calls
    found = [new for call in calls if (new := packer.replaced(call))]
    return calls if output in packer.inside or not packer.inside else found


class _Packer:
    """Goes through a graph's nodes in their order; `inside` are the values that are packed."""

    def __init__(
        self,
        nodes: list[schema.Node],
        inputs: list[str],
        output: str,
        state: Mapping[str, torch.Tensor],
        keys: Keys,
    ) -> None:
        self._state, self._keys = state, keys
        self._writers = {node.name: node for node in nodes}
        readings = [
            (name, node) for node in nodes
            for name in Call(len, node.args, node.kwargs, node).references()
        ]  # fmt: skip
        self._counts = Counter([output, *(name for name, _ in readings)])
        self._readers = dict(readings)
        self._maps = {node.name for node in nodes if _is_map(node)} | set(inputs)
        self._done: set[str] = set()
        self.inside: set[str] = set()

    def is_safe(self) -> bool:
        """Tell whether nothing is written over that another node reads, or sees by a view."""
        return all(map(self._writes_safely, self._writers.values()))

    def _writes_safely(self, node: schema.Node) -> bool:
        name = node.op.split(".")[1]
        target = node.args[0] if node.args else None
        if not name.endswith("_") or name.endswith("__") or not isinstance(target, schema.Ref):
            return True
        writer = self._writers.get(target.ref)
        if writer is None:  # a tensor of the model, or an input
            return target.ref in self._state
        return self._counts[target.ref] == 1 and writer.op.split(".")[1].startswith(_FRESH)

    def replaced(self, call: Call) -> Call | None:
        """Return what takes a call's place; nothing if it is done already."""
        node = call.node
        if node.name in self._done:
            return None
        if chain := self._chain(node):
            return chain
        if not any(name in self.inside for name in call.references()):
            return call
        function, stays = self._function(call)
        if stays:
            self.inside.add(node.name)
        return Call(function, call.args, call.kwargs, node)

    def _function(self, call: Call) -> tuple[Callable[..., Any], bool]:
        """Return what works on packed values, and whether its result is one."""
        node = call.node
        by_number = node.op in _POINTWISE and "memory_format" not in call.kwargs
        if by_number and self._maps.issuperset({node.name, *call.references()}):
            return _pointwise(call.function), True
        joins = node.op == "aten.cat.default" and node.args[1:] == [1] and not node.kwargs
        if joins and self._maps.issuperset(call.references()):
            return _joined, True
        if p := _share_of_channels(node):
            return _channels_dropped(p), True
        if _averages_whole_map(node):
            return _Average(keep=len(node.shape or []) == 4), False
        if node.op in _POOLING and node.name in self._maps:
            return _pooled(call.function), True
        return _plainly(call.function), False

    def _chain(self, node: schema.Node) -> Call | None:
        """Return the chain that begins with a node, if it does something for a packed value."""
        source = node.args[0] if node.args else None
        if not isinstance(source, schema.Ref) or source.ref not in self._maps:
            return None
        found = _Links(self._state)
        following: schema.Node | None = node
        while following is not None and found.take(following, self._next(following)):
            following = self._next(following)
        if not found.nodes or not (found.convolutions or source.ref in self.inside):
            return None
        self._done.update(node.name for node in found.nodes)
        self.inside.add(found.nodes[-1].name)
        chain = Chain(tuple(found.activations()), tuple(found.convolutions), self._keys)
        return Call(_chained(chain), [source, *found.tensors()], {}, found.nodes[-1])

    def _next(self, node: schema.Node) -> schema.Node | None:
        """Return the only reader of a node's result, where that is a map it reads first."""
        if self._counts[node.name] != 1 or node.name not in self._readers:
            return None
        reader = self._readers[node.name]
        return reader if reader.args[:1] == [schema.Ref(node.name)] else None


class _Links:
    """A chain as it grows, node by node."""

    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        self.nodes: list[schema.Node] = []
        self.convolutions: list[Convolution] = []
        self._state = state
        self._parts: list[dict[str, Any]] = [{}]  # of the activations, by the names of `_RANKS`
        self._norms: list[list[schema.Value]] = [[]]
        self._kernels: list[list[schema.Value]] = []

    def take(self, node: schema.Node, following: schema.Node | None) -> bool:
        """Add a node if it fits; `following` is the one that alone reads it."""
        if not _is_map(node):
            return False
        taken = self._take_convolution(node) or self._take_part(node, following)
        if taken:
            self.nodes.append(node)
        return taken

    def _take_convolution(self, node: schema.Node) -> bool:
        kernel = node.args[1] if len(node.args) > 1 else None
        tensor = self._state.get(kernel.ref) if isinstance(kernel, schema.Ref) else None
        if tensor is None or tensor.dtype != torch.float32 or tensor.dim() != 4:
            return False
        found = _convolution(node, tuple(tensor.shape))
        if found is None or not fits(found, tuple(tensor.shape)) or not self._has(node.args[2:3]):
            return False
        self.convolutions.append(found)
        self._kernels.append([kernel, node.args[2] if len(node.args) > 2 else None])
        self._parts.append({})
        self._norms.append([])
        return True

    def _take_part(self, node: schema.Node, following: schema.Node | None) -> bool:
        part = _part(node, following)
        if part is None:
            return False
        name, value = part
        if name == "norm" and not self._has(node.args[1:5]):
            return False
        if _RANKS[name] <= max(map(_RANKS.__getitem__, self._parts[-1]), default=-1):
            return False
        self._parts[-1][name] = value
        if name == "norm":
            self._norms[-1] = list(node.args[1:5])
        return True

    def _has(self, tensors: list[schema.Value]) -> bool:
        """Tell whether they are the model's, or missing.

        A chain runs where its first node stood: what a node between makes is not there yet.
        """
        return all(
            t is None or (isinstance(t, schema.Ref) and t.ref in self._state) for t in tensors
        )

    def activations(self) -> list[Activation]:
        """Return what stands between the convolutions."""
        return [
            Activation(
                "rectified" in parts, parts.get("norm"), "relu" in parts, "silu" in parts,
                parts.get("dropout", 0.0), "pool" in parts,
            )
            for parts in self._parts
        ]  # fmt: skip

    def tensors(self) -> list[schema.Value]:
        """Return what the chain is called with behind its input."""
        kernels = [*self._kernels, []]
        return [t for pair in zip(self._norms, kernels, strict=True) for part in pair for t in part]


@dataclass(frozen=True)
class _Packed:
    """A packed value on its way through a graph, and how many images are in it."""

    data: torch.Tensor
    images: int


def _chained(chain: Chain) -> Callable[..., _Packed]:
    def run(x: torch.Tensor | _Packed, *tensors: torch.Tensor | None) -> _Packed:
        value = _inside(x)
        return _Packed(chain(value.data, value.images, *tensors), value.images)

    return run


def _inside(x: torch.Tensor | _Packed) -> _Packed:
    return x if isinstance(x, _Packed) else _Packed(packed(x), len(x))


def _plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    def plain(value: Any) -> Any:  # noqa: ANN401 - whatever operations take
        if isinstance(value, _Packed):
            return unpacked(value.data, value.images)
        return [plain(item) for item in value] if isinstance(value, list) else value

    def run(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return function(*map(plain, args), **{key: plain(value) for key, value in kwargs.items()})

    return run


def _pointwise(function: Callable[..., torch.Tensor]) -> Callable[..., _Packed]:
    def run(*args: Any, **kwargs: Any) -> _Packed:  # noqa: ANN401
        values = [_inside(a) if isinstance(a, torch.Tensor | _Packed) else a for a in args]
        images = next(value.images for value in values if isinstance(value, _Packed))
        data = [value.data if isinstance(value, _Packed) else value for value in values]
        return _Packed(function(*data, **kwargs), images)

    return run


def _joined(values: list[torch.Tensor | _Packed], _: int) -> _Packed:
    inside = [_inside(value) for value in values]
    return _Packed(torch.cat([value.data for value in inside], 1), inside[0].images)


def _pooled(function: Callable[..., torch.Tensor]) -> Callable[..., _Packed]:
    """Let a pooling see the lanes as channels that come last."""

    def run(value: _Packed, *args: Any, **kwargs: Any) -> _Packed:  # noqa: ANN401
        packs = len(value.data)
        seen = value.data.flatten(0, 1).permute(0, 3, 1, 2)
        result = function(seen, *args, **kwargs).permute(0, 2, 3, 1)
        return _Packed(result.unflatten(0, (packs, -1)), value.images)

    return run


def _channels_dropped(p: float) -> Callable[..., _Packed]:
    """Drop whole maps of an image, each with probability p."""

    def run(value: _Packed, *_: object) -> _Packed:
        packs, channels, _height, _width, lanes = value.data.shape
        kept = torch.empty(packs, channels, 1, 1, lanes).bernoulli_(1 - p)
        return _Packed(value.data * kept.div_(1 - p), value.images)

    return run


@dataclass(frozen=True)
class _Average:
    """The mean of whole maps, as a plain tensor [B, C], or with `keep` [B, C, 1, 1]."""

    keep: bool

    def __call__(self, value: _Packed, *_: object, **__: object) -> torch.Tensor:
        means = value.data.mean((2, 3)).permute(0, 2, 1).flatten(0, 1)[: value.images]
        return means[:, :, None, None] if self.keep else means


def _is_map(node: schema.Node) -> bool:
    """Tell whether a node's result is a batch of maps that may be packed."""
    match node.shape:
        case ["B", int(), int(), int()]:
            return node.dtype == "torch.float32"
    return False


def _share_of_channels(node: schema.Node) -> float:
    """Return the probability of a dropout of whole channels, and 0 for what is none."""
    match node.op, node.args:
        case "aten.feature_dropout.default", [_, float() as p, True] if p < 1:
            return p
    return 0.0


def _averages_whole_map(node: schema.Node) -> bool:
    match node.op, node.args:
        case "aten.mean.dim", [_, [2, 3] | [3, 2] | [-2, -1] | [-1, -2], *rest]:
            return rest in ([], [True], [False]) and not node.kwargs
        case "aten.adaptive_avg_pool2d.default", [_, [1, 1]]:
            return True
    return False


def _part(node: schema.Node, following: schema.Node | None) -> tuple[str, Any] | None:
    """Name the part of an activation that a node is, with its value."""
    match node.args:
        case [_] if node.op in _RELU:
            stands_before = following is not None and _norm(following) is not None
            return ("rectified" if stands_before else "relu"), True
        case [_] if node.op in _SILU:
            return "silu", True
        case [_, float() | int() as p, bool() as drops] if node.op in _DROPOUT and 0 <= p < 1:
            return "dropout", float(p) if drops else 0.0
        case [_, [2, 2]] | [_, [2, 2], [2, 2] | []]:
            pools = node.op == "aten.max_pool2d.default" and not node.kwargs
            return ("pool", True) if pools else None
    found = _norm(node)
    return None if found is None else ("norm", found)


def _norm(node: schema.Node) -> Norm | None:
    """Match batch_norm(x, weight, bias, mean, variance, by batch, momentum, eps, cudnn)."""
    match node.args:
        case [_, _, _, mean, variance, bool() as batch, float() | int() as momentum,
              float() | int() as eps, _] if node.op == "aten.batch_norm.default":  # fmt: skip
            both = (mean is None) == (variance is None)
            return Norm(float(momentum), float(eps), batch) if both else None
    return None


def _convolution(node: schema.Node, kernel: tuple[int, ...]) -> Convolution | None:
    """Match conv2d(x, kernel[, bias[, stride[, padding[, dilation[, groups]]]]])."""
    known = node.op in ("aten.conv2d.default", "aten.conv2d.padding") and len(node.args) <= 7
    if not known or node.kwargs:
        return None
    defaults: list[schema.Value] = [None, [1, 1], [0, 0], [1, 1], 1]
    _, stride, padding, dilation, groups = [*node.args[2:], *defaults[len(node.args) - 2 :]]
    steps, apart = _pair(stride), _pair(dilation)
    if steps is None or apart is None or not isinstance(groups, int):
        return None
    around = _pair(padding)
    if isinstance(padding, str):
        reach = [a * (k - 1) for a, k in zip(apart, kernel[2:], strict=True)]
        whole = padding == "valid" or all(r % 2 == 0 for r in reach)
        half = 2 if padding == "same" else 2**31
        around = (reach[0] // half, reach[1] // half) if whole else None
    return None if around is None else Convolution(steps, around, apart, groups)


def _pair(value: schema.Value) -> tuple[int, int] | None:
    match value:
        case [int() as both]:
            return both, both
        case [int() as down, int() as across]:
            return down, across
    return None
