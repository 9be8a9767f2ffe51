"""Networks whose images affect each other, and such as only move the batch about."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from tests.capturing import Net, conv

MIXED: dict[str, Callable[[], Net]] = {
    "kernels of another image": lambda: Net(
        lambda s, x: by_image(y := s.c(x), s.k(y.mean((2, 3))).flip(0)).mean((2, 3)),
        c=conv(stride=2), k=nn.Linear(10, 900),
    ),
    "kernels dealt out in another order": lambda: Net(
        lambda s, x: by_image(
            y := s.c(x), s.k(y.mean((2, 3))).view(-1, 10, 90).transpose(0, 1).contiguous()
        ).mean((2, 3)),
        c=conv(stride=2), k=nn.Linear(10, 900),
    ),
    "batch statistics": lambda: Net(
        lambda s, x: s.b(s.c(x)).mean((2, 3)),
        c=conv(), b=nn.BatchNorm2d(10, track_running_stats=False),
    ),
    "mean over the batch": lambda: Net(
        lambda s, x: (y := s.c(x).mean((2, 3))) - y.mean(0), c=conv()
    ),
    "mean over everything": lambda: Net(
        lambda s, x: s.c(x).mean((2, 3)) / s.c(x).abs().mean(), c=conv()
    ),
    "maximum over the batch": lambda: Net(
        lambda s, x: (y := s.c(x).mean((2, 3))) - y.max(0)[0], c=conv()
    ),
    "softmax over the batch": lambda: Net(
        lambda s, x: s.c(x).mean((2, 3)).softmax(0), c=conv()
    ),
    "sum of what went before": lambda: Net(
        lambda s, x: s.c(x).mean((2, 3)).cumsum(0), c=conv()
    ),
    "sorted": lambda: Net(lambda s, x: s.c(x).mean((2, 3)).sort(0)[0], c=conv()),
    "reversed": lambda: Net(lambda s, x: (y := s.c(x).mean((2, 3))) + y.flip(0), c=conv()),
    "rolled": lambda: Net(lambda s, x: (y := s.c(x).mean((2, 3))) + y.roll(1, 0), c=conv()),
    "similarity to others": lambda: Net(
        lambda s, x: (y := s.c(x).mean((2, 3)), (y @ y.T).softmax(1) @ y)[1], c=conv()
    ),
    "attention to others": lambda: Net(
        lambda s, x: s.a(y := s.c(x).flatten(2).mT, y, y)[0].mean(1),
        c=conv(stride=4), a=nn.MultiheadAttention(10, 2),
    ),
    "the first image": lambda: Net(
        lambda s, x: (y := s.c(x).mean((2, 3))) - y[0], c=conv()
    ),
    "rows of several images": lambda: Net(
        lambda s, x: (y := s.c(x).mean((2, 3))) + y.T.reshape(-1, 10), c=conv()
    ),
    "distances": lambda: Net(
        lambda s, x: (y := s.c(x).mean((2, 3))) * torch.cdist(y, y).sum(1, True), c=conv()
    ),
    "summed by letters": lambda: Net(
        lambda s, x: (y := s.c(x).mean((2, 3))) - torch.einsum("bc->c", y), c=conv()
    ),
    "the largest of the batch": lambda: Net(
        lambda s, x: s.c(x).mean((2, 3)).topk(1, 0)[0] + s.c(x).mean((2, 3)), c=conv()
    ),
}  # fmt: skip


def by_image(x: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """Convolve maps [B, 10, H, W] with kernels [B, 10, 10, 3, 3], each with its own."""
    n, _, h, w = x.shape
    y = F.conv2d(x.reshape(1, n * 10, h, w), kernels.reshape(n * 10, 10, 3, 3), groups=n)
    return y.view(n, 10, h - 2, w - 2)


INDEPENDENT: dict[str, Callable[[], Net]] = {
    "flip and average": lambda: Net(
        lambda s, x: (s.c(x) + s.c(x.flip(3))).mean((2, 3)), c=conv()
    ),
    "two views in one batch": lambda: Net(
        lambda s, x: sum(s.c(torch.cat([x, x.flip(3)])).mean((2, 3)).chunk(2)), c=conv()
    ),
    "attention": lambda: Net(
        lambda s, x: s.a(y := s.c(x).flatten(2).mT, y, y)[0].mean(1),
        c=conv(stride=4), a=nn.MultiheadAttention(10, 2, batch_first=True),
    ),
    "attention, steps first": lambda: Net(
        lambda s, x: s.a(y := s.c(x).flatten(2).permute(2, 0, 1), y, y)[0].mean(0),
        c=conv(stride=4), a=nn.MultiheadAttention(10, 2),
    ),
    "rows as a sequence": lambda: Net(
        lambda s, x: s.r(x.squeeze(1))[0][:, -1], r=nn.LSTM(28, 10, batch_first=True)
    ),
    "patches": lambda: Net(
        lambda s, x: s.f(x.unfold(2, 7, 7).unfold(3, 7, 7).reshape(-1, 16, 49)).mean(1),
        f=nn.Linear(49, 10),
    ),
    "patches in the batch": lambda: Net(
        lambda s, x: s.f(x.view(-1, 4, 7, 28).reshape(-1, 196)).view(-1, 4, 10).mean(1),
        f=nn.Linear(196, 10),
    ),
    "channel shuffle": lambda: Net(
        lambda s, x: s.c(x).view(-1, 2, 5, 26, 26).transpose(1, 2).reshape(-1, 10, 26, 26)
        .mean((2, 3)), c=conv(),
    ),
    "norms of an image": lambda: Net(
        lambda s, x: s.g(s.l(s.i(s.c(x)))).mean((2, 3)), c=conv(),
        g=nn.GroupNorm(2, 10), l=nn.LayerNorm([10, 26, 26]), i=nn.InstanceNorm2d(10),
    ),
    "normalised scores": lambda: Net(
        lambda s, x: F.normalize(s.c(x).mean((2, 3)), dim=1), c=conv()
    ),
    "channels picked": lambda: Net(lambda s, x: s.c(x).mean((2, 3))[:, 2:12], c=conv(outputs=12)),
    "channels indexed": lambda: Net(
        lambda s, x: s.c(x).mean((2, 3))[:, torch.arange(10).flip(0)], c=conv()
    ),
    "kernels for each image": lambda: Net(
        lambda s, x: by_image(y := s.c(x), s.k(y.mean((2, 3)))).mean((2, 3)),
        c=conv(stride=2), k=nn.Linear(10, 900),
    ),
    "distances to points that are learned": lambda: Net(
        lambda s, x: -torch.cdist(s.c(x).mean((2, 3)), s.p), c=conv(), p=nn.Parameter(
            torch.randn(10, 10))
    ),
    "upsampled": lambda: Net(
        lambda s, x: s.c(F.interpolate(x, scale_factor=2, mode="bilinear")).mean((2, 3)), c=conv()
    ),
    "unbound": lambda: Net(
        lambda s, x: torch.stack(s.c(x).mean((2, 3)).unbind(1)[::-1], 1), c=conv()
    ),
}  # fmt: skip
