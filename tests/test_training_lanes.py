"""Training with an image in each lane: against PyTorch's own operations in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from grader.training.lanes.arrays import packed, unpacked
from grader.training.lanes.blocks import CORRELATIONS, parts
from grader.training.lanes.chain import Chain, Keys
from grader.training.lanes.geometry import Convolution, fits
from grader.training.lanes.layer import Activation, Norm
from grader.training.lanes.vectors import LANES
from grader.training.network import Network
from tests.capturing import Net, conv, model_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not LANES, reason="this processor has no vectors to fill"),
]

NORM = Norm(momentum=0.1, eps=1e-5, batch=True)
Run = Callable[..., Tensor]


def error(ours: Tensor, exact: Tensor) -> float:
    """Return the largest difference, relative to the largest number."""
    scale = exact.detach().abs().max().clamp_min(1e-30)
    return float((ours.detach() - exact.detach()).abs().max() / scale)


def compared(ours: Run, exact: Run, tensors: list[Tensor]) -> list[float]:
    """Return the errors of the output and of the gradient of every tensor."""
    mine = [tensor.clone().requires_grad_() for tensor in tensors]
    true = [tensor.double().requires_grad_() for tensor in tensors]
    output, reference = ours(*mine), exact(*true)
    weights = 1.5 + torch.arange(output.numel()).sin().view_as(output)  # sums must not cancel
    gradients = torch.autograd.grad((output * weights).sum(), mine)
    references = torch.autograd.grad((reference * weights.double()).sum(), true)
    return [error(output, reference), *map(error, gradients, references)]


def chained(*activations: Activation, convolutions: tuple[Convolution, ...] = ()) -> Run:
    """Return a chain as a function of plain tensors."""
    chain = Chain(activations, convolutions, Keys(1))
    return lambda x, *tensors: unpacked(chain(packed(x), len(x), *tensors), len(x))


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Convolution, tuple[int, ...], tuple[int, int], int]:
    """Draw a convolution, its kernel's shape, the size of a map, and how many images there are."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    kernel = (
        groups * draw(st.integers(1, 9)), draw(st.integers(1, 6)),
        draw(st.integers(1, 5)), draw(st.integers(1, 7)),
    )  # fmt: skip
    dilation = draw(pair)
    reach = [a * (k - 1) for a, k in zip(dilation, kernel[2:], strict=True)]
    padding = (draw(st.integers(0, reach[0])), draw(st.integers(0, reach[1])))
    size = (
        draw(st.integers(max(1, reach[0] + 1 - 2 * padding[0]), 20)),
        draw(st.integers(max(1, reach[1] + 1 - 2 * padding[1]), 20)),
    )
    found = Convolution(draw(pair), padding, dilation, groups)
    return found, kernel, size, draw(st.integers(1, 2 * LANES + 1))


@settings(max_examples=60, deadline=None)
@example((Convolution((3, 1), (1, 0), (1, 1), 1), (1, 1, 2, 1), (1, 1), 1))  # no input is read
@given(convolutions())
def test_any_convolution_and_its_gradients_are_those_of_pytorch(
    drawn: tuple[Convolution, tuple[int, ...], tuple[int, int], int],
) -> None:
    """Strides, paddings, dilations, groups, kernels, sizes and batches at random, to 1e-5."""
    found, kernel, size, images = drawn
    assert fits(found, kernel)
    x = torch.randn(images, kernel[1] * found.groups, *size)
    weight, bias = torch.randn(kernel), torch.randn(kernel[0])

    errors = compared(
        chained(Activation(), Activation(), convolutions=(found,)),
        lambda x, w, b: F.conv2d(
            x, w, b, found.stride, found.padding, found.dilation, found.groups
        ),
        [x, weight, bias],
    )

    assert max(errors) < 1e-5


