"""Convolutions and what stands between them, one after another, as one step of autograd."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from grader.training.lanes import kernels
from grader.training.lanes.blocks import FOLD, TAPS, parts
from grader.training.lanes.vectors import LANES
from grader.training.team import team

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

PIECES = 2  # of a batch at least: one thread and two add up alike
_CACHE_BYTES = 1 << 15  # what rows of a gradient may take while they meet every input
_WALK = 32  # multiply-adds that take as long as it takes to read a number and write one
_ALONE = 1 << 25  # multiply-adds, a quarter of a millisecond, that are not worth waking a thread
_OFF_CENTRE = 1e3  # mean² / variance from which float32 sums of squares lose too much
_FLOAT = torch.float32
_NOTHING = np.zeros(0, np.float32)
_NO_SUMS = np.zeros((0, 2))
_Result = TypeVar("_Result")
_local = threading.local()


class Keys:
    """A number for every layer and step: dropout's random words are made from it."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(np.random.SFC64(seed))

    def next(self) -> int:
        """Return a number of 63 bits."""
        return int(self._generator.integers(2**63 - 1))


@dataclass(frozen=True)
class Norm:
    """A batch norm; with `batch` it takes the batch's statistics, and notes them."""

    momentum: float
    eps: float
    batch: bool


@dataclass(frozen=True)
class Activation:
    """What stands behind a convolution: each part may be missing, the order is fixed."""

    rectified: bool = False  # a ReLU before the norm
    norm: Norm | None = None
    relu: bool = False
    p: float = 0.0  # of dropout
    pooled: bool = False  # max-pooling of 2×2

    @property
    def is_identity(self) -> bool:
        """Whether it does nothing."""
        return self == Activation()


@dataclass(frozen=True)
class Convolution:
    """A 2-d convolution; pairs are (down, across)."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def geometry(self, kernel: tuple[int, ...], size: tuple[int, int]) -> kernels.Geometry:
        """Return what the compiled code needs to know of the way there.

        `kernel` is [outputs, inputs of a group, height, width], `size` that of a map.
        """
        return _geometry(self, kernel, size)

    def way_back(
        self, kernel: tuple[int, ...], size: tuple[int, int]
    ) -> tuple[kernels.WayBack, list[tuple[list[int], list[int]]]]:
        """Return what it needs to know of the way back, and the kernel's elements of each phase."""
        return _way_back(self, kernel, size)


