"""What the trusted side relies on is checked, and refused with words."""

import contextlib
import copy
import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grader.errors import SubmissionError
from grader.plan.assemble import assemble
from grader.plan.schema import Description, Plan
from grader.plan.validate import validate
from tests.capturing import model_of
from tests.networks import NETWORKS

PLAIN: dict[str, Any] = msgspec.to_builtins(
    assemble(Description(model_of(NETWORKS["plain"]())), 19)
)


def changed(change: Callable[[dict[str, Any]], object]) -> Plan:
    """Return a good Plan after one change to its JSON."""
    plain = copy.deepcopy(PLAIN)
    change(plain)
    return msgspec.convert(plain, Plan)


def node(plain: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a node of the training graph by its name."""
    return next(n for n in plain["model"]["train"]["nodes"] if n["name"] == name)


def test_a_captured_plan_is_accepted() -> None:
    """What the grader writes itself passes."""
    validate(changed(lambda plain: None))


def put(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change that sets one value."""

    def change(plain: dict[str, Any]) -> None:
        place: Any = plain
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


def tensor(**more: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change that adds a tensor."""
    values = {
        "name": "new", "role": "buffer", "shape": [2], "dtype": "torch.float32", "owner": "Net",
        "init": {"type": "constant", "value": 0.0},
    }  # fmt: skip
    return lambda plain: plain["model"]["tensors"].append(values | more)


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "operation": (lambda p: node(p, "relu_").update(op="aten.from_file.default"), "from_file"),
    "name used twice": (lambda p: node(p, "relu_").update(name="conv2d"), "conv2d"),
    "name of ours": (lambda p: node(p, "relu_").update(name="@1"), "@1"),
    "reference to later": (lambda p: node(p, "conv2d")["args"].append({"ref": "relu_"}), "relu_"),
    "reference to nothing": (lambda p: node(p, "relu_")["args"].append([{"ref": "no"}]), "no"),
    "output": (put("model", "train", "output", value="no"), "no"),
    "output is an input": (put("model", "train", "output", value="x"), "no result"),
    "two inputs": (put("model", "train", "inputs", value=["x", "y"]), "2"),
    "three scores": (lambda p: node(p, "log_softmax").update(shape=["B", 3]), "3"),
    "scores without a batch": (lambda p: node(p, "log_softmax").update(shape=[4, 10]), "4"),
    "other scores in evaluation": (
        lambda p: p["model"]["eval"]["nodes"][-1].update(shape=["B", 11]), "11"),
    "size of a result": (lambda p: node(p, "relu_").update(shape=["B", 10**9, 10]), "1000000000"),
    "size of the model": (tensor(shape=[10**6, 51]), "51,"),
    "type of a tensor": (tensor(dtype="torch.complex64"), "complex"),
    "values that do not fill": (tensor(init={"type": "values", "values": [1.0]}), "1"),
    "values of a parameter": (
        tensor(role="parameter", init={"type": "values", "values": [1.0, 2.0]}), "values"),
    "trained buffer": (tensor(trainable=True), "buffer"),
    "trained integers": (tensor(role="parameter", trainable=True, dtype="torch.int64"), "int64"),
    "drawn integers": (
        tensor(dtype="torch.int64", init={"type": "normal", "mean": 0.0, "std": 1.0}), "Normal"),
    "drawn beyond the type": (
        tensor(dtype="torch.float16", init={"type": "kaiming_uniform", "bound": 1e5}), "Kaiming"),
    "value beyond the type": (
        tensor(dtype="torch.uint8", init={"type": "constant", "value": 256.0}), "256"),
    "half of a whole number": (
        tensor(dtype="torch.int32", init={"type": "values", "values": [1.0, 0.5]}), "0.5"),
    "word that is no number": (lambda p: node(p, "relu_")["args"].append(["float:x"]), "float:x"),
    "images of another rank": (put("model", "input_shape", value=[784]), "784"),
    "images too large": (put("model", "input_shape", value=[1, 28, 257]), "257"),
    "not a number": (tensor(init={"type": "constant", "value": math.nan}), "nan"),
    "infinite argument": (lambda p: node(p, "relu_")["kwargs"].update(k=math.inf), "inf"),
    "unknown parameter": (
        put("recipe", "optimizer", "groups", 0, "parameters", value=["no"]), "no"),
    "untrained tensor": (
        put("recipe", "optimizer", "groups", 0, "parameters", value=["bn1.running_mean"]),
        "running_mean"),
    "parameter twice": (
        put("recipe", "optimizer", "groups", 0, "parameters", value=["conv1.weight"] * 2),
        "conv1.weight"),
    "nothing to train": (put("recipe", "optimizer", "groups", 0, "parameters", value=[]), "none"),
    "short schedule": (put("recipe", "schedule", "lr", value=[[0.1, 0.1]]), "2"),
    "schedule of two groups": (put("recipe", "schedule", "lr", value=[[0.1], [0.1]]), "2"),
    "negative rate": (put("recipe", "schedule", "lr", value=[[-0.1]]), "-0.1"),
    "momentum of two groups": (put("recipe", "schedule", "momentum", value=[[0.9]] * 2), "2"),
    "infinite option": (
        put("recipe", "optimizer", "groups", 0, "options", "lr", value=math.inf), "inf"),
    "operation in the loss": (
        put("recipe", "loss", "nodes", 0, "op", value="aten.from_file.default"), "from_file"),
    "loss of a batch": (put("recipe", "loss", "nodes", 0, "shape", value=["B"]), "B"),
    "loss of the weights": (
        put("recipe", "loss", "nodes", 0, "args", value=[{"ref": "conv1.weight"}]), "conv1"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_types_let_through_is_refused(name: str) -> None:
    """Each is refused, and the refusal names what was found, what was expected, and where."""
    change, found = REFUSED[name]
    with pytest.raises(SubmissionError) as caught:
        validate(changed(change))

    assert found in caught.value.found
    assert caught.value.expected
    assert caught.value.where
    assert caught.value.help


def test_a_refused_operation_names_its_line() -> None:
    """A student finds the operation by module and line."""
    change = {"op": "aten.item.default", "module": "act", "where": "net.py, line 7"}
    with pytest.raises(SubmissionError) as caught:
        validate(changed(lambda plain: node(plain, "relu_").update(change)))

    assert caught.value.where == "act, net.py, line 7"


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_json_is_accepted_or_refused(data: st.DataObject) -> None:
    """Junk anywhere in a Plan is refused by the schema or by words, never by a crash."""
    plain = copy.deepcopy(PLAIN)
    place: Any = plain
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(junk)
    with contextlib.suppress(SubmissionError, msgspec.ValidationError):
        validate(msgspec.convert(plain, Plan))
