"""The probe tells what acts from what only stands on the path, and never doubts an honest net."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grader.plan.schema import Graph, Group, Model, Optimizer, Recipe, Ref, Schedule
from grader.training.events import Probed
from grader.training.probe import probe, taught
from tests.capturing import Net, conv, facts, model_of
from tests.networks import NETWORKS

pytestmark = pytest.mark.slow


def end(x: Tensor) -> Tensor:
    """Average the map: ten channels are ten scores."""
    return x.mean((2, 3))


def small(outputs: int = 10, **options: Any) -> nn.Conv2d:
    """Return a convolution that leaves a small map, so that tests are fast."""
    return conv(1, outputs, 3, stride=4, **options)


def zeroed(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """Make a norm whose result is zero until it is trained."""
    nn.init.zeros_(norm.weight)
    return norm


def tiny(layer: nn.Conv2d) -> nn.Conv2d:
    """Give a convolution weights that are next to nothing."""
    nn.init.normal_(layer.weight, std=1e-9)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type] # it has one
    return layer


def dying(layer: nn.Conv2d) -> nn.Conv2d:
    """Give a convolution a bias that keeps every ReLU behind it shut."""
    nn.init.constant_(layer.bias, -20.0)  # type: ignore[arg-type] # it has one
    return layer


def zeroed_head() -> nn.Linear:
    """Return a classifier that gives every image zeros until it is trained."""
    head = nn.Linear(10, 10)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def plus(x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
    """Add a branch to a map, and average."""
    return end(x + branch(x))


def squeeze_excite(m: Any, x: Tensor) -> Tensor:
    """Scale the channels by what is known of the whole map."""
    x = m.bn(m.conv(x))
    return end(x * m.gate(x.mean((2, 3)))[:, :, None, None])


def attention(m: Any, x: Tensor) -> Tensor:
    """Patches that look at each other, with dropout on the weights."""
    x = m.bn(m.conv(x)).flatten(2).transpose(1, 2)
    weights = F.dropout(torch.softmax(x @ x.transpose(1, 2), -1), 0.1, m.training)
    return (x + weights @ x).mean(1)


def twice(m: Any, x: Tensor) -> Tensor:
    """One norm called twice; what the second call gives is dropped."""
    x = m.conv(x)
    m.bn(x + 1)
    return end(m.bn(x))


def drop_path(m: Any, x: Tensor) -> Tensor:
    """Leave a whole branch out for some images."""
    x = m.bn(m.conv(x))
    if m.training:
        return end(x + m.again(x) * (torch.rand(x.shape[0], 1, 1, 1) < 0.9) / 0.9)
    return end(x + m.again(x))


def norm() -> nn.BatchNorm2d:
    """Return a norm of ten channels."""
    return nn.BatchNorm2d(10)


def same() -> nn.Conv2d:
    """Return a convolution of ten channels that keeps the map's size."""
    return conv(10, 10, 3, padding=1)


