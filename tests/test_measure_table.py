"""Receptive fields agree with what a gradient reaches."""

import itertools

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from grader.plan.findings import Layer
from tests.capturing import Net, conv, facts


def last_map(net: nn.Module) -> Layer:
    """Return the last row that sees less than the whole image."""
    return [layer for layer in facts(net).layers if layer.receptive_field][-1]


def seed() -> Net:
    """Return the network the assignment's optimised solution describes."""
    widths = [1, 10, 18, 18, 28, 28, 10]
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        layers += [conv(inputs, outputs, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        if i in (1, 3):
            layers += [nn.Dropout(0.05), nn.MaxPool2d(2)]
    return Net(
        lambda s, x: s.gap(s.body(x)).view(-1, 10).log_softmax(1),
        body=nn.Sequential(*layers), gap=nn.AdaptiveAvgPool2d(1),
    )  # fmt: skip


def test_the_table_of_the_assignment() -> None:
    """Convolutions and poolings of the known network see 3, 5, 6, 10, 14, 16, 24, 32 pixels."""
    rows = [x for x in facts(seed()).layers if x.kind in ("convolution", "max pool")]

    assert [row.receptive_field for row in rows] == [(n, n) for n in (3, 5, 6, 10, 14, 16, 24, 32)]
    assert [row.jump for row in rows] == [(n, n) for n in (1, 1, 2, 2, 2, 4, 4, 4)]
    assert facts(seed()).parameters == 18_962


def test_pooling_the_whole_map_sees_everything() -> None:
    """Behind global average pooling every unit sees the whole image."""
    assert [x.receptive_field for x in facts(seed()).layers][-2:] == [None, None]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (lambda s, x: s.a(x) + s.b(x), (5, 5)),
        (lambda s, x: torch.cat([s.a(x), s.b(x)], 1), (5, 5)),
        (lambda s, x: s.a(x)[:, :, 2:] + s.b(x)[:, :, :-2], (6, 5)),
        (lambda s, x: s.a(x).relu_().mul_(2), (3, 3)),
        (lambda s, x: nn.functional.pad(s.b(x), (1, 1, 1, 1))[:, :, 1:-1, 1:-1], (5, 5)),
        (lambda s, x: s.w(x), (3, 5)),
        (lambda s, x: s.d(x), (5, 5)),
    ],
    ids=["sum", "join", "shifted", "in place", "padded and cut", "oblong", "dilated"],
)
def test_branches_take_the_union(run: object, expected: tuple[int, int]) -> None:
    """Where branches meet, the field is the hull of theirs."""
    net = Net(
        lambda s, x: s.f(run(s, x)).mean((2, 3)),  # type: ignore[operator]
        a=conv(padding=1), b=conv(kernel=5, padding=2), w=nn.Conv2d(1, 10, (3, 5)),
        d=conv(dilation=2), f=nn.LazyConv2d(10, 1),
    )  # fmt: skip

    assert last_map(net).receptive_field == expected


@pytest.mark.parametrize(
    "run",
    [
        lambda s, x: s.f(s.c(x).flatten(1)),
        lambda s, x: s.c(x).flatten(2).softmax(-1).sum(-1),
        lambda s, x: (s.c(x) * s.c(x).amax((2, 3), True)).flatten(2)[:, :, 0],
        lambda s, x: torch.einsum("bchw->bc", s.c(x)),
        lambda s, x: (t := s.c(x).flatten(2).mT, t @ t.mT @ t)[1][:, 0],
    ],
    ids=["flat", "softmax", "gate", "einsum", "attention"],
)
def test_what_mixes_the_map_sees_everything(run: object) -> None:
    """Sums over a map, products along it and gates made of it see the whole image."""
    net = Net(
        lambda s, x: s.g(run(s, x)),  # type: ignore[operator]
        c=conv(), f=nn.Linear(6760, 10), g=nn.Linear(10, 10),
    )  # fmt: skip

    assert facts(net).layers[-1].receptive_field is None


class Stack(nn.Module):
    """Layers in a row, and one number an image at the end."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.head = nn.LazyConv2d(10, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x)).amax((2, 3))  # type: ignore[no-any-return]


def layer(draw: st.DrawFn) -> nn.Module:
    """Draw a convolution or a pooling."""
    kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 2))
    padding, dilation = draw(st.integers(0, kernel // 2)), draw(st.integers(1, 2))
    kind = draw(st.sampled_from(["convolution", "maximum", "average", "residual"]))
    if kind == "maximum":
        return nn.MaxPool2d(kernel, stride, padding)
    if kind == "average":
        return nn.AvgPool2d(kernel, stride, padding)
    if kind == "residual":
        return Sum(
            nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 5, padding=2 * dilation,
                                                     dilation=dilation)
        )  # fmt: skip
    return nn.Conv2d(1, 1, kernel, stride, padding, dilation)


class Sum(nn.Module):
    """The sum of two branches."""

    def __init__(self, one: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.one, self.other = one, other

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) + self.other(x)  # type: ignore[no-any-return]


@st.composite
def stacks(draw: st.DrawFn) -> Stack:
    """Draw a few layers in a row."""
    return Stack([layer(draw) for _ in range(draw(st.integers(1, 4)))])


def support(stack: Stack) -> tuple[int, int]:
    """Return over how many rows and columns a unit in the middle of the map depends on pixels."""
    image = torch.zeros(1, 1, 240, 240, dtype=torch.float64, requires_grad=True)
    smooth = Stack([smoothed(part) for part in stack.layers]).double()
    for parameter in smooth.layers.parameters():
        nn.init.ones_(parameter)
    out = smooth.layers(image)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    assert image.grad is not None
    rows, columns = torch.nonzero(image.grad[0, 0], as_tuple=True)
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


def smoothed(part: nn.Module) -> nn.Module:
    """Replace a maximum, whose gradient reaches one pixel, by an average of the same windows."""
    if isinstance(part, nn.MaxPool2d):
        return nn.AvgPool2d(part.kernel_size, part.stride, part.padding)
    return part


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(stacks())
def test_fields_agree_with_the_gradient(stack: Stack) -> None:
    """The window of the last map is as large as the part of the image a unit's gradient reaches.

    Where some unit's whole window lies in the image: of others only a part can be seen.
    """
    x = torch.zeros(1, 1, 28, 28)
    for part in stack.layers:
        x = part(x)
        assume(min(x.shape[2:]) > 4)  # a pooling that covers the whole map sees everything

    found, reached = last_map(stack).receptive_field, support(stack)
    assume(max(reached) <= 14)

    assert found == reached
