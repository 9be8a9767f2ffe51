"""What a submission brings along is counted wherever it is kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

from grader.plan import schema
from grader.plan.fixed import ARCHITECTURE, fixed_values
from tests.capturing import Net, conv
from tests.networks import NETWORKS
from tests.plans import plan_of

LIMIT = 256
STEPS = 5_000


def counted(plan: schema.Plan) -> dict[str, int]:
    """Return how many numbers are brought along, by their kind."""
    found: dict[str, int] = {}
    for each in fixed_values(plan):
        found[each.what] = found.get(each.what, 0) + each.count
    return found


def plain() -> schema.Plan:
    """Make a plan of a convolution and an average."""
    return plan_of(Net(lambda n, x: n.conv(x).mean((2, 3)), conv=conv()))


def with_tensors(count: int, **fields: object) -> schema.Plan:
    """Add tensors to it, whose fields are values or functions of their number."""
    plan = plain()
    made = [
        schema.Tensor(
            name=f"more{i}",
            owner="",
            dtype="torch.float32",
            **{key: each(i) if callable(each) else each for key, each in fields.items()},  # type: ignore[arg-type]
        )
        for i in range(count)
    ]
    model = msgspec.structs.replace(plan.model, tensors=[*plan.model.tensors, *made])
    return msgspec.structs.replace(plan, model=model)


def number(i: int) -> float:
    """Make numbers that no rule tells."""
    return 0.1 * math.sin(i * i * 0.013)


def trained_with(
    schedule: schema.Schedule, groups: list[schema.Group] | None = None
) -> schema.Plan:
    """Make a plan with a schedule, and groups of parameters."""
    plan = plain()
    optimizer = plan.recipe.optimizer
    if groups is not None:
        optimizer = msgspec.structs.replace(optimizer, groups=groups)
    recipe = msgspec.structs.replace(plan.recipe, optimizer=optimizer, schedule=schedule)
    return msgspec.structs.replace(plan, recipe=recipe)


def cosine(step: int) -> float:
    """Fall from 0.1 to nothing."""
    return 0.05 * (1 + math.cos(math.pi * step / STEPS))


SCHEDULES: dict[str, Callable[[int], float]] = {
    "constant": lambda step: 0.1,
    "steps": lambda step: 0.1 * 0.5 ** (step // 500),
    "exponential": lambda step: 0.1 * 0.999**step,
    "linear": lambda step: 0.1 * (1 - step / STEPS),
    "cosine": cosine,
    "warm-up, then a root": lambda step: 0.1 * min((step + 1) ** -0.5, (step + 1) * 800**-1.5),
    "triangles": lambda step: 0.01 + 0.09 * abs((step % 1000) / 500 - 1),
    "restarts": lambda step: cosine(step * 10 % STEPS),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_an_ordinary_network_brings_next_to_nothing(name: str) -> None:
    """Kernel sizes, an eps and a learning rate are a handful of numbers."""
    assert sum(counted(plan_of(NETWORKS[name]())).values()) < 30


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_by_a_formula_is_a_few_numbers(name: str) -> None:
    """It has thousands of different rates, and they follow from one another."""
    rates = [SCHEDULES[name](step) for step in range(STEPS)]

    assert counted(trained_with(schema.Schedule([rates])))["learning rates and momentum"] < 80


@pytest.mark.parametrize("kind", ["lr", "momentum"])
def test_numbers_in_a_schedule_are_counted(kind: str) -> None:
    """Small deviations from a cosine are told apart by a network that looks for them."""
    rates = [cosine(step) * (1 + 1e-3 * number(step)) for step in range(STEPS)]
    told = trained_with(schema.Schedule([rates if kind == "lr" else [0.1]],
                                        [rates] if kind == "momentum" else None))  # fmt: skip

    assert counted(told)["learning rates and momentum"] > STEPS / 2


def test_series_that_are_multiples_are_one_more_number_each() -> None:
    """A rate for each layer under one schedule is a factor for each layer."""
    rates = [[factor * cosine(step) for step in range(STEPS)] for factor in (1.0, 0.9, 0.81)]
    groups = [schema.Group([], {"lr": series[0]}) for series in rates]
    told = counted(trained_with(schema.Schedule(rates), groups))["learning rates and momentum"]
    alone = counted(trained_with(schema.Schedule(rates[:1])))["learning rates and momentum"]

    assert told == alone + 2


def test_which_parameter_has_which_rate_is_counted() -> None:
    """Thousands of parameters in a few groups are thousands of choices."""
    groups = [schema.Group([], {"lr": float(i)}) for i in range(8)]
    left_out = [schema.Group([], {"lr": 1.0})]
    for i in range(5_000):
        groups[int(4 + 40 * number(i)) % 8].parameters.append(f"more{i}")
        left_out[0].parameters.extend([f"more{i}"] * (number(i) > 0))
    model = with_tensors(
        5_000, role="parameter", shape=[1], init=schema.Constant(0.0), trainable=True
    ).model

    for chosen in (groups, left_out):
        plan = trained_with(schema.Schedule([[1.0]] * len(chosen)), chosen)
        told = counted(msgspec.structs.replace(plan, model=model))
        assert told["options of parameter groups"] > LIMIT


def below(i: int) -> float:
    """Hide numbers in the last digits of ones."""
    return 1 + 1e-6 * number(i)


def between_giants(step: int) -> float:
    """Let a rate be huge where there is no gradient, and small where there is."""
    return 1e6 if step == 0 else 1e-9 * (1 + number(step))


def shrinking() -> schema.Plan:
    """Let weights shrink to what differs from one in the product of rate and decay."""
    groups = [schema.Group([], {"lr": 0.1, "weight_decay": 10.0})]
    rates = [0.1 * (1 - 1e-9 * number(step)) for step in range(STEPS)]
    return trained_with(schema.Schedule([rates]), groups)


HIDDEN: dict[str, Callable[[], schema.Plan]] = {
    "buffers": lambda: with_tensors(
        4, role="buffer", shape=[100],
        init=lambda i: schema.Values([number(100 * i + k) for k in range(100)]),
    ),
    "constants": lambda: with_tensors(
        1, role="constant", shape=[400], init=schema.Values([number(i) for i in range(400)])
    ),
    "running statistics": lambda: with_tensors(
        600, role="buffer", shape=[1], state=True, init=lambda i: schema.Constant(number(i))
    ),
    "means": lambda: with_tensors(
        1_500, role="parameter", shape=[4], init=lambda i: schema.Normal(number(i), 0.05)
    ),
    "spreads": lambda: with_tensors(
        1_500, role="parameter", shape=[4], init=lambda i: schema.Normal(0, abs(number(i)))
    ),
    "bounds": lambda: with_tensors(
        1_500, role="parameter", shape=[4], init=lambda i: schema.KaimingUniform(abs(number(i)))
    ),
    "what all elements start as": lambda: with_tensors(
        1_500, role="parameter", shape=[4], init=lambda i: schema.Constant(number(i))
    ),
    "which of two values each starts as": lambda: with_tensors(
        9_000, role="parameter", shape=[1], init=lambda i: schema.Constant(float(number(i) > 0))
    ),
    "last digits of what elements start as": lambda: with_tensors(
        1_500, role="parameter", shape=[4], init=lambda i: schema.Constant(below(i))
    ),
    "low bits of whole numbers": lambda: with_tensors(
        1, role="buffer", shape=[400],
        init=schema.Values([2.0**50 + round(1e6 * number(i)) for i in range(400)]),
    ),
    "rates beside a giant": lambda: trained_with(
        schema.Schedule([[between_giants(step) for step in range(STEPS)]])
    ),
    "last digits of rates": shrinking,
    "momenta near one": lambda: trained_with(schema.Schedule(
        [[0.1]], [[1 - 1e-9 * (1 + number(step)) for step in range(STEPS)]]
    )),
    "buffers of one number of three": lambda: with_tensors(
        9_000, role="buffer", shape=[1],
        init=lambda i: schema.Values([float((number(i) > 0.03) - (number(i) < -0.03))]),
    ),
    "sizes of empty tensors": lambda: with_tensors(
        3_000, role="buffer", shape=lambda i: [int(1e4 * (1 + number(i))), 0],
        init=schema.Constant(0.0),
    ),
    "sizes": lambda: with_tensors(
        4_000, role="parameter", shape=lambda i: [4 + int(40 * number(i))],
        init=schema.Constant(0.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("place", HIDDEN)
def test_numbers_are_counted_wherever_they_are(place: str) -> None:
    """Whatever tells a thousand weights is more than the limit."""
    assert sum(counted(HIDDEN[place]()).values()) > LIMIT


def test_numbers_in_operations_are_counted() -> None:
    """In forward and in the loss, each that differs."""

    def forward(net: Any, x: Tensor) -> Tensor:
        scores: Tensor = net.conv(x).mean((2, 3))
        for i in range(300):
            scores = scores * number(i)
        return scores

    plan = plan_of(Net(forward, conv=conv()))
    loss = plan.model.train
    recipe = msgspec.structs.replace(plain().recipe, loss=loss)

    assert counted(plan)["numbers in forward"] > 250
    assert counted(msgspec.structs.replace(plain(), recipe=recipe))["numbers in the loss"] > 250


def test_a_number_of_any_length_is_counted() -> None:
    """It may be too long for a float, and for Python to write it out."""
    plan = plain()
    node = msgspec.structs.replace(plan.model.train.nodes[0], kwargs={"more": 1 << 100_000})
    graph = msgspec.structs.replace(plan.model.train, nodes=[node])
    model = msgspec.structs.replace(plan.model, train=graph)

    assert counted(msgspec.structs.replace(plan, model=model))["numbers in forward"] > 3_000


def test_the_order_of_a_few_values_is_counted() -> None:
    """A network told by which of a few values each of its operations takes is told all the same."""

    def forward(net: Any, x: Tensor) -> Tensor:
        few = [x.new_zeros(()) + 0.1 * i for i in range(16)]
        weights = torch.stack([few[int(8 + 70 * number(i))] for i in range(4_000)])
        scores: Tensor = net.conv(x).mean((2, 3)) * weights.view(400, 10).mean(0)
        return scores

    assert counted(plan_of(Net(forward, conv=conv())))["choices in forward"] > LIMIT


def test_a_deep_network_is_no_choice() -> None:
    """A hundred layers are told by one and the times it is repeated."""

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            unit = (
                nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)) for _ in range(100)
            )
            self.layers = nn.Sequential(nn.Conv2d(1, 8, 3), *unit, nn.Conv2d(8, 10, 3))

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.layers(x).mean((2, 3))
            return scores

    assert "choices in forward" not in counted(plan_of(Deep()))
    assert ARCHITECTURE > 0


def test_a_loop_of_its_own_has_no_recipe_to_count() -> None:
    """Where the submission trains itself, the recipe that the grader has for it is not used."""
    plan = trained_with(schema.Schedule([[number(step) + 1 for step in range(STEPS)]]))

    assert "learning rates and momentum" not in counted(
        msgspec.structs.replace(plan, level="sandboxed")
    )
