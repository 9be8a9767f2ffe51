"""What acts is told from what only stands on the path, and no honest network is doubted."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grader.measure import facts as measuring
from grader.measure.facts import measure
from grader.plan import schema
from grader.plan.drawing import IDLE as IDLE_RESULT
from grader.plan.findings import Facts
from grader.plan.schema import Group, Model, Optimizer, Plan, Ref, Schedule
from tests import making
from tests.capturing import Net, conv, digits, facts, facts_of_model, model_of, recipe_of
from tests.networks import NETWORKS

pytestmark = pytest.mark.slow


def end(x: Tensor) -> Tensor:
    """Average the map: ten channels are ten scores."""
    return x.mean((2, 3))


def small(outputs: int = 10, **options: Any) -> nn.Conv2d:
    """Return a convolution that leaves a small map, so that tests are fast."""
    return conv(1, outputs, 3, stride=4, **options)


def zeroed(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """Make a norm whose result is zero until it is trained."""
    nn.init.zeros_(norm.weight)
    return norm


def tiny(layer: nn.Conv2d) -> nn.Conv2d:
    """Give a convolution weights that are next to nothing."""
    nn.init.normal_(layer.weight, std=1e-9)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type] # it has one
    return layer


def dying(layer: nn.Conv2d) -> nn.Conv2d:
    """Give a convolution a bias that keeps every ReLU behind it shut."""
    nn.init.constant_(layer.bias, -20.0)  # type: ignore[arg-type] # it has one
    return layer


def zeroed_head() -> nn.Linear:
    """Return a classifier that gives every image zeros until it is trained."""
    head = nn.Linear(10, 10)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def plus(x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
    """Add a branch to a map, and average."""
    return end(x + branch(x))


def squeeze_excite(m: Any, x: Tensor) -> Tensor:
    """Scale the channels by what is known of the whole map."""
    x = m.bn(m.conv(x))
    return end(x * m.gate(x.mean((2, 3)))[:, :, None, None])


def attention(m: Any, x: Tensor) -> Tensor:
    """Patches that look at each other, with dropout on the weights."""
    x = m.bn(m.conv(x)).flatten(2).transpose(1, 2)
    weights = F.dropout(torch.softmax(x @ x.transpose(1, 2), -1), 0.1, m.training)
    return (x + weights @ x).mean(1)


def twice(m: Any, x: Tensor) -> Tensor:
    """One norm called twice; what the second call gives is dropped."""
    x = m.conv(x)
    m.bn(x + 1)
    return end(m.bn(x))


def drop_path(m: Any, x: Tensor) -> Tensor:
    """Leave a whole branch out for some images."""
    x = m.bn(m.conv(x))
    if m.training:
        return end(x + m.again(x) * (torch.rand(x.shape[0], 1, 1, 1) < 0.9) / 0.9)
    return end(x + m.again(x))


def norm() -> nn.BatchNorm2d:
    """Return a norm of ten channels."""
    return nn.BatchNorm2d(10)


def same() -> nn.Conv2d:
    """Return a convolution of ten channels that keeps the map's size."""
    return conv(10, 10, 3, padding=1)


