"""What a check tells of layers and numbers: names, shapes, why, and what to try."""

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, nn, zeros

from tests.capturing import Net, conv, facts
from tests.judging import check_of
from tests.making import record


def told(name: str, net: nn.Module) -> str:
    """Return what a check says of a network that fails it."""
    check = check_of(name, record(60, model=facts(net)))
    assert check.outcome == "failed"
    return f"found: {check.found}; where: {check.where}; try: {check.help}"


def test_a_near_miss_is_told_with_name_shapes_reason_and_remedy() -> None:
    """Windows that leave a border: layer, what goes in and comes out, why, where, what to try."""
    net = Net(
        lambda m, x: m.pool(m.conv(x)).flatten(1)[:, :10],
        conv=conv(kernel=7, stride=3), pool=nn.AvgPool2d(7),
    )  # fmt: skip
    text = told("global_average_pooling", net)

    assert "avg pool2d pool (10×8×8 → 10×1×1): it averages windows of 7×7 on a map of 8×8" in text
    assert "capturing.py, line" in text
    assert "average the whole last feature map with nn.AdaptiveAvgPool2d(1)" in text


def test_a_layer_that_is_missing_is_to_be_added() -> None:
    """Where nothing looks like dropout, the remedy is to add it."""
    text = told("dropout", Net(lambda m, x: m.conv(x).mean((2, 3)), conv=conv()))

    assert "found: none;" in text
    assert "add nn.Dropout" in text


def unread(m: Any, x: Tensor) -> Tensor:
    """Normalise, and go on without."""
    x = m.conv(x)
    m.norm(x).relu()
    return x.mean((2, 3))


@pytest.mark.parametrize(
    ("forward", "why"),
    [
        (unread, "nothing reads it, or what is made of it"),
        (lambda m, x: (m.norm(x := m.conv(x)) * 0 + x).mean((2, 3)), "it is taken away again"),
    ],
)
def test_what_is_dropped_is_told_from_what_is_undone(
    forward: Callable[[Any, Tensor], Tensor], why: str
) -> None:
    """A norm that nobody reads, and one that is multiplied by zero, get different words."""
    net = Net(forward, conv=conv(), norm=nn.BatchNorm2d(10))
    text = told("batch_normalization", net)

    assert f"batch norm norm (10×26×26): its result is not used for the output: {why}" in text
    assert "x = self.bn(x)" in text


def test_layers_that_pass_are_named_with_their_shapes() -> None:
    """What is found is the layer and what goes through it."""
    net = Net(lambda m, x: m.gap(m.conv(x)).flatten(1), conv=conv(), gap=nn.AdaptiveAvgPool2d(1))
    check = check_of("global_average_pooling", record(60, model=facts(net)))

    assert check.found == "gap (10×26×26 → 10×1×1)"


def test_buffers_and_unused_parameters_are_counted_apart_and_named() -> None:
    """The number of parameters says what of it lies in buffers, with names and shapes."""
    net = Net(
        lambda m, x: m.conv(x).mean((2, 3)) + m.table.sum(),
        conv=conv(), spare=nn.Linear(10, 10), table=nn.Buffer(zeros(5, 7)),
    )  # fmt: skip
    check = check_of("parameter_count", record(60, model=facts(net)))

    assert check.found == "245, 110 of them unused, 35 in buffer table (5×7)"
