"""What a network knows before it has learned anything, wherever it keeps it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grader.events import AnyEvent, Blank, Recalled
from grader.plan import schema
from grader.training import loop
from grader.training.knowledge import blank
from tests.boxed import boxed
from tests.capturing import Net, conv
from tests.networks import Plain
from tests.plans import patterns, plan_of

DATA = patterns(600, 200)
PIXELS = 49


def _seen(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 4).flatten(1)


def elsewhere() -> Tensor:
    """Train a linear network on the test images: [10, 49]."""
    images = _seen(torch.from_numpy(DATA.test_images)[:, None] / 255.0)
    labels = torch.from_numpy(DATA.test_labels).long()
    weight = torch.zeros(10, PIXELS, requires_grad=True)
    optimizer = torch.optim.Adam([weight], 0.1)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(images @ weight.t(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return weight.detach()


class Kept(nn.Module):
    """Adds scores of weights it brought along to those it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv()
        self.table: Tensor
        self.register_buffer("table", elsewhere())

    def scores(self, x: Tensor, weight: Tensor) -> Tensor:
        """Score images [B, 1, 28, 28]."""
        learned: Tensor = self.conv(x).mean((2, 3))
        return learned * 0.01 + _seen(x) @ weight.t()

    def forward(self, x: Tensor) -> Tensor:
        """Use the table."""
        return self.scores(x, self.table)


class Waits(Kept):
    """Uses it from its third training step on."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Count, and use the table once it is time."""
        if self.training:
            self.steps += 1
        return self.scores(x, self.table * (self.steps > 2))


class Pulled(Kept):
    """Hands out weights that are nothing at first, for a loss that knows what they should be."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(10, PIXELS))

    def forward(self, x: Tensor) -> Tensor:
        """Give ten scores and all weights."""
        weights = self.weight.flatten().expand(x.shape[0], 10 * PIXELS)
        return torch.cat([self.scores(x, self.weight), weights], 1)


def pulled() -> schema.Plan:
    """Make a plan whose loss pulls weights to a table."""
    table = elsewhere().flatten()

    def loss(output: Tensor, target: Tensor) -> Tensor:
        off = F.mse_loss(output[:, 10:].mean(0), table, reduction="sum")
        return F.cross_entropy(output[:, :10], target) + off

    plan = plan_of(Pulled(), batch=32)
    graph = boxed("capture").loss_json(loss, 10 + 10 * PIXELS, set())
    decoded = msgspec.json.decode(msgspec.json.encode(graph), type=schema.Graph)
    return msgspec.structs.replace(plan, recipe=msgspec.structs.replace(plan.recipe, loss=decoded))


BROUGHT: dict[str, Callable[[], schema.Plan]] = {
    "untrained": lambda: plan_of(Kept(), batch=32),
    "still": lambda: plan_of(Waits(), batch=32),
    "shuffled": pulled,
}


@pytest.mark.parametrize("when", BROUGHT)
def test_knowledge_that_was_brought_along_shows(when: str) -> None:
    """In a table at once, behind a counter after a few steps, in a loss after a short training."""
    found = blank(BROUGHT[when](), 1, DATA)

    assert getattr(found, when) > 0.8 * found.asked


def test_a_network_with_nothing_in_it_knows_nothing() -> None:
    """Neither untrained nor after labels that mean nothing."""
    torch.manual_seed(0)
    found = blank(plan_of(Plain(), batch=32), 1, DATA)

    assert found.asked == len(DATA.test_images)
    assert max(found.untrained, found.still, found.shuffled) < 0.5 * found.asked


def test_renamed_answers_are_knowledge_too() -> None:
    """A network that calls every digit by the next one's name tells them apart."""
    table = elsewhere()

    def forward(net: Any, x: Tensor) -> Tensor:
        renamed: Tensor = (_seen(x) @ table.t()).roll(1, 1)
        learned: Tensor = net.conv(x).mean((2, 3))
        return renamed + 0.01 * learned

    plan = plan_of(Net(forward, conv=conv()), batch=32)
    found = blank(plan, 1, DATA)

    assert found.untrained > 0.8 * found.asked


def test_a_training_is_the_same_with_and_without_the_questions() -> None:
    """Nothing of what is asked before it moves a random number of a training."""
    plan = plan_of(Plain(), batch=32)

    def trained(*, asked: bool) -> dict[str, Tensor]:
        if asked:
            blank(plan, 3, DATA)
        return loop.train(plan, 3, DATA, lambda event: None).state

    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    assert isinstance(blank(plan, 3, DATA), Blank)
    assert torch.equal(before, torch.random.get_rng_state())
    one, other = trained(asked=False), trained(asked=True)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_training_images_are_asked_at_the_end() -> None:
    """What it answers of them is told, prepared as the test images are."""
    told: list[AnyEvent] = []
    loop.train(plan_of(Plain(), batch=32, epochs=2), 1, DATA, told.append)

    (recalled,) = [event for event in told if isinstance(event, Recalled)]
    assert recalled.asked == len(DATA.train_images)
    assert recalled.errors < recalled.asked


def test_a_batch_larger_than_the_data_is_asked_for_less() -> None:
    """Any batch size can be asked about."""
    assert blank(plan_of(Plain(), batch=5_000), 1, DATA).asked == len(DATA.test_images)
