"""Parameters are counted as the limit means it, however they are held."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from grader.plan.facts import facts_of
from tests.capturing import Net, conv, facts, facts_of_model, model_of


class Hidden(nn.Module):
    """Says that it has no parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.c = conv()

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        return iter(())

    def forward(self, x: Tensor) -> Any:
        return self.c(x).mean((2, 3))


class Late(nn.Module):
    """Makes its weight when it is first called."""

    def forward(self, x: Tensor) -> Any:
        if not hasattr(self, "w"):
            self.w = nn.Parameter(torch.randn(10, 784))
        return x.flatten(1) @ self.w.T


class Shared(nn.Module):
    """Two convolutions with one weight, and a bias each."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.d = conv(), conv()
        self.d.weight = self.c.weight

    def forward(self, x: Tensor) -> Any:
        return (self.c(x) + self.d(x)).mean((2, 3))


HELD: dict[str, tuple[Callable[[], nn.Module], int, int]] = {  # all, unused
    "a layer": (lambda: Net(lambda s, x: s.c(x).mean((2, 3)), c=conv()), 100, 0),
    "a layer called twice": (
        lambda: Net(lambda s, x: s.c(s.c(x.expand(-1, 10, -1, -1))).mean((2, 3)), c=conv(10)),
        910, 0,
    ),
    "a weight of two layers": (Shared, 110, 0),
    "an unused layer": (
        lambda: Net(lambda s, x: s.c(x).mean((2, 3)), c=conv(), d=nn.Linear(5, 5)), 130, 30),
    "a layer times zero": (
        lambda: Net(lambda s, x: (s.c(x) + 0 * s.d(x)).mean((2, 3)), c=conv(), d=conv()),
        200, 100,
    ),
    "a buffer": (
        lambda: Net(lambda s, x: s.c(x).mean((2, 3)) + s.b, c=conv(), b=nn.Buffer(torch.randn(10))),
        110, 0,
    ),
    "an attribute": (
        lambda: Net(lambda s, x: x.flatten(1) @ s.w, w=torch.randn(784, 10)), 7840, 0),
    "attributes in a list": (
        lambda: Net(lambda s, x: x.flatten(1) @ s.w[0] + s.w[1],
                    w=[torch.randn(784, 10), torch.randn(10)]),
        7850, 0,
    ),
    "a literal": (
        lambda: Net(lambda s, x: s.c(x).mean((2, 3)) * torch.tensor([0.5] * 5 + [2.0] * 5),
                    c=conv()),
        110, 0,
    ),
    "made in forward": (Late, 7840, 0),
    "parameters() overridden": (Hidden, 100, 0),
    "batch norm's own": (
        lambda: Net(lambda s, x: s.b(s.c(x)).mean((2, 3)), c=conv(), b=nn.BatchNorm2d(10)), 120, 0),
    "running statistics used for something else": (
        lambda: Net(lambda s, x: (s.b(s.c(x)) + s.b.running_mean.view(-1, 1, 1)).mean((2, 3)),
                    c=conv(), b=nn.BatchNorm2d(10)),
        130, 0,
    ),
    "frozen": (
        lambda: Net(lambda s, x: s.c(x).mean((2, 3)), c=conv().requires_grad_(False)), 100, 0),
    "a bare parameter": (
        lambda: Net(lambda s, x: s.c(x).mean((2, 3)) * s.p, c=conv(),
                    p=nn.Parameter(torch.ones(10))),
        110, 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HELD)
def test_every_number_is_counted_once(name: str) -> None:
    """Total and unused parameters are right, wherever the module keeps them."""
    make, total, unused = HELD[name]
    found = facts(make())

    assert (found.parameters, found.unused) == (total, unused), found.tensors


def test_layers_and_unused_make_up_the_declared() -> None:
    """The rows' parameters, and the tensors no row uses, add up to what is declared."""
    net = Net(lambda s, x: s.b(s.c(x)).mean((2, 3)), c=conv(), b=nn.BatchNorm2d(10), u=conv())
    found = facts(net)

    assert sum(layer.parameters for layer in found.layers) + found.unused == found.declared


def test_a_normalised_weight_belongs_to_its_layer() -> None:
    """The two tensors of a weight norm are the parameters of the convolution they make."""
    net = Net(lambda s, x: s.c(x).mean((2, 3)), c=nn.utils.parametrizations.weight_norm(conv()))
    rows = [layer for layer in facts(net).layers if layer.parameters]

    assert [(row.kind, row.parameters) for row in rows] == [("convolution", 110)]


