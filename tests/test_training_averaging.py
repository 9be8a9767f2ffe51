"""The mean of the weights: what counts how much, what it is applied to, and when it begins."""

import msgspec
import pytest
import torch

from grader.plan import schema
from grader.training.averaging import Average
from grader.training.loop import train
from tests import networks
from tests.plans import patterns, plan_of

pytestmark = pytest.mark.slow


def averaged(averaging: schema.Averaging, values: list[float], per_epoch: int = 1) -> float:
    """Let a tensor take these values, one a step, and return the mean that is kept of them."""
    tensor = torch.zeros(1)
    average = Average(averaging, [tensor])
    for step, value in enumerate(values):
        tensor.fill_(value)
        average.add((len(values) - 1 - step) // per_epoch)
    with average.applied():
        return float(tensor)


def test_each_step_counts_decay_times_the_next() -> None:
    """After 1, 2 and 4 with decay 1/2 the mean is (1/4 + 2/2 + 4) / (1/4 + 1/2 + 1)."""
    assert averaged(schema.Exponential(0.5), [1, 2, 4]) == pytest.approx(5.25 / 1.75)


def test_a_tail_counts_the_steps_of_the_last_epochs_alike() -> None:
    """Of three epochs of two steps, the last two are averaged."""
    assert averaged(schema.Tail(2), [50, 60, 1, 2, 3, 4], per_epoch=2) == pytest.approx(2.5)


def test_before_its_tail_a_network_is_as_it_is() -> None:
    """Where nothing has been averaged yet, the tensors keep their values."""
    tensor = torch.tensor([7.0])
    average = Average(schema.Tail(1), [tensor])
    average.add(1)
    with average.applied():
        assert float(tensor) == 7


def test_the_mean_is_put_back() -> None:
    """Training goes on from the weights, not from their mean; whole numbers are left alone."""
    weight, steps = torch.tensor([1.0]), torch.tensor(3)
    average = Average(schema.Exponential(0.5), [weight, steps])
    average.add(0)
    weight.fill_(2)
    with average.applied():
        assert (float(weight), int(steps)) == (1, 3)
    assert float(weight) == 2


def with_recipe(plan: schema.Plan, **changes: object) -> schema.Plan:
    """Change the recipe of a plan."""
    return msgspec.structs.replace(plan, recipe=msgspec.structs.replace(plan.recipe, **changes))


def test_the_mean_is_tested_and_kept_and_training_is_unmoved() -> None:
    """Averaging the last epoch changes neither its training loss nor the epoch before it."""
    plan = plan_of(networks.Plain(), epochs=2)
    mean = with_recipe(plan, averaging=schema.Tail(1))
    plain, tail = (train(each, 1, patterns(), lambda _: None) for each in (plan, mean))
    assert [e.train_loss for e in plain.epochs] == [e.train_loss for e in tail.epochs]
    assert plain.epochs[0].test_loss == tail.epochs[0].test_loss
    assert plain.epochs[1].test_loss != tail.epochs[1].test_loss
    assert not torch.equal(plain.state["conv1.weight"], tail.state["conv1.weight"])


def test_plain_epochs_get_the_test_transform() -> None:
    """What the training transform does to images is left out in the last, plain epoch."""
    dark = schema.Normalize([0.0], [1e6])
    plan = plan_of(networks.Plain(), epochs=2, transform=[schema.ToFloat(), dark])
    half = with_recipe(plan, plain_epochs=1)
    dull, seen = (train(each, 1, patterns(), lambda _: None) for each in (plan, half))
    assert dull.epochs[0].train_loss == seen.epochs[0].train_loss
    assert seen.epochs[1].train_loss != dull.epochs[1].train_loss
