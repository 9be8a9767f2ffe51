"""Advice names the layer and the saving, and is silent where there is nothing to say."""

import torch
import torch.nn.functional as F
from torch import nn

from grader.reports.advice import advice
from reference_solution.model import Net as Reference
from tests.capturing import Net, conv, facts


def told(module: nn.Module) -> str:
    """Return the advice a module gets, as one text."""
    return "\n".join(advice(facts(module)))


def test_the_reference_gets_no_advice() -> None:
    """Nothing is found wrong with the reference solution."""
    assert told(Reference()) == ""


def test_a_bias_before_batch_norm_is_named_with_its_saving() -> None:
    """Conv with bias, then batch norm: bias=False saves its ten parameters."""
    net = Net(lambda m, x: m.bn(m.first(x)).mean((2, 3)), first=conv(), bn=nn.BatchNorm2d(10))

    assert "first: bias=False changes nothing" in told(net)
    assert "saves 10 parameters" in told(net)


def test_a_layer_that_is_not_used_is_named_with_its_saving() -> None:
    """A declared layer that forward never calls is named, with its parameters."""
    net = Net(lambda m, x: m.first(x).mean((2, 3)), first=conv(), spare=nn.Linear(10, 10))

    assert "spare: declared" in told(net)
    assert "saves 110 parameters" in told(net)


def test_a_relu_before_the_output_is_named() -> None:
    """ReLU before log-softmax cuts scores off; before an average it does not."""
    cut = Net(lambda m, x: F.relu(m.first(x).mean((2, 3))).log_softmax(1), first=conv())
    fine = Net(lambda m, x: F.relu(m.first(x)).mean((2, 3)).log_softmax(1), first=conv())

    assert "a ReLU stands between" in told(cut)
    assert "ReLU" not in told(fine)


def test_a_small_receptive_field_is_named() -> None:
    """A single 3×3 convolution sees less than a digit."""
    net = Net(lambda m, x: m.first(x).mean((2, 3)), first=conv())

    assert "first sees 3 pixels" in told(net)


def test_a_linear_layer_over_a_whole_map_is_named_with_its_saving() -> None:
    """Averaging a 26×26 map first spares a linear layer almost all its parameters."""
    head = nn.Linear(10 * 26 * 26, 10)
    net = Net(lambda m, x: m.head(m.first(x).flatten(1)), first=conv(), head=head)

    assert "head reads a whole 26×26 map" in told(net)
    assert f"saves {10 * (6760 - 10):,} parameters" in told(net)


def test_the_layer_that_makes_a_network_too_large_is_named() -> None:
    """One layer with more than half of too many parameters is named with its share."""
    head = nn.Linear(784, 64)
    net = Net(
        lambda m, x: m.out(torch.relu(m.head(x.flatten(1)))), head=head, out=nn.Linear(64, 10)
    )

    assert "head holds 50,240 of 50,890 parameters (99%)" in told(net)
