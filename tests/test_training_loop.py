"""The training loop: what it counts, what it sets, what it says, and that it repeats itself."""

from typing import Any

import msgspec
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from grader import events
from grader.datasets.files import Images
from grader.errors import SubmissionError
from grader.plan import schema
from grader.training.loop import Result, train
from grader.training.optimizer import Optimizer
from tests import networks
from tests.capturing import Net, conv
from tests.plans import patterns, plan_of

pytestmark = pytest.mark.slow


def told(
    plan: schema.Plan, data: Images | None = None, seed: int = 1, max_epochs: int | None = None
) -> tuple[Result, list[events.AnyEvent]]:
    """Train and collect the events."""
    said: list[events.AnyEvent] = []
    result = train(plan, seed, data or patterns(), said.append, max_epochs=max_epochs)
    return result, said


@pytest.mark.parametrize(
    ("every", "mode", "values", "rates"),
    [
        ("epoch", "min", [3.0, 2.0, 2.0, 2.0, 2.0], [0.4, 0.4, 0.4, 0.2, 0.2]),
        ("batch", "max", [0.5, 0.5, 0.5, 0.6, 0.5], [0.4, 0.4, 0.2, 0.2, 0.2]),
    ],
)
def test_a_plateau_lowers_the_learning_rate(
    every: Any, mode: Any, values: list[float], rates: list[float]
) -> None:
    """It follows the training loss or accuracy, as PyTorch's own scheduler would."""
    plateau = schema.Plateau(every, mode, 0.5, 1, 1e-4, "rel", 0, [0.0], 1e-8)
    group = schema.Group(["weight"], {"lr": 0.4})
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = Optimizer(
        schema.Optimizer("SGD", [group]), schema.Schedule([[0.4]], plateau=plateau),
        {"weight": weight},
    )  # fmt: skip
    seen = []
    for value in values:
        optimizer.follow("batch" if every == "epoch" else "epoch", -value, -value)
        optimizer.follow(every, value, value)
        optimizer.step(weight.sum())
        seen.append(optimizer.lr)

    assert seen == rates


def test_it_learns_what_can_be_learnt() -> None:
    """Bars at ten places are told apart after a few epochs; errors and losses say so."""
    module = Net(
        lambda s, x: s.head(F.max_pool2d(F.relu(s.bn(s.conv(x))), 2).flatten(1)),
        conv=conv(1, 4), bn=nn.BatchNorm2d(4), head=nn.Linear(4 * 13 * 13, 10),
    )  # fmt: skip
    result, said = told(plan_of(module, epochs=8, batch=20))
    assert result.epochs[-1].test_errors < 10
    assert result.epochs[-1].train_loss < result.epochs[0].train_loss
    assert result.epochs[-1].train_accuracy > 0.8
    assert [type(event) for event in said if not isinstance(event, events.Progress)] == [
        events.Started, *[events.EpochDone] * 8, events.Recalled,
    ]  # fmt: skip


def test_every_sample_is_counted_and_the_last_batch_kept() -> None:
    """300 samples in batches of 64 are five steps and 300 samples an epoch."""
    result, said = told(plan_of(networks.Plain(), epochs=3))
    assert isinstance(said[0], events.Started)
    assert said[0].steps_per_epoch == 5
    assert [epoch.samples for epoch in result.epochs] == [300, 600, 900]
    assert result.samples == 900
    assert result.epochs[-1].test_samples == 100


def test_drop_last_leaves_the_rest_out() -> None:
    """With drop_last the 44 samples left over are not trained on."""
    plan = plan_of(networks.Plain())
    plan = msgspec.structs.replace(
        plan, recipe=msgspec.structs.replace(plan.recipe, drop_last=True)
    )
    result, _ = told(plan)
    assert result.samples == 256


def test_the_budget_ends_a_longer_recipe() -> None:
    """A recipe of five epochs stops after the two it is allowed."""
    result, said = told(plan_of(networks.Plain(), epochs=5), max_epochs=2)
    assert len(result.epochs) == 2
    assert isinstance(said[0], events.Started)
    assert said[0].epochs == 2


