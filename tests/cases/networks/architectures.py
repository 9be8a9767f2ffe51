"""Honest networks of the kinds students build and the field knows, each made small."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from tests.capturing import Net, conv
from tests.cases.networks import Case


def unit(inputs: int, outputs: int, kernel: int = 3, **options: Any) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU; the map keeps its size unless it is strided."""
    dilation = options.get("dilation", 1)
    options = {"padding": kernel // 2 * dilation, "bias": False, **options}
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, **options), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def head(inputs: int = 8) -> nn.Sequential:
    """Average the map, drop a little, and classify."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.05), nn.Linear(inputs, 10)
    )


def stem() -> nn.Sequential:
    """Make eight channels of 14×14: 88 parameters; sees 3."""
    return unit(1, 8, stride=2)


def body(block: nn.Module, channels: int = 8) -> nn.Sequential:
    """Put a block between stem and head: 88 + 90 parameters for eight channels."""
    return nn.Sequential(stem(), block, head(channels))


class Block(nn.Module):
    """Modules by name, and a forward that is a function of them and the map."""

    def __init__(self, run: Callable[[Any, Tensor], Tensor], **parts: object) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        """Run it on a map [B, 8, 14, 14]."""
        return self.run(self, x)


class DropBlock(nn.Module):
    """Drops whole branches for some images, as stochastic depth does, without a library."""

    def forward(self, x: Tensor) -> Any:
        """Scale what is kept."""
        if not self.training:
            return x
        kept = torch.rand(x.shape[0], 1, 1, 1) < 0.9
        return x * kept / 0.9


class Fire(nn.Module):
    """SqueezeNet's module."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = unit(8, 2, 1)
        self.one, self.three = unit(2, 4, 1), unit(2, 4)

    def forward(self, x: Tensor) -> Any:
        """Squeeze, and expand in two sizes."""
        x = self.squeeze(x)
        return torch.cat([self.one(x), self.three(x)], 1)


class Dense(nn.Module):
    """DenseNet's block: every layer reads all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([unit(8 + 4 * i, 4) for i in range(3)])

    def forward(self, x: Tensor) -> Any:
        """Grow by four channels three times."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class Ghost(nn.Module):
    """Half of the channels are made cheaply from the other half."""

    def __init__(self) -> None:
        super().__init__()
        self.primary, self.cheap = unit(8, 4, 1), unit(4, 4, groups=4)

    def forward(self, x: Tensor) -> Any:
        """Join both halves."""
        x = self.primary(x)
        return torch.cat([x, self.cheap(x)], 1)


class Excite(nn.Module):
    """Squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(8, 2), nn.ReLU(), nn.Linear(2, 8), nn.Sigmoid())

    def forward(self, x: Tensor) -> Any:
        """Scale the channels."""
        return x * self.gate(x.mean((2, 3)))[:, :, None, None]


class Spatial(nn.Module):
    """The spatial half of CBAM."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Any:
        """Scale the places."""
        both = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * self.conv(both).sigmoid()


class Channels(nn.Module):
    """ECA: a convolution along the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Any:
        """Scale the channels."""
        gate = self.conv(x.mean((2, 3))[:, None]).sigmoid()
        return x * gate[:, 0, :, None, None]


class NonLocal(nn.Module):
    """Self-attention over the places of a map, as a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Conv2d(8, 24, 1), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Any:
        """Let all places look at each other."""
        q, k, v = self.qkv(x).flatten(2).chunk(3, 1)
        weights = (q.transpose(1, 2) @ k / math.sqrt(8)).softmax(-1)
        return x + self.out((v @ weights.transpose(1, 2)).view_as(x))


class Tokens(nn.Module):
    """Patches as tokens through a transformer's layer, and the mean of the tokens."""

    def __init__(self, *, own: bool) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 16, 7, stride=7)
        self.place = nn.Parameter(torch.randn(1, 16, 16) * 0.02)
        self.norm = nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 2, dropout=0.1, batch_first=True)
        self.head = nn.Linear(16, 10)
        self.own = own

    def forward(self, x: Tensor) -> Any:
        """Attend once."""
        x = self.patch(x).flatten(2).transpose(1, 2) + self.place
        y = self.norm(x)
        if self.own:
            y = F.scaled_dot_product_attention(y, y, y, dropout_p=0.1 if self.training else 0.0)
        else:
            y = self.attention(y, y, y, need_weights=False)[0]
        return self.head((x + y).mean(1))


