"""What the analyses take grows with the network, and with nothing else."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from grader.errors import SubmissionError
from grader.plan.facts import facts_of
from grader.plan.schema import Graph, KaimingUniform, Model, Node, Ref, Tensor
from grader.plan.validate import validate_model

pytestmark = pytest.mark.slow

Made = tuple[list[Node], str]


def node(name: str, op: str, *args: Any, shape: Any = ("B", 10)) -> Node:
    """Make a node; `shape` None stands for several results."""
    full = op if "." in op else f"aten.{op}.default"
    kind = "torch.float32" if shape is not None else "list"
    return Node(name, full, list(args), {}, None if shape is None else [*shape], kind)


def model(train: Made, evaluation: Made | None = None) -> Model:
    """Make a model: rows of ten numbers called `h`, and what a family does with them."""
    first = [
        node("f", "flatten", Ref("x"), 1, shape=("B", 784)),
        node("h", "linear", Ref("f"), Ref("w")),
    ]
    init = KaimingUniform(0.1)
    weight = Tensor("w", "parameter", [10, 784], "torch.float32", "Linear", init, trainable=True)
    graphs = (Graph(["x"], first + nodes, out) for nodes, out in (train, evaluation or train))
    return Model("Net", "here", [1, 28, 28], [weight], *graphs)


def joined(n: int) -> Node:
    """Join the results r0, r1 … into the scores."""
    return node("o", "cat", [Ref(f"r{i}") for i in range(n)], 1)


def chain(n: int, op: str, *more: Any) -> Made:
    """Apply an operation again and again."""
    nodes = [node(f"r{i}", op, Ref(f"r{i - 1}" if i else "h"), *more) for i in range(n)]
    return nodes, f"r{n - 1}"


def split(n: int) -> Model:
    """Cut a row into n pieces of one number."""
    pieces = [node(f"r{i}", "operator.getitem", Ref("s"), i, shape=("B", 1)) for i in range(n)]
    cut = node("s", "split_with_sizes", Ref("h"), [1] * n, 1, shape=None)
    return model(([cut, *pieces, joined(n)], "o"))


def slices(n: int) -> Model:
    """Cut n pieces out of n rows that were joined."""
    whole = node("c", "cat", [Ref("h")] * n, 1, shape=("B", 10 * n))
    pieces = [node(f"r{i}", "slice", Ref("c"), 1, i, i + 10) for i in range(n)]
    return model(([whole, *pieces, joined(n)], "o"))


def writes(n: int) -> Model:
    """Write into many views of one value, and read them all again."""
    views = [node(f"v{i}", "view", Ref(f"v{i - 1}" if i else "h"), [-1, 10]) for i in range(n)]
    changes = [node(f"w{i}", "aten.add_.Tensor", Ref(f"v{i}"), 1.0) for i in range(n)]
    later = [node(f"r{i}", "relu", Ref(f"v{i}")) for i in range(n)]
    return model(([*views, *changes, *later, joined(n)], "o"))


def sums(n: int) -> Model:
    """Add up a value and all that is made of it."""
    nodes: list[Node] = []
    for i in range(n):
        before = f"r{i - 1}" if i else "h"
        nodes += [
            node(f"a{i}", "relu", Ref(before)),
            node(f"r{i}", "aten.add.Tensor", Ref(before), Ref(f"a{i}")),
        ]
    return model((nodes, f"r{n - 1}"))


def maxima(n: int) -> Model:
    """Read the first result of one pooling, whose window has n sides, n times."""
    view = node("m", "view", Ref("x"), [-1, 1, 28, 28], shape=("B", 1, 28, 28))
    pool = node("p", "max_pool2d_with_indices", Ref("m"), [28] * n, shape=None)
    items = [node(f"r{i}", "operator.getitem", Ref("p"), 0, shape=("B", 1, 1, 1)) for i in range(n)]
    return model(([view, pool, *items, joined(n)], "o"))


def finer(n: int) -> Model:
    """Make a map finer and finer."""
    nodes = [node("m", "view", Ref("x"), [-1, 1, 28, 28], shape=("B", 1, 28, 28))]
    for i in range(n):
        read = Ref(f"t{i - 1}" if i else "m")
        nodes.append(
            node(f"t{i}", "conv_transpose2d", read, Ref("w"), None, 97, shape=("B", 1, 28, 28))
        )
    last = node("l", "flatten", Ref(f"t{n - 1}"), 1, shape=("B", 784))
    return model(([*nodes, last, node("o", "linear", Ref("l"), Ref("w"))], "o"))


FAMILIES: dict[str, Callable[[int], Model]] = {
    "a chain": lambda n: model(chain(n, "relu")),
    "dropouts": lambda n: model(chain(n, "dropout", 0.5, True)),
    "norms": lambda n: model(chain(n, "batch_norm", None, None, Ref("w"), Ref("w"), True, 0.1)),
    "two networks": lambda n: model(chain(n, "relu"), chain(n, "sigmoid")),
    "pieces of a split": split,
    "pieces of a join": slices,
    "writes into views": writes,
    "sums": sums,
    "poolings": maxima,
    "maps made finer": finer,
}


def steps(function: Callable[[], object]) -> int:
    """Count the instructions of Python that a function takes."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", FAMILIES)
def test_twice_the_network_takes_twice_the_steps(name: str) -> None:
    """Whatever the graph is like, reading it takes steps in proportion to its size."""
    small, large = (FAMILIES[name](n) for n in (40, 80))
    facts_of(small)  # fills caches

    assert steps(lambda: facts_of(large)) < 2.3 * steps(lambda: facts_of(small))


def test_more_arguments_than_any_network_has_are_refused() -> None:
    """The number of arguments is bounded, and the refusal says so."""
    many = model(([node(f"r{i}", "cat", [Ref("h")] * 10_000, 1) for i in range(21)], "r20"))

    with pytest.raises(SubmissionError, match="too large") as caught:
        validate_model(many)
    assert "at most 200,000 arguments" in caught.value.expected


def test_more_formulas_than_any_network_has_are_refused() -> None:
    """Each formula of the batch size has to be read; their number is bounded."""
    odd = [node(f"r{i}", "relu", Ref("h"), shape=(f"B + {i}", 10)) for i in range(1_100)]

    with pytest.raises(SubmissionError, match="too large") as caught:
        validate_model(model(([*odd, node("o", "relu", Ref("h"))], "o")))
    assert "formulas" in caught.value.expected
