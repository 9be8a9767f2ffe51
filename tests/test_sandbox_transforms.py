"""What torchvision does to an image, the mapped transforms do too."""

import functools
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as v1
from torchvision.transforms import v2

from grader.datasets.mnist import Bytes, load
from grader.plan.schema import Transforms
from grader.training.augment import augment
from grader.training.draw import Draw
from tests.boxed import boxed

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
        (v1.RandomPosterize(4), "no vectorised equal"),
        (v1.RandomRotation(5, expand=True), "without expansion"),
        (v1.Pad(2, padding_mode="reflect"), "padding mode"),
        (v1.Lambda(lambda x: x), "no vectorised equal"),
        (object(), "not one of torchvision's"),
        (v1.RandomApply([v1.RandomRotation(5), v1.CenterCrop(3)]), "RandomApply of one"),
    ],
)
def test_what_cannot_be_mapped_is_named(transform: Any, reason: str) -> None:
    """A transform without an equal is left out, and a note says which and why."""
    steps, notes = mapped(transform)

    assert [type(step).__name__ for step in steps] == ["ToFloat"]
    assert reason in notes[0]


def test_a_list_and_nested_composes_are_flattened() -> None:
    """Composes inside composes keep the order of their steps."""
    inner = v1.Compose([v1.ToTensor(), v1.Normalize((0.1307,), (0.3081,))])
    steps, _ = mapped(v1.Compose([v1.RandomCrop(28, padding=2), inner]))

    assert [type(step).__name__ for step in steps] == ["Crop", "ToFloat", "Normalize"]
