"""The network rebuilt from a Plan against the module it was captured from."""

import copy
import gc
from collections.abc import Callable

import msgspec
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grader.errors import SubmissionError
from grader.plan import schema
from grader.training.lanes.layer import Layer
from grader.training.network import CompiledGraph, Network
from reference_solution.model import Net as Reference
from tests import networks
from tests.boxed import boxed
from tests.capturing import Net, conv, model_of


def built(module: nn.Module, seed: int = 0) -> Network:
    """Capture a module, rebuild it, and hand it the module's own weights."""
    network = Network(model_of(module), torch.Generator().manual_seed(seed))
    network.load(module.state_dict())
    module.train()
    return network


def conv_relu_norm() -> nn.Module:
    """Make the order many courses teach: convolution, ReLU, batch norm, pooling."""
    return Net(
        lambda s, x: s.body(x).mean((2, 3)),
        body=nn.Sequential(
            conv(1, 8), nn.ReLU(), nn.BatchNorm2d(8), nn.MaxPool2d(2, 2),
            conv(8, 12, bias=False), nn.BatchNorm2d(12), nn.ReLU(inplace=True), conv(12, 10, 1),
        ),
    )  # fmt: skip


def norm_after_norm() -> nn.Module:
    """Make one ReLU that ends a block and stands before the next norm, and one read twice."""
    body = nn.Sequential(
        conv(1, 6), nn.BatchNorm2d(6), nn.ReLU(), nn.BatchNorm2d(6), nn.ReLU(), conv(6, 10),
        nn.ReLU(),
    )  # fmt: skip
    norm = nn.BatchNorm2d(10)
    return Net(lambda s, x: ((y := s.body(x)) + s.norm(y)).mean((2, 3)), body=body, norm=norm)


class WrittenOver(nn.Module):
    """A residual sum made in place, and a pooled map changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(1, 6, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = conv(6, 6, padding=1), nn.BatchNorm2d(6)
        self.head = nn.Linear(6 * 49, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Score images."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        y = self.bn2(self.conv2(x))
        y += x
        y = F.max_pool2d(F.relu(y), 2).flatten(1)
        scores: Tensor = self.head(y.mul_(0.5))
        return scores


class OddSizes(nn.Module):
    """Maps with odd sides, pooled with a row left over; a last batch norm that nothing follows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(1, 5, 4), nn.BatchNorm2d(5)
        self.conv2, self.bn2 = conv(5, 18), nn.BatchNorm2d(18, momentum=0.3, eps=1e-3)
        self.conv3, self.bn3 = conv(18, 10), nn.BatchNorm2d(10)

    def forward(self, x: Tensor) -> Tensor:
        """Score images."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2, 2)
        scores: Tensor = self.bn3(self.conv3(x)).amax((2, 3))
        return scores


def no_affine() -> nn.Module:
    """Make norms that have neither weights nor biases of their own."""
    body = nn.Sequential(
        conv(1, 6, padding=1), nn.BatchNorm2d(6, affine=False), nn.ReLU(), conv(6, 8),
        nn.BatchNorm2d(8, affine=False), nn.SiLU(), conv(8, 10),
    )  # fmt: skip
    return Net(lambda s, x: s.body(x).mean((2, 3)), body=body)


def computed_bias() -> nn.Module:
    """Make a second convolution whose bias is worked out on the way."""
    return Net(
        lambda s, x: F.conv2d(F.relu(s.one(x)), s.two, s.bias * s.share).relu().amax((2, 3)),
        one=conv(1, 6), two=nn.Parameter(torch.randn(10, 6, 3, 3) / 7),
        bias=nn.Parameter(torch.ones(10)), share=nn.Parameter(torch.ones(10)),
    )  # fmt: skip


def computed_norm() -> nn.Module:
    """Make a norm whose weight is worked out on the way, between two convolutions."""
    return Net(
        lambda s, x: s.two(
            F.batch_norm(F.relu(s.one(x)), None, None, 1 + s.share, s.bias, training=True)
        ).mean((2, 3)),
        one=conv(1, 6), two=conv(6, 10), share=nn.Parameter(torch.ones(6)),
        bias=nn.Parameter(torch.ones(6)),
    )  # fmt: skip


def cloned() -> nn.Module:
    """Make a network that changes the memory format on the way."""
    body = nn.Sequential(conv(1, 6), nn.ReLU())
    return Net(
        lambda s, x: s.end(s.body(x).clone(memory_format=torch.channels_last)).mean((2, 3)),
        body=body, end=conv(6, 10),
    )  # fmt: skip


def without_chance(module: nn.Module) -> nn.Module:
    """Set every dropout to zero, so that two runs can be compared."""
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return module


def nudge(module: nn.Module) -> None:
    """Move every parameter and statistic off the values that hide mistakes."""
    torch.manual_seed(1)
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            if tensor.dim() == 1:
                tensor.uniform_(0.5, 1.5)


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "reference": Reference,
    "plain": networks.Plain,
    "residual": networks.Residual,
    "squeeze and excite": networks.SqueezeExcite,
    "ReLU before norm": conv_relu_norm,
    "norm after norm": norm_after_norm,
    "written over": WrittenOver,
    "odd sizes": OddSizes,
    "no affine": no_affine,
    "computed bias": computed_bias,
    "computed norm": computed_norm,
    "cloned": cloned,
}


def results(run: Callable[[Tensor], Tensor], parameters: list[Tensor], x: Tensor) -> list[Tensor]:
    """Return the output and the gradients of a number made of it."""
    output = run(x)
    weights = torch.arange(output.numel(), dtype=output.dtype).sin().view_as(output)
    return [output.detach(), *torch.autograd.grad((output * weights).sum(), parameters)]


@pytest.mark.parametrize("name", MAKERS)
def test_training_mode_gives_the_modules_outputs_gradients_and_statistics(name: str) -> None:
    """Against the module in float64: outputs and gradients to 1e-4, running statistics to 1e-5."""
    torch.manual_seed(2)  # a sum at the very edge of a ReLU falls to one side, or to the other
    module = without_chance(MAKERS[name]())
    nudge(module)
    network = built(module)
    exact = copy.deepcopy(module).double().train()
    names = [name for name, _ in module.named_parameters()]
    x = torch.rand(37, 1, 28, 28)

    ours = results(network, [network.state[name] for name in names], x)
    theirs = results(exact, list(exact.parameters()), x.double())

    largest = max(float(tensor.abs().max()) for tensor in theirs[1:])
    for mine, true in zip(ours, theirs, strict=True):
        # A bias before batch norm has gradient zero: it is measured against the others.
        assert (mine - true).abs().max() < 1e-4 * max(float(true.abs().max()), largest)
    for key, true in exact.state_dict().items():
        assert torch.allclose(network.state[key].double(), true.double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_evaluation_mode_gives_the_modules_outputs(name: str) -> None:
    """The evaluation graph with the module's weights gives its scores, to 1e-5."""
    module = MAKERS[name]()
    nudge(module)
    network = built(module)
    network.eval()
    module.eval()
    with torch.no_grad():
        for images in (9, 37):  # too few to fill a register, and enough
            x = torch.rand(images, 1, 28, 28)
            assert torch.allclose(network(x), module(x), rtol=1e-5, atol=1e-5)


