"""Networks that average a map whole, and what only looks like it with the reason told."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.capturing import Net, conv


def on_map(pool: Callable[[Tensor], Tensor], size: int = 7) -> Net:
    """Return a network that applies `pool` to a map [B, 10, size, size] and returns the scores."""
    kernel, stride = {7: (4, 4), 8: (7, 3), 1: (28, 1), 26: (3, 1)}[size]
    return Net(
        lambda s, x: s.p(s.c(x)).reshape(-1, 10),
        c=conv(kernel=kernel, stride=stride),
        p=Apply(pool),
    )


class Apply(nn.Module):
    """A module of one function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def two_steps(x: Tensor) -> Tensor:
    """Average the rows, forget the axis, average the columns."""
    rows = x.mean(dim=3)
    return rows.mean(dim=2)


COUNTED: dict[str, Callable[[], Net]] = {
    "AdaptiveAvgPool2d(1)": lambda: on_map(nn.AdaptiveAvgPool2d(1)),
    "AdaptiveAvgPool2d((1, 1))": lambda: on_map(nn.AdaptiveAvgPool2d((1, 1))),
    "AvgPool2d(7)": lambda: on_map(nn.AvgPool2d(7)),
    "AvgPool2d(7, stride=1)": lambda: on_map(nn.AvgPool2d(7, stride=1)),
    "F.avg_pool2d of the shape": lambda: on_map(lambda x: F.avg_pool2d(x, x.shape[2:])),
    "F.adaptive_avg_pool2d": lambda: on_map(lambda x: F.adaptive_avg_pool2d(x, 1)),
    "two poolings of one axis": lambda: on_map(
        nn.Sequential(nn.AvgPool2d((7, 1)), nn.AvgPool2d((1, 7)))
    ),
    "mean": lambda: on_map(lambda x: x.mean((2, 3))),
    "mean of negative dims": lambda: on_map(lambda x: x.mean([-1, -2])),
    "mean that keeps dims": lambda: on_map(lambda x: torch.mean(x, dim=(2, 3), keepdim=True)),
    "two means": lambda: on_map(two_steps),
    "two means that keep dims": lambda: on_map(lambda x: x.mean(2, True).mean(3, True)),
    "two means of the last": lambda: on_map(lambda x: x.mean(-1).mean(-1)),
    "flatten": lambda: on_map(lambda x: x.flatten(2).mean(-1)),
    "view": lambda: on_map(lambda x: x.view(x.size(0), x.size(1), -1).mean(2)),
    "view with the batch": lambda: on_map(lambda x: x.view(-1, 49).mean(1)),
    "channels last": lambda: on_map(lambda x: x.permute(0, 2, 3, 1).mean((1, 2))),
    "tokens": lambda: on_map(lambda x: x.flatten(2).transpose(1, 2).mean(1)),
    "sum": lambda: on_map(lambda x: x.sum((2, 3)) / 49),
    "sum by the shape": lambda: on_map(lambda x: x.sum((2, 3)) / (x.shape[2] * x.shape[3])),
    "sum times": lambda: on_map(lambda x: x.sum(dim=(2, 3)) * (1 / 49)),
    "sum divided before": lambda: on_map(lambda x: x.sum(3).div(7).sum(2).div(7)),
    "einsum": lambda: on_map(lambda x: torch.einsum("bchw->bc", x) / 49),
    "AvgPool1d of a flat map": lambda: on_map(lambda x: F.avg_pool1d(x.flatten(2), 49)),
    "AdaptiveAvgPool1d of a flat map": lambda: on_map(
        lambda x: F.adaptive_avg_pool1d(x.flatten(2), 1)
    ),
    "in half the resolution first": lambda: on_map(lambda x: F.avg_pool2d(x, 2).mean((2, 3)), 26),
    "of the largest in each window": lambda: on_map(lambda x: F.max_pool2d(x, 2).mean((2, 3)), 26),
    "of the largest, borders left out": lambda: on_map(lambda x: F.max_pool2d(x, 2).mean((2, 3))),
    "of the least in each window": lambda: on_map(lambda x: -F.max_pool2d(-x, 3).mean((2, 3)), 26),
    "before a linear layer": lambda: Net(
        lambda s, x: s.f(s.c(x).mean((2, 3))), c=conv(outputs=4), f=nn.Linear(4, 10)
    ),
    "before a 1×1 convolution": lambda: Net(
        lambda s, x: s.f(F.adaptive_avg_pool2d(s.c(x), 1)).flatten(1),
        c=conv(outputs=4), f=conv(4, 10, 1),
    ),
    "a product with one number": lambda: on_map(
        lambda x: x.flatten(2) @ torch.full((49, 1), 1 / 49)
    ),
    "divided before the sum": lambda: on_map(lambda x: (x / 49).sum((2, 3))),
    "the mean of a scaled map": lambda: on_map(lambda x: (0.5 * x).mean((2, 3))),
    "beside a maximum": lambda: Net(
        lambda s, x: s.f(torch.cat([s.c(x).mean((2, 3)), s.c(x).amax((2, 3))], 1)),
        c=conv(outputs=4), f=nn.Linear(8, 10),
    ),
    "a convolution with one number": lambda: on_map(
        lambda x: F.conv2d(x, torch.ones(10, 1, 7, 7) / 49, groups=10)
    ),
    "a linear layer of one number": lambda: on_map(
        lambda x: F.linear(x.flatten(2), torch.full((1, 49), 1 / 49))
    ),
    "a product with ones": lambda: on_map(lambda x: x.flatten(2) @ torch.ones(49) / 49),
    "a border that is not counted": lambda: on_map(
        lambda x: F.avg_pool2d(x, 9, padding=1, count_include_pad=False)
    ),
    "without its border": lambda: on_map(lambda x: x[:, :, 1:-1, 1:-1].mean((2, 3))),
    "pieces joined again": lambda: on_map(
        lambda x: torch.cat([x[:, :, 5:], x[:, :, :5]], 2).mean((2, 3))
    ),
    "larger again by a transposed convolution": lambda: Net(
        lambda s, x: s.t(s.c(x)).mean((2, 3)), c=conv(stride=4), t=nn.ConvTranspose2d(10, 10, 4, 2)
    ),
    "the image as a row first": lambda: Net(
        lambda s, x: s.c(x.view(-1, 784).view(-1, 1, 28, 28)).mean((2, 3)), c=conv()
    ),
    "rows of features": lambda: Net(
        lambda s, x: s.r(x.squeeze(1))[0].mean(1), r=nn.GRU(28, 10, batch_first=True)
    ),
    "behind squeeze-and-excitation": lambda: Net(
        lambda s, x: ((y := s.c(x)) * y.amax((2, 3), True).sigmoid()).mean((2, 3)), c=conv()
    ),
}  # fmt: skip

