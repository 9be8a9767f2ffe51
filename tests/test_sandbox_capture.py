"""A captured network is the student's own: same tensors, same outputs."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from grader.plan.schema import KaimingUniform, Model, Normal, Ref, Values
from grader.training.network import Network
from tests.boxed import boxed
from tests.networks import NETWORKS, Plain


def captured(model: nn.Module) -> Model:
    """Capture a model and check it against the schema."""
    json = boxed("capture").capture(model, type(model).__name__, "here", {__file__}).json
    return msgspec.json.decode(msgspec.json.encode(json), type=Model)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", NETWORKS)
def test_rebuilt_network_gives_the_same_outputs(name: str, training: bool) -> None:
    """With the student's weights, our network answers as the student's does, in both modes."""
    torch.manual_seed(0)
    model = NETWORKS[name]()
    described = captured(model)
    ours = Network(described, torch.Generator().manual_seed(1))
    theirs = copy.deepcopy(model).train(training)
    state = dict(model.named_parameters()) | dict(model.named_buffers())
    constants = {k: v for k, v in ours.state.items() if k not in state}
    ours.load(state | constants)
    ours.train(training)
    images = torch.randn(7, *described.input_shape)
    with torch.no_grad():
        expected = theirs(images.flatten(1) if name == "flat" else images)

    torch.testing.assert_close(ours(images).detach(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_is_named_once(name: str) -> None:
    """The parameters of a captured model are those `named_parameters` lists."""
    model = NETWORKS[name]()
    described = captured(model)
    counted = {t.name: t.shape for t in described.tensors if t.role == "parameter"}

    assert counted == {n: list(p.shape) for n, p in model.named_parameters()}


def test_overridden_parameters_method_hides_nothing() -> None:
    """A model that denies having parameters is counted all the same."""

    class Denying(Plain):
        def parameters(self, recurse: bool = True) -> Any:
            return iter(())

        def named_parameters(self, *args: Any, **kwargs: Any) -> Any:
            return iter(())

    described = captured(Denying())
    honest = captured(Plain())

    assert sum(map(size, described.tensors)) == sum(map(size, honest.tensors))


def size(tensor: Any) -> int:
    """Count a tensor's elements."""
    return int(torch.tensor(tensor.shape).prod()) if tensor.shape else 1


def test_weights_do_not_cross_but_buffers_do() -> None:
    """A trained parameter becomes a distribution; a buffer's numbers are kept, and so counted."""
    model = Plain()
    nn.init.normal_(model.conv2.weight, 0.3, 2.0)
    model.register_buffer("table", torch.arange(10.0))
    inits = {t.name: t.init for t in captured(model).tensors}

    assert isinstance(inits["conv1.weight"], KaimingUniform)
    assert isinstance(inits["conv2.weight"], Normal)
    assert inits["table"] == Values([float(i) for i in range(10)])


