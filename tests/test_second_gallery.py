"""The second gallery: every network in it can be built and trained."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.cases.networks.second_decoys import DECOYS
from tests.cases.networks.second_rarities import RARITIES, UNSETTLED

CASES = {f"{name}, second": case for name, case in RARITIES.items()}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{name: case.make for name, case in (DECOYS | UNSETTLED).items()},
    **{name: case.make for name, case in CASES.items()},
}


def scored(network: nn.Module, number: int) -> torch.Tensor:
    """Return the scores [number, 10] of random images, which are finite."""
    scores: torch.Tensor = network(torch.rand(number, 1, 28, 28))
    assert scores.shape == (number, 10)
    assert scores.isfinite().all()
    return scores


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_can_be_trained_and_tested(name: str) -> None:
    """A step of training changes the network, and batches of any size can be scored."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    before = [parameter.clone() for parameter in network.parameters()]
    torch.autograd.backward(F.cross_entropy(scored(network.train(), 5), torch.arange(5)))
    optimizer.step()
    changed = [not a.equal(b) for a, b in zip(before, network.parameters(), strict=True)]

    assert any(changed)
    assert [scored(network.eval(), number).shape[0] for number in (5, 1)] == [5, 1]


@pytest.mark.parametrize("name", CASES)
def test_an_honest_network_has_its_parameters(name: str) -> None:
    """The number of parameters is the one that is declared."""
    network = CASES[name].make()

    assert sum(math.prod(p.shape) for p in network.parameters()) == CASES[name].parameters
