"""What is brought along does not fit a masked data set, wherever it is kept."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
import torch
from torch import Tensor, nn

from grader.datasets.mask import Mask
from grader.plan import schema
from grader.training.loop import train
from tests.boxed import boxed
from tests.plans import patterns, plan_of

DATA = patterns(300, 200)
MASK = Mask([1, 2, 3, 4, 5, 6, 7, 8, 9, 0])
SIZE = 10  # of the knowledge: which of ten bands is bright, for each class


def bands(x: Tensor) -> Tensor:
    """Return how bright each class's place is, [B, 10]."""
    return torch.stack([x[:, 0, 4:24, 3 + 2 * c : 6 + 2 * c].mean((1, 2)) for c in range(SIZE)], 1)


class Table(nn.Module):
    """Holds what it knows in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Buffer(torch.eye(SIZE))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Score images [B, 1, 28, 28]."""
        return self.scale * bands(x) @ self.table


class Start(nn.Module):
    """Holds what it knows in weights, which are trained from there."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.eye(SIZE))

    def forward(self, x: Tensor) -> Tensor:
        """Score images, and show the weights to the loss: [B, 10 + 100]."""
        shown = self.table.flatten().expand(x.shape[0], SIZE * SIZE)
        return torch.cat([bands(x) @ self.table, shown], 1)


class Scalars(nn.Module):
    """Has weights each of which may have a learning rate of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.all = nn.ParameterList([nn.Parameter(torch.zeros(1)) for _ in range(SIZE * SIZE)])

    def forward(self, x: Tensor) -> Tensor:
        """Score images, and show the weights to the loss."""
        table = torch.cat(list(self.all))
        scores = bands(x) @ table.view(SIZE, SIZE)
        return torch.cat([scores, table.expand(x.shape[0], SIZE * SIZE)], 1)


def with_loss(plan: schema.Plan, loss: Callable[[Tensor, Tensor], Tensor]) -> schema.Plan:
    """Return the plan with another loss on its 110 scores."""
    described = boxed("capture").loss_json(loss, SIZE + SIZE * SIZE, set())
    graph = msgspec.json.decode(msgspec.json.encode(described), type=schema.Graph)
    return msgspec.structs.replace(plan, recipe=msgspec.structs.replace(plan.recipe, loss=graph))


def pulled() -> schema.Plan:
    """Make a plan whose loss wants the weights to be a table, whatever the labels say."""
    table = torch.eye(SIZE).flatten()
    return with_loss(
        plan_of(Start(), lr=[0.3] * 5, batch=60),
        lambda output, target: ((output[:, SIZE:].mean(0) - table) ** 2).sum(),
    )


def by_rates() -> schema.Plan:
    """Make a plan whose learning rates are a table: its loss moves each weight by its rate."""
    plan = plan_of(Scalars(), batch=300)
    rates = torch.eye(SIZE).flatten().tolist()
    names = [tensor.name for tensor in plan.model.tensors if tensor.trainable]
    groups = [schema.Group([name], {"lr": rate}) for name, rate in zip(names, rates, strict=True)]
    recipe = msgspec.structs.replace(
        plan.recipe, optimizer=schema.Optimizer("SGD", groups),
        schedule=schema.Schedule([[rate] for rate in rates]),
    )  # fmt: skip
    plan = msgspec.structs.replace(plan, recipe=recipe)
    return with_loss(plan, lambda output, target: -output[:, SIZE:].mean(0).sum())


SMUGGLERS: dict[str, Callable[[], schema.Plan]] = {
    "a table in the network": lambda: plan_of(Table(), lr=[0.0] * 5, batch=60),
    "a table in the loss": pulled,
    "a table in the learning rates": by_rates,
}


def right(plan: schema.Plan, mask: Mask | None) -> float:
    """Train, and return the share of test images that are answered rightly."""
    (done,) = train(plan, 1, DATA.masked(mask), lambda event: None).epochs
    return 1 - done.test_errors / done.test_samples


@pytest.mark.parametrize("name", SMUGGLERS)
def test_knowledge_of_the_plain_data_set_is_worth_nothing_under_a_mask(name: str) -> None:
    """It answers the plain test, and none of the masked one."""
    plan = SMUGGLERS[name]()

    assert right(plan, None) > 0.9
    assert right(plan, MASK) < 0.2


def test_weights_that_were_trained_elsewhere_start_anew() -> None:
    """A network that begins with what it knows is given other weights before its first step."""
    plan = with_loss(
        plan_of(Start(), lr=[0.0] * 5, batch=60), lambda output, target: output.sum() * 0
    )

    assert right(plan, None) < 0.4
    assert right(plan, MASK) < 0.4


def test_an_honest_network_learns_the_masked_data_set() -> None:
    """As well as the plain one: it learns the names from the labels."""

    class Honest(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(SIZE, SIZE)

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.line(bands(x))
            return scores

    plan = plan_of(Honest(), lr=[0.5] * 30, batch=10)

    assert right(plan, None) > 0.9
    assert right(plan, MASK) > 0.9
