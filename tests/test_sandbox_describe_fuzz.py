"""Whatever comes out of the box is a description or the submission's error, never an exception."""

from __future__ import annotations

import functools
import json
import tracemalloc
from typing import Any

import msgspec
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from grader import rubric as rubrics
from grader.errors import Crashed, GradingError, SubmissionError, Suspicious
from grader.plan.assemble import assemble
from grader.plan.facts import facts_of
from grader.plan.schema import Description, Plan
from grader.record import Record, Submission
from grader.sandbox.describe import received
from grader.steps import complete, examine
from grader.submission.program import ENTRY, Module, Program
from tests.capturing import Net, conv, model_of

PROGRAM = Program([Module(ENTRY, [])])


def read(answer: bytes) -> Description:
    """Read an answer as the grader does."""
    return received(answer, "the process ended", PROGRAM)


def frame(content: bytes) -> bytes:
    """Put the length in front of some bytes."""
    return len(content).to_bytes(8, "big") + content


def masked(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Drop squares of the image by a mask of random numbers, add noise, and score."""
    mask = F.max_pool2d((torch.rand_like(x) < 0.1).float(), 3, 1, 1)
    x = net.norm(net.conv(x * (1 - mask) + 0.1 * torch.randn_like(x)))
    return F.log_softmax(F.relu_(x).mean((2, 3)), 1)


@functools.cache
def honest(kind: str = "small") -> dict[str, Any]:
    """Return what a small network says of itself, or one with noise and a recipe."""
    if kind == "small":
        model = Net(lambda s, x: s.conv(x).mean((2, 3)), conv=conv(), drop=nn.Dropout(0.1))
        description = Description(model_of(model))
    else:
        model = Net(masked, conv=conv(), norm=nn.BatchNorm2d(10))
        recipe = assemble(Description(model_of(model), epochs=2, batch_size=30_000), 19).recipe
        description = Description(
            model_of(model), recipe.epochs, recipe.batch_size, recipe.optimizer, recipe.schedule,
            recipe.train_transform, recipe.test_transform, recipe.loss, recipe.drop_last,
        )  # fmt: skip
    found: dict[str, Any] = json.loads(msgspec.json.encode(description))
    return found


KINDS = st.sampled_from(["small", "noisy"])
RUBRIC = rubrics.load()


def survives(answer: bytes) -> None:
    """Take an answer as far as it goes: to a plan and a record that others can read, or an error.

    Only errors of the submission count as one.
    """
    empty = Record(Submission("net.py", "net.py", ""), "MNIST", "", 100.0)
    try:
        plan = complete(read(answer), PROGRAM, RUBRIC)
        record = examine(empty, plan, facts_of(plan.model))
    except SubmissionError:
        return
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
    assert msgspec.json.decode(msgspec.json.encode(record), type=Record) == record


def test_an_honest_answer_is_read() -> None:
    """The starting point of this fuzz is a description that is taken whole."""
    assert read(frame(json.dumps({"description": honest()}).encode())).model.class_name == "Net"


@given(st.binary(max_size=300))
def test_arbitrary_bytes(answer: bytes) -> None:
    """Bytes without any sense are no description."""
    with pytest.raises(SubmissionError):
        read(answer)


@given(st.binary(max_size=300))
def test_frames_of_arbitrary_bytes(content: bytes) -> None:
    """A frame around bytes without any sense is no description either."""
    with pytest.raises(SubmissionError):
        read(frame(content))


@given(st.data())
def test_a_truncated_answer_is_a_crash(data: st.DataObject) -> None:
    """However much of an answer is missing at its end, the process ended too early."""
    whole = frame(json.dumps({"description": honest()}).encode())
    kept = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(Crashed):
        read(whole[:kept])


@given(st.lists(st.sampled_from(["description", "error", "rest"]), min_size=2, max_size=4))
def test_repeated_and_reordered_frames_are_suspicious(kinds: list[str]) -> None:
    """Of several frames, in whatever order, none is taken."""
    error = {"kind": "ValueError", "message": "no", "where": "", "help": ""}
    frames = {
        "description": frame(json.dumps({"description": honest()}).encode()),
        "error": frame(json.dumps({"error": error}).encode()),
        "rest": b"\0\0\0",
    }
    answer = b"".join(frames[kind] for kind in kinds)
    with pytest.raises((Suspicious, Crashed)):
        read(answer)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(
        [10**30, 2**63, -1, 0, 1e308, 1e200, "x", "conv.weight", "aten.conv2d.default",
         "aten.max_pool2d.default", "torch.int64", "torch.float16", "float:nan", "float:x", "-B",
         "B*B*B*B*B*B", "B//0", {"type": "normal", "mean": 0, "std": 1}]
    ),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the ways to every value inside a value."""
    found = [path]
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(part, (*path, key))
    return found


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy of a value with one value inside replaced."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


@given(st.data())
def test_a_description_with_something_else_in_some_place(data: st.DataObject) -> None:
    """Wrong types, huge and infinite numbers, unknown names: refused in words, or harmless."""
    description = honest(data.draw(KINDS))
    for _ in range(data.draw(st.integers(1, 3))):
        paths = places(description)
        path = data.draw(st.sampled_from(paths))
        other = functools.reduce(
            lambda v, key: v[key], data.draw(st.sampled_from(paths)), description
        )
        description = changed(description, path, data.draw(JSON | st.just(other)))
        if not isinstance(description, dict | list):
            break
    survives(frame(json.dumps({"description": description}).encode()))


@given(st.data())
def test_a_description_with_something_missing_or_twice(data: st.DataObject) -> None:
    """Entries that are left out, repeated or added are refused in words, or harmless."""
    description = honest(data.draw(KINDS))
    path = data.draw(st.sampled_from([p for p in places(description) if p]))
    *above, last = path
    holder: Any = functools.reduce(lambda value, key: value[key], above, description)
    copy = dict(holder) if isinstance(holder, dict) else list(holder)
    if data.draw(st.booleans()):
        del copy[last]
    elif isinstance(copy, list):
        copy.insert(last, copy[last])
    else:
        copy[data.draw(st.text(max_size=8))] = copy[last]
    survives(frame(json.dumps({"description": changed(description, tuple(above), copy)}).encode()))


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000, b'{"description":' * 10_000, b"NaN", b'{"description": NaN}',
        b'{"error": {"kind": "x", "message": "y", "where": "", "help": "", "more": 1}}',
        b'{"description": null, "error": null}', b"{}", b"null", b'""', b"\xff\xfe", b"",
        b'{"error": {"kind": "GraderFault", "message": "not me", "where": "", "help": ""}}',
        rb'"\ud800"', rb'{"error": {"kind": "\udfff", "message": "", "where": "", "help": ""}}',
        b'{"\xff": 1}', b'{"description": 1' + b"0" * 5_000 + b"}",
    ],
    ids=str,
)  # fmt: skip
def test_answers_made_to_break_a_reader(content: bytes) -> None:
    """Depth, numbers that are none, extra fields and empty answers are the submission's error."""
    with pytest.raises(GradingError) as caught:
        read(frame(content))

    assert caught.value.fault != "grader"