def test_a_step_leaves_nothing_behind() -> None:
    """When its output is gone, so are the arrays of a chain that ends in a bare convolution."""
    network = built(no_affine())
    gc.collect()
    gc.disable()
    try:
        torch.autograd.backward(network(torch.rand(32, 1, 28, 28)).sum())
        assert not any(type(found) is Layer for found in gc.get_objects())
    finally:
        gc.enable()


@pytest.mark.parametrize("place", range(4))
def test_pooling_lets_a_number_that_is_none_through(place: int) -> None:
    """NaN in any of the four places that are pooled is the largest, as in PyTorch."""
    body = nn.Sequential(conv(1, 10, 1), nn.MaxPool2d(2))
    network = built(Net(lambda s, x: s.body(x).amax((2, 3)), body=body))
    x = torch.rand(32, 1, 28, 28)
    x[0, 0, place // 2, place % 2] = torch.nan

    assert network(x).isnan().any(1).tolist() == [True] + [False] * 31


def test_a_mean_without_a_variance_is_refused_as_pytorch_does() -> None:
    """A norm that would move one and not the other never reaches compiled code."""
    model = model_of(conv_relu_norm())
    nodes = [
        msgspec.structs.replace(node, args=[*node.args[:4], None, *node.args[5:]])
        if "batch_norm" in node.op
        else node
        for node in model.train.nodes
    ]
    graph = msgspec.structs.replace(model.train, nodes=nodes)
    network = Network(msgspec.structs.replace(model, train=graph), torch.Generator())
    with pytest.raises(SubmissionError, match="batch_norm"):
        network(torch.rand(32, 1, 28, 28))


@pytest.mark.parametrize("bias", [1.0, "more"])
def test_a_convolution_with_arguments_it_does_not_have_is_refused(bias: object) -> None:
    """A number for a bias, or an eighth argument: words about the operation, no fault of ours."""
    model = model_of(networks.Plain())

    def spoiled(node: schema.Node) -> schema.Node:
        if "conv2d" not in node.op:
            return node
        args = [*node.args[:2], bias, *node.args[3:]] if bias == 1.0 else [*node.args[:2], None]
        more: list[schema.Value] = [[1, 1], [0, 0], [1, 1], 1, 1]
        return msgspec.structs.replace(node, args=args if bias == 1.0 else [*args, *more])

    graph = msgspec.structs.replace(model.train, nodes=[spoiled(n) for n in model.train.nodes])
    network = Network(msgspec.structs.replace(model, train=graph), torch.Generator())
    with pytest.raises(SubmissionError, match="conv2d"):
        network(torch.rand(32, 1, 28, 28))


def test_a_mean_far_from_its_spread_keeps_its_digits() -> None:
    """Batch norm of values around 1,000 with spread 1 is as exact as PyTorch's own."""
    module = Net(
        lambda s, x: s.bn(s.conv(x) + 1000).mean((2, 3)), conv=conv(1, 10), bn=nn.BatchNorm2d(10)
    )
    network = built(module)
    x = torch.rand(20, 1, 28, 28)
    gap = (network(x) - module(x)).abs().max()
    assert gap < 1e-3


def test_dropout_drops_its_share_and_scales_the_rest() -> None:
    """With p = 0.3 the zeros are 30 %, the rest is scaled by 1/0.7, and gradients agree."""
    module = Net(
        lambda s, x: F.dropout(s.flat(x), 0.3, s.training) * s.one,
        flat=nn.Flatten(),
        one=nn.Parameter(torch.ones(1)),
    )
    network = Network(model_of(module), torch.Generator().manual_seed(0))
    output = network(torch.ones(500, 1, 28, 28))
    assert abs(float((output == 0).float().mean()) - 0.3) < 0.005
    assert torch.allclose(output[output != 0], torch.tensor(1 / 0.7))
    (gradient,) = torch.autograd.grad(output.sum(), [network.state["one"]])
    assert torch.allclose(gradient, output.sum().detach())


def test_dropout_after_batch_norm_drops_its_share() -> None:
    """Inside a fused block zeros are those of ReLU and of dropout together."""
    body = nn.Sequential(conv(1, 10, padding=1), nn.BatchNorm2d(10), nn.ReLU(), nn.Dropout(0.2))
    module = Net(lambda s, x: s.body(x).flatten(1), body=body)
    network = Network(model_of(module), torch.Generator().manual_seed(0))
    module.train()
    network.load(module.state_dict())
    x = torch.rand(64, 1, 28, 28)
    with torch.no_grad():
        plain = body[2](body[1](body[0](x))).flatten(1)
        ours = network(x)
    kept = ours != 0
    assert abs(float(kept.sum() / (plain != 0).sum()) - 0.8) < 0.003
    assert torch.allclose(ours[kept], plain[kept] / 0.8, rtol=1e-4, atol=1e-5)


def test_dropout_without_relu_lets_gradients_through_where_it_kept() -> None:
    """ReLU, norm, dropout: a fifth of all is dropped, and the rest is the norm's, scaled."""
    torch.manual_seed(0)  # without a channel that ReLU closes for all images
    body = nn.Sequential(conv(1, 10, padding=1), nn.ReLU(), nn.BatchNorm2d(10), nn.Dropout(0.2))
    module = Net(
        lambda s, x: s.body(x).flatten(1) * s.one, body=body, one=nn.Parameter(torch.ones(1))
    )
    network = built(module)
    x = torch.rand(64, 1, 28, 28)
    plain = body[:3](x).flatten(1)
    ours = network(x)
    kept = ours != 0
    assert abs(float(kept.float().mean()) - 0.8) < 0.003
    assert torch.allclose(ours[kept], plain[kept] / 0.8, rtol=1e-4, atol=1e-5)

    weights = torch.rand_like(plain)
    (mine,) = torch.autograd.grad((ours * weights).sum(), [network.state["body.0.weight"]])
    dropped = torch.where(kept, plain / 0.8, 0)
    (true,) = torch.autograd.grad((dropped * weights).sum(), [*body[0].parameters()][:1])
    assert torch.allclose(mine, true, rtol=1e-3, atol=1e-3 * float(true.abs().max()))


def test_a_number_that_is_none_reaches_the_output() -> None:
    """NaN in one channel goes through norm, ReLU, dropout and pooling: divergence is seen."""
    body = nn.Sequential(
        conv(1, 10), nn.BatchNorm2d(10), nn.ReLU(), nn.Dropout(0.1), nn.MaxPool2d(2)
    )
    network = built(Net(lambda s, x: s.body(x).mean((2, 3)), body=body))
    with torch.no_grad():
        network.state["body.0.weight"][0] = torch.nan
    assert network(torch.rand(32, 1, 28, 28)).isnan().any(0).tolist() == [True] + [False] * 9


def test_tensors_are_initialised_as_the_plan_says() -> None:
    """Uniform within its bound, constants constant, normals with their spread; seeded."""
    model = model_of(networks.Plain())
    first, again, other = (
        Network(model, torch.Generator().manual_seed(s)).state for s in (1, 1, 2)
    )
    weight = first["conv1.weight"]
    assert weight.abs().max() <= 1 / 3
    assert weight.abs().max() > 0.3
    assert torch.equal(first["bn1.weight"], torch.ones(8))
    assert torch.equal(first["bn1.running_mean"], torch.zeros(8))
    assert torch.equal(weight, again["conv1.weight"])
    assert not torch.equal(weight, other["conv1.weight"])


def test_an_operation_that_is_not_allowed_is_never_looked_up() -> None:
    """A graph that names one is refused before anything runs."""
    model = model_of(networks.Plain())
    bad = msgspec.structs.replace(model.train.nodes[0], op="aten.from_file.default")
    graph = msgspec.structs.replace(model.train, nodes=[bad, *model.train.nodes[1:]])
    with pytest.raises(SubmissionError, match="does not allow"):
        Network(msgspec.structs.replace(model, train=graph), torch.Generator())


def test_an_operation_that_fails_is_told_with_its_module_and_line() -> None:
    """A shape that does not fit ends in words that say where, not in a traceback."""
    model = model_of(networks.Plain())
    network = Network(model, torch.Generator())
    with pytest.raises(SubmissionError, match="conv2d") as caught:
        network(torch.rand(2, 3, 28, 28))
    assert "conv1" in caught.value.where


def test_words_of_torch_and_infinities_get_their_meaning() -> None:
    """Types, memory formats and infinite numbers come as strings and reach the operation."""
    like: dict[str, schema.Value] = {"dtype": "torch.int64", "device": "device"}
    nodes = [
        schema.Node("a", "aten.to.dtype", [schema.Ref("x"), "torch.float64"], {}, None, "tensor"),
        schema.Node("b", "aten.clamp.default", [schema.Ref("a"), "float:-inf", 2.0], {}, None, ""),
        schema.Node("c", "aten.zeros.default", [[2]], like, None, ""),
        schema.Node("d", "aten.add.Tensor", [schema.Ref("b"), schema.Ref("c")], {}, None, ""),
    ]  # fmt: skip
    graph = schema.Graph(["x"], nodes, "d")
    model = schema.Model("N", "", [2], [], graph, graph)
    output = Network(model, torch.Generator())(torch.tensor([[1.0, 3.0]]))
    assert output.dtype == torch.float64
    assert output.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_a_network_runs_where_its_tensors_are(name: str) -> None:
    """On any device: what a graph makes by itself lies beside its tensors, as on a GPU it has to.

    PyTorch's device `meta` computes nothing, and refuses tensors of another device as a GPU does.
    """
    model = model_of(networks.NETWORKS[name]())
    network = Network(model, torch.Generator().manual_seed(0), "meta")
    images = torch.empty(4, *model.input_shape, device="meta")

    for mode in (True, False):
        network.train(mode)
        assert network(images).device.type == "meta"


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "weights of classes": lambda o, t: F.cross_entropy(o, t, weight=torch.arange(1.0, 11)),
    "smooth labels": lambda o, t: F.cross_entropy(o, t, label_smoothing=0.1),
    "a table": lambda o, t: F.mse_loss(o, torch.eye(10)[t]),
    "one hot": lambda o, t: F.mse_loss(o, F.one_hot(t, 10).float()),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_computed_where_the_scores_are(name: str) -> None:
    """Also with a table of the author's, which says nothing of devices."""
    described = boxed("capture").loss_json(LOSSES[name], 10, set())
    graph = msgspec.json.decode(msgspec.json.encode(described), type=schema.Graph)
    loss = CompiledGraph(graph, {}, torch.device("meta"), subject="loss")
    labels = torch.zeros(4, dtype=torch.int64, device="meta")

    assert loss(torch.empty(4, 10, device="meta"), labels).device.type == "meta"
