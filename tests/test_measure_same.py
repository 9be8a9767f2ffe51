"""Evaluation must run the network that was trained."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.capturing import Net, conv, facts
from tests.networks import NETWORKS


class Auxiliary(nn.Module):
    """Gives a second result in training, as GoogLeNet does."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.d = conv(), conv()

    def forward(self, x: Tensor) -> Any:
        scores = self.c(x).mean((2, 3))
        return (scores, self.d(x).mean((2, 3))) if self.training else scores


def noisy(change: Callable[[Tensor], Tensor]) -> Net:
    """Return a network that changes its map in training alone."""
    return Net(lambda s, x: (change(s.c(x)) if s.training else s.c(x)).mean((2, 3)), c=conv())


DIFFERENT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "another layer": (
        lambda: Net(lambda s, x: (s.c(x) if s.training else s.d(x)).mean((2, 3)),
                    c=conv(), d=conv()),
        "+ conv2d(x, d.weight",
    ),
    "another number": (
        lambda: Net(lambda s, x: s.c(x).mean((2, 3)) * (1.0 if s.training else 1.5), c=conv()),
        "1.5",
    ),
    "another pooling": (
        lambda: Net(lambda s, x: (s.c(x).mean((2, 3)) if s.training else s.c(x).amax((2, 3))),
                    c=conv()),
        "+ amax",
    ),
    "another wiring": (
        lambda: Net(lambda s, x: s.f(s.d(s.c(x)) if s.training else s.c(s.d(x))).mean((2, 3)),
                    c=conv(1, 1), d=conv(1, 1), f=conv(1, 10, 1)),
        "d.weight",
    ),
    "dropout left on": (
        lambda: Net(lambda s, x: F.dropout(s.c(x)).mean((2, 3)), c=conv()), "+ dropout"),
    "batch norm left on": (
        lambda: Net(lambda s, x: F.batch_norm(s.c(x), s.m, s.v, training=True).mean((2, 3)),
                    c=conv(), m=nn.Buffer(torch.zeros(10)), v=nn.Buffer(torch.ones(10))),
        "+ batch_norm",
    ),
    "noise left on": (
        lambda: Net(lambda s, x: (s.c(x) + torch.randn_like(s.c(x))).mean((2, 3)), c=conv()),
        "+ randn_like",
    ),
    "noise in evaluation alone": (
        lambda: Net(lambda s, x: (s.c(x) + torch.randn_like(s.c(x)) * (not s.training))
                    .mean((2, 3)), c=conv()),
        "+ randn_like",
    ),
    "noise that is no zero on average": (
        lambda: noisy(lambda x: x + 1 + torch.rand_like(x)), "- add"),
    "noise that scales by two": (lambda: noisy(lambda x: x * (2 + torch.randn_like(x))), "- mul"),
    "noise with itself": (lambda: noisy(lambda x: x + (n := torch.randn_like(x)) * n), "- add"),
    "noise that chooses": (
        lambda: Net(
            lambda s, x: s.c(
                torch.where(torch.randn_like(x) > 0, x, x.flip(3)) if s.training else x
            ).relu().mean((2, 3)), c=conv()),
        "- where"),
    "what the image adds in training": (lambda: noisy(lambda x: x + 0.1 * x.flip(3)), "- flip"),
    "flipped in evaluation": (
        lambda: Net(lambda s, x: s.c(x if s.training else x.flip(3)).mean((2, 3)), c=conv()),
        "+ flip",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_ordinary_networks_are_the_same(name: str) -> None:
    """Dropout and batch norm, whatever the architecture, make no difference."""
    found = facts(NETWORKS[name]())

    assert found.difference == []
    assert found.same_network


SAME: dict[str, Callable[[], nn.Module]] = {
    "an auxiliary result": Auxiliary,
    "noise switched off": lambda: Net(
        lambda s, x: (s.c(x) + torch.randn_like(s.c(x)) * s.training).mean((2, 3)), c=conv()
    ),
    "noise on the image": lambda: Net(
        lambda s, x: s.c(x + 0.1 * torch.randn_like(x) if s.training else x).mean((2, 3)), c=conv()
    ),
    "noise as large as the map": lambda: noisy(
        lambda x: x + torch.zeros(1).repeat(*x.size()).normal_() * (0.1 * x.detach())
    ),
    "noise whose size is learned": lambda: Net(
        lambda s, x: (s.c(x) + s.a * torch.randn_like(s.c(x)) * s.training).mean((2, 3)),
        c=conv(), a=nn.Parameter(torch.ones(())),
    ),
    "noise of an interval": lambda: noisy(lambda x: x + 0.2 * (torch.rand_like(x) - 0.5)),
    "Gaussian dropout": lambda: noisy(lambda x: x * torch.normal(1.0, 0.3, x.shape)),
    "noise that scales by one": lambda: noisy(lambda x: x * (1 + 0.1 * torch.randn_like(x))),
    "uniform factors": lambda: noisy(lambda x: x * torch.empty_like(x).uniform_(0.5, 1.5)),
    "branches mixed at random": lambda: Net(
        lambda s, x: (
            (a := torch.rand(x.shape[0], 1, 1, 1) if s.training else 0.5) * s.c(x)
            + (1 - a) * s.d(x)
        ).mean((2, 3)),
        c=conv(), d=conv(),
    ),
    "operations in place on what was dropped": lambda: Net(
        lambda s, x: F.relu_(s.d(s.c(x))).mul_(2).mean((2, 3)), c=conv(), d=nn.Dropout(0.1)
    ),
    "instance norm with running statistics": lambda: Net(
        lambda s, x: s.n(s.c(x)).mean((2, 3)),
        c=conv(), n=nn.InstanceNorm2d(10, track_running_stats=True),
    ),
    "a branch that only scales noise": lambda: noisy(
        lambda x: x + torch.randn(1) * F.avg_pool2d(x, 3, 1, 1).flip(3)
    ),
    "another layer that only scales noise": lambda: Net(
        lambda s, x: (s.c(x) + torch.randn(1) * s.d(x) if s.training else s.c(x)).mean((2, 3)),
        c=conv(), d=conv(),
    ),
    "a branch that is next to nothing in evaluation": lambda: Net(
        lambda s, x: (s.c(x) + s.d(x) * (torch.randn(1) + 1e-30 if s.training else 1e-30))
        .mean((2, 3)), c=conv(), d=conv(),
    ),
    "random leaky relu": lambda: Net(lambda s, x: s.a(s.c(x)).mean((2, 3)), c=conv(), a=nn.RReLU()),
    "detach in training": lambda: Net(
        lambda s, x: s.c(x.detach() if s.training else x).mean((2, 3)), c=conv()
    ),
    "attention with dropout": lambda: Net(
        lambda s, x: s.e(s.c(x).flatten(2).mT).mean(1),
        c=conv(stride=4), e=nn.TransformerEncoderLayer(10, 2, 16, batch_first=True),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SAME)
def test_training_may_differ_in_what_does_not_count(name: str) -> None:
    """Auxiliary results, aliases, and layers that are random by design are no difference."""
    found = facts(SAME[name]())

    assert found.same_network, found.difference


@pytest.mark.slow
@pytest.mark.parametrize("name", DIFFERENT)
def test_another_network_in_evaluation_is_found(name: str) -> None:
    """The difference is shown, operation by operation."""
    make, shown = DIFFERENT[name]
    found = facts(make())

    assert not found.same_network
    assert any(shown in line for line in found.difference), found.difference
