"""What a training keeps between epochs, and that nobody can tell it was ended there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from grader import events
from grader.plan import schema
from grader.training.checkpoint import Checkpoint
from grader.training.loop import Result, train
from tests import networks
from tests.capturing import Net, conv
from tests.plans import patterns, plan_of

pytestmark = pytest.mark.slow

BLANK = events.Blank(asked=10, untrained=1, still=1, shuffled=1)


def forgetful() -> nn.Module:
    """Make a network with batch norm, and dropout that is drawn anew in every step."""
    return Net(
        lambda s, x: s.head(s.drop(F.max_pool2d(F.relu(s.bn(s.conv(x))), 2)).flatten(1)),
        conv=conv(1, 4), bn=nn.BatchNorm2d(4), drop=nn.Dropout(0.3),
        head=nn.Linear(4 * 13 * 13, 10),
    )  # fmt: skip


def plan(**changes: Any) -> schema.Plan:
    """Make a plan of four epochs whose images are turned at random, with changes to its recipe."""
    made = plan_of(forgetful(), epochs=4, batch=32)
    turned = [schema.Affine((-9.0, 9.0)), *made.recipe.train_transform]
    recipe = msgspec.structs.replace(made.recipe, train_transform=turned, **changes)
    return msgspec.structs.replace(made, recipe=recipe)


def optimizer(name: schema.OptimizerName, **options: Any) -> schema.Optimizer:
    """Make an optimiser over all trainable tensors."""
    names = [t.name for t in plan().model.tensors if t.trainable]
    return schema.Optimizer(name, [schema.Group(names, {"lr": 0.01, **options})])


RECIPES = {
    "momentum": {"optimizer": optimizer("SGD", momentum=0.9)},
    "adam": {"optimizer": optimizer("Adam"), "averaging": schema.Exponential(0.9)},
    "asgd": {"optimizer": optimizer("ASGD"), "averaging": schema.Tail(2)},
    "nadam": {"optimizer": optimizer("NAdam")},
    "plateau": {
        "optimizer": optimizer("SGD"),
        "schedule": schema.Schedule(
            [[0.01]], plateau=schema.Plateau("epoch", "min", 0.5, 0, 10.0, "rel", 0, [0.0], 1e-8)
        ),
    },
}


class Ended(Exception):
    """The training was ended from outside."""


def ended_in(epoch: int, made: schema.Plan, kept: Checkpoint) -> None:
    """Train until the first news of an epoch, and end there without any ceremony."""

    def tell(event: events.AnyEvent) -> None:
        if isinstance(event, events.Progress) and event.epoch == epoch:
            raise Ended

    with pytest.raises(Ended):
        train(made, 1, patterns(), tell, checkpoint=kept)


def without_times(result: Result) -> list[events.EpochDone]:
    """Return the epochs of a training, whatever time they took."""
    return [msgspec.structs.replace(done, seconds=0.0) for done in result.epochs]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("epoch", [2, 4])
def test_an_ended_training_goes_on_bit_for_bit(
    recipe: dict[str, Any], epoch: int, tmp_path: Path
) -> None:
    """Weights and curve are those of a training that nobody ended, also after two ends."""
    made, kept = plan(**recipe), Checkpoint(tmp_path / "state", BLANK)
    whole = train(made, 1, patterns(), lambda event: None)
    ended_in(epoch, made, kept)
    torch.manual_seed(99)
    said: list[events.AnyEvent] = []
    ended_in(4, made, kept)
    result = train(made, 1, patterns(), said.append, checkpoint=kept)

    assert without_times(result) == without_times(whole)
    assert result.samples == whole.samples
    assert all(torch.equal(result.state[name], whole.state[name]) for name in whole.state)
    assert [e.epoch for e in said if isinstance(e, events.EpochDone)] == [1, 2, 3, 4]
    assert {e.epoch for e in said if isinstance(e, events.Progress)} == {4}


def test_what_was_said_before_the_first_epoch_is_kept(tmp_path: Path) -> None:
    """So that it need not be found out again."""
    ended_in(2, plan(), Checkpoint(tmp_path / "state", BLANK))

    assert Checkpoint.at(tmp_path / "state").blank == BLANK
    assert Checkpoint.at(tmp_path / "none").blank is None


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"junk" * 100])
def test_a_checkpoint_that_cannot_be_read_is_as_none(content: bytes, tmp_path: Path) -> None:
    """The training begins anew."""
    (tmp_path / "state").write_bytes(content)
    kept = Checkpoint.at(tmp_path / "state")
    made = plan_of(networks.Plain(), epochs=1)
    result = train(made, 1, patterns(), lambda event: None, checkpoint=replace(kept, blank=BLANK))

    assert len(result.epochs) == 1
    assert Checkpoint.at(tmp_path / "state").blank == BLANK
