"""What a submission leaves open comes from the default recipe, and says so."""

import msgspec
import pytest

from grader.plan import assemble
from grader.plan.schema import (
    Affine,
    Channels,
    Description,
    Exponential,
    Fact,
    Graph,
    Group,
    Model,
    Node,
    Normalize,
    Optimizer,
    Pad,
    Ref,
    Resize,
    Schedule,
    ToFloat,
    Transforms,
)  # fmt: skip


def model(*shape: int) -> Model:
    """Make a model that returns its input."""
    node = Node("y", "aten.relu.default", [Ref("x")], {}, ["B", 10], "torch.float32")
    graph = Graph(["x"], [node], "y")
    return Model("Net", "net.py, line 1", list(shape or (1, 28, 28)), [], graph, graph)


def test_a_bare_model_gets_the_whole_default_recipe() -> None:
    """Without a recipe of its own, a model is trained with the defaults, each named as such."""
    plan = assemble.assemble(Description(model()), 19)
    defaults = {fact.about for fact in plan.provenance if "default" in fact.where}

    assert (plan.recipe.epochs, plan.recipe.batch_size) == (assemble.EPOCHS, assemble.BATCH_SIZE)
    assert defaults == {
        "epochs", "batch_size", "optimizer", "scheduler", "train_transform", "test_transform",
        "loss",
    }  # fmt: skip


def test_default_schedule_rises_to_its_peak_and_falls_to_almost_nothing() -> None:
    """The default learning rate has one value a step, its peak a quarter of the way in."""
    rates = assemble.assemble(Description(model()), 19).recipe.schedule.lr[0]

    assert len(rates) == assemble.EPOCHS * 469
    assert max(rates) == assemble.PEAK
    assert rates.index(max(rates)) == pytest.approx(len(rates) / 4, abs=2)
    assert 0 < rates[-1] < assemble.PEAK / 1000


def test_what_the_submission_says_wins_and_keeps_its_place() -> None:
    """Epochs of the submission's own are used, with the place they stand."""
    fact = Fact("epochs", "7", "cell 3, line 1")
    plan = assemble.assemble(Description(model(), epochs=7, provenance=[fact]), 19)

    assert plan.recipe.epochs == 7
    assert fact in plan.provenance
    assert sum(f.about == "epochs" for f in plan.provenance) == 1


def test_averaging_and_plain_epochs_are_off_unless_asked_for() -> None:
    """They are taken over as they are, and a plan without them does not mention them."""
    asked = Description(model(), plain_epochs=2, averaging=Exponential(0.9))
    recipe = assemble.assemble(asked, 19).recipe
    assert (recipe.plain_epochs, recipe.averaging) == (2, Exponential(0.9))

    written = msgspec.json.encode(assemble.assemble(Description(model()), 19).recipe)
    assert b"plain_epochs" not in written
    assert b"averaging" not in written


def test_testing_uses_what_is_not_random_in_the_training_transform() -> None:
    """Without a test transform, images are tested as they are trained, less the augmentation."""
    normalise = Normalize([0.5], [0.5])
    train: Transforms = [Affine(degrees=(-5.0, 5.0)), ToFloat(), normalise]
    plan = assemble.assemble(Description(model(), train_transform=train), 19)

    assert plan.recipe.test_transform == [ToFloat(), normalise]


def test_an_empty_transform_is_one() -> None:
    """Who says that images reach the network as they are gets no augmentation of the grader's."""
    plan = assemble.assemble(Description(model(), train_transform=[]), 19)

    assert plan.recipe.train_transform == plan.recipe.test_transform == []


def test_other_image_shapes_get_images_of_that_shape() -> None:
    """A network for 3×32×32 images gets the digits padded and repeated by default."""
    steps = assemble.assemble(Description(model(3, 32, 32)), 19).recipe.test_transform

    assert steps[:2] == [Channels(3), Pad((2, 2, 2, 2))]


@pytest.mark.parametrize("side", [14, 29, 256])
def test_images_that_no_even_border_makes_are_scaled(side: int) -> None:
    """A network for images smaller than a digit, or larger by an odd number, gets them resized."""
    steps = assemble.assemble(Description(model(1, side, side)), 19).recipe.test_transform

    assert steps[0] == Resize((side, side))


@pytest.mark.parametrize(("drop_last", "steps"), [(False, 469), (True, 468)])
def test_the_last_partial_batch_counts_unless_dropped(drop_last: bool, steps: int) -> None:
    """60,000 images are 469 batches of 128, the last of them of 96."""
    assert assemble.steps_per_epoch(128, 60_000, drop_last=drop_last) == steps


def test_an_optimiser_without_a_scheduler_keeps_its_rate() -> None:
    """A submission with an optimiser of its own and no scheduler is not given ours."""
    sgd = Optimizer("SGD", [Group([], {"lr": 0.01})])
    found = Description(model(), optimizer=sgd, schedule=Schedule([[0.01]]))
    plan = assemble.assemble(found, 19)
    fact = next(f for f in plan.provenance if f.about == "scheduler")

    assert plan.recipe.schedule.lr == [[0.01]]
    assert "stays constant" in fact.value


def test_the_default_recipe_keeps_to_a_shorter_budget() -> None:
    """Where fewer epochs are allowed than the default has, a file of a model alone gets those."""
    plan = assemble.assemble(Description(model()), 9)

    assert plan.recipe.epochs == assemble.request_defaults(9)["epochs"] == 9


def test_a_recipe_longer_than_the_budget_is_written_no_further() -> None:
    """A million epochs do not make a schedule of half a billion steps, and are valid."""
    plan = assemble.assemble(Description(model(), epochs=10**6), 19)

    assert len(plan.recipe.schedule.lr[0]) == 19 * 469