HONEST: dict[str, Callable[[], nn.Module]] = {
    "residual branch that begins as zero": lambda: Net(
        lambda m, x: plus(m.conv(x), lambda y: m.bn(m.again(y))),
        conv=small(), again=same(), bn=zeroed(norm()),
    ),
    "layer scale of 1e-6": lambda: Net(
        lambda m, x: plus(m.conv(x), lambda y: m.scale * m.bn(m.again(y))),
        conv=small(), again=same(), bn=norm(), scale=nn.Parameter(torch.full((10, 1, 1), 1e-6)),
    ),
    "gate that begins shut": lambda: Net(
        lambda m, x: plus(m.conv(x), lambda y: m.gate * F.dropout(m.bn(y), 0.1, m.training)),
        conv=small(), bn=norm(), gate=nn.Parameter(torch.zeros(())),
    ),
    "squeeze and excite": lambda: Net(
        squeeze_excite,
        conv=small(), bn=norm(), gate=nn.Sequential(nn.Linear(10, 2), nn.ReLU(), nn.Linear(2, 10),
                                                    nn.Dropout(0.1), nn.Sigmoid()),
    ),
    "attention": lambda: Net(attention, conv=small(), bn=norm()),
    "dropout that drops one in ten thousand": lambda: Net(
        lambda m, x: end(m.drop(m.conv(x))), conv=small(), drop=nn.Dropout(1e-4)
    ),
    "dropout of channels": lambda: Net(
        lambda m, x: end(m.drop(m.conv(x))), conv=small(), drop=nn.Dropout2d(0.02)
    ),
    "dropout in place": lambda: Net(
        lambda m, x: end(m.drop(m.bn(m.conv(x)))),
        conv=small(), bn=norm(), drop=nn.Dropout(0.05, inplace=True),
    ),
    "dropout of scores": lambda: Net(
        lambda m, x: m.drop(end(m.conv(x))).log_softmax(1), conv=small(), drop=nn.Dropout(0.1)
    ),
    "dropped paths": lambda: Net(drop_path, conv=small(), bn=norm(), again=same()),
    "norm before a maximum": lambda: Net(
        lambda m, x: end(F.max_pool2d(m.bn(m.conv(x)), 3)), conv=small(), bn=norm()
    ),
    "norm of scores": lambda: Net(
        lambda m, x: m.bn(end(m.conv(x))), conv=small(), bn=nn.BatchNorm1d(10, affine=False)
    ),
    "norm of a norm": lambda: Net(
        lambda m, x: end(m.again(m.bn(m.conv(x))) ** 2), conv=small(), bn=norm(), again=norm()
    ),
    "norm without scale before layer norm": lambda: Net(
        lambda m, x: F.layer_norm(end(m.bn(m.conv(x)) ** 2), (10,)),
        conv=small(), bn=nn.BatchNorm2d(10, affine=False),
    ),
    "pooling before a classifier": lambda: Net(
        lambda m, x: m.head(F.adaptive_avg_pool2d(m.conv(x), 1).flatten(1)),
        conv=small(), head=nn.Linear(10, 10),
    ),
    "pooling by windows": lambda: Net(
        lambda m, x: F.avg_pool2d(m.conv(x), 7).flatten(1), conv=small()
    ),
    "classifier of zeros": lambda: Net(
        lambda m, x: m.head(end(m.drop(m.bn(m.conv(x))))),
        conv=small(), bn=norm(), drop=nn.Dropout(0.1), head=zeroed_head(),
    ),
    "one norm, called twice, one call dropped": lambda: Net(twice, conv=small(), bn=norm()),
    "saturated ReLU6": lambda: Net(
        lambda m, x: end(F.relu6(m.bn(m.conv(x)) * 30)), conv=small(), bn=norm()
    ),
    "saturated hardswish": lambda: Net(
        lambda m, x: end(F.hardswish(10 * m.bn(m.conv(x)) - 30)), conv=small(), bn=norm()
    ),
    "saturated softmax": lambda: Net(
        lambda m, x: (300 * end(m.drop(m.bn(m.conv(x))))).softmax(1),
        conv=small(), bn=norm(), drop=nn.Dropout(0.1),
    ),
    "weights that begin at 1e-9": lambda: Net(
        lambda m, x: end(m.drop(m.bn(m.conv(x)))), conv=tiny(small()), bn=norm(),
        drop=nn.Dropout(0.1),
    ),
    "dead ReLUs": lambda: Net(
        lambda m, x: end(F.relu(m.last(m.bn(m.conv(x))))), conv=small(), bn=norm(),
        last=dying(same()),
    ),
    "PReLU that begins at zero": lambda: Net(
        lambda m, x: end(m.act(-m.bn(m.conv(x)).abs())), conv=small(), bn=norm(),
        act=nn.PReLU(10, init=0.0),
    ),
    "a map of one pixel": lambda: Net(
        lambda m, x: m.head(m.drop(m.bn(m.conv(x)))).flatten(1), conv=conv(1, 10, 28), bn=norm(),
        drop=nn.Dropout(0.1), head=conv(10, 10, 1),
    ),
    "clamped": lambda: Net(
        lambda m, x: end(m.bn(m.conv(x)).clamp(-1, 1)), conv=small(), bn=norm()
    ),
    "steps with a straight-through gradient": lambda: Net(
        lambda m, x: plus(m.bn(m.conv(x)), lambda y: (y.sign() - y).detach()),
        conv=small(), bn=norm(),
    ),
    "half precision inside": lambda: Net(
        lambda m, x: end(m.bn(m.conv(x)).to(torch.bfloat16).float()), conv=small(), bn=norm()
    ),
    "numbers made in forward": lambda: Net(
        lambda m, x: end(m.bn(m.conv(x)) * torch.linspace(0.5, 1, 7) + torch.ones(7)),
        conv=small(), bn=norm(),
    ),
    **NETWORKS,
}  # fmt: skip