class Mixer(nn.Module):
    """Linear layers along the places, and along the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 16, 7, stride=7)
        self.places, self.channels = nn.Linear(16, 16), nn.Linear(16, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Any:
        """Mix both ways."""
        x = self.patch(x).flatten(2)
        x = x + F.gelu(self.places(x))
        x = x + F.gelu(self.channels(x.transpose(1, 2))).transpose(1, 2)
        return self.head(x.mean(2))


class Shuffle(nn.Module):
    """Groups that exchange their channels."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = unit(8, 8, 1, groups=2), unit(8, 8, groups=8)

    def forward(self, x: Tensor) -> Any:
        """Swap the groups between the convolutions."""
        x = self.one(x)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.two(x)


class Coordinates(nn.Module):
    """CoordConv: two more channels say where a pixel is."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = unit(3, 8, stride=2), head()

    def forward(self, x: Tensor) -> Any:
        """Append the coordinates."""
        line = torch.linspace(-1, 1, x.shape[2])
        rows = line[None, None, :, None].expand(x.shape[0], 1, -1, x.shape[3])
        columns = line[None, None, None].expand(x.shape[0], 1, x.shape[2], -1)
        return self.head(self.body(torch.cat([x, rows, columns], 1)))


class Heads(nn.Module):
    """Two heads at two depths whose scores are averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = stem(), unit(8, 8, stride=2)
        self.early, self.late = head(), head()

    def forward(self, x: Tensor) -> Any:
        """Average the scores."""
        x = self.first(x)
        return (self.early(x) + self.late(self.second(x))) / 2


class Hourglass(nn.Module):
    """Down, up again, and joined with what came before."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.join = unit(8, 8, stride=2), unit(16, 8)

    def forward(self, x: Tensor) -> Any:
        """Join the fine and the coarse map."""
        coarse = F.interpolate(self.down(x), scale_factor=2, mode="nearest")
        return self.join(torch.cat([x, coarse], 1))


class Shared(nn.Module):
    """One block, three times."""

    def __init__(self) -> None:
        super().__init__()
        self.block = unit(8, 8)

    def forward(self, x: Tensor) -> Any:
        """Apply it again and again."""
        for _ in range(3):
            x = self.block(x)
        return x


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = unit(8, 8), unit(8, 8)
        self.two[0].weight = self.one[0].weight

    def forward(self, x: Tensor) -> Any:
        """Apply both."""
        return self.two(self.one(x))


class Named(nn.Module):
    """Layers in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"a": unit(8, 8), "b": unit(8, 8, 1)})

    def forward(self, x: Tensor) -> Any:
        """Apply them by name."""
        return self.layers["b"](self.layers["a"](x))