HONEST: dict[str, Callable[[], nn.Module]] = {
    "residual branch that begins as zero": lambda: Net(
        lambda m, x: plus(m.conv(x), lambda y: m.bn(m.again(y))),
        conv=small(), again=same(), bn=zeroed(norm()),
    ),
    "layer scale of 1e-6": lambda: Net(
        lambda m, x: plus(m.conv(x), lambda y: m.scale * m.bn(m.again(y))),
        conv=small(), again=same(), bn=norm(), scale=nn.Parameter(torch.full((10, 1, 1), 1e-6)),
    ),
    "gate that begins shut": lambda: Net(
        lambda m, x: plus(m.conv(x), lambda y: m.gate * F.dropout(m.bn(y), 0.1, m.training)),
        conv=small(), bn=norm(), gate=nn.Parameter(torch.zeros(())),
    ),
    "squeeze and excite": lambda: Net(
        squeeze_excite,
        conv=small(), bn=norm(), gate=nn.Sequential(nn.Linear(10, 2), nn.ReLU(), nn.Linear(2, 10),
                                                    nn.Dropout(0.1), nn.Sigmoid()),
    ),
    "attention": lambda: Net(attention, conv=small(), bn=norm()),
    "dropout that drops one in ten thousand": lambda: Net(
        lambda m, x: end(m.drop(m.conv(x))), conv=small(), drop=nn.Dropout(1e-4)
    ),
    "dropout of channels": lambda: Net(
        lambda m, x: end(m.drop(m.conv(x))), conv=small(), drop=nn.Dropout2d(0.02)
    ),
    "dropout in place": lambda: Net(
        lambda m, x: end(m.drop(m.bn(m.conv(x)))),
        conv=small(), bn=norm(), drop=nn.Dropout(0.05, inplace=True),
    ),
    "dropout of scores": lambda: Net(
        lambda m, x: m.drop(end(m.conv(x))).log_softmax(1), conv=small(), drop=nn.Dropout(0.1)
    ),
    "dropped paths": lambda: Net(drop_path, conv=small(), bn=norm(), again=same()),
    "norm before a maximum": lambda: Net(
        lambda m, x: end(F.max_pool2d(m.bn(m.conv(x)), 3)), conv=small(), bn=norm()
    ),
    "norm of scores": lambda: Net(
        lambda m, x: m.bn(end(m.conv(x))), conv=small(), bn=nn.BatchNorm1d(10, affine=False)
    ),
    "norm of a norm": lambda: Net(
        lambda m, x: end(m.again(m.bn(m.conv(x))) ** 2), conv=small(), bn=norm(), again=norm()
    ),
    "norm without scale before layer norm": lambda: Net(
        lambda m, x: F.layer_norm(end(m.bn(m.conv(x)) ** 2), (10,)),
        conv=small(), bn=nn.BatchNorm2d(10, affine=False),
    ),
    "pooling before a classifier": lambda: Net(
        lambda m, x: m.head(F.adaptive_avg_pool2d(m.conv(x), 1).flatten(1)),
        conv=small(), head=nn.Linear(10, 10),
    ),
    "pooling by windows": lambda: Net(
        lambda m, x: F.avg_pool2d(m.conv(x), 7).flatten(1), conv=small()
    ),
    "classifier of zeros": lambda: Net(
        lambda m, x: m.head(end(m.drop(m.bn(m.conv(x))))),
        conv=small(), bn=norm(), drop=nn.Dropout(0.1), head=zeroed_head(),
    ),
    "one norm, called twice, one call dropped": lambda: Net(twice, conv=small(), bn=norm()),
    "saturated ReLU6": lambda: Net(
        lambda m, x: end(F.relu6(m.bn(m.conv(x)) * 30)), conv=small(), bn=norm()
    ),
    "saturated hardswish": lambda: Net(
        lambda m, x: end(F.hardswish(10 * m.bn(m.conv(x)) - 30)), conv=small(), bn=norm()
    ),
    "saturated softmax": lambda: Net(
        lambda m, x: (300 * end(m.drop(m.bn(m.conv(x))))).softmax(1),
        conv=small(), bn=norm(), drop=nn.Dropout(0.1),
    ),
    "weights that begin at 1e-9": lambda: Net(
        lambda m, x: end(m.drop(m.bn(m.conv(x)))), conv=tiny(small()), bn=norm(),
        drop=nn.Dropout(0.1),
    ),
    "dead ReLUs": lambda: Net(
        lambda m, x: end(F.relu(m.last(m.bn(m.conv(x))))), conv=small(), bn=norm(),
        last=dying(same()),
    ),
    "PReLU that begins at zero": lambda: Net(
        lambda m, x: end(m.act(-m.bn(m.conv(x)).abs())), conv=small(), bn=norm(),
        act=nn.PReLU(10, init=0.0),
    ),
    "a map of one pixel": lambda: Net(
        lambda m, x: m.head(m.drop(m.bn(m.conv(x)))).flatten(1), conv=conv(1, 10, 28), bn=norm(),
        drop=nn.Dropout(0.1), head=conv(10, 10, 1),
    ),
    "clamped": lambda: Net(
        lambda m, x: end(m.bn(m.conv(x)).clamp(-1, 1)), conv=small(), bn=norm()
    ),
    "steps with a straight-through gradient": lambda: Net(
        lambda m, x: plus(m.bn(m.conv(x)), lambda y: (y.sign() - y).detach()),
        conv=small(), bn=norm(),
    ),
    "half precision inside": lambda: Net(
        lambda m, x: end(m.bn(m.conv(x)).to(torch.bfloat16).float()), conv=small(), bn=norm()
    ),
    "numbers made in forward": lambda: Net(
        lambda m, x: end(m.bn(m.conv(x)) * torch.linspace(0.5, 1, 7) + torch.ones(7)),
        conv=small(), bn=norm(),
    ),
    **NETWORKS,
}  # fmt: skip


def probed(model: Model) -> Probed:
    """Probe a model whose every trainable tensor is taught."""
    return probe(model, {tensor.name for tensor in model.tensors})


def inert(model: Model) -> set[str]:
    """Return the nodes that the probe calls inert."""
    return {i.node for i in probed(model).influences if not i.acts}


@pytest.mark.parametrize("name", HONEST)
def test_honest_network_is_not_doubted(name: str) -> None:
    """What the facts count acts, results are as stated, and images are judged apart."""
    torch.manual_seed(1)
    found = probed(model_of(HONEST[name]()))

    assert (found.failed, found.misshapen, found.independent) == ("", [], True)
    assert [i for i in found.influences if not i.acts] == []