LISTED = ("batch_norm", "dropout", "global_average_pooling")


def counted(found: Facts) -> list[int]:
    """Return how many norms, dropouts and averages count."""
    return [sum(each.counts for each in getattr(found, kind)) for kind in LISTED]


@pytest.mark.parametrize("name", HONEST)
def test_honest_network_is_not_doubted(name: str) -> None:
    """What it has acts, results are as stated, and images are judged apart."""
    found = facts(HONEST[name]())
    idle = [f for f in (*found.batch_norm, *found.dropout) if not f.counts and f.what != "norm"]

    assert (found.contradictions, found.difference, found.mixing) == ([], [], [])
    assert [f for f in idle if f.why == IDLE_RESULT] == []


# What a map and its batch norm are made into; a graph alone shows of none that the norm is idle.
IDLE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "a mask that is always on": lambda x, y: x * (y > -1e30),
    "a mask that is always on, with a bound in reach of no norm": lambda x, y: x * (y.abs() < 1e4),
    "a choice that is always the other": lambda x, y: torch.where(y < -1e9, y, x),
    "scaled to almost nothing": lambda x, y: x * (1 + y * 1e-6),
    "taken away by another expression": lambda x, y: x + y * y - y.square().relu(),
    "large, added and taken away": lambda x, y: (x + 3e3 * y) - 3e3 * (y.relu() - (-y).relu()),
    "rounded away in float32 alone": lambda x, y: (
        x + (torch.hypot(y / 100, torch.full_like(y, 1e3)) - 1e3) * 1e8
    ),
    "squeezed to a point": lambda x, y: x + y.clamp(-1e-9, 1e-9),
    "rounded away": lambda x, y: x + (y * 1e-2).round(),
    "its sign and its size": lambda x, y: x + (y - y.sign() * y.abs()),
    "a softmax over one": lambda x, y: x * y.unsqueeze(-1).softmax(-1).squeeze(-1),
}


@pytest.mark.parametrize("name", IDLE)
def test_norm_that_changes_nothing_does_not_count(name: str) -> None:
    """A batch norm that the scores do not depend on is found out; what stands beside it counts."""
    use = IDLE[name]

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.conv(x)
        return end(m.drop(use(x, m.bn(x))))

    found = facts(Net(forward, conv=small(), bn=norm(), drop=nn.Dropout(0.1)))

    assert counted(found) == [0, 1, 1]


DROPPED: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "a mask that dropout cannot turn off": lambda m, x: x * (m.drop(x.abs()) > -1e-3),
    "scaled to almost nothing": lambda m, x: x * (1 + 1e-6 * m.drop(x)),
    "added and taken away": lambda m, x: (y := m.drop(x), x + y * y - y.square().relu())[1],
}


@pytest.mark.parametrize("name", DROPPED)
def test_dropout_that_changes_nothing_does_not_count(name: str) -> None:
    """A dropout whose dropping cannot reach the scores is found out."""
    use = DROPPED[name]
    module = Net(
        lambda m, x: m.last(end(use(m, m.conv(x)))),
        conv=small(),
        drop=nn.Dropout(0.3),
        last=nn.Dropout(0.1),
    )

    assert [found.counts for found in facts(module).dropout] == [False, True]