@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("bend", ["", "relu", "silu"])
@pytest.mark.parametrize("pooled", [False, True])
def test_any_activation_and_its_gradients_are_those_of_pytorch(
    size: tuple[int, int], rectified: bool, bend: str, pooled: bool
) -> None:
    """A norm with a ReLU before it, a ReLU or SiLU behind it, pooled or not, to 1e-5."""
    torch.manual_seed(0)
    x, weight, bias = torch.randn(37, 5, *size), torch.rand(5) + 0.5, torch.randn(5)

    def exact(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x = F.relu(x) if rectified else x
        y = F.batch_norm(x, None, None, weight, bias, training=True, eps=NORM.eps)
        y = {"": y, "relu": F.relu(y), "silu": F.silu(y)}[bend]
        return F.max_pool2d(y, 2) if pooled else y

    ours = chained(Activation(rectified, NORM, bend == "relu", bend == "silu", 0.0, pooled))

    errors = compared(lambda x, w, b: ours(x, w, b, None, None), exact, [x, weight, bias])

    assert max(errors) < 1e-5


def test_statistics_survive_a_mean_far_from_zero() -> None:
    """A channel with mean 1,000 and spread 1 is normalised to 1e-3, and its mean noted."""
    torch.manual_seed(0)
    x = torch.randn(64, 2, 6, 6) + torch.tensor([1000.0, 0.0])[:, None, None]
    mean, variance = torch.zeros(2), torch.ones(2)

    output = chained(Activation(norm=NORM))(x, None, None, mean, variance)

    exact = F.batch_norm(x.double(), None, None, training=True)
    assert error(output, exact) < 1e-3
    assert torch.allclose(mean, 0.1 * x.mean((0, 2, 3)), rtol=1e-5, atol=1e-5)
    assert torch.allclose(variance, 0.9 + 0.1 * x.double().var((0, 2, 3)).float(), rtol=1e-3)


def test_dropout_drops_its_share_and_the_way_back_drops_the_same() -> None:
    """Of a million numbers 30 % are gone, the rest scaled; so are their gradients."""
    x = torch.ones(320, 4, 28, 28, requires_grad=True)

    output = chained(Activation(p=0.3))(x)
    (gradient,) = torch.autograd.grad(output.sum(), [x])

    assert abs(float((output == 0).float().mean()) - 0.3) < 0.002
    assert torch.allclose(output[output != 0], torch.tensor(1 / 0.7))
    assert torch.equal(gradient, output.detach())


def test_silu_keeps_its_digits_far_from_zero() -> None:
    """From -100 to 100 it is PyTorch's in float64 to 1e-6 of the larger of it and 1; NaN stays."""
    x = torch.linspace(-100, 100, 32 * 784).view(32, 1, 28, 28)
    x[0, 0, 0, 0] = torch.nan

    output = chained(Activation(silu=True))(x)

    exact = F.silu(x.double())
    assert output[0, 0, 0, 0].isnan()
    difference = (output - exact).abs() / exact.abs().clamp_min(1)
    assert difference.nan_to_num().max() < 1e-6


def test_silu_and_dropout_scale_what_is_kept() -> None:
    """With p = 0.5 what is left of a SiLU is doubled, and so are its gradients."""
    x = torch.full((64, 4, 8, 8), 1.5, requires_grad=True)

    output = chained(Activation(silu=True, p=0.5))(x)
    (gradient,) = torch.autograd.grad(output.sum(), [x])

    kept = output != 0
    share = torch.tensor(1.5).sigmoid()
    assert abs(float(kept.float().mean()) - 0.5) < 0.02
    assert torch.allclose(output[kept], 2 * 1.5 * share)
    assert torch.allclose(gradient[kept], 2 * share * (1 + 1.5 * (1 - share)))
    assert not gradient[~kept].any()


def test_what_is_closed_lets_no_gradient_through_however_large() -> None:
    """ReLU below zero, and what pooling passes over, get 0 of an infinite gradient."""
    x = torch.full((32, 1, 4, 4), -1.0)
    x[:, :, :2, :2] = torch.tensor([[1.0, 3.0], [2.0, -4.0]])
    x.requires_grad_()

    output = chained(Activation(relu=True, pooled=True))(x)
    (gradient,) = torch.autograd.grad(output, [x], torch.full_like(output, torch.inf))

    assert gradient[:, 0, 0, 1].isinf().all()
    assert gradient.count_nonzero() == len(x)


def test_dropout_has_no_pattern() -> None:
    """Neighbours, images, channels and steps drop independently: correlations stay below 0.01."""
    chain = Chain((Activation(p=0.5),), (), Keys(3))
    x = torch.ones(64, 4, 28, 28)
    first, second = (unpacked(chain(packed(x), 64), 64) - 1 for _ in range(2))

    together = [
        first[..., 1:] * first[..., :-1], first[..., 1:, :] * first[..., :-1, :],
        first[1:] * first[:-1], first[:, 1:] * first[:, :-1], first * second,
    ]  # fmt: skip

    assert max(abs(float(product.mean())) for product in together) < 0.01


def test_a_number_that_is_none_stays_one() -> None:
    """NaN goes through ReLU, norm and pooling, so that a training that diverges is seen."""
    x = torch.randn(32, 2, 4, 4)
    x[3, 0, 1, 1] = torch.nan

    output = chained(Activation(True, NORM, relu=True, pooled=True))(x, None, None, None, None)

    assert output[:, 0].isnan().all()
    assert not output[:, 1].isnan().any()


@pytest.mark.parametrize("count", range(1, 40))
def test_blocks_cover_a_layer_exactly(count: int) -> None:
    """Channels are cut into compiled sizes that add up, for every number of neighbours."""
    for taps, sizes in CORRELATIONS.items():
        cut = parts(count, (taps,))
        assert sum(cut) == count
        assert set(cut) <= set(sizes)


class Mixed(nn.Module):
    """What networks do between convolutions: sums, joins, gates, pools, other activations."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = conv(1, 6, padding=1), conv(6, 6, padding="same", bias=False)
        self.norm, self.wide = nn.BatchNorm2d(6), conv(12, 8, 1)
        self.deep, self.gate = conv(8, 8, padding=1, groups=8), conv(8, 8, 1)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Score images."""
        x = F.silu(self.one(x))
        y = self.norm(self.two(x))
        y += x
        x = F.avg_pool2d(torch.cat([F.relu(y), x], 1), 2)
        x = F.leaky_relu(self.wide(x), 0.1)
        x = x * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)))
        x = self.deep(F.max_pool2d(x, 3, 2)).transpose(2, 3)
        scores: Tensor = self.head(x.mean((2, 3)))
        return scores


