"""Convolutions and what stands between them, one after another, as one step of autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from grader.training.lanes import backward, forward
from grader.training.lanes.arrays import (
    FLOAT,
    Doubles,
    Floats,
    added,
    for_pieces,
    margin,
    require,
)  # fmt: skip
from grader.training.lanes.blocks import FOLD
from grader.training.lanes.geometry import Convolution
from grader.training.lanes.layer import NO_SUMS, Activation, Layer, as_tensor, low_of
from grader.training.lanes.vectors import LANES

_NOTHING = np.zeros(0, np.float32)
_Result = TypeVar("_Result")


class Keys:
    """A number for every layer and step: dropout's random words are made from it."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(np.random.SFC64(seed))

    def next(self) -> int:
        """Return a number of 63 bits."""
        return int(self._generator.integers(2**63 - 1))

    @property
    def state(self) -> dict[str, Any]:
        """Where in its series it is, as numbers and words alone; can be set."""
        state = self._generator.bit_generator.state
        return {**state, "state": {"state": [int(n) for n in state["state"]["state"]]}}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        words = np.array(state["state"]["state"], np.uint64)
        self._generator.bit_generator.state = {**state, "state": {"state": words}}


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
            layer = Layer(z, activation, images, key, norms[index])
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
    layer: Layer, conv: Convolution, tensors: list[torch.Tensor | None], following: Activation
) -> tuple[torch.Tensor, Doubles | None]:
    """Return the convolution of a layer's activation, and the sums that the next norm needs."""
    kernel, bias = tensors
    assert kernel is not None
    outputs, inputs, high, wide = kernel.shape
    whole = layer.z.shape[1] == inputs * conv.groups and outputs % conv.groups == 0
    require(whole, f"{layer.z.shape[1]} channels do not fit a kernel of {list(kernel.shape)}")
    fits = bias is None or (list(bias.shape), bias.dtype) == ([outputs], FLOAT)
    require(fits, f"{outputs} channels need as many biases")
    geometry = conv.geometry(tuple(kernel.shape), layer.size)
    require(
        min(geometry.height, geometry.width) > 0,
        f"a kernel of {high}×{wide} does not fit maps of {list(layer.size)}",
    )
    groups, height, width = geometry.groups, geometry.height, geometry.width
    weights = kernel.reshape(groups, -1, inputs, high, wide).permute(0, 2, 3, 4, 1).contiguous()
    out = layer.z.new_empty(len(layer.z), outputs, height, width, LANES)
    normed = following.norm is not None and following.norm.batch
    low = low_of(following, outputs) if normed else _NOTHING
    more = _NOTHING if bias is None else bias.numpy()

    def work(_: int, first: int, last: int) -> Doubles:
        scratch = margin(inputs * groups, geometry.rows, geometry.columns, geometry[:15])
        sums = np.zeros((outputs, 2))
        forward.convolve(
            first, last, layer.images, layer.compiled, geometry, scratch,
            weights.data_ptr(), more, out.data_ptr(), low, sums,
        )  # fmt: skip
        return sums

    sums = added(for_pieces(out, work, inputs * high * wide))
    return out, sums if normed else None


def _convolve_back(
    before: Layer, after: Layer, conv: Convolution, tensors: list[torch.Tensor | None],
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
    z = before.z
    turned = kernel.flip(2, 3).reshape(groups, -1, inputs, *kernel.shape[2:]).permute(0, 1, 3, 4, 2)
    weights = torch.cat([z.new_empty(0), *(turned[:, :, a, b].flatten() for a, b in phases)])
    filled = torch.empty if conv.stride == (1, 1) else torch.zeros
    result = filled(len(z), inputs * groups, *before.size, LANES) if wanted else gradient
    summed = wanted and before.activation.norm is not None

    def work(_: int, first: int, last: int) -> tuple[torch.Tensor, Doubles, Doubles]:
        scratch = margin(inputs * groups, there.rows, there.columns, there[:15])
        scratch_back = margin(outputs, back.rows, back.columns, (*there[:15], -1))
        to_kernel = z.new_zeros(*kernel.shape, FOLD)
        sums = np.zeros((inputs * groups, 2)) if summed else NO_SUMS
        of_bias = np.zeros(outputs)
        backward.convolve_back(
            first, last, before.images, before.compiled, after.compiled, gradient.data_ptr(),
            factors, there, back, scratch, scratch_back, weights.data_ptr(),
            to_kernel.data_ptr(), result.data_ptr() if wanted else 0, sums, of_bias,
        )  # fmt: skip
        return to_kernel.sum(-1), sums, of_bias

    to_kernel, sums, to_bias = zip(
        *for_pieces(after.z, work, 2 * math.prod(kernel.shape[1:])), strict=True
    )
    of_kernel = torch.stack(to_kernel).sum(0)
    of_bias = None if bias is None else as_tensor(np.sum(to_bias, 0))
    return result, added(sums), [of_kernel, of_bias]
