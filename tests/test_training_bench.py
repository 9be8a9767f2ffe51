"""What the probe takes for a change of the scores."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from grader.training.bench import Bench
from grader.training.probe import probe
from tests.capturing import Net, conv, facts, model_of

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


def test_scores_of_nothing_tell_nothing() -> None:
    """A network that gives all classes the same score moves none of them."""
    module = Net(lambda m, x: m.conv(x).mean((1, 2, 3))[:, None].expand(-1, 10), conv=conv())
    model = model_of(module)
    bench = Bench(model, {tensor.name for tensor in model.tensors}, 8, wide=True)

    assert bench.moved(0, lambda _, result: result) is None
    assert facts(module).classes == 10