def test_what_stands_between_chains_gives_pytorchs_numbers() -> None:
    """Residual sums in place, joins, gates, pools and other activations, packed and unpacked."""
    torch.manual_seed(1)
    module = Mixed()
    network = Network(model_of(module), torch.Generator())
    network.load(module.state_dict())
    names = [name for name, _ in module.named_parameters()]
    x = torch.rand(LANES + 3, 1, 28, 28)
    exact = module.double().train()
    weights = torch.randn(LANES + 3, 10)

    ours = torch.autograd.grad((network(x) * weights).sum(), [network.state[n] for n in names])
    true = torch.autograd.grad((exact(x.double()) * weights).sum(), [*exact.parameters()])

    for mine, reference in zip(ours, true, strict=True):
        assert error(mine, reference) < 1e-4


def test_a_value_that_others_see_is_not_written_over() -> None:
    """A view taken before its base changes in place sees the change, as in PyTorch."""

    def forward(s: Any, x: Tensor) -> Any:
        y = s.conv(x)
        seen = y.flatten(1)
        y.mul_(2)
        return seen[:, :10] + y.mean((1, 2, 3))[:, None]

    module = Net(forward, conv=conv(1, 4))
    network = Network(model_of(module), torch.Generator())
    network.load(module.state_dict())
    x = torch.rand(LANES, 1, 28, 28)

    with torch.no_grad():
        assert torch.allclose(network(x), module(x), rtol=1e-4, atol=1e-5)


def test_dropout_of_whole_channels_drops_whole_channels() -> None:
    """Each map of each image is gone or scaled as a whole, a quarter of them gone."""
    layer = conv(1, 20)
    module = Net(lambda s, x: F.dropout2d(s.conv(x), 0.25, s.training).flatten(1), conv=layer)
    network = Network(model_of(module), torch.Generator())
    network.load(module.state_dict())
    x = torch.rand(64, 1, 28, 28)

    with torch.no_grad():
        maps = network(x).view(64, 20, -1)
        plain = layer(x).flatten(2)

    gone = (maps == 0).all(2)
    assert abs(float(gone.float().mean()) - 0.25) < 0.05
    assert torch.allclose(maps[~gone], plain[~gone] / 0.75, rtol=1e-4, atol=1e-4)


REFUSED: dict[str, tuple[tuple[int, ...], tuple[int, ...], int, bool]] = {
    "channels": ((20, 3, 8, 8), (4, 2, 3, 3), 4, False),
    "biases": ((20, 2, 8, 8), (4, 2, 3, 3), 3, False),
    "does not fit maps": ((20, 2, 2, 8), (4, 2, 3, 3), 4, False),
    "no maps": ((20, 2, 8), (4, 2, 3, 3), 4, False),
    "too small to pool": ((20, 2, 3, 8), (4, 2, 3, 3), 4, True),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_a_plan_says_of_shapes_is_not_believed(said: str) -> None:
    """Shapes that do not fit are refused in words before compiled code sees them."""
    shape, kernel, biases, pooled = REFUSED[said]
    run = chained(
        Activation(),
        Activation(pooled=pooled),
        convolutions=(Convolution((1, 1), (0, 0), (1, 1), 1),),
    )
    with pytest.raises(ValueError, match=said):
        run(torch.zeros(shape), torch.zeros(kernel), torch.zeros(biases))


@pytest.mark.parametrize("wrong", range(4))
def test_a_norm_with_numbers_for_other_channels_is_refused(wrong: int) -> None:
    """Weight, bias, mean and variance must each have one number a channel."""
    tensors = [torch.zeros(4 if index == wrong else 3) for index in range(4)]
    with pytest.raises(ValueError, match="3 channels"):
        chained(Activation(norm=NORM))(torch.zeros(20, 3, 8, 8), *tensors)


@pytest.mark.parametrize(
    "odd",
    [
        Convolution((-1, 1), (0, 0), (1, 1), 1),
        Convolution((1, 0), (0, 0), (1, 1), 1),
        Convolution((1, 1), (0, 0), (1, -2), 1),
        Convolution((1, 1), (0, 0), (1, 1), 0),
        Convolution((1, 1), (-1, 0), (1, 1), 1),
        Convolution((1, 1), (0, 3), (1, 1), 1),
    ],
)
def test_steps_and_margins_that_lead_out_of_an_array_are_left_to_pytorch(odd: Convolution) -> None:
    """Strides, dilations and groups below one, and padding wider than the kernel reaches."""
    assert not fits(odd, (4, 4, 3, 3))
    assert fits(Convolution((1, 1), (0, 2), (1, 1), 1), (4, 4, 3, 3))
