"""What torchvision does to an image, the mapped transforms do too."""

import functools
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as v1
from torchvision.transforms import v2

from grader.datasets.files import Bytes, load
from grader.plan.schema import (
    Affine,
    Channels,
    Choice,
    Erase,
    Pad,
    Resize,
    ToFloat,
    Transforms,
)
from grader.training.augment import augment
from grader.training.draw import Draw
from tests.boxed import boxed


def recorded(name: str, *args: Any, **options: Any) -> Any:
    """Record a call as the stand-in for albumentations does."""
    return boxed("recorded").Recorded(name, args, options)


def rarely() -> Callable[[Any], Any]:
    """Make a function that changes every tenth image."""
    calls = itertools.count(1)
    return lambda image: image if next(calls) % 10 else image.flip(-1)


# Each leaves nothing to chance, so that one image can be compared with another.
FIXED: dict[str, Callable[[Any], Any]] = {
    "rotation": lambda t: t.RandomRotation((20, 20)),
    "affine rotation": lambda t: t.RandomAffine((20, 20)),
    "negative affine rotation": lambda t: t.RandomAffine((-15, -15)),
    "scale": lambda t: t.RandomAffine(0, scale=(0.8, 0.8)),
    "shear x": lambda t: t.RandomAffine(0, shear=(12, 12)),
    "shear y": lambda t: t.RandomAffine(0, shear=(0, 0, 9, 9)),
    "fill": lambda t: t.RandomRotation((30, 30), fill=77),
    "centre crop": lambda t: t.CenterCrop(22),
    "pad": lambda t: t.Pad((1, 2, 3, 4), fill=9),
    "resize": lambda t: t.Resize((20, 24)),
    "flip": lambda t: t.RandomHorizontalFlip(1.0),
    "vertical flip": lambda t: t.RandomVerticalFlip(1.0),
    "brightness": lambda t: t.ColorJitter(brightness=(0.5, 0.5)),
    "one in a probability": lambda t: t.RandomApply([t.RandomRotation((20, 20))], p=1.0),
}


@functools.cache
def a_digit() -> Bytes:
    """Read one image of the training set, [28, 28]."""
    digit: Bytes = load().train_images[5]
    return digit


def mapped(transform: Any) -> tuple[Transforms, list[str]]:
    """Map a transform as the box does, and check it against the schema."""
    notes: list[str] = []
    json = boxed("transforms").transforms_json(transform, notes)
    return msgspec.convert(json, Transforms), notes


@pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("name", FIXED)
def test_mapped_transform_gives_torchvisions_pixels(library: Any, name: str) -> None:
    """Applied to the same digit, ours and torchvision's differ in almost no pixel."""
    digit = a_digit()
    transform = library.Compose([FIXED[name](library), v1.ToTensor()])
    expected = transform(Image.fromarray(digit))
    steps, notes = mapped(transform)
    batch = torch.from_numpy(np.array(digit))[None, None]
    ours = augment(batch, steps, Draw(torch.Generator().manual_seed(0), torch.device("cpu")))[0]

    assert notes == []
    assert ours.shape == expected.shape
    assert (ours - expected).abs().gt(1.5 / 255).float().mean() < 0.01


@pytest.mark.parametrize(
    ("transform", "reason"),
    [
        (v1.RandomPosterize(4), "no equivalent"),
        (v1.RandomRotation(5, expand=True), "without expansion"),
        (v1.Resize(20, max_size=24), "max_size"),
        (v1.Lambda(lambda x: x**2), "has no equivalent for it"),
        (v1.Lambda(lambda x: x + torch.randn(x.shape)), "has no equivalent for it"),
        (v1.Lambda(rarely()), "has no equivalent for it"),
        (v1.Lambda(lambda x: x.nothing), "AttributeError"),
        (recorded("GridDistortion"), "no equivalent"),
        (recorded("CoarseDropout", max_holes=8, min_holes=1), "one number and one size"),
        (recorded("Rotate", 5, interpolation=2), "nearest and bilinear"),
        (object(), "not one of torchvision's"),
        (v1.RandomOrder([v1.RandomRotation(5)] * 5), "of at most 4"),
        (v1.RandomApply([v1.RandomRotation(5), v1.RandomPosterize(4)]), "no equivalent"),
    ],
)
def test_what_cannot_be_mapped_is_named(transform: Any, reason: str) -> None:
    """A transform without an equal is left out, and a note says which and why."""
    steps, notes = mapped(transform)

    assert [type(step).__name__ for step in steps if not isinstance(step, Resize)] == ["ToFloat"]
    assert reason in notes[0]


