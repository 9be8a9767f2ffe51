"""Every conversion between types and every family of layers of PyTorch, each to be tried once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn

Attempt = Callable[[], object]

TYPES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16,
    torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128,
    torch.float8_e4m3fn, torch.float8_e5m2,
)  # fmt: skip
ROWS, SERIES, MAPS, CUBES = (4, 16), (4, 8, 16), (4, 8, 12, 12), (2, 4, 6, 6, 6)

LAYERS: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (lambda: nn.Linear(16, 5), ROWS), (lambda: nn.LazyLinear(5), ROWS),
    (lambda: nn.Bilinear(16, 16, 3), ROWS), (nn.Identity, ROWS),
    (lambda: nn.Conv1d(8, 4, 3), SERIES), (lambda: nn.Conv2d(8, 4, 3, padding="same"), MAPS),
    (lambda: nn.Conv2d(8, 8, 3, groups=8), MAPS), (lambda: nn.Conv2d(8, 4, 3, dilation=2), MAPS),
    (lambda: nn.Conv2d(8, 4, 3, padding=1, padding_mode="reflect"), MAPS),
    (lambda: nn.Conv3d(4, 4, 3), CUBES), (lambda: nn.ConvTranspose1d(8, 4, 3), SERIES),
    (lambda: nn.ConvTranspose2d(8, 4, 3, 2), MAPS), (lambda: nn.ConvTranspose3d(4, 4, 3), CUBES),
    (lambda: nn.LazyConv2d(4, 3), MAPS), (lambda: nn.Unfold(3), MAPS),
    (lambda: nn.MaxPool1d(2), SERIES), (lambda: nn.MaxPool2d(3, 2), MAPS),
    (lambda: nn.MaxPool3d(2), CUBES), (lambda: nn.AvgPool1d(2), SERIES),
    (lambda: nn.AvgPool2d(2), MAPS), (lambda: nn.AvgPool3d(2), CUBES),
    (lambda: nn.LPPool2d(2, 2), MAPS), (lambda: nn.FractionalMaxPool2d(2, 4), MAPS),
    (lambda: nn.AdaptiveAvgPool1d(1), SERIES), (lambda: nn.AdaptiveAvgPool2d(5), MAPS),
    (lambda: nn.AdaptiveMaxPool2d(5), MAPS), (lambda: nn.AdaptiveAvgPool3d(1), CUBES),
    (lambda: nn.BatchNorm1d(8), SERIES), (lambda: nn.BatchNorm2d(8), MAPS),
    (lambda: nn.BatchNorm3d(4), CUBES), (nn.LazyBatchNorm2d, MAPS),
    (lambda: nn.InstanceNorm2d(8), MAPS), (lambda: nn.GroupNorm(2, 8), MAPS),
    (lambda: nn.LayerNorm(16), ROWS), (lambda: nn.RMSNorm(16), ROWS),
    (lambda: nn.LocalResponseNorm(2), MAPS), (nn.Dropout, ROWS), (nn.Dropout1d, SERIES),
    (nn.Dropout2d, MAPS), (nn.Dropout3d, CUBES), (nn.AlphaDropout, ROWS),
    (nn.FeatureAlphaDropout, MAPS), (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), MAPS),
    (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), MAPS),
    (lambda: nn.PixelShuffle(2), MAPS), (lambda: nn.PixelUnshuffle(2), MAPS),
    (lambda: nn.ChannelShuffle(2), MAPS), (lambda: nn.ZeroPad2d(1), MAPS),
    (lambda: nn.ReflectionPad2d(1), MAPS), (lambda: nn.ReplicationPad2d(1), MAPS),
    (lambda: nn.CircularPad2d(1), MAPS), (nn.Flatten, MAPS),
    (lambda: nn.LSTM(16, 4), SERIES), (lambda: nn.GRU(16, 4, 2), SERIES),
    (lambda: nn.RNN(16, 4, bidirectional=True), SERIES), (lambda: nn.LSTMCell(16, 4), ROWS),
    (lambda: nn.TransformerEncoderLayer(16, 2, 8), SERIES),
    (lambda: nn.Sequential(nn.Conv2d(8, 4, 1, 2), nn.Flatten(), nn.LazyLinear(3)), MAPS),
    (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(16, 5)), ROWS),
    (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(16, 5)), ROWS),
    (lambda: nn.utils.parametrizations.orthogonal(nn.Linear(16, 16)), ROWS),
]  # fmt: skip
ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU,
    nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Hardshrink, nn.Softshrink, nn.Softplus,
    nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Sigmoid, nn.LogSigmoid, nn.Softmax2d, nn.GLU,
)  # fmt: skip


def _autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        nn.Conv2d(1, 4, 3)(torch.rand(2, 1, 9, 9))


OPERATIONS: dict[str, Attempt] = {
    "svd": lambda: torch.linalg.svd(torch.rand(9, 9)),
    "solve": lambda: torch.linalg.solve(torch.eye(9), torch.rand(9, 2)),
    "fft": lambda: torch.fft.fft2(torch.rand(9, 9)),
    "products": lambda: torch.rand(200, 300) @ torch.rand(300, 200),
    "einsum": lambda: torch.einsum("bij,bjk->bik", torch.rand(2, 3, 4), torch.rand(2, 4, 5)),
    "sorting": lambda: torch.rand(10_000).sort().values.topk(5),
    "attention": lambda: nn.functional.scaled_dot_product_attention(*torch.rand(3, 2, 4, 8)),
    "grids": lambda: nn.functional.grid_sample(torch.rand(1, 1, 4, 4), torch.rand(1, 4, 4, 2)),
    "quantities": lambda: torch.quantize_per_tensor(torch.rand(9), 0.1, 0, torch.quint8),
    "autocast": _autocast,
}


def _convert(first: torch.dtype, second: torch.dtype) -> torch.Tensor:
    return torch.ones(70).to(first).to(second)


def _layer(make: Callable[[], nn.Module], shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.rand(shape).requires_grad_()
    module = make()
    second = [x] if isinstance(module, nn.Bilinear) else []
    module(x, *second)  # lazy layers take their shapes
    result = module.to(dtype)(*(i.detach().to(dtype).requires_grad_() for i in [x, *second]))
    while isinstance(result, tuple):
        result = result[0]
    result.float().sum().backward()


IN_OTHER_TYPES: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    *((kind, MAPS) for kind in ACTIVATIONS),
    *((kind, ROWS) for kind in (partial(nn.Linear, 16, 5), partial(nn.LayerNorm, 16))),
    *((kind, MAPS) for kind in (partial(nn.Conv2d, 8, 4, 3), partial(nn.BatchNorm2d, 8))),
]


def every_attempt() -> Iterator[tuple[str, Attempt]]:
    """Yield what to try, with its name."""
    for first in TYPES:
        for second in TYPES:
            yield f"{first} to {second}", partial(_convert, first, second)
    for number, (make, shape) in enumerate(LAYERS):
        yield f"layer {number}", partial(_layer, make, shape, torch.float32)
    for make, shape in IN_OTHER_TYPES:
        for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
            yield f"{make} of {dtype}", partial(_layer, make, shape, dtype)
    yield from OPERATIONS.items()