@lru_cache(maxsize=1024)
def _geometry(
    conv: Convolution, kernel: tuple[int, ...], size: tuple[int, int]
) -> kernels.Geometry:
    outputs, inputs, high, wide = kernel
    each = outputs // conv.groups
    padded = _each(lambda s, p: s + 2 * p, size, conv.padding)
    out = _each(
        lambda whole, reach, step: (whole - reach - 1) // step + 1,
        padded, _reach(conv, kernel), conv.stride,
    )  # fmt: skip
    neighbours = [min(4, inputs - i) for i in range(0, inputs, 4)] if high * wide == 1 else []
    output_parts = parts(each, neighbours or [wide])
    row = output_parts[0] * out[1] * 4 * LANES
    return kernels.Geometry(
        conv.groups, inputs, each, high, wide, *conv.stride, *conv.dilation, *conv.padding, *out,
        *padded, _ints(neighbours), _ints(output_parts), max(1, _CACHE_BYTES // row),
    )  # fmt: skip


@dataclass(frozen=True)
class _Phase:
    """Along one side: the inputs first, first + stride, …, and what reaches them.

    Those are the kernel's `elements`, in the order in which the outputs they belong to lie; the
    first of these outputs is `begin`, the next ones are `apart`.
    """

    first: int
    count: int
    elements: list[int]
    apart: int
    begin: int

    @property
    def end(self) -> int:
        """One more than the last output that is read."""
        return self.begin + (len(self.elements) - 1) * self.apart + self.count


def _phases(size: int, kernel: int, stride: int, padding: int, dilation: int) -> list[_Phase]:
    """Return the phases that anything reaches."""
    found = []
    for first in range(min(stride, size)):
        elements = [k for k in range(kernel) if (first + padding - k * dilation) % stride == 0]
        elements.reverse()
        if elements:
            step = elements[0] - elements[1] if len(elements) > 1 else 0
            begin = (first + padding - elements[0] * dilation) // stride
            count = -(-(size - first) // stride)
            found.append(_Phase(first, count, elements, step * dilation // stride, begin))
    return found


@lru_cache(maxsize=1024)
def _way_back(
    conv: Convolution, kernel: tuple[int, ...], size: tuple[int, int]
) -> tuple[kernels.WayBack, list[tuple[list[int], list[int]]]]:
    sides = zip(size, kernel[2:], conv.stride, conv.padding, conv.dilation, strict=True)
    down, across = (_phases(*side) for side in sides)
    out = conv.geometry(kernel, size)
    before = _each(lambda phases: max(0, *(-phase.begin for phase in phases)), (down, across))
    whole = _each(
        lambda margin, side, phases: margin + max(side, *(phase.end for phase in phases)),
        before, (out.height, out.width), (down, across),
    )  # fmt: skip
    rows, elements, at = [], [], 0
    for y, x in itertools.product(down, across):
        high, wide = len(y.elements), len(x.elements)
        rows.append(
            [high, wide, y.apart, x.apart, y.begin + before[0], x.begin + before[1], y.count,
             x.count, y.first, x.first, at]
        )  # fmt: skip
        elements.append((y.elements, x.elements))
        at += kernel[0] * kernel[1] * high * wide
    return kernels.WayBack(*before, *size, *whole, np.array(rows, np.int64)), elements


def _reach(conv: Convolution, kernel: tuple[int, ...]) -> tuple[int, int]:
    """Return how far the last element of a kernel lies from its first, down and across."""
    return _each(lambda apart, k: apart * (k - 1), conv.dilation, (kernel[2], kernel[3]))


def _each(work: Callable[..., int], *pairs: tuple[Any, Any]) -> tuple[int, int]:
    """Work something out down and across."""
    down, across = zip(*pairs, strict=True)
    return work(*down), work(*across)


def _ints(values: Sequence[int]) -> kernels.Integers:
    return np.array(values, np.int64)


def fits(conv: Convolution, kernel: tuple[int, ...]) -> bool:
    """Tell whether the compiled code covers a convolution with such a kernel."""
    reach = _reach(conv, kernel)
    within = all(0 <= p <= r for p, r in zip(conv.padding, reach, strict=True))
    return within and kernel[3] <= TAPS and math.prod(kernel) <= 1 << 17


@dataclass
class _Layer:
    """A layer at work: an array z and what its activation makes of it.

    `factors` are low, scale and shift of every channel, see `kernels`; `inverse` and `centre`
    what the norm divides by and takes away.
    """

    z: torch.Tensor
    activation: Activation
    images: int
    key: int
    tensors: Sequence[torch.Tensor | None]
    factors: Floats = field(init=False)
    compiled: tuple[Any, ...] = field(init=False)
    inverse: Doubles = field(init=False)
    centre: Doubles = field(init=False)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the activation."""
        height, width = self.z.shape[2:4]
        return (height // 2, width // 2) if self.activation.pooled else (height, width)

    @property
    def gain(self) -> float:
        """What dropout multiplies by."""
        return 1 / (1 - self.activation.p)

    @property
    def low(self) -> Floats:
        """The bound of the first ReLU, for every channel."""
        return _low(self.activation, self.z.shape[1])

    def _for_kernels(self) -> tuple[Any, ...]:
        """Return the activation as compiled code takes it, see `kernels`."""
        act = self.activation
        floor = np.float32(0 if act.relu else -math.inf)
        least = min(round(act.p * 2**32), 2**32 - 1)
        return (
            self.z.data_ptr(), *self.z.shape[1:4], self.factors, floor, self.key, least, act.pooled,
        )  # fmt: skip

    def prepare(self, sums: Doubles | None) -> None:
        """Work the factors out; `sums` are a norm's [C, 2], where they are known already."""
        channels = self.z.shape[1]
        _require(min(self.size) > 0, f"maps of {list(self.z.shape[2:4])} are too small to pool")
        for tensor in self.tensors:
            fits = tensor is None or (list(tensor.shape), tensor.dtype) == ([channels], _FLOAT)
            _require(fits, f"a norm of {channels} channels needs {channels} numbers of each kind")
        low, scale, shift = self.low, np.full(channels, self.gain), np.zeros(channels)
        if self.activation.norm:
            weight, bias = (_doubles(self.tensors[i], channels, 1 - i) for i in (0, 1))
            low = self._statistics(self.activation.norm, sums, low)
            scale = weight * self.inverse * self.gain
            shift = bias * self.gain - self.centre * scale
        self.factors = np.stack([low, scale, shift]).astype(np.float32)
        self.compiled = self._for_kernels()

    def _statistics(self, norm: Norm, sums: Doubles | None, low: Floats) -> Floats:
        mean, variance = self.tensors[2:4]
        if not norm.batch:
            assert mean is not None
            assert variance is not None
            self.centre = mean.numpy().astype(np.float64)
            self.inverse = 1 / np.sqrt(variance.numpy().astype(np.float64) + norm.eps)
            return low
        count = self.images * math.prod(self.z.shape[2:4])
        found, square = (self._sums(low) if sums is None else sums).T / count
        spread, off = square - found * found, np.zeros_like(found)
        if (found * found > _OFF_CENTRE * spread).any():
            # Sums of squares lost their digits: begin again with the mean taken off.
            off = found.astype(np.float32)
            self.z, low = self.z - torch.from_numpy(off)[:, None, None, None], low - off
            found, square = self._sums(low).T / count
            spread = square - found * found
        spread = spread.clip(0)  # NaN stays
        self.centre, self.inverse = found, 1 / np.sqrt(spread + norm.eps)
        if mean is not None and variance is not None:
            _follow(mean, off + found, norm.momentum)
            _follow(variance, spread * (count / (count - 1)), norm.momentum)
        return low

    def _sums(self, low: Floats) -> Doubles:
        channels, height, width, _ = self.z.shape[1:]

        def work(_: int, first: int, last: int) -> Doubles:
            sums = np.zeros((channels, 2))
            kernels.add_moments(
                first, last, self.images, self.z.data_ptr(), channels, height * width, low, sums
            )
            return sums

        return _added(_for_pieces(self.z, work))

    def emitted(self) -> torch.Tensor:
        """Return the activation as an array."""
        if self.activation.is_identity:
            return self.z
        out = self.z.new_empty(len(self.z), self.z.shape[1], *self.size, LANES)

        def work(_: int, first: int, last: int) -> None:
            kernels.emit(first, last, self.compiled, out.data_ptr())

        _for_pieces(self.z, work)
        return out

    def way_back(self, sums: Doubles) -> tuple[Floats, list[torch.Tensor | None]]:
        """Return the factors of the way back, and the gradients of the norm's weight and bias.

        `sums` [C, 2] are what `kernels.add_gradient_moments` found.
        """
        norm = self.activation.norm
        by_gradient = np.full(self.z.shape[1], self.gain)
        nothing = np.zeros_like(by_gradient)
        if norm is None:
            return np.stack([by_gradient, nothing, nothing]).astype(np.float32), []
        direct, product = sums.T * self.gain
        to_weight = self.inverse * (product - self.centre * direct)
        weight = _doubles(self.tensors[0], len(direct), 1) * self.inverse
        by_z, constant = nothing, nothing
        if norm.batch:
            count = self.images * math.prod(self.z.shape[2:4])
            by_z = -weight * self.inverse * to_weight / count
            constant = -weight * direct / count - by_z * self.centre
        factors = np.stack([weight * self.gain, by_z, constant]).astype(np.float32)
        return factors, [_tensor(to_weight), _tensor(direct), None, None]

    def gradient_sums(self, gradient: torch.Tensor) -> Doubles:
        """Return the `sums` for `way_back` of the gradient of the activation."""
        if not self.activation.norm:
            return _NO_SUMS

        def work(_: int, first: int, last: int) -> Doubles:
            sums = np.zeros((self.z.shape[1], 2))
            kernels.add_gradient_moments(first, last, self.compiled, gradient.data_ptr(), sums)
            return sums

        return _added(_for_pieces(self.z, work))

    def gone_back(self, gradient: torch.Tensor, factors: Floats) -> torch.Tensor:
        """Return the gradient of z for that of the activation."""
        if self.activation.is_identity:
            return gradient
        out = torch.empty_like(self.z)

        def work(_: int, first: int, last: int) -> None:
            kernels.go_back(
                first, last, self.images, self.compiled, gradient.data_ptr(), factors,
                out.data_ptr(), np.zeros(self.z.shape[1]),
            )  # fmt: skip

        _for_pieces(self.z, work)
        return out


def _require(holds: bool, otherwise: str) -> None:
    """Refuse what the compiled code, which checks nothing, could not do; raises ValueError."""
    if not holds:
        raise ValueError(otherwise)


def _low(activation: Activation, channels: int) -> Floats:
    return np.full(channels, 0 if activation.rectified else -math.inf, np.float32)


@dataclass(frozen=True)
class Chain:
    """Activations with a convolution between each two: one more activation than convolutions.

    Call it with a packed array, how many images are in it, and the tensors in their order: a
    norm's weight, bias, mean and variance, and a convolution's kernel and bias.
    """

    activations: tuple[Activation, ...]
    convolutions: tuple[Convolution, ...]
    keys: Keys

    def __call__(self, x: torch.Tensor, images: int, *tensors: torch.Tensor | None) -> torch.Tensor:
        """Return the last activation as a packed array."""
        return _Function.apply(self, images, x, *tensors)  # type: ignore[no-any-return]

    def split(self, tensors: Sequence[_Result]) -> tuple[list[list[_Result]], list[list[_Result]]]:
        """Share tensors out to the activations and the convolutions."""
        rest, norms, convolutions = list(tensors), [], []
        for index, activation in enumerate(self.activations):
            count = 4 if activation.norm else 0
            norms.append(rest[:count])
            if index < len(self.convolutions):
                convolutions.append(rest[count : count + 2])
            rest = rest[count + 2 :]
        return norms, convolutions


class _Function(torch.autograd.Function):
    """Forward and backward of a `Chain`."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - PyTorch gives it no public type
        chain: Chain,
        images: int,
        x: torch.Tensor,
        *tensors: torch.Tensor | None,
    ) -> torch.Tensor:
        norms, convolutions = chain.split([t if t is None else t.detach() for t in tensors])
        z, sums, layers = x.detach().contiguous(), None, []
        for index, activation in enumerate(chain.activations):
            key = chain.keys.next() if activation.p else 0
            layer = _Layer(z, activation, images, key, norms[index])
            layer.prepare(sums)
            layers.append(layer)
            if index < len(chain.convolutions):
                following = chain.activations[index + 1]
                z, sums = _convolve(
                    layer, chain.convolutions[index], convolutions[index], following
                )
        ctx.chain, ctx.layers, ctx.kernels = chain, layers, convolutions
        return layers[-1].emitted()

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        gradient: torch.Tensor,
    ) -> tuple[Any, ...]:
        layers, chain = ctx.layers, ctx.chain
        gradient = gradient.contiguous()
        sums = layers[-1].gradient_sums(gradient)
        found: list[torch.Tensor | None] = []
        for index in reversed(range(len(chain.convolutions))):
            after, before = layers[index + 1], layers[index]
            factors, of_norm = after.way_back(sums)
            wanted = index > 0 or ctx.needs_input_grad[2] or before.activation.norm is not None
            gradient, sums, of_kernel = _convolve_back(
                before, after, chain.convolutions[index], ctx.kernels[index], gradient, factors,
                wanted=wanted,
            )  # fmt: skip
            found = [*of_kernel, *of_norm, *found]
        factors, of_norm = layers[0].way_back(sums)
        to_x = layers[0].gone_back(gradient, factors) if ctx.needs_input_grad[2] else None
        return (None, None, to_x, *of_norm, *found)


def _convolve(
    layer: _Layer, conv: Convolution, tensors: list[torch.Tensor | None], following: Activation
) -> tuple[torch.Tensor, Doubles | None]:
    """Return the convolution of a layer's activation, and the sums that the next norm needs."""
    kernel, bias = tensors
    assert kernel is not None
    outputs, inputs, high, wide = kernel.shape
    whole = layer.z.shape[1] == inputs * conv.groups and outputs % conv.groups == 0
    _require(whole, f"{layer.z.shape[1]} channels do not fit a kernel of {list(kernel.shape)}")
    fits = bias is None or (list(bias.shape), bias.dtype) == ([outputs], _FLOAT)
    _require(fits, f"{outputs} channels need as many biases")
    geometry = conv.geometry(tuple(kernel.shape), layer.size)
    _require(
        min(geometry.height, geometry.width) > 0,
        f"a kernel of {high}×{wide} does not fit maps of {list(layer.size)}",
    )
    groups, height, width = geometry.groups, geometry.height, geometry.width
    weights = kernel.reshape(groups, -1, inputs, high, wide).permute(0, 2, 3, 4, 1).contiguous()
    out = layer.z.new_empty(len(layer.z), outputs, height, width, LANES)
    normed = following.norm is not None and following.norm.batch
    low = _low(following, outputs) if normed else _NOTHING
    more = _NOTHING if bias is None else bias.numpy()

    def work(_: int, first: int, last: int) -> Doubles:
        scratch = _margin(inputs * groups, geometry.rows, geometry.columns, geometry[:15])
        sums = np.zeros((outputs, 2))
        kernels.convolve(
            first, last, layer.images, layer.compiled, geometry, scratch,
            weights.data_ptr(), more, out.data_ptr(), low, sums,
        )  # fmt: skip
        return sums

    sums = _added(_for_pieces(out, work, inputs * high * wide))
    return out, sums if normed else None


def _convolve_back(
    before: _Layer, after: _Layer, conv: Convolution, tensors: list[torch.Tensor | None],
    gradient: torch.Tensor, factors: Floats, *, wanted: bool,
) -> tuple[torch.Tensor, Doubles, list[torch.Tensor | None]]:  # fmt: skip
    """Go back through an activation and the convolution before it.

    Returns the gradient of the activation before that (as it was, unless `wanted`), the sums that
    its way back needs, and the gradients of kernel and bias.
    """
    kernel, bias = tensors
    assert kernel is not None
    there = conv.geometry(tuple(kernel.shape), before.size)
    back, phases = conv.way_back(tuple(kernel.shape), before.size)
    outputs, inputs = kernel.shape[:2]
    groups = there.groups
    of_groups = kernel.reshape(groups, -1, inputs, *kernel.shape[2:]).permute(0, 1, 3, 4, 2)
    weights = torch.cat([of_groups[:, :, high][:, :, :, wide].flatten() for high, wide in phases])
    z = before.z
    filled = torch.empty if conv.stride == (1, 1) else torch.zeros
    result = filled(len(z), inputs * groups, *before.size, LANES) if wanted else gradient
    summed = wanted and before.activation.norm is not None

    def work(_: int, first: int, last: int) -> tuple[torch.Tensor, Doubles, Doubles]:
        scratch = _margin(inputs * groups, there.rows, there.columns, there[:15])
        scratch_back = _margin(outputs, back.rows, back.columns, (*there[:15], -1))
        to_kernel = z.new_zeros(*kernel.shape, FOLD)
        sums = np.zeros((inputs * groups, 2)) if summed else _NO_SUMS
        of_bias = np.zeros(outputs)
        kernels.convolve_back(
            first, last, before.images, before.compiled, after.compiled, gradient.data_ptr(),
            factors, there, back, scratch, scratch_back, weights.data_ptr(),
            to_kernel.data_ptr(), result.data_ptr() if wanted else 0, sums, of_bias,
        )  # fmt: skip
        return to_kernel.sum(-1), sums, of_bias

    to_kernel, sums, to_bias = zip(
        *_for_pieces(after.z, work, 2 * math.prod(kernel.shape[1:])), strict=True
    )
    of_kernel = torch.stack(to_kernel).sum(0)
    of_bias = None if bias is None else _tensor(np.sum(to_bias, 0))
    return result, _added(sums), [of_kernel, of_bias]


def _for_pieces(
    array: torch.Tensor, work: Callable[[int, int, int], _Result], products: int = 0
) -> list[_Result]:
    """Do `work(number, first pack, last pack + 1)` for pieces of a batch.

    `products` are the multiply-adds for each number of the array. Where all is done sooner than
    another thread has woken up, the calling one does it.
    """
    threads = torch.get_num_threads()
    count = min(max(PIECES, threads), len(array))
    ends = [len(array) * i // count for i in range(count + 1)]
    effort = array.numel() * (_WALK + products)
    helpers = team(threads if effort > _ALONE else 1)
    return helpers.run(lambda i: work(i, ends[i], ends[i + 1]), count)


def _margin(channels: int, rows: int, columns: int, use: tuple[int, ...]) -> int:
    """Return the address of zeros [channels, rows, columns, LANES] kept by this thread for a use.

    The same places are written over each time; what lies around them stays zero.
    """
    kept: dict[str, torch.Tensor] = _local.__dict__
    name = f"{channels} {rows} {columns} {use}"
    if name not in kept:
        kept[name] = torch.zeros(channels, rows, columns, LANES)
    return kept[name].data_ptr()


def _added(sums: Sequence[Doubles]) -> Doubles:
    total: Doubles = np.sum(sums, axis=0)
    return total


def _doubles(tensor: torch.Tensor | None, channels: int, default: float) -> Doubles:
    return np.full(channels, float(default)) if tensor is None else tensor.double().numpy()


def _tensor(values: Doubles) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _follow(running: torch.Tensor, found: Doubles, momentum: float) -> None:
    """Move a running statistic towards what a batch showed."""
    values = running.numpy()
    values += momentum * (found - values)


def packed(x: torch.Tensor) -> torch.Tensor:
    """Lay [B, C, H, W] out as [B / LANES, C, H, W, LANES]; empty lanes hold zeros."""
    _require(x.dim() == 4 and x.dtype == _FLOAT, f"{list(x.shape)} are no maps of float32")
    lacking = -len(x) % LANES
    if lacking:
        x = torch.cat([x, x.new_zeros(lacking, *x.shape[1:])])
    return x.reshape(-1, LANES, *x.shape[1:]).permute(0, 2, 3, 4, 1).contiguous()


def unpacked(x: torch.Tensor, images: int) -> torch.Tensor:
    """Undo `packed`."""
    return x.permute(0, 4, 1, 2, 3).flatten(0, 1)[:images]