def test_the_same_seed_gives_the_same_weights_bit_for_bit() -> None:
    """Dropout, shuffling, augmentation and initial weights all come from the seed."""
    affine = schema.Affine((-10.0, 10.0), (0.1, 0.1))
    plan = plan_of(
        networks.Plain(0.2), epochs=2, transform=[affine, schema.ToFloat()], momentum=0.9
    )
    first, again, other = (told(plan, seed=seed)[0].state for seed in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_learning_rate_and_momentum_of_every_step_are_the_plans() -> None:
    """One linear parameter under SGD moves by exactly what the numbers say."""
    module = Net(lambda s, x: x.flatten(1)[:, :10] * 0 + s.w, w=nn.Parameter(torch.zeros(10)))
    plan = plan_of(module, batch=100, momentum=0.5)
    loss = schema.Graph(
        ["output", "target"],
        [
            schema.Node("column", "aten.select.int", [schema.Ref("output"), 1, 0], {}, None, ""),
            schema.Node("mean", "aten.mean.default", [schema.Ref("column")], {}, [], ""),
        ],
        "mean",
    )
    schedule = schema.Schedule([[0.1, 0.2, 0.4]], [[0.5, 0.25, 0.0]])
    recipe = msgspec.structs.replace(plan.recipe, loss=loss, schedule=schedule)
    result, _ = told(msgspec.structs.replace(plan, recipe=recipe))
    # Gradient 1 throughout; velocities 1, 1.25 and 1.
    moved = float(result.state["w"][0])
    assert moved == pytest.approx(-(0.1 * 1 + 0.2 * 1.25 + 0.4 * 1), rel=1e-6)
    assert result.epochs[0].lr == 0.4


@pytest.mark.parametrize(
    "name",
    ["SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop", "ASGD",
     "Rprop"],
)  # fmt: skip
def test_every_optimiser_of_the_plan_language_trains(name: str) -> None:
    """Each changes the weights and leaves them finite."""
    before, _ = told(plan_of(networks.Plain(), optimizer=name, lr=[0.0], batch=150))
    after, _ = told(plan_of(networks.Plain(), optimizer=name, lr=[0.01], batch=150))
    moved = after.state["conv1.weight"] - before.state["conv1.weight"]
    assert moved.abs().max() > 0 or name == "ASGD"
    assert all(tensor.isfinite().all() for tensor in after.state.values())


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    """An absurd learning rate is reported as divergence, with epoch and step."""
    module = Net(lambda s, x: s.conv(x).exp().exp().mean((2, 3)), conv=conv())
    result, said = told(plan_of(module, lr=[1e6], epochs=3))
    assert isinstance(said[-1], events.Diverged)
    assert result.diverged == said[-1]
    assert said[-1].loss in ("nan", "inf")
    assert len(result.epochs) < 3


def test_answers_that_are_not_numbers_are_errors() -> None:
    """A network whose test scores are NaN gets every test image wrong, and no test loss."""
    module = Net(
        lambda s, x: s.conv(x).mean((2, 3)) * (1.0 if s.training else float("nan")),
        conv=conv(),
    )  # fmt: skip
    result, said = told(plan_of(module))
    assert result.epochs[0].test_errors == 100
    assert result.epochs[0].test_loss is None
    again = msgspec.json.decode(msgspec.json.encode(said[-1]), type=events.AnyEvent)
    assert again == said[-1]


def test_more_than_ten_outputs_are_allowed() -> None:
    """The largest of all outputs is the answer, also if it is none of the ten digits."""
    module = Net(lambda s, x: s.conv(x).mean((2, 3)), conv=conv(1, 12))
    result, _ = told(plan_of(module))
    assert result.epochs[0].test_samples == 100


def test_a_batch_size_the_network_cannot_take_is_the_submissions_error() -> None:
    """A view with a fixed number of rows fails at the last batch, with the operation's words."""
    plan = plan_of(networks.Plain())
    nodes = [
        msgspec.structs.replace(node, args=[node.args[0], [64, 10]])
        if node.op == "aten.view.default"
        else node
        for node in plan.model.train.nodes
    ]
    graph = msgspec.structs.replace(plan.model.train, nodes=nodes)
    plan = msgspec.structs.replace(plan, model=msgspec.structs.replace(plan.model, train=graph))
    with pytest.raises(SubmissionError, match="view"):
        told(plan)


def test_a_loss_that_is_not_one_number_is_the_submissions_error() -> None:
    """A loss graph that returns a row of numbers is refused in words."""
    plan = plan_of(networks.Plain())
    node = schema.Node("n", "aten.neg.default", [schema.Ref("output")], {}, None, "")
    loss = schema.Graph(["output", "target"], [node], "n")
    plan = msgspec.structs.replace(plan, recipe=msgspec.structs.replace(plan.recipe, loss=loss))
    with pytest.raises(SubmissionError, match="one number"):
        told(plan)


def test_a_group_of_parameters_that_do_not_exist_is_the_submissions_error() -> None:
    """A name that is no tensor of the model is told with the optimiser's name."""
    plan = plan_of(networks.Plain())
    optimizer = schema.Optimizer("SGD", [schema.Group(["nothing"], {"lr": 0.1})])
    recipe = msgspec.structs.replace(plan.recipe, optimizer=optimizer)
    with pytest.raises(SubmissionError, match="SGD"):
        told(msgspec.structs.replace(plan, recipe=recipe))


def test_a_loss_cannot_write_the_answers_into_the_labels() -> None:
    """A loss that overwrites its target with the network's answers gains no correct answer."""
    data = patterns()
    plan = plan_of(networks.Plain(), epochs=2)
    target = schema.Ref("target")
    answers = [
        schema.Node("a", "aten.argmax.default", [schema.Ref("output"), 1], {}, None, ""),
        schema.Node("c", "aten.copy_.default", [target, schema.Ref("a")], {}, None, ""),
    ]  # fmt: skip
    loss = plan.recipe.loss
    loss = msgspec.structs.replace(loss, nodes=[*answers, *loss.nodes])
    recipe = msgspec.structs.replace(plan.recipe, loss=loss)
    result, _ = told(msgspec.structs.replace(plan, recipe=recipe), data)
    assert all(epoch.test_errors > 50 for epoch in result.epochs)
    assert result.epochs[-1].train_accuracy < 0.5


def test_a_loss_cannot_move_the_scores_to_the_labels() -> None:
    """A loss that writes the right answers into the output writes into a copy of it."""
    plan = plan_of(networks.Plain())
    detached = schema.Ref("d")
    cheat = [
        schema.Node("u", "aten.unsqueeze.default", [schema.Ref("target"), 1], {}, None, ""),
        schema.Node("d", "aten.detach.default", [schema.Ref("output")], {}, None, ""),
        schema.Node("s", "aten.scatter_.value", [detached, 1, schema.Ref("u"), 9.0], {}, None, ""),
    ]  # fmt: skip
    loss = plan.recipe.loss
    loss = msgspec.structs.replace(loss, nodes=[*cheat, *loss.nodes])
    recipe = msgspec.structs.replace(plan.recipe, loss=loss)
    result, _ = told(msgspec.structs.replace(plan, recipe=recipe))
    assert result.epochs[0].test_errors > 50
