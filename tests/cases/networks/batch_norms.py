"""Networks with a batch norm that acts, and with what only looks like one and the reason told."""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, cat, nn, ones, stack, where, zeros

from tests.capturing import Net, conv


def pooled(x: Tensor) -> Tensor:
    """Return [B, 10] scores."""
    return x.mean((2, 3))


def frozen(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """Return a norm whose weight is zero for good."""
    assert norm.weight is not None
    nn.init.zeros_(norm.weight)
    norm.weight.requires_grad_(False)
    return norm


class Stubborn(nn.BatchNorm2d):
    """A norm that ignores `train()`."""

    def train(self, mode: bool = True) -> "Stubborn":
        super().train(False)
        return self


class Live(nn.BatchNorm2d):
    """A norm that ignores `eval()`."""

    def train(self, mode: bool = True) -> "Live":
        super().train(True)
        return self


COUNTED: dict[str, Callable[[], Net]] = {
    "2d": lambda: Net(lambda s, x: pooled(s.b(s.c(x))), c=conv(), b=nn.BatchNorm2d(10)),
    "1d": lambda: Net(lambda s, x: s.b(pooled(s.c(x))), c=conv(), b=nn.BatchNorm1d(10)),
    "without weights": lambda: Net(
        lambda s, x: pooled(s.b(s.c(x))), c=conv(), b=nn.BatchNorm2d(10, affine=False)
    ),
    "function": lambda: Net(
        lambda s, x: pooled(F.batch_norm(s.c(x), s.m, s.v, training=s.training)),
        c=conv(), m=nn.Buffer(zeros(10)), v=nn.Buffer(zeros(10) + 1),
    ),
    "in a sequential": lambda: Net(
        lambda s, x: pooled(s.q(x)), q=nn.Sequential(conv(), nn.BatchNorm2d(10), nn.ReLU())
    ),
    "in a residual branch": lambda: Net(
        lambda s, x: pooled((y := s.c(x)) + s.b(y)), c=conv(), b=nn.BatchNorm2d(10)
    ),
    "in a concatenated branch": lambda: Net(
        lambda s, x: pooled(cat([s.c(x), s.b(s.d(x))], 1)),
        c=conv(outputs=5), d=conv(outputs=5), b=nn.BatchNorm2d(5),
    ),
    "before an operation in place": lambda: Net(
        lambda s, x: pooled(F.relu_(s.b(s.c(x)))), c=conv(), b=nn.BatchNorm2d(10)
    ),
    "zero at the start but trained": lambda: Net(
        lambda s, x: pooled((y := s.c(x)) + s.b(y)), c=conv(), b=zero_start(nn.BatchNorm2d(10))
    ),
    "slow statistics": lambda: Net(
        lambda s, x: pooled(s.b(s.c(x))), c=conv(), b=nn.BatchNorm2d(10, momentum=0.001)
    ),
    "the last batch's statistics": lambda: Net(
        lambda s, x: pooled(s.b(s.c(x))), c=conv(), b=nn.BatchNorm2d(10, momentum=1.0)
    ),
    "a large eps": lambda: Net(
        lambda s, x: pooled(s.b(s.c(x))), c=conv(), b=nn.BatchNorm2d(10, eps=0.8)
    ),
    "on the images": lambda: Net(
        lambda s, x: pooled(s.c(s.b(x))), c=conv(), b=nn.BatchNorm2d(1)
    ),
    "lazy": lambda: Net(lambda s, x: pooled(s.b(s.c(x))), c=conv(), b=nn.LazyBatchNorm2d()),
}  # fmt: skip


def zero_start(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """Start a norm's weight at zero, as residual networks do."""
    nn.init.zeros_(norm.weight)
    return norm


TAKEN_AWAY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "a gradient alone": lambda x, y: x + y - y.detach(),
    "added and taken away twice": lambda x, y: x + 2 * y - (y + y),
    "added to a copy and taken away": lambda x, y: (x.clone().contiguous() + y) - y.clone(),
    "taken away in another shape": lambda x, y: x + (y.flatten(1) - y.flatten(1)).view_as(x),
    "large, added and taken away": lambda x, y: (x + 3e3 * y) - 3e3 * (y / 2 + y / 2),
    "scaled to almost nothing": lambda x, y: x + y * 1e-6,
    "scaled to nothing in two steps": lambda x, y: x + (y * 1e-6) * 1e-6,
    "rounded away beside a large number": lambda x, y: x + ((y * 1e-4 + 1e6) - 1e6) * 1e3,
    "a choice between twins": lambda x, y: x + where(x > 0, y, y) - y,
    "the first of two": lambda x, y: stack([x, y])[0],
    "in half precision and back": lambda x, y: x + y - y.half().float(),
}


def beside(use: Callable[[Tensor, Tensor], Tensor]) -> Net:
    """Return a network that makes something of a map and its batch norm."""
    return Net(lambda s, x: pooled(use(y := s.c(x), s.b(y))), c=conv(), b=nn.BatchNorm2d(10))


REFUSED: dict[str, tuple[Callable[[], Net], str]] = {
    "without running statistics": (
        lambda: Net(lambda s, x: pooled(s.b(s.c(x))), c=conv(),
                    b=nn.BatchNorm2d(10, track_running_stats=False)),
        "track_running_stats=False",
    ),
    "momentum 0": (
        lambda: Net(lambda s, x: pooled(s.b(s.c(x))), c=conv(), b=nn.BatchNorm2d(10, momentum=0)),
        "momentum is 0",
    ),
    "next to no momentum": (
        lambda: Net(lambda s, x: pooled(s.b(s.c(x))), c=conv(),
                    b=nn.BatchNorm2d(10, momentum=1e-6)),
        "momentum is 1e-06",
    ),
    "momentum beyond 1": (
        lambda: Net(lambda s, x: pooled(s.b(s.c(x))), c=conv(), b=nn.BatchNorm2d(10, momentum=2)),
        "momentum is 2",
    ),
    "an eps beside which there is no variance": (
        lambda: Net(lambda s, x: pooled(s.b(s.c(x))), c=conv(), b=nn.BatchNorm2d(10, eps=1e6)),
        "eps is 1e+06",
    ),
    "frozen in training": (
        lambda: Net(lambda s, x: pooled(s.b(s.c(x))), c=conv(), b=Stubborn(10)),
        "frozen",
    ),
    "live in evaluation": (
        lambda: Net(lambda s, x: pooled(s.b(s.c(x))), c=conv(), b=Live(10)),
        "statistics of the test batch",
    ),
    "multiplied by zero": (
        lambda: Net(lambda s, x: pooled((y := s.c(x)) + 0 * s.b(y)), c=conv(),
                    b=nn.BatchNorm2d(10)),
        "multiplied by zero",
    ),
    "multiplied by next to nothing": (
        lambda: Net(lambda s, x: pooled((y := s.c(x)) + 1e-20 * s.b(y)), c=conv(),
                    b=nn.BatchNorm2d(10)),
        "multiplied by zero",
    ),
    "multiplied by a buffer of zeros": (
        lambda: Net(lambda s, x: pooled((y := s.c(x)) + s.z * s.b(y)), c=conv(),
                    b=nn.BatchNorm2d(10), z=nn.Buffer(zeros(10, 1, 1))),
        "multiplied by zero",
    ),
    "with a weight of zero for good": (
        lambda: Net(lambda s, x: pooled((y := s.c(x)) + s.b(y)), c=conv(),
                    b=frozen(nn.BatchNorm2d(10))),
        "no data of the image|not used",
    ),
    "added and taken away": (
        lambda: Net(lambda s, x: pooled(s.c(x) + ((y := s.b(s.c(x))) - y)), c=conv(),
                    b=nn.BatchNorm2d(10)),
        "not used for the output",
    ),
    **{
        name: (partial(beside, use), "not used for the output")
        for name, use in TAKEN_AWAY.items()
    },
    "asked only for its shape": (
        lambda: Net(lambda s, x: pooled((y := s.c(x)) + s.b(y).new_zeros(1)), c=conv(),
                    b=nn.BatchNorm2d(10)),
        "not used for the output",
    ),
    "joined and cut off again": (
        lambda: Net(
            lambda s, x: pooled(cat([y := s.c(x), s.b(y)], 1)[:, :10]),
            c=conv(), b=nn.BatchNorm2d(10),
        ),
        "not used for the output",
    ),
    "written over": (
        lambda: Net(lambda s, x: pooled(s.b(y := s.c(x)).copy_(y)), c=conv(),
                    b=nn.BatchNorm2d(10)),
        "not used for the output",
    ),
    "statistics thrown away": (
        lambda: Net(
            lambda s, x: pooled(F.batch_norm(s.c(x), zeros(10), ones(10), training=s.training)),
            c=conv(),
        ),
        "made anew",
    ),
    "missing in evaluation": (
        lambda: Net(lambda s, x: pooled(s.b(s.c(x)) if s.training else s.c(x)), c=conv(),
                    b=nn.BatchNorm2d(10)),
        "missing in evaluation",
    ),
    "group norm": (
        lambda: Net(lambda s, x: pooled(s.b(s.c(x))), c=conv(), b=nn.GroupNorm(2, 10)),
        "group norm",
    ),
    "layer norm": (
        lambda: Net(lambda s, x: pooled(s.b(s.c(x))), c=conv(), b=nn.LayerNorm([10, 26, 26])),
        "layer norm",
    ),
    "instance norm": (
        lambda: Net(lambda s, x: pooled(s.b(s.c(x))), c=conv(),
                    b=nn.InstanceNorm2d(10, track_running_stats=True)),
        "instance norm",
    ),
}  # fmt: skip
