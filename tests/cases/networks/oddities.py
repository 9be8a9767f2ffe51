"""Honest networks that few would write, and that must not be taken for anything else."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.capturing import Net, conv
from tests.cases.networks import Case
from tests.cases.networks.architectures import Block, body, head, stem, unit


class Transformer(nn.Module):
    """A spatial transformer: the network turns the image before it reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Sequential(
            nn.Conv2d(1, 4, 7), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 6)
        )
        self.body = body(unit(8, 8))

    def forward(self, x: Tensor) -> Any:
        """Sample the image where the first part says."""
        grid = F.affine_grid(self.place(x).view(-1, 2, 3), list(x.size()), align_corners=False)
        return self.body(F.grid_sample(x, grid, align_corners=False))


class Involution(nn.Module):
    """Kernels made of the map itself, one for each place."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = nn.Conv2d(8, 9, 1)

    def forward(self, x: Tensor) -> Any:
        """Weigh the neighbours of every place."""
        n, c, h, w = x.shape
        around = F.unfold(x, 3, padding=1).view(n, c, 9, h, w)
        return (around * self.kernels(x)[:, None]).sum(2)


class Standardised(nn.Conv2d):
    """A convolution whose kernels are normalised."""

    def forward(self, x: Tensor) -> Any:
        """Normalise, then convolve."""
        mean, std = self.weight.mean((1, 2, 3), True), self.weight.std((1, 2, 3), keepdim=True)
        return F.conv2d(x, (self.weight - mean) / (std + 1e-5), self.bias, padding=1)


class Ensemble(nn.Module):
    """Three networks whose scores are averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([body(unit(8, 8)) for _ in range(3)])

    def forward(self, x: Tensor) -> Any:
        """Average over the networks."""
        return torch.stack([part(x) for part in self.parts]).mean(0)


class Reversible(nn.Module):
    """Two halves that change each other in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.f, self.g = unit(4, 4), unit(4, 4)

    def forward(self, x: Tensor) -> Any:
        """Add to one half, then to the other."""
        left, right = x.chunk(2, 1)
        left = left + self.f(right)
        return torch.cat([left, right + self.g(left)], 1)


class Flow(nn.Module):
    """One block applied in small steps, as to solve a differential equation."""

    def __init__(self) -> None:
        super().__init__()
        self.f = unit(8, 8)

    def forward(self, x: Tensor) -> Any:
        """Take six steps."""
        for _ in range(6):
            x = x + self.f(x) / 6
        return x


class Bernoulli(nn.Module):
    """Drops channels by hand."""

    def forward(self, x: Tensor) -> Any:
        """Multiply by a mask."""
        if not self.training:
            return x
        return x * torch.bernoulli(torch.full((x.shape[0], x.shape[1], 1, 1), 0.9)) / 0.9


class Dynamic(nn.Module):
    """Kernels mixed anew for each image, applied in one convolution of as many groups."""

    def __init__(self) -> None:
        super().__init__()
        self.choose = nn.Linear(8, 3)
        self.kernels = nn.Parameter(torch.randn(3, 8, 8, 3, 3) / 9)

    def forward(self, x: Tensor) -> Any:
        """Mix three sets of kernels by what the map holds on average."""
        n, c, h, w = x.shape
        mixed = torch.einsum(
            "nk,koihw->noihw", self.choose(x.mean((2, 3))).softmax(1), self.kernels
        )
        y = F.conv2d(x.reshape(1, n * c, h, w), mixed.reshape(n * 8, c, 3, 3), padding=1, groups=n)
        return y.view(n, 8, h, w)


ODDITIES: dict[str, Case] = {
    "spatial transformer": Case(Transformer, 1072, None, 2, 1, 1),
    "involution": Case(lambda: body(Involution()), 259, 3, 1, 1, 1),
    "normalised kernels": Case(lambda: body(Standardised(8, 8, 3)), 762, 7, 1, 1, 1),
    "ensemble": Case(Ensemble, 2310, 7, 6, 3, 3),
    "reversible": Case(lambda: body(Reversible()), 482, 11, 3, 1, 1),
    "small steps": Case(lambda: body(Flow()), 770, 27, 7, 1, 1),
    "channels dropped by hand": Case(lambda: body(Bernoulli()), 178, 3, 1, 2, 1),
    "less than the batch norm": Case(lambda: body(Block(
        lambda m, x: x - m.b(x).detach() * 0.5, b=nn.BatchNorm2d(8))), 194, 3, 2, 1, 1),
    "learned power mean": Case(lambda: Net(
        lambda m, x: m.f(m.s(x).clamp(min=1e-6).pow(m.p).mean((2, 3)).pow(1 / m.p)),
        s=stem(), f=nn.Linear(8, 10), p=nn.Parameter(torch.tensor(3.0))), 179, 3, 1, 0, 1),
    "averages of three sizes": Case(lambda: Net(
        lambda m, x: m.f(torch.cat(
            [F.adaptive_avg_pool2d(m.s(x), k).flatten(1) for k in (1, 2, 3)], 1)),
        s=stem(), f=nn.Linear(112, 10)), 1218, 5 * 2 + 3, 3, 0, 1),
    "spectrum beside the image": Case(lambda: Net(
        lambda m, x: m.f(torch.cat([x, torch.fft.fft2(x).abs() / 28], 1)),
        f=nn.Sequential(unit(2, 8, stride=2), head())), 250, None, 1, 1, 1),
    "mean of probabilities": Case(lambda: Net(
        lambda m, x: m.f(m.s(x)).sigmoid().mean((2, 3)).log(), s=stem(), f=conv(8)),
        818, 7, 1, 0, 1),
    "kernels for each image": Case(lambda: body(Dynamic()), 1933, None, 1, 1, 1),
    "learned prototypes": Case(lambda: Net(
        lambda m, x: -torch.cdist(m.s(x).mean((2, 3)), m.p),
        s=stem(), p=nn.Parameter(torch.randn(10, 8))), 168, 3, 1, 0, 1),
    "cosine": Case(lambda: Net(
        lambda m, x: 10 * F.cosine_similarity(m.s(x).mean((2, 3))[:, None], m.w[None], dim=2),
        s=stem(), w=nn.Parameter(torch.randn(10, 8))), 168, 3, 1, 0, 1),
}  # fmt: skip