def test_an_unused_tensor_is_named_with_its_layer() -> None:
    """A person can find and delete it."""
    net = Net(lambda s, x: s.c(x).mean((2, 3)), c=conv(), u=nn.Sequential(nn.Linear(5, 5)))
    unused = [t for t in facts(net).tensors if not t.used]

    assert [(t.name, t.layer, t.owner, t.count) for t in unused] == [
        ("u.0.weight", "u.0", "Linear", 25),
        ("u.0.bias", "u.0", "Linear", 5),
    ]


FIELD = (
    "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet",
    "mnasnet1_0", "mobilenet_v2", "mobilenet_v3_large", "regnet_x_400mf", "regnet_y_400mf",
    "resnet18", "resnext50_32x4d", "shufflenet_v2_x1_0", "squeezenet1_0", "swin_t", "swin_v2_t",
)  # fmt: skip
"""One of each family in torchvision that takes images of the grader's size; no vgg and no vit."""


@pytest.mark.slow
@pytest.mark.parametrize("name", FIELD)
def test_counts_agree_with_numel(name: str) -> None:
    """In a network of each family all parameters are found."""
    alone = {"init_weights": False, "aux_logits": False}  # no second head for training
    options = alone if name == "googlenet" else {}
    network = torchvision.models.get_model(name, weights=None, num_classes=10, **options)
    found = facts_of(model_of(network))

    assert found.declared == sum(math.prod(p.shape) for p in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "squeezenet1_1"])
def test_all_parameters_of_networks_of_the_field_act(name: str) -> None:
    """Every one is used, and has a layer."""
    network = torchvision.models.get_model(name, weights=None, num_classes=10)
    found = facts_of_model(model_of(network))

    assert found.unused == 0
    assert sum(layer.parameters for layer in found.layers) == found.declared


@pytest.mark.slow
def test_the_order_of_a_few_numbers_is_memory_too() -> None:
    """A kernel of few values, thousands of times, counts; a network of many layers does not."""
    order = torch.randint(64, (9_000,), generator=torch.Generator().manual_seed(0)).tolist()

    def chosen(net: Any, x: torch.Tensor) -> Any:
        digits = [torch.full((), float(n)) for n in range(64)]
        kernel = torch.stack([digits[n] for n in order]).view(100, 10, 3, 3)
        return torch.conv2d(net.first(x), kernel).mean((2, 3))[:, :10]

    def long(net: Any, x: torch.Tensor) -> Any:
        kept = [net.first(x)]
        for _ in range(50):  # dense connections: each takes all before it
            kept.append(torch.cat(kept, 1).mean(1, keepdim=True).relu())
        return torch.cat(kept, 1).mean((2, 3))[:, :10]

    assert facts(Net(chosen, first=conv())).parameters > 5_000
    assert facts(Net(long, first=conv())).parameters == 100


def test_a_number_of_64_bits_counts_as_two() -> None:
    """What is packed into long integers or doubles is counted; indices and floats are one each."""
    packed = torch.randint(2**40, 2**50, (50,), generator=torch.Generator().manual_seed(0))
    indices, halves = torch.arange(20), torch.arange(20, dtype=torch.float64) / 2

    def forward(net: Any, x: torch.Tensor) -> Any:
        extra = (net.packed % 256).sum() + (net.indices + net.halves).sum()
        return net.first(x).mean((2, 3)) + extra.float()

    net = Net(forward, first=conv())
    for name, tensor in (("packed", packed), ("indices", indices), ("halves", halves)):
        net.register_buffer(name, tensor)

    assert facts(net).parameters == 100 + 2 * 50 + 20 + 20


def test_numbers_written_into_forward_are_counted() -> None:
    """A kernel kept as literals is memory like any other; a handful of factors is not."""
    torch.manual_seed(0)
    bank = torch.randn(300).tolist()

    def written(net: Any, x: torch.Tensor) -> Any:
        kernel = torch.stack([torch.full((), value) for value in bank]).view(30, 1, 10, 1)
        return net.first(x).mean((2, 3)) + torch.conv2d(x, kernel).mean((2, 3))[:, :10]

    few = facts(Net(lambda m, x: (m.first(x) * 0.5 + 0.25).mean((2, 3)), first=conv()))
    many = facts(Net(written, first=conv()))

    assert few.parameters == few.declared
    assert many.parameters >= many.declared + 300
