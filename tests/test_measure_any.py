"""The facts as a whole: sums, output, and robustness against any Plan."""

import contextlib
import copy
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from grader.errors import SubmissionError
from grader.plan.findings import Facts
from grader.plan.operations import ATEN
from grader.plan.schema import Model
from grader.plan.validate import validate_model
from tests.capturing import Net, conv, facts, facts_of_model, model_of
from tests.networks import NETWORKS


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (lambda x: x.log_softmax(1), "log-probabilities"),
        (lambda x: x.softmax(1).log(), "log-probabilities"),
        (lambda x: x.log_softmax(1).view(-1, 10), "log-probabilities"),
        (lambda x: x.softmax(1), "probabilities"),
        (lambda x: x, "logits"),
        (lambda x: x.log_softmax(1) * 2, "logits"),
        (lambda x: x.log_softmax(1).relu(), "logits"),
    ],
)
def test_what_the_scores_are(run: Any, expected: str) -> None:
    """The last operation that changes values says what the output holds."""
    assert facts(Net(lambda s, x: run(s.c(x).mean((2, 3))), c=conv())).output == expected


@pytest.mark.parametrize("name", NETWORKS)
def test_facts_survive_the_record(name: str) -> None:
    """Facts are plain JSON and read back as they were."""
    found = facts(NETWORKS[name]())

    assert msgspec.json.decode(msgspec.json.encode(found), type=Facts) == found


def test_totals_are_the_sums_of_the_rows() -> None:
    """Parameters, multiply-accumulates and activations add up."""
    found = facts(NETWORKS["residual"]())

    assert found.macs == sum(layer.macs for layer in found.layers)
    assert found.activations == sum(layer.activations for layer in found.layers)
    assert found.parameters == sum(t.count for t in found.tensors if t.counted)
    assert found.classes == 10


class Everything(nn.Module):
    """A bit of each kind of operation."""

    def __init__(self) -> None:
        super().__init__()
        self.c = conv(1, 8, padding=1)
        self.b = nn.BatchNorm2d(8)
        self.d = nn.Dropout(0.1)
        self.a = nn.MultiheadAttention(8, 2, batch_first=True)
        self.r = nn.GRU(8, 8, batch_first=True)
        self.f = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Any:
        x = nn.functional.max_pool2d(self.d(torch.relu_(self.b(self.c(x)))), 4)
        x[:, 0] *= 2
        t = x.flatten(2).transpose(1, 2)
        t = self.r(self.a(t, t, t)[0])[0]
        g = torch.einsum("bnc->bc", t) / t.shape[1]
        x = nn.functional.interpolate(x, scale_factor=2, mode="bilinear")
        left, right = nn.functional.pad(x, (1, 1)).chunk(2, 3)
        x = torch.cat([left, right], 1)[:, :8] + torch.where(left > 0, left, 0.0)
        return self.f(torch.cat([g, x.sum((2, 3)) / 9], 1)).log_softmax(1)


PLAIN = msgspec.to_builtins(model_of(Everything()))
OPS = sorted(ATEN)
numbers = st.one_of(
    st.integers(-3, 9), st.sampled_from([0.0, 1.0, 0.5, -2.0]), st.booleans(), st.none()
)
DIMS = st.one_of(st.integers(0, 40), st.sampled_from(["B", "2*B", "B*B", "B-1", "B//2", "1//0"]))


def references(graph: dict[str, Any], before: int) -> st.SearchStrategy[dict[str, str]]:
    """Draw a reference to something a node may refer to."""
    names = [*graph["inputs"], *(t["name"] for t in PLAIN["tensors"])]
    names += [node["name"] for node in graph["nodes"][:before]]
    return st.sampled_from([{"ref": name} for name in names])


def mutate(data: st.DataObject, plain: dict[str, Any]) -> None:
    """Change one thing in one node of a graph."""
    graph = plain[data.draw(st.sampled_from(["train", "eval"]))]
    index = data.draw(st.integers(0, len(graph["nodes"]) - 1))
    node = graph["nodes"][index]
    value = st.one_of(
        numbers, st.lists(numbers, max_size=4), references(graph, index), st.text(max_size=5),
        st.lists(references(graph, index), max_size=3),
    )  # fmt: skip
    match data.draw(st.sampled_from(["op", "argument", "drop", "keyword", "shape", "dtype"])):
        case "op":
            name = data.draw(st.sampled_from(OPS))
            node["op"] = f"aten.{name}.{data.draw(st.sampled_from(['default', 'other']))}"
        case "argument" if node["args"]:
            node["args"][data.draw(st.integers(0, len(node["args"]) - 1))] = data.draw(value)
        case "drop":
            node["args"] = node["args"][: data.draw(st.integers(0, 2))]
        case "keyword":
            key = data.draw(st.sampled_from(["dim", "dims", "p", "padding", "weight", "alpha"]))
            node["kwargs"][key] = data.draw(value)
        case "shape":
            node["shape"] = data.draw(st.none() | st.lists(DIMS, max_size=5))
        case _:
            node["dtype"] = data.draw(st.sampled_from(["list", "SymInt", "torch.float32", "x"]))


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_plan_is_judged_or_refused(data: st.DataObject) -> None:
    """A Plan that was tampered with is refused with words, or has facts: nothing else happens."""
    plain = copy.deepcopy(PLAIN)
    for _ in range(data.draw(st.integers(1, 6))):
        mutate(data, plain)
    with contextlib.suppress(SubmissionError, msgspec.ValidationError):
        model = msgspec.convert(plain, Model)
        validate_model(model)
        facts_of_model(model)
