"""Sizes of images that transforms make, and what is left of transforms without chance."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from grader.errors import SubmissionError
from grader.plan.assemble import assemble
from grader.plan.images import (
    Format,
    formats_after,
    is_random,
    shape_after,
    validate_images,
    without_chance,
)
from grader.plan.schema import (
    Affine,
    Blur,
    Branch,
    Channels,
    Choice,
    Crop,
    Description,
    Erase,
    Flip,
    Jitter,
    Normalize,
    Pad,
    Perspective,
    Plan,
    Resize,
    ResizedCrop,
    Step,
    ToFloat,
    Transform,
)
from tests.test_plan_assemble import model


def maybe(*steps: Step, p: float = 0.5) -> Choice:
    """Make a `RandomApply`."""
    return Choice([Branch(p, [*steps]), Branch(1 - p, [])])


def plan(train: list[Transform], test: list[Transform] | None = None) -> Plan:
    """Make a plan whose network takes digits as they are."""
    return assemble(Description(model(), train_transform=train, test_transform=test), 19)


def test_images_of_several_sizes_are_followed_through_every_branch() -> None:
    """Each size that may occur is known, and sizes that become equal again are one."""
    steps: list[Transform] = [maybe(Crop((22, 22), random=False)), Pad((1, 1, 1, 1))]

    assert formats_after(steps, Format(1, 28, 28)) == {Format(1, 24, 24), Format(1, 30, 30)}
    assert formats_after([*steps, Resize((28,)), ToFloat()], Format(1, 28, 28)) == {
        Format(1, 28, 28, True)
    }


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([maybe(Crop((22, 22), random=False))], "different sizes"),
        ([maybe(Resize((20, 20))), Crop((24, 24))], "at least 24×24"),
        ([Crop((40, 40))], "at least 40×40"),
        ([ToFloat(), Normalize([0.5] * 3, [0.5] * 3)], "3 channels"),
        ([Channels(3), Channels(2)], "2 channels"),
        ([Channels(2), Channels(1)], "1 channels"),
        ([Pad((200, 200, 200, 200)), Pad((200, 200, 200, 200))], "at most 512"),
        ([Resize((4, 4)), Blur((9, 9))], "larger than 4×4"),
        ([Choice([Branch(0.0, [])])], "sum to 1"),
    ],
)
def test_what_no_training_could_do_is_refused(steps: list[Transform], words: str) -> None:
    """The error says which transform meets which images, or that no batch can be made."""
    with pytest.raises(SubmissionError) as caught:
        shape_after(plan(steps), "train_transform")

    assert words in str(caught.value)
    assert "train_transform" in caught.value.where


def test_a_network_of_another_size_than_its_images_is_refused() -> None:
    """Training and testing images must both have the shape that the network takes."""
    validate_images(plan([Pad((2, 2, 2, 2)), Crop((28, 28)), ToFloat()]))
    for wrong in (plan([Resize((32, 32))]), plan([ToFloat()], [Resize((32, 32))])):
        with pytest.raises(SubmissionError, match="does not take the images") as caught:
            validate_images(wrong)
        assert caught.value.found == "1×32×32"


RANDOM: list[tuple[Transform, list[Transform]]] = [
    (Affine((-5.0, 5.0)), []),
    (Affine(translate=(0.1, 0.0)), []),
    (Affine((90.0, 90.0), p=0.5), []),
    (Flip("vertical", 0.5), []),
    (Perspective(), []),
    (Erase(0.1), []),
    (Blur((3, 3)), []),
    (Jitter((0.5, 0.5), (0.5, 0.5)), []),
    (Crop((28, 28), (4, 4, 4, 4)), [Crop((28, 28), (4, 4, 4, 4), random=False)]),
    (ResizedCrop((20, 24)), [Resize((20, 24))]),
    (maybe(Crop((22, 22), random=False)), []),
    (maybe(Pad((2, 2, 2, 2)), Affine((-5.0, 5.0)), p=0.7), [Pad((2, 2, 2, 2))]),
]


@pytest.mark.parametrize(("step", "left"), RANDOM)
def test_testing_is_never_random(step: Transform, left: list[Transform]) -> None:
    """Of a random test transform only what chance does not decide is left, and a note says so."""
    assembled = plan([ToFloat()], [step, ToFloat()])

    assert is_random(step)
    assert assembled.recipe.test_transform == [*left, ToFloat()]
    assert "never random" in " ".join(assembled.notes)


@pytest.mark.parametrize(
    "step",
    [
        Affine((90.0, 90.0)), Affine((-5.0, 5.0), p=0.0), Flip("vertical", 1.0), Jitter((0.5, 0.5)),
        Blur((3, 3), (1.0, 1.0)), Crop((20, 20), random=False), Resize((20, 20)),
        Perspective(0.0, p=1.0), Choice([Branch(1.0, [Pad((1, 1, 1, 1))])]),
    ],
)  # fmt: skip
def test_what_does_the_same_to_every_image_is_kept_in_testing(step: Transform) -> None:
    """A fixed rotation is as good a preparation as a fixed size."""
    assert not is_random(step)
    assert without_chance([step]) == [step]


def test_a_plan_that_tests_at_random_is_refused() -> None:
    """However it came about, such a plan is not trained."""
    good = plan([ToFloat()])
    changes: dict[str, Any] = {"test_transform": [Flip("vertical"), ToFloat()]}
    bad = msgspec.structs.replace(good, recipe=msgspec.structs.replace(good.recipe, **changes))

    with pytest.raises(SubmissionError, match="testing is random"):
        validate_images(bad)