def test_norm_of_what_hardly_varies_does_not_count() -> None:
    """A batch norm whose eps outweighs the variance scales by a fixed number, whatever comes."""
    (found,) = facts(Net(lambda m, x: end(m.bn(m.conv(x) * 1e-6)), conv=small(), bn=norm())
                     ).batch_norm  # fmt: skip

    assert not found.counts
    assert "eps" in found.why


def test_pooling_that_changes_nothing_does_not_count() -> None:
    """A global average that only decides what is always so is found out."""

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.conv(x)
        return m.head(x.flatten(1)) * (x.mean((2, 3)) > -1e30)  # type: ignore[no-any-return]

    assert counted(facts(Net(forward, conv=small(), head=nn.Linear(490, 10)))) == [0, 0, 0]


def gated(gate: Callable[[Tensor], Tensor]) -> Model:
    """Return a network whose norm stands behind a gate of zero."""
    return model_of(
        Net(
            lambda m, x: plus(m.conv(x), lambda y: gate(m.gate) * m.bn(y)),
            conv=small(), bn=norm(), gate=nn.Parameter(torch.zeros(())),
        )
    )  # fmt: skip


def test_gate_that_no_gradient_opens_is_shut() -> None:
    """A gate of zero that is cut off from the gradient stays at zero, and so the norm is idle."""
    for gate in (lambda gate: gate.detach(), lambda gate: gate.detach() + 0 * gate):
        assert counted(facts_of_model(gated(gate)))[0] == 0


def test_gate_that_the_optimizer_does_not_get_is_shut() -> None:
    """A gate of zero that the recipe does not teach stays at zero, and so the norm is idle."""
    model = gated(lambda gate: gate)
    recipe = recipe_of(model)
    names = [name for name in recipe.optimizer.groups[0].parameters if name != "gate"]
    taught = msgspec.structs.replace(recipe, optimizer=Optimizer("SGD", [Group(names, {})]))

    assert counted(facts_of_model(model))[0] == 1
    assert counted(measure(Plan(model, taught, []), digits()))[0] == 0


def test_gate_without_learning_rate_is_shut() -> None:
    """Tensors whose learning rate is zero in every step do not change."""
    model = gated(lambda gate: gate)
    recipe = recipe_of(model)
    names = [name for name in recipe.optimizer.groups[0].parameters if name != "gate"]
    groups = [Group(names, {}), Group(["gate"], {})]
    still, moving = (
        msgspec.structs.replace(
            recipe, optimizer=Optimizer("SGD", groups), schedule=Schedule([[0.1], rates])
        )
        for rates in ([0.0, 0.0], [0.0, 0.2])
    )

    assert counted(measure(Plan(model, still, []), digits()))[0] == 0
    assert counted(measure(Plan(model, moving, []), digits()))[0] == 1


def forged(model: Model, op: str, **changes: Any) -> Model:
    """Change what a training graph states of its first node of an operation."""
    nodes = list(model.train.nodes)
    index = next(i for i, node in enumerate(nodes) if node.op.split(".")[1] == op)
    nodes[index] = msgspec.structs.replace(nodes[index], **changes)
    return msgspec.structs.replace(model, train=msgspec.structs.replace(model.train, nodes=nodes))


@pytest.mark.parametrize(
    ("changes", "stated"),
    [
        ({"shape": ["B", 10, 7, 7]}, "B×10×7×7 float32"),
        ({"shape": [8, 10, 1, 1]}, "8×10×1×1 float32"),
        ({"shape": [12, 10, 1, 1]}, "12×10×1×1 float32"),
        ({"shape": ["B + 1", 10, 1, 1]}, "B + 1×10×1×1 float32"),
        ({"shape": ["B", "B", 1, 1]}, "B×B×1×1 float32"),
        ({"shape": ["B", 10]}, "B×10 float32"),
        ({"shape": None}, "no tensor"),
        ({"dtype": "torch.float64"}, "B×10×1×1 float64"),
    ],
    ids=str,
)
def test_forged_shape_is_found(changes: dict[str, Any], stated: str) -> None:
    """A result whose shape or type is not as stated is named, with both."""
    model = model_of(Net(lambda m, x: end(m.conv(x)), conv=conv(1, 10, 28)))
    (found,) = facts_of_model(forged(model, "conv2d", **changes)).contradictions

    assert found.startswith(("node conv2d gives 8×10×1×1 float32", "node conv2d gives 12×10×1×1"))
    assert found.endswith(f"where the description says {stated}")