def test_a_length_that_promises_too_much_is_a_crash() -> None:
    """A frame that says it is longer than the world is one that did not arrive."""
    with pytest.raises(Crashed):
        read((2**63).to_bytes(8, "big") + b"{}")


@pytest.mark.parametrize(
    ("before", "item"),
    [
        (b'{"description":{"schedule":{"lr":[[', b"0,"),
        (b'{"description":{"notes":[', b'"",'),
        (b'{"description":{"model":{"train":{"nodes":[{"args":[', b"[],"),
        (b'{"description":{"provenance":[', b"{},"),
    ],
    ids=["rates", "notes", "arguments", "facts"],
)
def test_an_answer_of_millions_of_values_is_refused_before_it_is_decoded(
    before: bytes, item: bytes
) -> None:
    """A list takes far more memory than its JSON, so too many values are never made objects of."""
    answer = frame(before + item * 4_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(SubmissionError) as caught:
            read(answer)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert caught.value.fault == "flooded"
    assert peak < 1_000_000


def test_a_loop_of_its_own_that_nobody_can_find_is_refused() -> None:
    """An answer that claims its own training, and does not say which, is none."""
    answer = frame(json.dumps({"description": honest() | {"level": "sandboxed"}}).encode())
    with pytest.raises(SubmissionError, match="is not whole"):
        read(answer)