@pytest.mark.parametrize(
    ("transform", "kept"),
    [
        (lambda image: image.resize((20, 24)), [Resize((24, 20))]),
        (v1.Resize((32, 32), v1.InterpolationMode.BICUBIC), [Resize((32, 32))]),
        (lambda image: v1.functional.pad(image, 2).convert("1"), [Pad((2, 2, 2, 2))]),
        (v1.RandomPosterize(4), []),
        (v1.RandomRotation(40, expand=True), []),
        (lambda image: image.nothing, []),
    ],
)
def test_what_cannot_be_mapped_still_makes_images_of_its_size(
    transform: Any, kept: Transforms
) -> None:
    """The network is given images of the size that its own data has."""
    steps, notes = mapped(v1.Compose([transform, v1.ToTensor()]))

    assert steps[:-1] == kept
    assert len(notes) == 1


CHOICES: dict[str, tuple[Any, list[tuple[float, str]]]] = {
    "of a crop": (v1.RandomApply([v1.CenterCrop(22)], p=0.25), [(0.25, "Crop"), (0.75, "")]),
    "of two": (
        v2.RandomApply([v2.CenterCrop(22), v2.Pad(3)], p=0.5), [(0.5, "Crop Pad"), (0.5, "")]
    ),
    "one of several": (
        v2.RandomChoice([v2.Resize(20), v2.Identity()], p=[3, 1]), [(0.75, "Resize"), (0.25, "")]
    ),
    "in any order": (
        v1.RandomOrder([v1.Pad(2), v1.CenterCrop(20)]), [(0.5, "Pad Crop"), (0.5, "Crop Pad")]
    ),
    "inside one another": (
        v1.RandomApply([v1.Pad(2), v1.RandomChoice([v1.Resize(9), v1.CenterCrop(9)])], p=0.5),
        [(0.25, "Pad Resize"), (0.25, "Pad Crop"), (0.5, "")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOICES)
def test_chance_becomes_branches_with_their_probabilities(name: str) -> None:
    """Whatever torchvision leaves to chance, each way through it is written out."""
    transform, expected = CHOICES[name]
    (choice, _), notes = mapped(transform)

    assert notes == []
    assert isinstance(choice, Choice)
    assert [
        (branch.p, " ".join(type(step).__name__ for step in branch.steps))
        for branch in choice.branches
    ] == expected


@pytest.mark.parametrize(
    ("function", "kinds"),
    [
        (lambda x: x, []),
        (lambda x: x.repeat(3, 1, 1), ["Channels"]),
        (torch.flatten, []),
        (lambda x: (x - 0.5) / 0.25, ["Normalize"]),
    ],
)
def test_a_function_that_repeats_or_scales_is_recognised(function: Any, kinds: list[str]) -> None:
    """What a Lambda does to an image is found out by trying."""
    steps, notes = mapped(v1.Compose([v1.ToTensor(), v1.Lambda(function)]))

    assert notes == []
    assert [type(step).__name__ for step in steps] == ["ToFloat", *kinds]


@pytest.mark.parametrize(
    ("counts", "kept"), [((3, 1), [3, 1]), ((1,), []), ((3, 3), [3]), ((1, 3), [3])]
)
def test_grey_images_may_have_colours_for_a_while(counts: tuple[int, ...], kept: list[int]) -> None:
    """Each `Grayscale` gives images its channels, and is left out if they have them."""
    steps, _ = mapped(v1.Compose([*(v1.Grayscale(count) for count in counts), v1.ToTensor()]))
    assert steps == [*(Channels(count) for count in kept), ToFloat()]


RECORDED: dict[str, tuple[list[Any], str]] = {
    "what everybody does": (
        [
            recorded("ShiftScaleRotate", shift_limit=0.1, scale_limit=0.2, rotate_limit=7, p=0.3),
            recorded("PadIfNeeded", min_height=32, min_width=34),
            recorded("RandomCrop", 28, 28),
            recorded("CoarseDropout", 1, 14, 7, 1, 14, 7, p=0.4),
            recorded("HorizontalFlip"),
            recorded("Normalize", mean=(0.1307,), std=(0.3081,)),
            recorded("ToTensorV2"),
        ],
        "Affine Pad Crop Erase Flip ToFloat Normalize",
    ),
    "old names": (
        [
            recorded("Rotate", (-7, 7), interpolation=0),
            recorded("Cutout", 2, 4, 4, 0),
            recorded("ToTensor", normalize={"mean": 0.5, "std": 0.5}),
        ],
        "Affine Erase Erase ToFloat Normalize",
    ),
    "new names": (
        [
            recorded("Affine", scale=(0.9, 1.1), translate_percent=0.1, rotate=(-5, 5)),
            recorded("CoarseDropout", num_holes_range=(1, 1), hole_height_range=(4, 4), fill=3),
            recorded("ColorJitter", 0.2, 0.2, p=1.0),
            recorded("Resize", 32, 32),
            recorded("ToFloat", max_value=255),
        ],
        "Affine Erase Jitter Resize ToFloat",
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_transforms_of_a_package_that_is_not_installed_are_mapped(name: str) -> None:
    """Calls of albumentations are recorded by a stand-in, and become what they describe."""
    calls, kinds = RECORDED[name]
    steps, notes = mapped(recorded("Compose", calls))

    assert notes == []
    assert [type(step).__name__ for step in steps] == kinds.split()


def test_shifts_scales_and_holes_keep_their_sizes() -> None:
    """Limits become ranges around one, lengths of holes become shares of the image."""
    calls = RECORDED["what everybody does"][0]
    affine, pad, _, hole, *_ = mapped(recorded("Compose", calls))[0]

    assert affine == Affine((-7, 7), (0.1, 0.1), (0.8, 1.2), interpolation="bilinear", p=0.3)
    assert pad == Pad((3, 2, 3, 2))
    assert hole == Erase(0.4, (0.125, 0.125), (2, 2), 0)


def test_a_function_that_only_calls_a_transform_is_looked_through() -> None:
    """The package wants to be called by keyword, so that people wrap it."""
    augment = recorded("Compose", [recorded("Rotate", 7)])
    steps, _ = mapped(lambda image: augment(image=np.array(image))["image"])

    assert [type(step).__name__ for step in steps] == ["Affine", "ToFloat"]


def test_a_list_and_nested_composes_are_flattened() -> None:
    """Composes inside composes keep the order of their steps."""
    inner = v1.Compose([v1.ToTensor(), v1.Normalize((0.1307,), (0.3081,))])
    steps, _ = mapped(v1.Compose([v1.RandomCrop(28, padding=2), inner]))

    assert [type(step).__name__ for step in steps] == ["Crop", "ToFloat", "Normalize"]


def test_the_list_of_supported_transforms_is_true() -> None:
    """docs/supported.md names exactly what is mapped, of either package."""
    text = (Path(__file__).parent.parent / "docs" / "supported.md").read_text(encoding="utf-8")
    section = text.partition("## Transforms")[2].partition("\n## ")[0]
    torchvision, _, albumentations = section.partition("Of albumentations")
    named = set(re.findall(r"`(\w+)`", torchvision)) - {"Compose", "Sequential"}

    assert named == set(boxed("transforms").MAPPERS)
    assert set(re.findall(r"`(\w+)`", albumentations)) == set(boxed("albumentation").MAPPERS)


def test_what_is_mapped_exists() -> None:
    """Every name in the table is one of torchvision's, in its first version or its second."""
    names = {*vars(v1), *vars(v2), "Identity"}

    assert set(boxed("transforms").MAPPERS) - names <= {"SanitizeKeyPoints", "ClampKeyPoints"}
