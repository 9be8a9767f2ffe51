"""Before a training, one batch is computed in both ways, and what is in doubt is not used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from grader import events
from grader.training import agreement, loop
from grader.training.lanes.vectors import LANES
from grader.training.network import CompiledGraph, Network
from tests import networks
from tests.capturing import model_of
from tests.plans import patterns, plan_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not LANES, reason="this processor has no vectors to fill"),
]


@pytest.fixture(autouse=True)
def _onednn() -> Iterator[None]:
    """Leave oneDNN as it was."""
    yield
    torch._C._set_mkldnn_enabled(True)


def settled(module: nn.Module) -> tuple[Network, list[str]]:
    """Compare a network's two ways on noise and return it with the remarks."""
    model = model_of(module)
    network = Network(model, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(50, *model.input_shape, generator=generator)
    target = torch.randint(10, (50,), generator=generator)
    return network, agreement.settle(network, model, F.cross_entropy, images, target)


IMAGES = torch.zeros(50, 1, 28, 28)
KINDS = [networks.Plain, networks.Functional, networks.Residual, networks.SqueezeExcite,
         networks.Shared, networks.InPlace]  # fmt: skip


def test_dropout_in_place_is_compared_too() -> None:
    """Its masks differ between the two ways, and are off meanwhile."""
    module = nn.Sequential(nn.Conv2d(1, 10, 3), nn.BatchNorm2d(10), nn.Dropout(0.5, inplace=True))
    model = model_of(nn.Sequential(module, nn.AdaptiveAvgPool2d(1), nn.Flatten()))

    assert not any(map(agreement._is_random, model.train.nodes))
    assert settled(nn.Sequential(module, nn.AdaptiveAvgPool2d(1), nn.Flatten()))[1] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_honest_networks_compute_the_same_in_both_ways(kind: type[nn.Module]) -> None:
    """Rounding is no disagreement: images stay in lanes, and nothing is remarked."""
    network, remarks = settled(kind())

    assert remarks == []
    assert network.packs(IMAGES)


class Broken(CompiledGraph):
    """A graph whose scores are wrong where `when` says so."""

    when = "lanes"

    def __init__(self, graph: Any, state: Any, device: Any, keys: Any = None) -> None:
        super().__init__(graph, state, device, keys)
        onednn = torch._C._get_mkldnn_enabled()
        self._wrong = {
            "lanes": keys is not None, "oneDNN": keys is None and onednn, "both": True,
            "raises": keys is not None,
        }[self.when]  # fmt: skip

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        if self._wrong and self.when == "raises":
            raise RuntimeError("no such kernel")
        if self._wrong and self.when == "both":
            return super().__call__(*inputs) * torch.nan
        output = super().__call__(*inputs)
        return output + self._wrong * torch.arange(50.0)[:, None] * output.detach().std()


@pytest.mark.parametrize(
    ("when", "word", "lanes"),
    [("lanes", "longer", False), ("raises", "longer", False), ("oneDNN", "without oneDNN", True),
     ("both", "", True)],
)  # fmt: skip
def test_what_computes_wrongly_is_not_trained_with(
    monkeypatch: pytest.MonkeyPatch, when: str, word: str, lanes: bool
) -> None:
    """The other way trains, with a remark; a network that makes no numbers is not our mistake."""
    monkeypatch.setattr(agreement, "CompiledGraph", Broken)
    monkeypatch.setattr(Broken, "when", when)
    network, remarks = settled(networks.Plain())

    assert network.packs(IMAGES) == lanes
    assert word in " ".join(remarks)
    assert len(remarks) == bool(word)


@pytest.mark.parametrize("wrong", ["gradient", "buffer"])
def test_wrong_gradients_and_buffers_are_found(wrong: str) -> None:
    """One weight's gradient of another size, or one running mean, is enough."""
    values, gradients = [torch.randn(9, 10), torch.randn(8)], [torch.randn(8, 3), torch.randn(8)]
    good = agreement._Outcome(values, gradients)
    rounded = agreement._Outcome([v * 1.0001 for v in values], [g * 1.001 for g in gradients])
    bad = {
        "gradient": agreement._Outcome(values, [gradients[0] * 1.3, gradients[1]]),
        "buffer": agreement._Outcome([values[0], values[1] + torch.eye(8)[3]], gradients),
    }[wrong]

    assert agreement._agree(good, rounded)
    assert not agreement._agree(good, bad)


def test_the_comparison_changes_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are the same bit for bit with it and without it."""
    plan, data = plan_of(networks.Plain()), patterns()
    seen: list[events.AnyEvent] = []
    compared = loop.train(plan, 7, data, seen.append)
    monkeypatch.setattr(loop, "settle", lambda *_: ["a remark"])
    alone = loop.train(plan, 7, data, seen.append)

    assert all(torch.equal(compared.state[name], alone.state[name]) for name in alone.state)
    assert [e.remarks for e in seen if isinstance(e, events.Started)] == [[], ["a remark"]]
