"""The gallery: networks of many kinds, each with the answers it must get."""

import functools
import math

import pytest
import torch
from torch import nn

from grader.datasets.known import MNIST
from grader.plan.findings import Facts
from grader.reports.advice import advice
from grader.training.network import Network
from tests.capturing import facts
from tests.cases.networks.architectures import CASES
from tests.cases.networks.oddities import ODDITIES
from tests.plans import plan_of

GALLERY = CASES | ODDITIES
_WINDOWS = ("convolution", "max pool", "average pool")


def made(name: str) -> nn.Module:
    """Return a case's network, with the same weights each time."""
    torch.manual_seed(0)
    return GALLERY[name].make()


@functools.cache
def captured(name: str) -> tuple[nn.Module, Facts]:
    """Capture a case's network, which has its lazy weights then, and work out its facts, once."""
    network = made(name)
    return network, facts(network)


@pytest.mark.slow
@pytest.mark.parametrize("name", GALLERY)
def test_an_honest_network_gets_its_answers(name: str) -> None:
    """What acts, parameters, receptive field and output are what a person would say."""
    case = GALLERY[name]
    network, found = captured(name)
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
    assert (found.difference, found.mixing, found.contradictions) == ([], [], [])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES))
def test_a_bias_is_called_idle_only_where_it_is(name: str) -> None:
    """Without the biases that the advice names, an honest network gives the same scores."""
    (line,) = [
        text for text in advice(captured(name)[1], MNIST.subject) if "bias=False" in text
    ] or [""]
    if not line:
        return
    network = made(name).train()
    for part in network.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm | nn.Dropout | nn.Dropout2d):
            part.train(isinstance(part, nn.modules.batchnorm._BatchNorm))
    images = torch.rand(8, 1, 28, 28)
    before = network(images)
    for layer in line.partition(":")[0].split(", "):
        bias = network.get_submodule(layer.split()[-1]).bias
        assert isinstance(bias, torch.Tensor)
        nn.init.zeros_(bias)

    assert torch.allclose(network(images), before, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", GALLERY)
def test_images_in_lanes_give_what_images_one_by_one_do(name: str) -> None:
    """37 images give the scores and, without chance, the gradients that a few at a time do."""
    model = plan_of(made(name)).model
    network = Network(model, torch.Generator().manual_seed(0))
    parameters = list(network.parameters())
    images = torch.rand(37, *model.input_shape)
    network.eval()
    whole = network(images)
    parts = torch.cat([network(part) for part in torch.split(images, 5)])
    assert torch.allclose(whole, parts, rtol=1e-3, atol=1e-4)

    weights = torch.rand_like(whole)
    ours, theirs = (
        torch.autograd.grad((scores * weights).sum(), parameters, allow_unused=True)
        for scores in (whole, parts)
    )
    for mine, true in zip(ours, theirs, strict=True):
        assert (mine is None) == (true is None)
        if mine is not None and true is not None:
            assert (mine - true).abs().max() <= 1e-3 * max(1.0, float(true.abs().max()))
