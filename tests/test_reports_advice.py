"""Advice names the layer and the saving, and is silent where there is nothing to say."""

import torch
import torch.nn.functional as F
from torch import nn

from grader.datasets.known import MNIST
from grader.reports.advice import advice
from reference_solution.model import Net as Reference
from tests.capturing import Net, conv, facts
from tests.cases.networks.architectures import CASES


def told(module: nn.Module) -> str:
    """Return the advice a module gets, as one text."""
    return "\n".join(advice(facts(module), MNIST.subject))


def test_the_reference_gets_no_advice() -> None:
    """Nothing is found wrong with the reference solution."""
    assert told(Reference()) == ""


def test_a_bias_before_batch_norm_is_named_with_its_saving() -> None:
    """Conv with bias, then batch norm: bias=False saves its ten parameters."""
    net = Net(lambda m, x: m.bn(m.first(x)).mean((2, 3)), first=conv(), bn=nn.BatchNorm2d(10))

    assert "first: use bias=False" in told(net)
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

    assert "a ReLU between" in told(cut)
    assert "ReLU" not in told(fine)


def test_a_small_receptive_field_is_named() -> None:
    """A single 3×3 convolution sees less than a digit."""
    net = Net(lambda m, x: m.first(x).mean((2, 3)), first=conv())

    assert "first sees 3 pixels" in told(net)


def test_a_linear_layer_over_a_whole_map_is_named_with_its_saving() -> None:
    """Averaging a 26×26 map first spares a linear layer almost all its parameters."""
    head = nn.Linear(10 * 26 * 26, 10)
    net = Net(lambda m, x: m.head(m.first(x).flatten(1)), first=conv(), head=head)

    assert "head reads a whole 26×26 feature map" in told(net)
    assert f"saves {10 * (6760 - 10):,} parameters" in told(net)


def test_the_layer_that_makes_a_network_too_large_is_named() -> None:
    """The layers that hold most of too many parameters are named with their shares."""
    head = nn.Linear(784, 64)
    net = Net(
        lambda m, x: m.out(torch.relu(m.head(x.flatten(1)))), head=head, out=nn.Linear(64, 10)
    )

    assert "of 50,890 parameters head holds 99%, out holds 1%" in told(net)
    assert "save about 25,120" in told(net)


def test_a_bias_that_is_read_twice_is_left_alone() -> None:
    """A bias in front of batch norm matters where the convolution is read beside it as well."""
    net = Net(
        lambda m, x: ((y := m.first(x)) + m.bn(y)).mean((2, 3)), first=conv(), bn=nn.BatchNorm2d(10)
    )

    assert "bias=False" not in told(net)


def test_a_branch_that_goes_nowhere_is_named_with_its_saving() -> None:
    """What is computed and dropped is named with its multiply-accumulates."""
    net = Net(
        lambda m, x: (m.first(x).mean((2, 3)), m.again(x).relu())[0], first=conv(), again=conv()
    )

    assert "again, relu: computed, but its result is not used" in told(net)
    assert "saves 60,840 of 121,680 multiply-accumulates" in told(net)


def test_pooling_right_before_the_average_is_named() -> None:
    """Max pooling behind the last 3×3 convolution is named; a 1×1 convolution changes nothing."""
    near = Net(
        lambda m, x: m.last(F.max_pool2d(m.first(x), 2)).mean((2, 3)),
        first=conv(outputs=4), last=conv(4, 10, 1),
    )  # fmt: skip
    far = Net(
        lambda m, x: m.last(F.max_pool2d(m.first(x), 2)).mean((2, 3)),
        first=conv(outputs=4), last=conv(4, 10, 3),
    )  # fmt: skip

    assert "max_pool2d comes right before the global average and discards 75%" in told(near)
    assert "right before the global average" not in told(far)


def test_pooling_that_throws_nothing_away_is_left_alone() -> None:
    """Max pooling of stride 1 keeps every place, and in one branch of four it is no last step."""
    assert "right before the global average" not in told(CASES["inception"].make())


def test_layers_whose_names_are_numbers_are_named_by_kind() -> None:
    """In a Sequential `4` tells a person nothing; `dropout 4` does."""
    net = nn.Sequential(
        conv(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(10, 10)
    )

    assert "dropout 4 comes right before linear 5, the last layer" in told(net)


def test_dropout_right_before_the_last_layer_is_named() -> None:
    """Dropout on the ten or hundred numbers that make the scores is named."""
    net = Net(
        lambda m, x: m.last(m.drop(m.first(x).mean((2, 3)))),
        first=conv(outputs=16), drop=nn.Dropout(0.1), last=nn.Linear(16, 10),
    )  # fmt: skip

    assert (
        "drop comes right before last, the last layer, whose outputs are sums over only 16"
        in told(net)
    )


def test_work_at_full_resolution_is_named() -> None:
    """A network that never pools spends all of its work on the largest map."""
    layers = [conv(1, 32, padding=1), conv(32, 32, padding=1), conv(32, 10, padding=1)]
    net = Net(lambda m, x: m.body(x).mean((2, 3)), body=nn.Sequential(*layers))

    assert "of the 9,709,056 multiply-accumulates are spent at 28×28" in told(net)


def test_attention_over_the_map_needs_no_larger_field() -> None:
    """Patches that see 7 pixels are no fault where all patches look at each other."""
    assert "is 20 wide" not in told(CASES["tokens"].make())
