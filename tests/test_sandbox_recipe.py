"""The numbers of a recipe, read from a submission's own objects; in this process, without a box."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from grader.plan.schema import Graph
from grader.submission.program import Part
from grader.training.network import CompiledGraph
from tests.boxed import boxed

DEFAULTS = {"epochs": 12, "batch_size": 128, "max_epochs": 19, "samples": 60_000}


def described(**sources: str) -> dict[str, Any]:
    """Evaluate parts of a recipe."""
    parts = {
        key: msgspec.to_builtins(Part(source, "line 1", "value")) for key, source in sources.items()
    }
    program = {"recipe": parts, "scheduler_steps": None}
    recipe = boxed("recipe").Recipe(program, {}, nn.Linear(1, 1), DEFAULTS, set())
    found: dict[str, Any] = recipe.describe({}, 10)
    return found | {"facts": {fact["about"]: fact["value"] for fact in recipe.facts}}


def test_averaging_over_the_last_epochs() -> None:
    """AVERAGED_EPOCHS asks for the plain mean over the last epochs, with its place noted."""
    found = described(averaged_epochs="3")
    assert found == {"averaging": {"type": "tail", "epochs": 3}, "facts": {"averaged_epochs": "3"}}


def test_averaging_with_a_decay() -> None:
    """EMA_DECAY asks for the exponential mean."""
    found = described(ema_decay="0.99")
    assert found["averaging"] == {"type": "exponential", "decay": 0.99}
    assert found["facts"] == {"ema_decay": "0.99"}


def test_no_plain_epochs_are_allowed() -> None:
    """PLAIN_EPOCHS may be zero, as it is by default."""
    assert described(plain_epochs="0")["plain_epochs"] == 0


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"ema_decay": "1.0"}, "ema_decay is 1.0 .*from 0 to below 1"),
        ({"ema_decay": "float('nan')"}, "ema_decay is nan"),
        ({"ema_decay": "'much'"}, "ema_decay is 'much'"),
        ({"averaged_epochs": "0"}, "from 1 to 1,000,000"),
        ({"plain_epochs": "-1"}, "from 0 to 1,000,000"),
        ({"ema_decay": "0.9", "averaged_epochs": "2"}, "both AVERAGED_EPOCHS and EMA_DECAY"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(sources: dict[str, str], message: str) -> None:
    """Numbers out of range, and two averages at once, are refused in words."""
    with pytest.raises(boxed("tensors").CannotCapture, match=message):
        described(**sources)


def test_label_smoothing_is_part_of_the_loss() -> None:
    """A smoothed cross entropy is worked out from the plan as PyTorch does."""
    smoothed = nn.CrossEntropyLoss(label_smoothing=0.1)
    described = boxed("capture").loss_json(smoothed, 10, set())
    loss = CompiledGraph(msgspec.convert(described, Graph), {}, torch.device("cpu"))
    output, target = torch.randn(4, 10), torch.arange(4)
    assert loss(output, target) == smoothed(output, target)
    assert loss(output, target) != nn.CrossEntropyLoss()(output, target)


@pytest.mark.filterwarnings("ignore:Seems like")  # the box, too, has no ear for warnings
def test_groups_keep_their_own_learning_rates() -> None:
    """Every parameter group has its own options, and its own rate at every step."""
    weight, bias = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    own = {"params": [bias], "lr": 0.5, "weight_decay": 0.0}
    groups: list[dict[str, Any]] = [{"params": [weight]}, own]
    optimizer = torch.optim.SGD(groups, lr=0.1, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.1)
    recipe = boxed("recipe")
    described = recipe.optimizer_json(optimizer, {id(weight): "weight", id(bias): "bias"})
    assert [group["parameters"] for group in described["groups"]] == [["weight"], ["bias"]]
    assert [group["options"]["weight_decay"] for group in described["groups"]] == [0.01, 0.0]
    steps = recipe.Simulation(optimizer, scheduler, by_batch=False).run(2, 1)
    assert steps["lr"] == [[0.1, pytest.approx(0.01)], [0.5, pytest.approx(0.05)]]
