"""Warps against torchvision: the same parameters give the same pixels."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from grader.datasets import files
from grader.plan import schema
from grader.training.draw import Draw
from grader.training.warp import (
    affine,
    draw_corners,
    inverse_affine,
    perspective,
    perspective_maps,
    warp_affine,
)

COUNT = 24


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    """Take some digits, [24, 1, 28, 28] bytes."""
    return torch.from_numpy(files.load().test_images[:COUNT].copy())[:, None]


def draw(seed: int = 0) -> Draw:
    """Make a source of random numbers."""
    return Draw(torch.Generator().manual_seed(seed), torch.device("cpu"))


def parameters(seed: int) -> dict[str, torch.Tensor]:
    """Draw angles, whole shifts, scales and shears for COUNT images."""
    source = draw(seed)
    return {
        "degrees": source.uniform(COUNT, -40, 40),
        "shift": torch.stack([source.uniform(COUNT, -4, 4).round() for _ in "xy"]),
        "scale": source.uniform(COUNT, 0.7, 1.3),
        "shear": torch.stack([source.uniform(COUNT, -15, 15) for _ in "xy"]),
    }


def torchvision_affine(
    image: object, drawn: dict[str, torch.Tensor], index: int, mode: InterpolationMode
) -> object:
    """Apply torchvision's affine, whose angles turn clockwise, to a PIL image or a tensor."""
    shift, shear = drawn["shift"][:, index].tolist(), drawn["shear"][:, index].tolist()
    degrees, scale = float(drawn["degrees"][index]), float(drawn["scale"][index])
    return tv.affine(image, -degrees, [int(s) for s in shift], scale, shear, mode, [37])


def pil(image: torch.Tensor) -> Image.Image:
    """Make a PIL image of bytes [1, H, W]."""
    return Image.fromarray(image[0].numpy())


MODES = {"nearest": InterpolationMode.NEAREST, "bilinear": InterpolationMode.BILINEAR}


@pytest.mark.parametrize(("mode", "off"), [("nearest", 0), ("bilinear", 1)])
def test_affine_gives_the_pixels_of_torchvisions_pil_path(
    digits: torch.Tensor, mode: str, off: int
) -> None:
    """Nearest: every pixel is the same. Bilinear: one grey level off at most, by rounding."""
    drawn = parameters(1)
    ours = warp_affine(digits, inverse_affine(**drawn, size=(28, 28)), mode, 37)  # type: ignore[arg-type]
    for index in range(COUNT):
        theirs = torchvision_affine(pil(digits[index]), drawn, index, MODES[mode])
        gap = np.abs(ours[index, 0].numpy().astype(int) - np.asarray(theirs).astype(int))
        assert gap.max() <= off


def test_affine_nearly_gives_the_pixels_of_torchvisions_tensor_path(digits: torch.Tensor) -> None:
    """Nearest: fewer than one pixel in 200 falls on the other side of a border between two."""
    drawn = parameters(2)
    ours = warp_affine(digits, inverse_affine(**drawn, size=(28, 28)), "nearest", 37)
    theirs = torch.stack(
        [torchvision_affine(digits[i], drawn, i, MODES["nearest"]) for i in range(COUNT)]  # type: ignore[misc]
    )
    assert (ours != theirs).float().mean() < 1 / 200


def test_rotation_turns_counter_clockwise_as_random_rotation_does(digits: torch.Tensor) -> None:
    """With a fixed angle the whole transform equals torchvision's `rotate` of a PIL image."""
    ours = affine(digits, schema.Affine(degrees=(20.0, 20.0)), draw())
    for index in range(COUNT):
        theirs = tv.rotate(pil(digits[index]), 20.0)
        assert np.array_equal(ours[index, 0].numpy(), np.asarray(theirs))


def test_shifts_are_whole_pixels_drawn_as_torchvision_draws_them(digits: torch.Tensor) -> None:
    """±10 % of 28 pixels gives −3 … 3; the outer two half as likely as ±2.8 rounds there."""
    image = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    image[0, 0, 14, 14] = 255
    moved = affine(image.expand(20_000, -1, -1, -1), schema.Affine(translate=(0.1, 0.1)), draw())
    where = moved.flatten(1).to(torch.int64).argmax(1)
    for shift in (where % 28 - 14, where // 28 - 14):
        share = torch.bincount(shift + 3, minlength=7) / 20_000
        expected = torch.tensor([0.3, 1, 1, 1, 1, 1, 0.3]) / 5.6
        assert (share - expected).abs().max() < 0.01


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_perspective_gives_the_pixels_of_torchvisions_pil_path(
    digits: torch.Tensor, mode: str
) -> None:
    """Same corners, same image: all but 1 % of the pixels within one grey level."""
    transform = schema.Perspective(distortion=0.5, interpolation=mode, fill=9.0)  # type: ignore[arg-type]
    ours = perspective(digits, transform, draw(5))
    corners = draw_corners(COUNT, 28, 28, 0.5, draw(5))
    start = [[0, 0], [27, 0], [27, 27], [0, 27]]
    for index in range(COUNT):
        theirs = tv.perspective(
            pil(digits[index]), start, corners[index].tolist(), MODES[mode], [9]
        )
        gap = np.abs(ours[index, 0].numpy().astype(int) - np.asarray(theirs).astype(int))
        assert (gap > 1).mean() < 0.01


def test_perspective_corners_stay_in_their_quarters() -> None:
    """Each corner moves inwards by whole pixels, at most distortion × half the side."""
    corners = draw_corners(5_000, 28, 28, 0.5, draw())
    low = torch.tensor([[0, 0], [20, 0], [20, 20], [0, 20]])
    assert (corners.amin(0) == low).all()
    assert (corners.amax(0) == low + 7).all()
    assert perspective_maps(corners, 28, 28).isfinite().all()
