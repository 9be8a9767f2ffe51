"""The second gallery: every network in it can be trained, and gets the answer that was declared."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from grader.plan.findings import Facts
from tests.capturing import facts
from tests.cases.networks.second_decoys import DECOYS
from tests.cases.networks.second_rarities import RARITIES, UNSETTLED

CASES = {f"{name}, second": case for name, case in RARITIES.items()}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{name: case.make for name, case in (DECOYS | UNSETTLED).items()},
    **{name: case.make for name, case in CASES.items()},
}


JUDGED = DECOYS | UNSETTLED
KNOWN = {
    "batch norm: turns the phase of a spectrum":
        "complex numbers that are written out have no place in a plan: the network is refused",
    "pooling: a kernel of one number":
        "a convolution that is the mean of a map is the pooling, so the stem's is the last window",
    "batch norm: a weight that begins at zero":
        "a ReLU of zero hands no gradient on: the branch stays shut for good, and is told so",
    "other: a filter of the spectrum":
        "weights by chance for every frequency mix all places: none looks elsewhere",
}  # fmt: skip


def cases(names: Iterable[str]) -> list[Any]:
    """Return names for tests; those whose answer is known to be another must not get it."""
    return [
        pytest.param(name, marks=pytest.mark.xfail(reason=KNOWN[name])) if name in KNOWN else name
        for name in names
    ]


def acting(found: Facts) -> dict[str, int]:
    """Return how many batch norms, dropouts and poolings count."""
    return {
        "batch_norm": sum(f.counts for f in found.batch_norm),
        "dropout": sum(f.counts for f in found.dropout),
        "pooling": sum(f.counts for f in found.global_average_pooling),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", cases(JUDGED))
def test_a_decoy_fails_its_own_check_alone(name: str) -> None:
    """Each check gives the answer that was declared, where it is not open."""
    judged, found = JUDGED[name], facts(JUDGED[name].make())
    answers = {name: count > 0 for name, count in acting(found).items()}
    answers |= {"independent": found.batch_independent, "same": found.same_network}

    assert {n: a for n, a in answers.items() if getattr(judged, n) is not None} == {
        n: getattr(judged, n) for n in answers if getattr(judged, n) is not None
    }
    assert found.mixing or not found.contradictions


@pytest.mark.slow
@pytest.mark.parametrize("name", cases(RARITIES))
def test_an_honest_rarity_gets_its_answers(name: str) -> None:
    """What acts, what the last window sees and what comes out are as declared; nothing else."""
    case, found = RARITIES[name], facts(RARITIES[name].make())
    kinds = ("convolution", "max pool", "average pool")
    windows = [layer for layer in found.layers if layer.kind in kinds and layer.on_path]
    field = windows[-1].receptive_field

    assert acting(found) == {n: getattr(case, n) for n in ("batch_norm", "dropout", "pooling")}
    assert (max(field) if field else None) == case.sees
    assert (found.output, found.parameters) == (case.output, case.parameters)
    assert (found.difference, found.mixing, found.contradictions) == ([], [], [])


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
