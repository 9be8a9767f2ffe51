"""Transforms against the torchvision transforms they replace."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as tvt
from torchvision.transforms import functional as tv

from grader.datasets import mnist
from grader.errors import SubmissionError
from grader.plan import schema
from grader.training.augment import augment
from grader.training.draw import Draw


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    """Take 200 digits, [200, 1, 28, 28] bytes."""
    return torch.from_numpy(mnist.load().test_images[:200].copy())[:, None]


def run(images: torch.Tensor, *transforms: schema.Transform, seed: int = 0) -> torch.Tensor:
    """Apply transforms with a fresh source of random numbers."""
    source = Draw(torch.Generator().manual_seed(seed), torch.device("cpu"))
    return augment(images, list(transforms), source)


def pil_path(images: torch.Tensor, *transforms: Any) -> torch.Tensor:
    """Apply torchvision transforms to each image as PIL; returns float32 grey levels or values."""
    compose = tvt.Compose([*transforms])
    results = [compose(Image.fromarray(image[0].numpy())) for image in images]
    return torch.stack(
        [r if isinstance(r, torch.Tensor) else tv.pil_to_tensor(r).float() for r in results]
    )


FIXED: dict[str, tuple[schema.Transform, Any, int]] = {
    "pad": (schema.Pad((1, 2, 3, 4), 7.0), tvt.Pad((1, 2, 3, 4), fill=7), 0),
    "centre": (schema.Crop((20, 24), random=False), tvt.CenterCrop((20, 24)), 0),
    "centre, larger": (schema.Crop((31, 30), random=False), tvt.CenterCrop((31, 30)), 0),
    "smaller": (schema.Resize((14, 20)), tvt.Resize((14, 20)), 1),
    "larger": (schema.Resize((32, 32)), tvt.Resize((32, 32)), 1),
    "larger, nearest": (
        schema.Resize((32, 32), "nearest"), tvt.Resize((32, 32), tvt.InterpolationMode.NEAREST), 0
    ),
    "flip": (schema.Flip("horizontal", 1.0), tvt.RandomHorizontalFlip(1.0), 0),
    "flip down": (schema.Flip("vertical", 1.0), tvt.RandomVerticalFlip(1.0), 0),
    "brighter": (schema.Jitter(brightness=(1.5, 1.5)), tvt.ColorJitter(brightness=(1.5, 1.5)), 0),
    "darker": (schema.Jitter(brightness=(0.3, 0.3)), tvt.ColorJitter(brightness=(0.3, 0.3)), 0),
    "contrast": (schema.Jitter(contrast=(1.4, 1.4)), tvt.ColorJitter(contrast=(1.4, 1.4)), 1),
    "flatter": (schema.Jitter(contrast=(0.4, 0.4)), tvt.ColorJitter(contrast=(0.4, 0.4)), 1),
    "blur": (schema.Blur((5, 3), (0.9, 0.9)), tvt.GaussianBlur((5, 3), (0.9, 0.9)), 1),
    "colour": (schema.Channels(3), tvt.Grayscale(3), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", FIXED)
def test_without_chance_the_pixels_are_torchvisions(digits: torch.Tensor, name: str) -> None:
    """Transforms with nothing to draw give the same image, to the grey level stated."""
    ours, theirs, off = FIXED[name]
    some = digits[:20]
    gap = (run(some, ours) - pil_path(some, theirs)).abs()
    assert gap.max() <= off


def test_to_float_and_normalize_are_torchvisions_to_the_last_bit(digits: torch.Tensor) -> None:
    """Bytes become the very floats that ToTensor and Normalize give."""
    ours = run(digits[:20], schema.ToFloat(), schema.Normalize([0.1307], [0.3081]))
    theirs = pil_path(digits[:20], tvt.ToTensor(), tvt.Normalize((0.1307,), (0.3081,)))
    assert torch.equal(ours, theirs)


DRAWN: dict[str, tuple[schema.Transform, Any]] = {
    "crop": (schema.Crop((28, 28), (3, 3, 3, 3)), tvt.RandomCrop(28, padding=3)),
    "rotation": (schema.Affine(degrees=(-30.0, 30.0)), tvt.RandomRotation(30)),
    "affine": (
        schema.Affine((-10.0, 10.0), (0.1, 0.2), (0.8, 1.1), (-5.0, 5.0)),
        tvt.RandomAffine(10, (0.1, 0.2), (0.8, 1.1), 5),
    ),
    "perspective": (schema.Perspective(0.4, p=0.7), tvt.RandomPerspective(0.4, 0.7)),
    "jitter": (
        schema.Jitter((0.5, 1.5), (0.5, 1.5)), tvt.ColorJitter(brightness=0.5, contrast=0.5)
    ),
    "flip": (schema.Flip("horizontal", 0.3), tvt.RandomHorizontalFlip(0.3)),
    "blur": (schema.Blur((3, 3), (0.1, 2.0), 0.5), tvt.RandomApply([tvt.GaussianBlur(3)], 0.5)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_the_distribution_of_images_is_torchvisions(digits: torch.Tensor, name: str) -> None:
    """Over 1,000 draws of one digit, pixel means and spreads agree within sampling noise."""
    ours, theirs = DRAWN[name]
    torch.manual_seed(0)
    many = digits[:1].expand(1_000, -1, -1, -1)
    a, b = run(many, ours), pil_path(many, theirs)
    noise = (a.var(0) / 1_000 + b.var(0) / 1_000).sqrt() + 0.05
    assert ((a.mean(0) - b.mean(0)).abs() / noise).max() < 5
    assert abs(float(a.std(0).mean() / b.std(0).mean()) - 1) < 0.05


def test_erasing_leaves_the_share_torchvision_leaves(digits: torch.Tensor) -> None:
    """The number of overwritten pixels has torchvision's mean and spread."""
    torch.manual_seed(0)
    blank = torch.zeros(4_000, 1, 28, 28)
    ours = run(blank, schema.Erase(0.5, value=1.0)).sum((1, 2, 3))
    erase = tvt.RandomErasing(0.5, value=1.0)
    theirs = torch.stack([erase(image) for image in blank]).sum((1, 2, 3))
    assert abs(float(ours.mean() - theirs.mean())) < 6
    assert abs(float(ours.std() / theirs.std()) - 1) < 0.06


def test_every_image_has_its_own_draw(digits: torch.Tensor) -> None:
    """Copies of one digit come out different, and p leaves that share of them alone."""
    many = digits[:1].expand(2_000, -1, -1, -1)
    turned = run(many, schema.Affine(degrees=(5.0, 45.0), p=0.25))
    same = (turned == many).flatten(1).all(1).float().mean()
    assert abs(float(same) - 0.75) < 0.04
    assert len(np.unique(turned.flatten(1).numpy(), axis=0)) > 100


def test_the_same_seed_gives_the_same_images(digits: torch.Tensor) -> None:
    """Nothing is drawn from anywhere but the source that is handed over."""
    transform = schema.Affine((-10.0, 10.0), (0.1, 0.1))
    assert torch.equal(run(digits, transform, seed=3), run(digits, transform, seed=3))
    assert not torch.equal(run(digits, transform, seed=3), run(digits, transform, seed=4))


def test_a_window_that_does_not_fit_is_the_submissions_error(digits: torch.Tensor) -> None:
    """The message names the transform and the shape it met."""
    with pytest.raises(SubmissionError, match="Crop") as caught:
        run(digits, schema.Crop((40, 40)))
    assert "28" in caught.value.found