# What a map and its batch norm are made into; a graph alone shows of none that the norm is idle.
IDLE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "a mask that is always on": lambda x, y: x * (y > -1e30),
    "a mask that is always on, with a bound in reach of no norm": lambda x, y: x * (y.abs() < 1e4),
    "a choice that is always the other": lambda x, y: torch.where(y < -1e9, y, x),
    "scaled to almost nothing": lambda x, y: x * (1 + y * 1e-6),
    "taken away by another expression": lambda x, y: x + y * y - y.square().relu(),
    "large, added and taken away": lambda x, y: (x + 3e3 * y) - 3e3 * (y.relu() - (-y).relu()),
    "rounded away in float32 alone": lambda x, y: (
        x + (torch.hypot(y / 100, torch.full_like(y, 1e3)) - 1e3) * 1e8
    ),
    "squeezed to a point": lambda x, y: x + y.clamp(-1e-9, 1e-9),
    "rounded away": lambda x, y: x + (y * 1e-2).round(),
    "its sign and its size": lambda x, y: x + (y - y.sign() * y.abs()),
    "a softmax over one": lambda x, y: x * y.unsqueeze(-1).softmax(-1).squeeze(-1),
}


@pytest.mark.parametrize("name", IDLE)
def test_norm_that_changes_nothing_is_inert(name: str) -> None:
    """A batch norm that the facts believe in, but the scores do not depend on, is found out."""
    use = IDLE[name]

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.conv(x)
        return end(m.drop(use(x, m.bn(x))))

    module = Net(forward, conv=small(), bn=norm(), drop=nn.Dropout(0.1))
    counted = [f for f in facts(module).batch_norm if f.counts]

    assert counted
    assert inert(model_of(module)) == {f.node for f in counted}


DROPPED: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "a mask that dropout cannot turn off": lambda m, x: x * (m.drop(x.abs()) > -1e-3),
    "scaled to almost nothing": lambda m, x: x * (1 + 1e-6 * m.drop(x)),
    "added and taken away": lambda m, x: (y := m.drop(x), x + y * y - y.square().relu())[1],
}


@pytest.mark.parametrize("name", DROPPED)
def test_dropout_that_changes_nothing_is_inert(name: str) -> None:
    """A dropout whose dropping cannot reach the scores is found out."""
    use = DROPPED[name]
    module = Net(
        lambda m, x: m.last(end(use(m, m.conv(x)))),
        conv=small(),
        drop=nn.Dropout(0.3),
        last=nn.Dropout(0.1),
    )
    counted = [f.node for f in facts(module).dropout if f.counts]

    assert len(counted) == 2
    assert inert(model_of(module)) == {counted[0]}


def test_norm_of_what_hardly_varies_is_inert() -> None:
    """A batch norm whose eps outweighs the variance scales by a fixed number, whatever comes."""
    model = model_of(Net(lambda m, x: end(m.bn(m.conv(x) * 1e-6)), conv=small(), bn=norm()))
    (found,) = (i for i in probed(model).influences if i.node == "batch_norm")

    assert not found.acts
    assert "eps" in found.why


def test_pooling_that_changes_nothing_is_inert() -> None:
    """A global average that only decides what is always so is found out."""

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.conv(x)
        return m.head(x.flatten(1)) * (x.mean((2, 3)) > -1e30)  # type: ignore[no-any-return]

    module = Net(forward, conv=small(), head=nn.Linear(490, 10))
    counted = [f for f in facts(module).global_average_pooling if f.counts]

    assert counted
    assert inert(model_of(module)) == {f.node for f in counted}


def gated(gate: Callable[[Tensor], Tensor]) -> Model:
    """Return a network whose norm stands behind a gate of zero."""
    return model_of(
        Net(
            lambda m, x: plus(m.conv(x), lambda y: gate(m.gate) * m.bn(y)),
            conv=small(), bn=norm(), gate=nn.Parameter(torch.zeros(())),
        )
    )  # fmt: skip


def test_gate_that_no_gradient_opens_is_shut() -> None:
    """A gate of zero that is cut off from the gradient stays at zero, and so the norm is inert."""
    assert inert(gated(lambda gate: gate.detach())) == {"batch_norm"}
    assert inert(gated(lambda gate: gate.detach() + 0 * gate)) == {"batch_norm"}


def test_gate_that_the_optimizer_does_not_get_is_shut() -> None:
    """A gate of zero that the recipe does not teach stays at zero, and so the norm is inert."""
    model = gated(lambda gate: gate)
    rest = {tensor.name for tensor in model.tensors} - {"gate"}
    influences = {i.node: i.acts for i in probe(model, rest).influences}

    assert influences["batch_norm"] is False