def test_weights_kept_in_a_plain_attribute_are_constants() -> None:
    """A tensor outside the parameter tables is baked into the graph, with all its numbers."""

    class Hiding(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = [torch.randn(10, 10)]

        def forward(self, x: torch.Tensor) -> Any:
            return super().forward(x) @ self.hidden[0]

    constants = [t for t in captured(Hiding()).tensors if t.role == "constant"]

    assert [t.shape for t in constants] == [[10, 10]]
    assert isinstance(constants[0].init, Values)


def test_nodes_name_module_and_line() -> None:
    """A node says which module ran it and on which line of the submission."""
    nodes = captured(Plain()).train.nodes
    conv = next(n for n in nodes if n.op == "aten.conv2d.default")

    assert conv.module == "conv1" or conv.where


class FixedBatch(nn.Module):
    """Works for four images only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(4, 784)[:, :10]


class WrongShape(nn.Module):
    """Forgets to pool."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.expand(-1, 10, 28, 28)


class MixedUp(nn.Module):
    """Has several rows of scores an image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.repeat(1, 10, 1, 1).view(-1, 10)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (FixedBatch, "a batch of 4 and no other size"),
        (WrongShape, r"shape \[B, 10, 28, 28\]"),
        (MixedUp, r"shape \[784\*B, 10\]"),
    ],
)
def test_output_of_the_wrong_shape_is_refused(model: type[nn.Module], message: str) -> None:
    """A forward that cannot score any batch is refused with the shape it gives."""
    with pytest.raises(boxed("tensors").CannotCapture, match=message):
        captured(model())


def test_lazy_layer_that_is_never_called_counts_as_none() -> None:
    """A lazy layer without a shape holds no numbers: the model is read as if it were not there."""

    class Unused(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.LazyConv2d(8, 3)
            self.norm = nn.LazyBatchNorm2d()

    counted = [t for t in captured(Unused()).tensors if t.role == "parameter"]

    assert counted == [t for t in captured(Plain()).tensors if t.role == "parameter"]


class Running(nn.Module):
    """A linear layer and a buffer, in a forward given as a function."""

    def __init__(self, run: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        self.run = run
        self.head = nn.Linear(784, 10)
        self.register_buffer("mean", torch.zeros(10))

    def forward(self, x: torch.Tensor) -> Any:
        return self.run(self, x.flatten(1))


def step(run: Callable[[Any, torch.Tensor], Any]) -> list[str]:
    """Return the names of the operations of a forward in training, without the first one."""
    return [n.op.split(".")[1] for n in captured(Running(run)).train.nodes[1:]]


class Sign(torch.autograd.Function):
    """The sign, with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.sign()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


def branching(model: Any, x: torch.Tensor) -> Any:
    """Decide by the images."""
    return model.head(x) if x.mean() > 0.5 else model.head(x) * 2


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (branching, "number inside a tensor"),
        (lambda m, x: m.head(x) * x.mean().item(), "number inside a tensor"),
        (lambda m, x: m.head(x * sum(x.sum(1).tolist())), "number inside a tensor"),
        (lambda m, x: m.head(torch.from_numpy(x.numpy())), "number inside a tensor"),
        (lambda m, x: Sign.apply(m.head(x)), "backward of its own"),
        (lambda m, x: torch.func.vmap(m.head)(x), "torch.func or vmap"),
        (lambda m, x: torch.stack([m.head(x[i]) for i in range(len(x))]), "a batch of 4"),
    ],
)
def test_a_forward_that_is_no_graph_is_refused_in_words(run: Any, words: str) -> None:
    """What cannot be recorded says what it is, and what to do about it."""
    with pytest.raises(boxed("tensors").CannotCapture, match=words) as caught:
        captured(Running(run))

    assert caught.value.help


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x.mean().item(),
        lambda x: f"{x.mean():.3f} of {x.size(0):4d}, {x.shape}",
        lambda x: x.detach().cpu().numpy().max(),
        lambda x: [] if torch.isnan(x).any() else x[0].tolist(),
        repr,
    ],
)
def test_looking_at_values_without_using_them_is_no_matter(look: Any) -> None:
    """A print or an assertion in forward leaves the graph as it is without them."""

    def run(model: Any, x: torch.Tensor) -> Any:
        look(x)
        return model.head(x)

    assert step(run)[-1] == "linear"


def test_what_runs_without_gradients_is_recorded_as_detached() -> None:
    """Under no_grad, in training, an operation gets its weights by way of `detach`."""

    def run(model: Any, x: torch.Tensor) -> Any:
        with torch.no_grad():
            fixed = model.head(x)
        return fixed + model.head(x)

    assert step(run) == ["detach", "detach", "linear", "linear", "add"]


def test_data_is_an_operation_like_any_other() -> None:
    """Reading `.data` is a `detach`, and setting it a copy without gradients."""

    def run(model: Any, x: torch.Tensor) -> Any:
        model.head.weight.data = model.head.weight.data.clamp(-1, 1)
        return model.head(x)

    assert step(run) == ["detach", "clamp", "detach", "copy_", "linear"]


def test_an_assigned_buffer_is_copied_into() -> None:
    """`self.mean = ...` on a buffer is written down, and undone on the model itself."""

    def run(model: Any, x: torch.Tensor) -> Any:
        scores = model.head(x)
        model.mean = 0.9 * model.mean + scores.mean(0)
        return scores - model.mean

    model = Running(run)
    nodes = captured(model).train.nodes

    assert nodes[-1].op == "aten.copy_.default"
    assert nodes[-1].args[0] == Ref("mean")
    assert type(model.mean) is torch.Tensor


def test_arithmetic_on_the_batch_size_stays_a_formula() -> None:
    """Sizes that are computed from the batch's are computed in the graph too."""
    nodes = captured(Running(lambda m, x: m.head(x) / (x.size(0) * 2 + 1))).train.nodes

    assert [n.op for n in nodes[2:5]] == ["aten.sym_size.int", "operator.mul", "operator.add"]


class Guessing(nn.Module):
    """Leaves the dimension of its softmax to PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(784, 10)

    def forward(self, x: torch.Tensor) -> Any:
        return nn.functional.log_softmax(self.layer(x.flatten(1)))


def test_a_softmax_without_dim_is_noted() -> None:
    """PyTorch guesses the dimension and warns; one note names the operation and its line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in the box
        captured = boxed("capture").capture(Guessing(), "Net", "here", {__file__})
    (note,) = captured.notes

    assert note.startswith("log_softmax is called without dim (")
    assert "test_sandbox_capture.py, line" in note