def test_formulas_of_the_batch_size_are_understood() -> None:
    """Shapes that multiply and divide the batch size agree with what comes out."""

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.conv(x).permute(0, 2, 3, 1).reshape(-1, 10)
        return m.head(x).view(-1, 49, 10).mean(1)  # type: ignore[no-any-return]

    model = model_of(Net(forward, conv=small(), head=nn.Linear(10, 10)))
    formulas = {dim for node in model.train.nodes for dim in node.shape or () if dim != "B"}

    assert any(isinstance(dim, str) for dim in formulas)
    assert facts_of_model(model).contradictions == []


MIXING: dict[str, Callable[[Tensor], Tensor]] = {
    "mean of the batch": lambda x: x - x.mean(0),
    "size of the batch": lambda x: x / x.shape[0],
    "place in the batch": lambda x: x + torch.cumsum(torch.ones_like(x), 0),
    "the image before": lambda x: x + x.roll(1, 0),
}


@pytest.mark.parametrize("name", MIXING)
def test_images_that_affect_each_other_are_found(name: str) -> None:
    """Scores that change with batch mates, order or size of a batch are not independent."""
    use = MIXING[name]

    assert facts(Net(lambda m, x: use(end(m.conv(x))), conv=small())).mixing


def test_random_numbers_in_evaluation_are_no_mixing() -> None:
    """Dropout that is left on changes scores from run to run, but not by other images."""
    found = facts(Net(lambda m, x: F.dropout(end(m.conv(x))), conv=small()))

    assert found.mixing == []
    assert not found.same_network


def test_network_that_cannot_be_run_is_reported() -> None:
    """A graph that fails gives the operation's own words instead of an exception."""
    model = model_of(Net(lambda m, x: end(m.conv(x)), conv=small()))
    (found,) = facts_of_model(
        forged(model, "conv2d", args=[Ref("x"), Ref("conv.bias")])
    ).contradictions

    assert "cannot be run" in found
    assert "conv2d" in found


def test_measuring_leaves_random_numbers_precision_and_threads_alone() -> None:
    """Whoever measures in the process of something else does not change it."""
    model = model_of(Net(lambda m, x: end(m.drop(m.conv(x))), conv=small(), drop=nn.Dropout(0.1)))
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    facts_of_model(model)

    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert torch.get_default_dtype() == torch.float32


ALIKE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "raised": lambda scores, one: scores + one,
    "raised before a softmax": lambda scores, one: (scores + one).log_softmax(1),
    "scaled": lambda scores, one: scores * (1 + one.sigmoid()),
    "raised and scaled": lambda scores, one: scores * one.exp() - one,
}


def three(use: Callable[[Tensor, Tensor], Tensor]) -> Net:
    """Return a network whose norm, dropout and average make but one number of each image."""
    return Net(
        lambda m, x: use(
            m.head((y := m.conv(x)).flatten(1)), m.drop(m.norm(y)).mean((2, 3)).sum(1, keepdim=True)
        ),
        conv=conv(stride=4), norm=nn.BatchNorm2d(10), drop=nn.Dropout(0.3),
        head=nn.Linear(490, 10),
    )  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
def test_what_moves_all_scores_alike_does_not_act(name: str) -> None:
    """Layers that raise or scale an image's scores together decide nothing, and are found out."""
    assert counted(facts(three(ALIKE[name]))) == [0, 0, 0]


def test_what_moves_one_score_against_the_others_acts() -> None:
    """The same layers act where their number goes to one class alone."""
    found = facts(three(lambda scores, one: scores + one * torch.eye(10)[:1]))

    assert counted(found) == [1, 1, 1]