def test_group_without_learning_rate_teaches_nothing() -> None:
    """Tensors whose learning rate is zero in every step are not taught."""
    groups = [Group(["a"], {}), Group(["b"], {}), Group(["c"], {})]
    recipe = Recipe(
        epochs=1, batch_size=1, optimizer=Optimizer("SGD", groups),
        schedule=Schedule([[0.1], [0.0, 0.0], [0.0, 0.2]]), train_transform=[],
        test_transform=[], loss=Graph(["output", "target"], [], "output"), drop_last=False,
    )  # fmt: skip

    assert taught(recipe) == {"a", "c"}


def forged(model: Model, op: str, **changes: Any) -> Model:
    """Change what a training graph states of its first node of an operation."""
    nodes = list(model.train.nodes)
    index = next(i for i, node in enumerate(nodes) if node.op.split(".")[1] == op)
    nodes[index] = msgspec.structs.replace(nodes[index], **changes)
    return msgspec.structs.replace(model, train=msgspec.structs.replace(model.train, nodes=nodes))


@pytest.mark.parametrize(
    ("changes", "stated"),
    [
        ({"shape": ["B", 10, 7, 7]}, "B×10×7×7 float32"),
        ({"shape": [8, 10, 1, 1]}, "8×10×1×1 float32"),
        ({"shape": [12, 10, 1, 1]}, "12×10×1×1 float32"),
        ({"shape": ["B + 1", 10, 1, 1]}, "B + 1×10×1×1 float32"),
        ({"shape": ["B", "B", 1, 1]}, "B×B×1×1 float32"),
        ({"shape": ["B", 10]}, "B×10 float32"),
        ({"shape": None}, "no tensor"),
        ({"dtype": "torch.float64"}, "B×10×1×1 float64"),
    ],
    ids=str,
)
def test_forged_shape_is_found(changes: dict[str, Any], stated: str) -> None:
    """A result whose shape or type is not as stated is named, with both."""
    model = model_of(Net(lambda m, x: end(m.conv(x)), conv=conv(1, 10, 28)))
    (found,) = probed(forged(model, "conv2d", **changes)).misshapen

    assert (found.node, found.mode, found.stated) == ("conv2d", "train", stated)
    assert found.found.startswith("8×10×1×1 float32") or found.found.startswith("12×10×1×1")


def test_formulas_of_the_batch_size_are_understood() -> None:
    """Shapes that multiply and divide the batch size agree with what comes out."""

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.conv(x).permute(0, 2, 3, 1).reshape(-1, 10)
        return m.head(x).view(-1, 49, 10).mean(1)  # type: ignore[no-any-return]

    model = model_of(Net(forward, conv=small(), head=nn.Linear(10, 10)))
    formulas = {dim for node in model.train.nodes for dim in node.shape or () if dim != "B"}

    assert any(isinstance(dim, str) for dim in formulas)
    assert probed(model).misshapen == []


MIXING: dict[str, Callable[[Tensor], Tensor]] = {
    "mean of the batch": lambda x: x - x.mean(0),
    "size of the batch": lambda x: x / x.shape[0],
    "place in the batch": lambda x: x + torch.cumsum(torch.ones_like(x), 0),
    "the image before": lambda x: x + x.roll(1, 0),
}


@pytest.mark.parametrize("name", MIXING)
def test_images_that_affect_each_other_are_found(name: str) -> None:
    """Scores that change with batch mates, order or size of a batch are not independent."""
    use = MIXING[name]
    found = probed(model_of(Net(lambda m, x: use(end(m.conv(x))), conv=small())))

    assert not found.independent
    assert found.dependence is not None
    assert found.dependence > 1e-3


def test_random_numbers_in_evaluation_are_no_dependence() -> None:
    """Dropout that is left on changes scores from run to run, but not by other images."""
    found = probed(model_of(Net(lambda m, x: F.dropout(end(m.conv(x))), conv=small())))

    assert found.independent


def test_network_that_cannot_be_run_is_reported() -> None:
    """A graph that fails gives the operation's own words instead of an exception."""
    model = model_of(Net(lambda m, x: end(m.conv(x)), conv=small()))
    broken = forged(model, "conv2d", args=[Ref("x"), Ref("conv.bias")])

    assert "conv2d" in probed(broken).failed


def test_probing_leaves_random_numbers_precision_and_threads_alone() -> None:
    """A training gives the same weights whether its network was probed or not."""
    model = model_of(Net(lambda m, x: end(m.drop(m.conv(x))), conv=small(), drop=nn.Dropout(0.1)))
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    probed(model)

    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert torch.get_default_dtype() == torch.float32
