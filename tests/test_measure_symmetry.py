"""In which ways images may lie is measured: turned weights undo it, or they do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from grader.training.turned import turned
from tests.capturing import Net, conv, facts

ALL = (0, 1, 2, 3, 4, 5, 6, 7)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "square kernels and an average": (
        lambda: Net(lambda s, x: s.d(F.relu(s.b(s.c(x)))).mean((2, 3)),
                    c=conv(1, 8), b=nn.BatchNorm2d(8), d=conv(8, 10)), ALL),
    "dropout and pooling that fits": (
        lambda: Net(
            lambda s, x: s.d(F.max_pool2d(F.dropout(s.c(x), 0.1, s.training), 2)).mean((2, 3)),
                    c=nn.Conv2d(1, 8, 3, padding=1), d=conv(8, 10)), ALL),
    "kernels longer than wide": (
        lambda: Net(lambda s, x: s.c(x).relu().mean((2, 3)), c=nn.Conv2d(1, 10, (1, 5))),
        (0, 1, 2, 3)),
    "padding on one side": (
        lambda: Net(lambda s, x: s.c(F.pad(x, (2, 0, 0, 0))).relu().mean((2, 3)), c=conv()),
        (0, 2)),
    "rows that are read in order": (
        lambda: Net(lambda s, x: s.line(s.rnn(x.squeeze(1))[0][:, -1]),
                    rnn=nn.RNN(28, 8, batch_first=True), line=nn.Linear(8, 10)), (0,)),
    "a layer tied to places": (
        lambda: Net(lambda s, x: s.line(F.avg_pool2d(x, 7).flatten(1)), line=nn.Linear(16, 10)),
        (0,)),
    "a filter of the author's": (
        lambda: Net(lambda s, x: s.c(F.conv2d(x, s.edges)).relu().mean((2, 3)), c=conv(),
                    edges=nn.Buffer(torch.tensor([[[[-1.0, 0.0, 1.0]]]]))), (0, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_the_turns_a_network_does_not_notice_are_found(name: str) -> None:
    """What is tied to a place or a direction is found by its scores, whatever it is called."""
    make, expected = NETWORKS[name]

    assert facts(make()).symmetries == expected


@pytest.mark.parametrize("turn", ALL)
def test_a_turn_can_be_undone(turn: int) -> None:
    """Turned at most four times, an image lies as it did; no two turns are the same."""
    image = torch.arange(9.0).view(1, 1, 3, 3)
    after = image
    for _ in range(4):
        after = turned(after, turn)

    assert torch.equal(after, image)
    assert sum(torch.equal(turned(image, turn), turned(image, other)) for other in ALL) == 1
