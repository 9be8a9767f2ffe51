"""What a plain loop must do, without what it may leave out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grader.training.loop import Run
from grader.training.yardstick import Yardstick, idle, without
from tests.capturing import Net, conv
from tests.networks import NETWORKS
from tests.plans import patterns, plan_of

Forward = Callable[[Any, Tensor], Tensor]


def started(network: nn.Module) -> Run:
    """Make ready to train a network."""
    return Run(plan_of(network), 1, patterns(64, 10), lambda event: None)


def left(run: Run) -> list[str]:
    """Return the operations on which time is taken."""
    images, labels = next(run.batches(1))
    state = dict(run.network.state)
    found = idle(run, state, images[:8], labels[:8])
    graph, _ = without(run.plan.model.train, state, found, images)
    return [node.op for node in graph.nodes]


def heavy(net: Any, x: Tensor) -> Tensor:
    """Work hard: [B, 8, 28, 28]."""
    work: Tensor = net.ballast(x.repeat(1, 8, 1, 1))
    return work


def _never_read(net: Any, x: Tensor) -> Tensor:
    heavy(net, x)
    scores: Tensor = net.conv(x).mean((2, 3))
    return scores


def _into_a_counter(net: Any, x: Tensor) -> Tensor:
    net.count += heavy(net, x).mean()
    scores: Tensor = net.conv(x).mean((2, 3))
    return scores


def _times_nothing(net: Any, x: Tensor) -> Tensor:
    scores: Tensor = net.conv(x).mean((2, 3)) + 0 * heavy(net, x).mean()
    return scores


def _far_too_small(net: Any, x: Tensor) -> Tensor:
    scores: Tensor = net.conv(x).mean((2, 3)) + 1e-12 * heavy(net, x).mean().detach()
    return scores


def _taken_away(net: Any, x: Tensor) -> Tensor:
    work = heavy(net, x).mean().detach()
    scores: Tensor = net.conv(x).mean((2, 3)) + work - work
    return scores


def _rounded_away(net: Any, x: Tensor) -> Tensor:
    scores: Tensor = net.conv(x).mean((2, 3)) * (heavy(net, x).mean() > -1e30)
    return scores


BALLAST: dict[str, Forward] = {
    "never read": _never_read,
    "only counted": _into_a_counter,
    "times nothing": _times_nothing,
    "far too small": _far_too_small,
    "taken away": _taken_away,
    "rounded away": _rounded_away,
}


@pytest.mark.parametrize("name", BALLAST)
def test_ballast_is_no_part_of_the_measure(name: str) -> None:
    """A convolution that changes neither scores nor gradients is not timed."""
    ballast = nn.Conv2d(8, 8, 3, padding=1)
    network = Net(BALLAST[name], conv=conv(), ballast=ballast)
    network.register_buffer("count", torch.zeros(()))

    assert left(started(network)).count("aten.conv2d.default") == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_honest_work_is_measured(name: str) -> None:
    """Every layer of an ordinary network stays."""
    torch.manual_seed(0)
    run = started(NETWORKS[name]())
    weighty = ("aten.conv2d.default", "aten.linear.default", "aten.matmul.default")
    stated = [node.op for node in run.plan.model.train.nodes if node.op in weighty]

    assert [op for op in left(run) if op in weighty] == stated


def test_what_gradients_alone_go_through_is_work() -> None:
    """A straight-through estimate changes no score, and cannot be left out."""

    def forward(net: Any, x: Tensor) -> Tensor:
        soft: Tensor = net.conv(x).mean((2, 3))
        return F.one_hot(soft.argmax(1), 10) + soft - soft.detach()

    assert left(started(Net(forward, conv=conv()))).count("aten.conv2d.default") == 1


def test_gradients_of_what_is_never_trained_are_no_part_of_it() -> None:
    """A loop that leaves half of the weights as they are is measured without their gradients."""
    run = started(
        Net(lambda n, x: n.two(F.relu(n.one(x))).mean((2, 3)), one=conv(1, 8), two=conv(8))
    )
    yardstick = Yardstick(run)
    yardstick.measure()
    with torch.no_grad():
        run.network.state["two.weight"].add_(0.1)
    yardstick.measure()

    assert yardstick.trained == {"two.weight"}
    assert yardstick.seconds > 0
