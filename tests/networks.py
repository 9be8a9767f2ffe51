"""Small networks of many shapes, for tests; written the ways students write them."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class Plain(nn.Module):
    """Convolution, batch norm, dropout, pooling, as modules."""

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(p)
        self.conv2 = nn.Conv2d(8, 10, 1)
        self.gap = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> Any:
        x = F.max_pool2d(self.drop(F.relu(self.bn1(self.conv1(x)), inplace=True)), 2)
        return F.log_softmax(self.gap(self.conv2(x)).view(-1, 10), dim=1)


class Functional(nn.Module):
    """The same with functions, weights as bare parameters, and batch size read from the input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(10, 1, 5, 5) * 0.1)
        self.scale = nn.Parameter(torch.ones(10))
        self.shift = nn.Parameter(torch.zeros(10))
        self.mean: torch.Tensor
        self.var: torch.Tensor
        self.register_buffer("mean", torch.zeros(10))
        self.register_buffer("var", torch.ones(10))

    def forward(self, x: torch.Tensor) -> Any:
        x = F.conv2d(x, self.weight, stride=2)
        x = F.batch_norm(x, self.mean, self.var, self.scale, self.shift, self.training)
        x = F.avg_pool2d(F.leaky_relu(x), x.shape[2:])
        return x.reshape(x.size(0), -1)


class Residual(nn.Module):
    """Two branches that are added, and two that are concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.left = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SiLU())
        self.right = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.stem(x)
        x = x + self.left(x)
        x = torch.cat([x, self.right(x)], dim=1)
        return self.head(x.mean((2, 3)))


class SqueezeExcite(nn.Module):
    """A gate computed from the pooled map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 12, 3, stride=2)
        self.gate = nn.Sequential(nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 12), nn.Sigmoid())
        self.head = nn.Conv2d(12, 10, 1)

    def forward(self, x: torch.Tensor) -> Any:
        x = F.gelu(self.conv(x))
        gate = self.gate(x.flatten(2).mean(-1))
        return self.head(x * gate[:, :, None, None]).sum((2, 3)) / (13 * 13)


class Attention(nn.Module):
    """Patches that attend to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 16, 7, stride=7)
        self.place = nn.Parameter(torch.randn(1, 16, 16) * 0.02)
        self.qkv = nn.Linear(16, 48)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.patch(x).flatten(2).transpose(1, 2) + self.place
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(16), dim=-1)
        return self.head((x + weights @ v).mean(1))


class Shared(nn.Module):
    """One convolution used three times, and a constant in forward."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 10, 3, padding=1)
        self.again = nn.Conv2d(10, 10, 3, padding=1)

    def forward(self, x: torch.Tensor) -> Any:
        x = F.max_pool2d(F.relu(self.stem(x - torch.tensor(0.1))), 2)
        for _ in range(3):
            x = F.max_pool2d(F.hardswish(self.again(x)), 2)
        return x.squeeze()


class InPlace(nn.Module):
    """Views and in-place operations that later reads must see."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 10, 3, padding=1)
        self.bn = nn.BatchNorm2d(10)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.bn(self.conv(x))
        x[:, :5].mul_(2.0)
        x.add_(0.1).relu_()
        return torch.einsum("bchw->bc", x) / 784


class Lazy(nn.Module):
    """Layers that learn their size from the first image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.LazyConv2d(8, 3, stride=4)
        self.head = nn.LazyLinear(10)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(torch.flatten(F.elu(self.conv(x)), 1))


class Flat(nn.Module):
    """Wants rows of 784 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(784, 16), nn.BatchNorm1d(16), nn.PReLU(), nn.Linear(16, 10)
        )

    def forward(self, x: torch.Tensor) -> Any:
        return self.net(x)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: Plain(0.0),  # what is dropped is random, and ours draws differently
    "functional": Functional,
    "residual": Residual,
    "squeeze-excite": SqueezeExcite,
    "attention": Attention,
    "shared": Shared,
    "in place": InPlace,
    "lazy": Lazy,
    "flat": Flat,
}