class Bare(nn.Module):
    """Weights as parameters, everything else as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.ParameterList([torch.randn(8, 1, 3, 3) / 3, torch.randn(10, 8, 3, 3) / 9])
        self.scale, self.shift = nn.Parameter(torch.ones(8)), nn.Parameter(torch.zeros(8))
        self.mean = nn.Buffer(torch.zeros(8))
        self.var = nn.Buffer(torch.ones(8))

    def forward(self, x: Tensor) -> Any:
        """Convolve, normalise, drop, convolve, average."""
        x = F.conv2d(x, self.w[0], stride=2)
        x = F.batch_norm(x, self.mean, self.var, self.scale, self.shift, self.training)
        x = F.dropout2d(F.mish(x), 0.1, self.training)
        return F.conv2d(x, self.w[1]).mean([2, 3])


class Lateral(nn.Module):
    """Rows as a sequence through a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.GRU(28, 16, num_layers=2, dropout=0.1, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Any:
        """Read the last state."""
        return self.head(self.rows(x.squeeze(1))[0][:, -1])


def scaled(value: float) -> nn.Parameter:
    """Return a scale of one number a channel."""
    return nn.Parameter(torch.full((8, 1, 1), value))


def plain(*middle: nn.Module, channels: int = 8) -> Callable[[], nn.Module]:
    """Return what puts blocks between stem and head; each call makes the network anew."""
    return lambda: body(nn.Sequential(*middle), channels)


RESIDUALS: dict[str, Case] = {
    "residual": Case(lambda: body(Block(
        lambda m, x: F.relu(x + m.f(x)), f=nn.Sequential(unit(8, 8), unit(8, 8)))),
        1362, 11, 3, 1, 1),
    "residual, norm first": Case(lambda: body(Block(
        lambda m, x: x + m.c(F.relu(m.b(x))), b=nn.BatchNorm2d(8), c=conv(8, 8, padding=1))),
        778, 7, 2, 1, 1),
    "residual with a projection": Case(lambda: body(Block(
        lambda m, x: m.f(x) + m.p(x), f=unit(8, 8, stride=2), p=conv(8, 8, 1, stride=2))),
        842, 3, 2, 1, 1),
    "bottleneck": Case(lambda: body(Block(
        lambda m, x: x + m.f(x), f=nn.Sequential(unit(8, 2, 1), unit(2, 2), unit(2, 8, 1)))),
        270, 7, 4, 1, 1),
    "inverted bottleneck": Case(lambda: body(Block(
        lambda m, x: x + m.f(x),
        f=nn.Sequential(unit(8, 16, 1), unit(16, 16, groups=16), conv(16, 8, 1)))),
        650, 7, 3, 1, 1),
    "stochastic depth": Case(lambda: body(Block(
        lambda m, x: x + m.d(m.f(x)), f=unit(8, 8), d=StochasticDepth(0.2, "row"))),
        770, 7, 2, 2, 1),
    "branches dropped by hand": Case(lambda: body(Block(
        lambda m, x: x + m.d(m.f(x)), f=unit(8, 8), d=DropBlock())),
        770, 7, 2, 2, 1),
    "ReZero": Case(lambda: body(Block(
        lambda m, x: x + m.a * m.f(x), f=unit(8, 8), a=nn.Parameter(torch.zeros(())))),
        771, 7, 2, 1, 1),
    "layer scale": Case(lambda: body(Block(
        lambda m, x: x + m.a * m.f(x), f=unit(8, 8), a=scaled(1e-6))),
        778, 7, 2, 1, 1),
    "highway": Case(lambda: body(Block(
        lambda m, x: (g := m.g(x).sigmoid()) * m.f(x) + (1 - g) * x,
        f=unit(8, 8), g=conv(8, 8, 1))),
        842, 7, 2, 1, 1),
    "ConvNeXt with batch norm": Case(lambda: body(Block(
        lambda m, x: x + m.s * m.o(F.gelu(m.i(m.b(m.d(x))))), d=conv(8, 8, 7, padding=3, groups=8),
        b=nn.BatchNorm2d(8), i=conv(8, 32, 1), o=conv(32, 8, 1), s=scaled(1e-6))),
        1154, 15, 2, 1, 1),
    "subtracting a blurred map": Case(lambda: body(Block(
        lambda m, x: x - F.avg_pool2d(x, 3, 1, 1))), 178, 7, 1, 1, 1),
}  # fmt: skip

BRANCHES: dict[str, Case] = {
    "fire": Case(plain(Fire()), 294, 7, 4, 1, 1),
    "dense": Case(lambda: body(Dense(), 20), 1618, 15, 4, 1, 1),
    "ghost": Case(plain(Ghost()), 262, 7, 3, 1, 1),
    "inception": Case(lambda: body(Block(
        lambda m, x: torch.cat([m.a(x), m.b(x), m.c(x), m.d(F.max_pool2d(x, 3, 1, 1))], 1),
        a=unit(8, 2, 1), b=unit(8, 2), c=unit(8, 2, 5), d=unit(8, 2, 1))),
        770, 7, 5, 1, 1),
    "hourglass": Case(plain(Hourglass()), 1938, 11, 3, 1, 1),
    "half of the channels": Case(lambda: body(Block(
        lambda m, x: torch.cat([x[:, :4], m.f(x[:, 4:])], 1), f=unit(4, 4))), 330, 7, 2, 1, 1),
    "maximum of two": Case(lambda: body(Block(
        lambda m, x: torch.maximum(m.a(x), m.b(x)), a=unit(8, 8, 1), b=unit(8, 8))),
        850, 7, 3, 1, 1),
    "two heads averaged": Case(Heads, 860, 7, 2, 2, 2),
    "selective kernels": Case(lambda: body(Block(
        lambda m, x: (w := m.g((p := m.a(x)).mean((2, 3)) + (q := m.b(x)).mean((2, 3)))
                      .view(-1, 2, 8, 1, 1).softmax(1))[:, 0] * p + w[:, 1] * q,
        a=unit(8, 8), b=unit(8, 8, dilation=2), g=nn.Linear(8, 16))),
        1506, 11, 3, 1, 1),
    "flipped twin": Case(lambda: Net(
        lambda m, x: (m.f(x) + m.f(x.flip(3))) / 2, f=body(unit(8, 8))), 770, 7, 4, 2, 2),
}  # fmt: skip

CHANNELS: dict[str, Case] = {
    "depthwise": Case(plain(unit(8, 8, groups=8), unit(8, 8, 1)), 346, 7, 3, 1, 1),
    "grouped": Case(plain(unit(8, 8, groups=4)), 338, 7, 2, 1, 1),
    "shuffle": Case(plain(Shuffle()), 314, 7, 3, 1, 1),
    "mixed kernels": Case(lambda: body(Block(
        lambda m, x: torch.cat([m.a(x[:, :4]), m.b(x[:, 4:])], 1),
        a=unit(4, 4, groups=4), b=unit(4, 4, 5, groups=4))), 330, 11, 3, 1, 1),
    "squeeze and excitation": Case(plain(Excite()), 220, 3, 1, 1, 1),
    "efficient channel attention": Case(plain(Channels()), 181, None, 1, 1, 1),
    "spatial attention": Case(plain(Spatial()), 277, 15, 1, 1, 1),
    "non-local": Case(plain(NonLocal()), 466, None, 1, 1, 1),
    "gated linear unit": Case(plain(nn.Conv2d(8, 16, 1), nn.GLU(1)), 322, 3, 1, 1, 1),
    "coordinates": Case(Coordinates, 322, 3, 1, 1, 1),
    "pixels into channels": Case(lambda: nn.Sequential(
        nn.PixelUnshuffle(2), unit(4, 8), head()), 394, 6, 1, 1, 1),
    "maxout": Case(lambda: body(Block(
        lambda m, x: m.f(x).unflatten(1, (8, 2)).amax(2), f=unit(8, 16))), 1362, 7, 2, 1, 1),
}  # fmt: skip

SEQUENCES: dict[str, Case] = {
    "tokens": Case(lambda: Tokens(own=False), 2346, 7, 0, 1, 1),
    "tokens, attention by function": Case(lambda: Tokens(own=True), 2346, 7, 0, 1, 1),
    "mixer": Case(Mixer, 1514, 7, 0, 0, 1),
    "rows": Case(Lateral, 4010, None, 0, 1, 0),
    "dense layers": Case(lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(784, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1),
        nn.Linear(16, 10)), 12762, None, 1, 1, 0),
    "flattened map": Case(lambda: nn.Sequential(
        stem(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(392, 10), nn.LogSoftmax(1)),
        4018, 5, 1, 0, 0, "log-probabilities"),
}  # fmt: skip

SHAPES: dict[str, Case] = {
    "plain": Case(plain(unit(8, 8)), 770, 7, 2, 1, 1),
    "strided": Case(plain(unit(8, 8, stride=2), unit(8, 8, stride=2)), 1362, 15, 3, 1, 1),
    "dilated": Case(plain(unit(8, 8, dilation=2), unit(8, 8, dilation=4)), 1362, 27, 3, 1, 1),
    "large kernel": Case(plain(unit(8, 8, 9, groups=8)), 842, 19, 2, 1, 1),
    "one axis after the other": Case(plain(
        nn.Conv2d(8, 8, (1, 3), padding=(0, 1)), nn.Conv2d(8, 8, (3, 1), padding=(1, 0))),
        578, 7, 1, 1, 1),
    "average pooling inside": Case(plain(nn.AvgPool2d(2), unit(8, 8)), 770, 13, 2, 1, 1),
    "pooling with overlap": Case(plain(nn.MaxPool2d(3, 2, 1), unit(8, 8)), 770, 15, 2, 1, 1),
    "no padding": Case(plain(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)), 1346, 11, 1, 1, 1),
    "reflected border": Case(plain(
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")), 762, 7, 1, 1, 1),
    "circular border": Case(plain(
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular")), 762, 7, 1, 1, 1),
    "transposed": Case(plain(nn.ConvTranspose2d(8, 8, 2, stride=2)), 442, 3, 1, 1, 1),
    "upsampled": Case(plain(nn.Upsample(scale_factor=2), nn.Conv2d(8, 8, 3, padding=1)),
                      762, 5, 1, 1, 1),
    "all at once": Case(lambda: nn.Sequential(
        nn.Conv2d(1, 10, 28, bias=False), nn.BatchNorm2d(10), nn.Flatten(), nn.Dropout(0.1)),
        7860, 28, 1, 1, 0),
}  # fmt: skip

HOLDERS: dict[str, Case] = {
    "nested": Case(plain(nn.Sequential(nn.Sequential(unit(8, 8)))), 770, 7, 2, 1, 1),
    "in a dictionary": Case(plain(Named()), 850, 7, 3, 1, 1),
    "one block three times": Case(plain(Shared()), 770, 15, 4, 1, 1),
    "one weight twice": Case(plain(Tied()), 786, 11, 3, 1, 1),
    "bare parameters": Case(Bare, 808, 7, 1, 1, 1),
    "lazy": Case(lambda: nn.Sequential(
        nn.LazyConv2d(8, 3, bias=False), nn.LazyBatchNorm2d(), nn.ReLU(), nn.LazyConv2d(10, 3),
        nn.Dropout2d(0.1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 818, 5, 1, 1, 1),
    "weight norm": Case(plain(
        nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 3))), 770, 7, 1, 1, 1),
    "identity layers": Case(plain(nn.Identity(), unit(8, 8), nn.Identity()), 770, 7, 2, 1, 1),
    "an unused layer": Case(lambda: Net(
        lambda m, x: m.f(x), f=body(unit(8, 8)), spare=nn.Linear(3, 3)), 782, 7, 2, 1, 1),
}  # fmt: skip

HEADS: dict[str, Case] = {
    "averaged scores": Case(lambda: nn.Sequential(
        stem(), nn.Conv2d(8, 10, 1), nn.AvgPool2d(14), nn.Flatten(), nn.LogSoftmax(1)),
        178, 3, 1, 0, 1, "log-probabilities"),
    "classified by 1×1": Case(lambda: nn.Sequential(
        stem(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 10, 1), nn.Flatten(), nn.Softmax(1)),
        178, None, 1, 0, 1, "probabilities"),
    "averaged by a product": Case(lambda: Net(
        lambda m, x: m.f((m.s(x).flatten(2) @ torch.full((196, 1), 1 / 196)).squeeze(2)),
        s=stem(), f=nn.Linear(8, 10)), 178, 3, 1, 0, 1),
    "averaged by letters and weights": Case(lambda: Net(
        lambda m, x: m.f(torch.einsum("bchw,hw->bc", m.s(x), torch.full((14, 14), 1 / 196))),
        s=stem(), f=nn.Linear(8, 10)), 178, 3, 1, 0, 1),
    "average and maximum": Case(lambda: Net(
        lambda m, x: m.f(torch.cat([(y := m.s(x)).mean((2, 3)), y.amax((2, 3))], 1)),
        s=stem(), f=nn.Linear(16, 10)), 258, 3, 1, 0, 1),
    "average plus maximum": Case(lambda: Net(
        lambda m, x: m.f(F.adaptive_avg_pool2d(y := m.s(x), 1).add(F.adaptive_max_pool2d(y, 1))
                         .flatten(1)),
        s=stem(), f=nn.Linear(8, 10)), 178, None, 1, 0, 1),
    "normalised scores": Case(lambda: Net(
        lambda m, x: 8 * F.linear(F.normalize(m.s(x).mean((2, 3))), F.normalize(m.w)),
        s=stem(), w=nn.Parameter(torch.randn(10, 8))), 168, 3, 1, 0, 1),
    "alpha dropout": Case(lambda: nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.SELU(), nn.AlphaDropout(0.05), nn.Conv2d(8, 10, 3),
        nn.AdaptiveAvgPool2d(1), nn.Flatten()), 810, 5, 0, 1, 1),
    "temperature": Case(lambda: Net(
        lambda m, x: (m.f(m.s(x)).mean((2, 3)) / 0.5).log_softmax(-1), s=stem(), f=conv(8)),
        818, 7, 1, 0, 1, "log-probabilities"),
    "learned pooling": Case(lambda: Net(
        lambda m, x: m.f(((y := m.s(x)).flatten(2) * m.a(y).flatten(2).softmax(2)).sum(2)),
        s=stem(), a=conv(8, 1, 1), f=nn.Linear(8, 10)), 187, 3, 1, 0, 0),
    "generalised mean": Case(lambda: Net(
        lambda m, x: m.f(m.s(x).clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)),
        s=stem(), f=nn.Linear(8, 10)), 178, 3, 1, 0, 1),
}  # fmt: skip

CASES: dict[str, Case] = {
    **RESIDUALS, **BRANCHES, **CHANNELS, **SEQUENCES, **SHAPES, **HOLDERS, **HEADS,
}  # fmt: skip
