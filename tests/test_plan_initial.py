"""An initialisation of one's own is recognised from how the numbers are spread."""

import msgspec
import pytest
import torch
from torch import nn

from grader.plan.initial import drawn_together, notes_on_initialisation
from tests.capturing import Net, conv, model_of


def notes(module: nn.Module) -> str:
    """Capture a network and tell what is said of its initialisation."""
    return " ".join(notes_on_initialisation(model_of(module)))


def network() -> Net:
    """Make a network with every kind of layer that has a rule."""
    torch.manual_seed(0)
    return Net(
        lambda s, x: s.out(s.norm(s.conv(x)).mean((2, 3))),
        conv=conv(), norm=nn.BatchNorm2d(10), out=nn.Linear(10, 10),
    )  # fmt: skip


def test_what_pytorch_makes_is_not_mentioned() -> None:
    """Convolutions, linear layers and batch norm as they come give no note."""
    assert notes(network()) == ""


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("conv.weight", nn.init.kaiming_normal_),
        ("conv.weight", nn.init.orthogonal_),
        ("out.weight", lambda t: nn.init.xavier_uniform_(t, gain=2.0)),
        ("conv.bias", nn.init.zeros_),
        ("norm.weight", nn.init.zeros_),
        ("norm.bias", nn.init.normal_),
        ("conv.weight", lambda t: t.data.copy_(torch.linspace(-3, 3, t.numel()).view_as(t))),
    ],
)
def test_an_own_initialisation_is_named(name: str, change: object) -> None:
    """Whatever was done to a layer's numbers, the note names the tensor, and no other."""
    module = network()
    change(module.get_parameter(name))  # type: ignore[operator] # one of the functions above
    found = notes(module)

    assert name in found
    assert found.count("(") == 1


def test_a_bias_of_one_number_tells_nothing() -> None:
    """A layer with a single output has a bias that is always constant."""
    module = Net(lambda s, x: s.conv(x).mean((2, 3)).expand(-1, 10), conv=conv(1, 1))

    assert "bias" not in notes(module)


def scattered(count: int) -> Net:
    """Make a network whose last layer is made of parameters of one number each."""
    weights = nn.ParameterList([nn.Parameter(torch.tensor([i / 7.0])) for i in range(count)])
    return Net(
        lambda s, x: s.conv(x).mean((2, 3)) + torch.cat([*s.weights]).sum(),
        conv=conv(), weights=weights,
    )  # fmt: skip


def test_weights_cannot_be_told_one_by_one() -> None:
    """Hundreds of parameters of one number each start from one common distribution."""
    tensors = drawn_together(model_of(scattered(200))).tensors
    inits = {msgspec.json.encode(t.init) for t in tensors if t.name.startswith("weights")}

    assert len(inits) == 1


def test_a_few_numbers_of_ones_own_are_kept() -> None:
    """Scales of residual branches, or PReLU's slopes, start where their author says."""
    model = model_of(scattered(20))

    assert drawn_together(model) == model
