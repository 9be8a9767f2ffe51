"""Costs agree with PyTorch's own counter."""

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.capturing import Net, conv, facts, facts_of_model, model_of
from tests.networks import NETWORKS


def counted(network: nn.Module, shape: list[int]) -> int:
    """Return the multiply-accumulates PyTorch counts for one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, *shape))
    return int(counter.get_total_flops()) // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_macs_are_half_the_operations_pytorch_counts(name: str) -> None:
    """Multiply-accumulates of small networks of many shapes."""
    network = NETWORKS[name]()
    model = model_of(network)

    expected = counted(network, [784] if name == "flat" else model.input_shape)
    assert facts_of_model(model).macs == expected


@pytest.mark.parametrize(
    "net",
    [
        lambda: Net(lambda s, x: s.c(x).mean((2, 3)), c=nn.ConvTranspose2d(1, 10, 3, stride=2)),
        lambda: Net(lambda s, x: s.c(s.d(x)).mean((2, 3)), d=conv(1, 4), c=conv(4, 12, groups=4)),
        lambda: Net(lambda s, x: torch.einsum("bi,oi->bo", x.flatten(1), s.w),
                    w=nn.Parameter(torch.ones(10, 784))),
        lambda: Net(lambda s, x: torch.addmm(s.b, x.flatten(1), s.w),
                    w=nn.Parameter(torch.ones(784, 10)), b=nn.Parameter(torch.ones(10))),
        lambda: Net(lambda s, x: s.a(y := x.flatten(2).mT, y, y)[0].mean(1).expand(-1, 10),
                    a=nn.MultiheadAttention(1, 1, batch_first=True)),
    ],
    ids=["transposed", "grouped", "einsum", "addmm", "attention"],
)  # fmt: skip
def test_macs_of_rarer_operations(net: type[nn.Module]) -> None:
    """The same for operations that are not in every network."""
    network = net()
    model = model_of(network)

    assert facts_of_model(model).macs == counted(network, model.input_shape)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_macs_of_networks_of_the_field(name: str) -> None:
    """The same for networks with tens of layers."""
    network = torchvision.models.get_model(name, weights=None, num_classes=10)
    model = model_of(network)

    assert facts_of_model(model).macs == counted(network, model.input_shape)


def test_activations_are_the_numbers_results_hold() -> None:
    """A convolution, a norm and a mean keep their results; views keep none."""
    net = Net(lambda s, x: s.b(s.c(x)).flatten(2).mean(-1), c=conv(), b=nn.BatchNorm2d(10))
    found = facts(net)

    assert [layer.activations for layer in found.layers] == [6760, 6760, 10]
    assert found.activations == 13_530