def on_paper(m: Any, x: Tensor) -> Tensor:
    """Normalise and drop only in images without paper, and so in no digit."""
    y = m.conv(x)
    paper = (x == x.amin((1, 2, 3), True)).float().mean((1, 2, 3))[:, None] > 0.1
    return torch.where(paper, m.head(y.flatten(1)), m.drop(m.norm(y)).mean((2, 3)))


def test_layers_that_tell_digits_from_noise_do_not_act() -> None:
    """What acts on other images alone is found out, for those that are measured are digits."""
    parts = {"conv": conv(stride=4), "norm": nn.BatchNorm2d(10), "drop": nn.Dropout(0.3)}

    assert counted(facts(Net(on_paper, **parts, head=nn.Linear(490, 10)))) == [0, 0, 0]


def test_layers_that_rest_after_the_first_steps_do_not_act() -> None:
    """A norm that is left out once the counter of steps is large is found out."""

    def forward(m: Any, x: Tensor) -> Tensor:
        early = m.norm.num_batches_tracked < 500
        x = m.conv(x)
        return torch.where(early, m.norm(x), x).mean((2, 3))

    assert counted(facts(Net(forward, conv=conv(stride=4), norm=nn.BatchNorm2d(10)))) == [0, 0, 1]


def by_size(m: Any, x: Tensor) -> Tensor:
    """Normalise, drop and average in small batches alone."""
    gate = (x.new_ones(x.shape[0]).sum() < 64).float()
    x = m.conv(x)
    x = x + gate * (m.drop(m.norm(x)) - x)
    return m.head(x.flatten(1)) + gate * x.mean((2, 3))  # type: ignore[no-any-return]


def test_layers_that_act_in_small_batches_alone_do_not_act() -> None:
    """They are measured in batches of the recipe's own size too, and evaluation is seen to mix."""
    parts = {"conv": conv(stride=4), "norm": nn.BatchNorm2d(10), "drop": nn.Dropout(0.3)}
    model = model_of(Net(by_size, **parts, head=nn.Linear(490, 10)))

    assert counted(facts_of_model(model, batch=32)) == [1, 1, 1]
    assert counted(facts_of_model(model, batch=128)) == [0, 0, 0]
    assert facts_of_model(model, batch=128).mixing


def test_pictures_that_do_not_fit_are_replaced() -> None:
    """Where the transforms do not fit the network, it is measured all the same."""
    model = model_of(Net(lambda m, x: end(m.conv(x)), conv=small()))
    recipe = msgspec.structs.replace(
        recipe_of(model), test_transform=[schema.Resize((14, 14)), schema.ToFloat()]
    )

    assert counted(measure(Plan(model, recipe, []), digits())) == [0, 0, 1]


def test_the_seed_is_told_and_gives_the_same_facts_again() -> None:
    """What was measured can be measured once more, number for number."""
    model = model_of(Net(lambda m, x: end(m.bn(m.conv(x))), conv=small(), bn=norm()))
    plan = Plan(model, recipe_of(model), [])
    found, other = measure(plan, digits()), measure(plan, digits())

    assert measure(plan, digits(), found.seed) == found
    assert other.seed != found.seed


@pytest.mark.parametrize(
    ("draws", "counts", "made"),
    [([True], True, 1), ([False, True, True], True, 3), ([False, False], False, 2)],
)
def test_nobody_fails_by_one_draw(
    draws: list[bool], counts: bool, made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What speaks against a network is measured again, and what two say counts."""
    told = iter(draws)
    seeds: list[int] = []

    def once(plan: Plan, images: object, seed: int, samples: int) -> Facts:
        seeds.append(seed)
        return making.facts(dropout=[making.finding(next(told))])

    monkeypatch.setattr(measuring, "measure_once", once)
    plan = Plan(model_of(Net(lambda m, x: end(m.conv(x)), conv=small())), recipe_of, [])  # type: ignore[arg-type] # not read
    found = measure(plan, digits())

    assert [each.counts for each in found.dropout] == [counts]
    assert len(seeds) == len({*seeds}) == made