REFUSED: dict[str, tuple[Callable[[], Net], str]] = {
    "7×7 windows on 8×8": (lambda: on_map(nn.AvgPool2d(7), 8), "windows of 7×7 on a map of 8×8"),
    "windows with a border": (
        lambda: on_map(nn.AvgPool2d(8, stride=8, padding=1)), "border of zeros"),
    "a map of 1×1": (lambda: on_map(nn.AdaptiveAvgPool2d(1), 1), "1×1 already"),
    "the mean of a map of 1×1": (lambda: on_map(lambda x: x.mean((2, 3)), 1), "1×1 already"),
    "the largest of every other place": (
        lambda: on_map(lambda x: F.max_pool2d(x[:, :, ::2, ::2], 2).mean((2, 3)), 26), "only 2"),
    "the largest of a corner": (
        lambda: on_map(lambda x: F.max_pool2d(x[:, :, :8, :8], 2).mean((2, 3)), 26), "only 9%"),
    "max pooling": (lambda: on_map(nn.MaxPool2d(7)), "maximum"),
    "adaptive max pooling": (lambda: on_map(nn.AdaptiveMaxPool2d(1)), "maximum"),
    "amax": (lambda: on_map(lambda x: x.amax((2, 3))), "maximum"),
    "a sum": (lambda: on_map(lambda x: x.sum((2, 3))), "not divided by its size"),
    "a map left": (
        lambda: Net(lambda s, x: s.f(F.adaptive_avg_pool2d(s.c(x), 2).flatten(1)),
                    c=conv(outputs=4), f=nn.Linear(16, 10)),
        "leaves a 2×2 map",
    ),
    "one axis": (
        lambda: Net(lambda s, x: s.f(s.c(x).mean(3).flatten(1)), c=conv(outputs=4),
                    f=nn.Linear(4 * 26, 10)),
        "only a part of the map",
    ),
    "one value repeated": (
        lambda: on_map(lambda x: x.expand(-1, -1, 7, 7).mean((2, 3)), 1), "one value, repeated"),
    "one value made larger": (
        lambda: on_map(lambda x: F.interpolate(x, scale_factor=7).mean((2, 3)), 1),
        "one value, repeated"),
    "the image": (
        lambda: Net(lambda s, x: s.f(s.c(x).flatten(1)) + x.mean((2, 3)), c=conv(),
                    f=nn.Linear(6760, 10)),
        "averages the image itself",
    ),
    "one value spread over ones": (
        lambda: on_map(lambda x: (torch.ones(1, 1, 7, 7).expand_as(y := x.expand(-1, -1, 7, 7)) * y)
                       .mean((2, 3)), 1),
        "one value, repeated",
    ),
    "taken away again": (
        lambda: Net(lambda s, x: s.f((y := s.c(x)).flatten(1)) + (z := y.mean((2, 3))) - z.detach(),
                    c=conv(), f=nn.Linear(6760, 10)),
        "taken away",
    ),
    "times zero": (
        lambda: Net(lambda s, x: s.f(s.c(x).flatten(1)) + 0 * s.c(x).mean((2, 3)), c=conv(),
                    f=nn.Linear(6760, 10)),
        "multiplied by zero",
    ),
    "only a gate": (
        lambda: Net(lambda s, x: s.f(((y := s.c(x)) * y.mean((2, 3), True).sigmoid()).flatten(1)),
                    c=conv(), f=nn.Linear(6760, 10)),
        "squeeze-and-excitation",
    ),
    "channels that a linear layer made": (
        lambda: Net(lambda s, x: s.f(s.c(x).flatten(1)).view(-1, 10, 4, 4).mean((2, 3)),
                    c=conv(stride=4), f=nn.Linear(490, 160)),
        "no places of the image",
    ),
    "channels dealt out as places, and convolved": (
        lambda: Net(lambda s, x: s.d(s.c(x).view(-1, 10, 7, 7)).mean((2, 3)),
                    c=conv(outputs=490, kernel=28), d=conv(10, 10)),
        "no places of the image",
    ),
    "channels shuffled into places": (
        lambda: Net(lambda s, x: F.pixel_shuffle(s.c(x), 7).mean((2, 3)),
                    c=conv(outputs=490, kernel=28)),
        "spread out from one place",
    ),
    "one place, larger by a transposed convolution": (
        lambda: Net(lambda s, x: s.t(s.c(x)).mean((2, 3)), c=conv(kernel=28),
                    t=nn.ConvTranspose2d(10, 10, 7)),
        "spread out from one place",
    ),
    "one place, sampled again and again": (
        lambda: on_map(
            lambda x: F.grid_sample(
                x, torch.zeros(1, 7, 7, 2).expand(x.shape[0], -1, -1, -1), align_corners=False
            ).mean((2, 3)), 1),
        "spread out from one place",
    ),
    "two places": (
        lambda: on_map(lambda x: x[:, :, 3:4, 3:5].mean((2, 3))), "only 4% of the map"),
    "one row": (lambda: on_map(lambda x: x[:, :, 3].mean(2)), "only 14% of the map"),
    "a corner, normalised": (
        lambda: Net(lambda s, x: s.b(s.c(x)[:, :, :9, :9]).relu().mean((2, 3)), c=conv(),
                    b=nn.BatchNorm2d(10)),
        "only 12% of the map",
    ),
    "a corner with a border of zeros": (
        lambda: on_map(lambda x: F.pad(x[:, :, 3:5, 3:5], (3, 2, 3, 2)).mean((2, 3))),
        "only 8% of the map",
    ),
    "in training alone": (
        lambda: Net(
            lambda s, x: s.f((y := s.c(x)).flatten(1)) + (y.mean((2, 3)) if s.training else 0),
            c=conv(), f=nn.Linear(6760, 10)),
        "not used for the output in evaluation mode",
    ),
    "over the channels as well": (
        lambda: Net(lambda s, x: s.f(s.c(x).mean((1, 2, 3))[:, None]), c=conv(),
                    f=nn.Linear(1, 10)),
        "over the channels",
    ),
}  # fmt: skip
