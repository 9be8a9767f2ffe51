"""Batch norm is found by what it does."""

from collections.abc import Callable

import pytest
import torch.nn.functional as F
from torch import Tensor, cat, nn, ones, zeros

from tests.capturing import Net, conv, facts


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


@pytest.mark.parametrize("name", COUNTED)
def test_batch_norm_that_acts_counts(name: str) -> None:
    """Batch statistics in training, running ones in evaluation, on the path: it counts."""
    found = facts(COUNTED[name]()).batch_norm

    assert [f.counts for f in found] == [True], found


@pytest.mark.parametrize("name", REFUSED)
def test_what_only_looks_like_batch_norm_does_not_count(name: str) -> None:
    """A decoy or a near miss is listed, not counted, and the reason is told."""
    make, reason = REFUSED[name]
    (found,) = facts(make()).batch_norm

    assert not found.counts
    assert any(part in found.why for part in reason.split("|")), found.why


def test_declared_and_unused_norm_is_no_finding() -> None:
    """A layer that forward never calls is not in the graph."""
    net = Net(lambda s, x: pooled(s.c(x)), c=conv(), b=nn.BatchNorm2d(10))

    assert facts(net).batch_norm == []
