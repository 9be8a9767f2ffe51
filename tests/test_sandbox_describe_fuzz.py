"""Whatever comes out of the box is a description or the submission's error, never an exception."""

from __future__ import annotations

import functools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from grader.errors import Crashed, GradingError, SubmissionError, Suspicious
from grader.plan.assemble import assemble
from grader.plan.facts import facts_of
from grader.plan.schema import Description
from grader.plan.validate import validate, validate_model
from grader.sandbox.describe import received
from grader.submission.program import ENTRY, Module, Part, Program
from tests.capturing import Net, conv, model_of

PROGRAM = Program([Module(ENTRY, [])], Part("Net()", "net.py, line 1"), "Net")


def read(answer: bytes) -> Description:
    """Read an answer as the grader does."""
    return received(answer, "the process ended", PROGRAM)


def frame(content: bytes) -> bytes:
    """Put the length in front of some bytes."""
    return len(content).to_bytes(8, "big") + content


@functools.cache
def honest() -> dict[str, Any]:
    """Return what a small network says of itself."""
    model = Net(lambda s, x: s.conv(x).mean((2, 3)), conv=conv(), drop=nn.Dropout(0.1))
    description = Description(model=model_of(model), provenance=[], notes=[])
    found: dict[str, Any] = json.loads(msgspec.json.encode(description))
    return found


def survives(answer: bytes) -> None:
    """Take an answer as far as it goes; only the submission's errors may end that."""
    try:
        plan = assemble(read(answer), 19)
        validate_model(plan.model)
        validate(plan, 19)
        facts_of(plan.model)
    except SubmissionError:
        return


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
    | st.sampled_from([10**30, -1, 0, 1e308, "x", "conv.weight", "aten.conv2d.default"]),
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
    description = honest()
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(description)))
        description = changed(description, path, data.draw(JSON))
        if not isinstance(description, dict | list):
            break
    survives(frame(json.dumps({"description": description}).encode()))


@given(st.data())
def test_a_description_with_something_missing_or_twice(data: st.DataObject) -> None:
    """Entries that are left out, repeated or added are refused in words, or harmless."""
    description = honest()
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
