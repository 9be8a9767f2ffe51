"""A small network to measure while there is no other: what a first run loads is there by then."""

from __future__ import annotations

from grader.plan.schema import (
    Constant,
    Graph,
    Group,
    Item,
    KaimingUniform,
    Model,
    Node,
    Optimizer,
    Plan,
    Recipe,
    Ref,
    Schedule,
    Shape,
    Tensor,
    ToFloat,
)


def small_plan() -> Plan:
    """Return a convolution, a batch norm, a dropout and an average, to be trained by SGD."""
    tensors = [
        Tensor("w", "parameter", [10, 1, 3, 3], "torch.float32", "", KaimingUniform(0.3), True),
        Tensor("m", "buffer", [10], "torch.float32", "", Constant(0.0)),
        Tensor("v", "buffer", [10], "torch.float32", "", Constant(1.0)),
    ]
    train, evaluation = _graph(training=True), _graph(training=False)
    loss = Node("loss", "aten.nll_loss.default", [Ref("output"), Ref("target")], {}, [], _FLOAT)
    recipe = Recipe(
        epochs=1, batch_size=8, optimizer=Optimizer("SGD", [Group(["w"], {})]),
        schedule=Schedule([[0.1]]), train_transform=[ToFloat()], test_transform=[ToFloat()],
        loss=Graph(["output", "target"], [loss], "loss"), drop_last=False,
    )  # fmt: skip
    return Plan(Model("", "", [1, 28, 28], tensors, train, evaluation), recipe, [])


_FLOAT = "torch.float32"


def _graph(*, training: bool) -> Graph:
    map_: Shape = ["B", 10, 26, 26]
    scores: Shape = ["B", 10]
    statistics: list[Item] = [None, None, Ref("m"), Ref("v"), training, 0.1, 1e-5, False]
    nodes = [
        Node("c", "aten.conv2d.default", [Ref("x"), Ref("w")], {}, map_, _FLOAT),
        Node("b", "aten.batch_norm.default", [Ref("c"), *statistics], {}, map_, _FLOAT),
        Node("r", "aten.relu.default", [Ref("b")], {}, map_, _FLOAT),
        Node("d", "aten.dropout.default", [Ref("r"), 0.1, training], {}, map_, _FLOAT),
        Node("a", "aten.mean.dim", [Ref("d"), [2, 3]], {}, scores, _FLOAT),
        Node("o", "aten.log_softmax.int", [Ref("a"), 1], {}, scores, _FLOAT),
    ]
    return Graph(["x"], nodes, "o")
