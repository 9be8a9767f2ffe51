"""In-place operations are rewritten so that every reader sees what it would see."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from grader.plan.functional import functional
from grader.plan.path import trace
from tests.capturing import Net, conv, facts, model_of


def dropped_then(change: Callable[[Any, Any], Any]) -> Net:
    """Return a network that does something with x and a value y that dropout was applied to."""
    return Net(
        lambda s, x: change(x := s.c(x), s.d(s.e(x))).mean((2, 3)),
        c=conv(), e=conv(10, 10, 1), d=nn.Dropout(0.1),
    )  # fmt: skip


ACTS: dict[str, Callable[[Any, Any], Any]] = {
    "added in place": lambda x, y: x.add_(y),
    "result ignored": lambda x, y: (x.add_(y), x)[1],
    "written into a view": lambda x, y: (x[:, 0].add_(y[:, 0]), x)[1],
    "written into a view of a view": lambda x, y: (x[:, :5][:, 0].copy_(y[:, 0]), x)[1],
    "read through an earlier view": lambda x, y: (z := x.view(-1, 10, 26, 26), x.add_(y), z)[2],
    "read through a view of another view": lambda x, y: (z := x[:, 5:], x[:, :9].add_(y[:, :9]),
                                                         torch.cat([z, z], 1))[2],
    "assigned to rows": lambda x, y: (x.__setitem__((slice(None), 0), y[:, 0]), x)[1],
    "assigned whole": lambda x, y: (x.copy_(y), x)[1],
    "through a flat view": lambda x, y: (x.flatten(1).add_(y.flatten(1)), x)[1],
    "changed after detach": lambda x, y: (x.detach().add_(y), x)[1],
}  # fmt: skip

DOES_NOT_ACT: dict[str, Callable[[Any, Any], Any]] = {
    "a copy was changed": lambda x, y: (x.clone().add_(y), x)[1],
    "a permuted copy was changed": lambda x, y: (
        x.transpose(1, 2).reshape(-1, 6760).add_(y.flatten(1)), x)[1],
    "overwritten": lambda x, y: y.copy_(x),
    "set to zero": lambda x, y: x + y.zero_(),
    "multiplied by zero in place": lambda x, y: x + y.mul_(0),
    "emptied through a view": lambda x, y: (y.view(-1).zero_(), x + y)[1],
}  # fmt: skip


@pytest.mark.parametrize("name", ACTS)
def test_what_is_written_reaches_later_readers(name: str) -> None:
    """A value written into another lies on the path, however the other is read."""
    assert [f.counts for f in facts(dropped_then(ACTS[name])).dropout] == [True]


@pytest.mark.parametrize("name", DOES_NOT_ACT)
def test_what_is_overwritten_or_written_elsewhere_does_not(name: str) -> None:
    """A value that nobody can read any more is off the path."""
    assert [f.counts for f in facts(dropped_then(DOES_NOT_ACT[name])).dropout] == [False]


def test_no_operation_in_place_is_left() -> None:
    """The rewritten graph holds functional operations only, each name once."""
    net = Net(lambda s, x: s.c(x).relu_().mul_(2).mean((2, 3)).t_().t_(), c=conv())
    model = model_of(net)
    flow = functional(model, model.train)

    assert [n.op for n in flow.nodes[1:3]] == ["aten.relu.default", "aten.mul.Tensor"]
    assert len({n.name for n in flow.nodes}) == len(flow.nodes)


def test_tensors_written_are_named() -> None:
    """Batch norm's step counter is the only tensor that an ordinary forward changes."""
    model = model_of(Net(lambda s, x: s.b(s.c(x)).mean((2, 3)), c=conv(), b=nn.BatchNorm2d(10)))

    assert functional(model, model.train).written == {"b.num_batches_tracked"}
    assert functional(model, model.eval).written == frozenset()


def test_a_buffer_that_forward_changes_is_no_constant() -> None:
    """A gate that starts at zero and is moved in training lets data through."""
    net = Net(
        lambda s, x: (s.z.add_(0.1) if s.training else s.z, s.c(x) + s.z * s.d(s.c(x)))[1]
        .mean((2, 3)),
        c=conv(), d=nn.Dropout(0.1), z=nn.Buffer(torch.zeros(1)),
    )  # fmt: skip

    assert [f.counts for f in facts(net).dropout] == [True]


def test_every_node_between_image_and_output_is_on_the_path() -> None:
    """In a plain network only sizes and counters lie beside the path."""
    model = model_of(
        Net(lambda s, x: s.b(s.c(x)).mean((2, 3)).view(x.size(0), 10), c=conv(),
            b=nn.BatchNorm2d(10))
    )  # fmt: skip
    found = trace(model, functional(model, model.train), frozenset())

    assert [n.name for n in found.flow.nodes if found.on_path(n)] == [
        "conv2d", "batch_norm", "mean", "view",
    ]  # fmt: skip


def test_tensors_that_cannot_learn_are_noted() -> None:
    """A detached branch acts on the output, and a note says that it never learns."""
    net = Net(lambda s, x: (s.c(x) + s.e(x).detach()).mean((2, 3)), c=conv(), e=conv())

    assert ["e.weight, e.bias" in note and "detach" in note for note in facts(net).notes] == [True]


def test_frozen_tensors_are_noted() -> None:
    """Parameters without a gradient are named."""
    net = Net(lambda s, x: s.c(x).mean((2, 3)), c=conv().requires_grad_(False))

    assert facts(net).notes == ["frozen, so never trained: c.weight, c.bias"]
