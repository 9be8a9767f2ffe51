"""The gallery: networks of many kinds, each with the answers it must get."""

import math

import pytest
import torch

from grader.datasets import mnist
from grader.datasets.mnist import Bytes
from grader.training.probe import pictures_of, probe, taught
from tests.capturing import facts
from tests.cases.networks.architectures import CASES
from tests.cases.networks.oddities import ODDITIES
from tests.plans import plan_of

GALLERY = CASES | ODDITIES

_WINDOWS = ("convolution", "max pool", "average pool")


@pytest.mark.parametrize("name", GALLERY)
def test_an_honest_network_gets_its_answers(name: str) -> None:
    """What acts, parameters, receptive field and output are what a person would say."""
    case = GALLERY[name]
    torch.manual_seed(0)
    network = case.make()
    found = facts(network)
    windows = [layer for layer in found.layers if layer.kind in _WINDOWS and layer.on_path]
    field = windows[-1].receptive_field if windows else None

    assert found.parameters == case.parameters
    assert found.parameters == sum(math.prod(p.shape) for p in network.parameters())
    assert (max(field) if field else None) == case.sees
    assert [
        sum(finding.counts for finding in findings)
        for findings in (found.batch_norm, found.dropout, found.global_average_pooling)
    ] == [case.batch_norm, case.dropout, case.pooling]
    assert found.output == case.output
    assert (found.difference, found.mixing) == ([], [])


@pytest.fixture(scope="module")
def digits() -> Bytes:
    """Read the images to train on."""
    return mnist.load().train_images


@pytest.mark.slow
@pytest.mark.parametrize("name", GALLERY)
def test_the_probe_does_not_doubt_an_honest_network(name: str, digits: Bytes) -> None:
    """Run on a few digits, every layer that counts is seen to act."""
    torch.manual_seed(0)
    plan = plan_of(GALLERY[name].make())
    found = probe(plan.model, taught(plan.recipe), pictures_of(plan, digits, seed=1))

    assert (found.failed, found.misshapen, found.independent) == ("", [], True)
    assert [influence for influence in found.influences if not influence.acts] == []
