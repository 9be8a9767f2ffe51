"""What the probe takes for a change of the scores."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

from grader.datasets import mnist
from grader.plan import schema
from grader.training.bench import Bench, counters
from grader.training.probe import pictures_of, probe, taught
from tests.capturing import Net, conv, facts, model_of
from tests.plans import patterns, plan_of

ALIKE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "raised": lambda scores, one: scores + one,
    "raised before a softmax": lambda scores, one: (scores + one).log_softmax(1),
    "scaled": lambda scores, one: scores * (1 + one.sigmoid()),
    "raised and scaled": lambda scores, one: scores * one.exp() - one,
}


def layers(use: Callable[[Tensor, Tensor], Tensor]) -> Net:
    """Return a network whose norm, dropout and average make but one number of each image."""
    return Net(
        lambda m, x: use(
            m.head((y := m.conv(x)).flatten(1)), m.drop(m.norm(y)).mean((2, 3)).sum(1, keepdim=True)
        ),
        conv=conv(stride=4), norm=nn.BatchNorm2d(10), drop=nn.Dropout(0.3),
        head=nn.Linear(490, 10),
    )  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
def test_what_moves_all_scores_alike_does_not_act(name: str) -> None:
    """Layers that raise or scale an image's scores together, and decide nothing, are found out."""
    model = model_of(layers(ALIKE[name]))
    found = probe(model, {tensor.name for tensor in model.tensors}).influences

    assert len(found) == 3
    assert [influence for influence in found if influence.acts] == []


def test_what_moves_one_score_against_the_others_acts() -> None:
    """The same layers act where their number goes to one class alone."""
    model = model_of(layers(lambda scores, one: scores + one * torch.eye(10)[:1]))
    found = probe(model, {tensor.name for tensor in model.tensors}).influences

    assert [influence.acts for influence in found] == [True] * 3


def on_paper(m: Any, x: Tensor) -> Tensor:
    """Normalise and drop only in images without paper, and so in no digit."""
    y = m.conv(x)
    paper = (x == x.amin((1, 2, 3), True)).float().mean((1, 2, 3))[:, None] > 0.1
    return torch.where(paper, m.head(y.flatten(1)), m.drop(m.norm(y)).mean((2, 3)))


def test_layers_that_tell_digits_from_noise_do_not_act() -> None:
    """What acts on random images alone is found out when the images are digits."""
    parts = {"conv": conv(stride=4), "norm": nn.BatchNorm2d(10), "drop": nn.Dropout(0.3)}
    plan = plan_of(Net(on_paper, **parts, head=nn.Linear(490, 10)))
    pictures = pictures_of(plan, mnist.load().train_images, seed=1)
    noise, digits = (
        probe(plan.model, taught(plan.recipe), images).influences for images in (None, pictures)
    )

    assert [influence.acts for influence in noise] == [True] * 3
    assert [influence.acts for influence in digits] == [False] * 3


def test_pictures_are_digits_as_in_testing() -> None:
    """They are normalised and differ with the seed; where transforms do not fit there are none."""
    plan = plan_of(Net(lambda m, x: m.conv(x).mean((2, 3)), conv=conv()))
    images = patterns().train_images
    one, other = (pictures_of(plan, images, seed) for seed in (1, 2))
    cropped = msgspec.structs.replace(plan.recipe, test_transform=[schema.Resize((14, 14))])
    unfit = msgspec.structs.replace(plan, recipe=cropped)

    assert one is not None
    assert other is not None
    assert list(one.shape) == [32, 1, 28, 28]
    assert float(one.min()) < 0
    assert not torch.equal(one, other)
    assert pictures_of(unfit, images, 1) is None


def test_layers_that_rest_after_the_first_steps_do_not_act() -> None:
    """A norm that is left out once the counter of steps is large is found out."""

    def forward(m: Any, x: Tensor) -> Tensor:
        early = m.norm.num_batches_tracked < 500
        x = m.conv(x)
        return torch.where(early, m.norm(x), x).mean((2, 3))

    module = Net(forward, conv=conv(stride=4), norm=nn.BatchNorm2d(10))
    model = model_of(module)
    found = probe(model, {tensor.name for tensor in model.tensors}).influences

    assert [f.counts for f in facts(module).batch_norm] == [True]
    assert [influence.acts for influence in found] == [False, True]


def test_counters_are_what_training_moves_on_and_something_reads() -> None:
    """Running statistics, and a norm's counter that nothing else reads, are none."""

    def forward(m: Any, x: Tensor) -> Tensor:
        if m.training:
            m.steps.add_(1)
        return m.norm(m.conv(x)).mean((2, 3)) * (m.steps < 9)  # type: ignore[no-any-return]

    steps = nn.Buffer(torch.zeros(()))
    module = Net(forward, conv=conv(), norm=nn.BatchNorm2d(10), steps=steps)

    assert counters(model_of(module)) == {"steps"}


def test_scores_of_nothing_tell_nothing() -> None:
    """A network that gives all classes the same score moves none of them."""
    module = Net(lambda m, x: m.conv(x).mean((1, 2, 3))[:, None].expand(-1, 10), conv=conv())
    model = model_of(module)
    bench = Bench(model, {tensor.name for tensor in model.tensors}, 8, wide=True)

    assert bench.moved(0, lambda _, result: result) is None
    assert facts(module).classes == 10
