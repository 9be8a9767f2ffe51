"""Transforms against the torchvision transforms they replace."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms as tvt
from torchvision.transforms import functional as tv

from grader.datasets import files
from grader.errors import SubmissionError
from grader.plan import schema
from grader.plan.images import Format, formats_after
from grader.training.augment import augment
from grader.training.draw import Draw
from grader.training.warp import draw_windows, resized_crop
from tests.boxed import boxed


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    """Take 200 digits, [200, 1, 28, 28] bytes."""
    return torch.from_numpy(files.load().test_images[:200].copy())[:, None]


def source(seed: int = 0) -> Draw:
    """Make a fresh source of random numbers."""
    return Draw(torch.Generator().manual_seed(seed), torch.device("cpu"))


def run(images: torch.Tensor, *transforms: schema.Transform, seed: int = 0) -> torch.Tensor:
    """Apply transforms with a fresh source of random numbers."""
    return augment(images, list(transforms), source(seed))


def pil_path(images: torch.Tensor, *transforms: Any) -> torch.Tensor:
    """Apply torchvision transforms to each image as PIL; returns float32 grey levels or values."""
    compose = tvt.Compose([*transforms])
    results = [compose(Image.fromarray(image[0].numpy())) for image in images]
    return torch.stack(
        [r if isinstance(r, torch.Tensor) else tv.pil_to_tensor(r).float() for r in results]
    )


FIXED: dict[str, tuple[schema.Transform, Any, int]] = {
    "mirrored edge": (
        schema.Pad((1, 2, 3, 4), edge="reflect"), tvt.Pad((1, 2, 3, 4), 0, "reflect"), 0
    ),
    "nearest, on borders": (
        schema.Resize((30, 21), "nearest"), tvt.Resize((30, 21), tvt.InterpolationMode.NEAREST), 0
    ),
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
    "grey again": (
        schema.Choice([schema.Branch(1.0, [schema.Channels(3), schema.Channels(1)])]),
        tvt.Compose([tvt.Grayscale(3), tvt.Grayscale(1)]), 0
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIXED)
def test_without_chance_the_pixels_are_torchvisions(digits: torch.Tensor, name: str) -> None:
    """Transforms with nothing to draw give the same image, to the grey level stated."""
    ours, theirs, off = FIXED[name]
    some = digits[:20]
    gap = (run(some, ours) - pil_path(some, theirs)).abs()
    assert gap.max() <= off


def test_colours_become_the_grey_that_pillow_makes_of_them() -> None:
    """Red, green and blue weigh what Pillow gives them, in bytes and in floats."""
    colours = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    theirs = torch.stack([tvt.functional.pil_to_tensor(
        tvt.functional.to_pil_image(each).convert("L")) for each in colours])  # fmt: skip
    assert (run(colours, schema.Channels(1)).int() - theirs.int()).abs().max() <= 1
    floats = run(colours, schema.ToFloat(), schema.Channels(1))
    assert (floats * 255 - theirs).abs().max() < 0.51


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


# Compositions. Every transform in them does one thing only, so that chance is left with the
# branches, and each way through these can be gone with torchvision too.

# Not 0.75 and the like: centres of pixels would meet borders of others, and rounding would decide.
SCALES = st.sampled_from([0.717, 0.931, 1.171, 1.293])
EDGES = st.sampled_from(["constant", "edge", "symmetric"])
SIZES = st.integers(14, 34)
STEPS: list[st.SearchStrategy[Any]] = [
    st.builds(lambda a: tvt.RandomRotation((a, a)), st.integers(-40, 40)),
    st.builds(lambda s, f: tvt.RandomAffine(0, scale=(s, s), fill=f), SCALES, st.just(9)),
    st.builds(lambda x: tvt.RandomAffine(0, shear=(x, x)), st.integers(-20, 20)),
    st.builds(lambda h, w: tvt.CenterCrop((h, w)), SIZES, SIZES),
    st.builds(lambda p, e: tvt.Pad(p, padding_mode=e), st.tuples(*[st.integers(0, 4)] * 4), EDGES),
    st.builds(lambda h, w: tvt.Resize((h, w)), SIZES, SIZES),
    st.builds(tvt.Resize, SIZES),
    st.builds(tvt.RandomVerticalFlip, st.sampled_from([0.0, 1.0])),
    st.builds(lambda b: tvt.ColorJitter(brightness=(b, b)), st.floats(0.3, 2)),
    st.builds(lambda s: tvt.GaussianBlur(3, (s, s)), st.floats(0.3, 2)),
]


@dataclass(frozen=True)
class Composition:
    """Torchvision's transforms, and for each way that chance may take the ones it applies."""

    steps: list[Any]
    ways: list[list[Any]]


@st.composite
def compositions(draw: st.DrawFn) -> Composition:
    """Make up to four transforms, some of them applied to some images only."""
    steps: list[Any] = []
    ways: list[list[Any]] = [[]]
    for _ in range(draw(st.integers(1, 4))):
        some = draw(st.lists(st.one_of(STEPS), min_size=1, max_size=2))
        kind = draw(st.sampled_from(["each", "apply", "choice", "order"]))
        if kind == "each":
            step, branches = tvt.Compose(some), [some]
        elif kind == "apply":
            step, branches = tvt.RandomApply(some, p=0.5), [some, []]
        elif kind == "choice":
            step, branches = tvt.RandomChoice(some), [[one] for one in some]
        else:
            step, branches = tvt.RandomOrder(some), [list(p) for p in itertools.permutations(some)]
        steps.append(step)
        ways = [[*way, *branch] for way in ways for branch in branches]
    return Composition(steps, ways[:64])


def possible(digit: Any, composition: Composition) -> Iterator[torch.Tensor]:
    """Yield what torchvision may make of a digit, [1, H, W] in 0…1."""
    for way in composition.ways:
        yield tvt.Compose([*way, tvt.ToTensor()])(Image.fromarray(digit.numpy()))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(compositions(), st.integers(0, 199), st.booleans())
def test_every_composition_makes_what_torchvisions_makes(
    composition: Composition, index: int, resized: bool
) -> None:
    """Every image of a batch comes out as one way of torchvision's makes it, in its size."""
    if resized:
        end = tvt.Resize((28, 28))
        composition = Composition([*composition.steps, end], [[*w, end] for w in composition.ways])
    digit = torch.from_numpy(files.load().test_images[index].copy())
    notes: list[str] = []
    json = boxed("transforms").transforms_json([*composition.steps, tvt.ToTensor()], notes)
    steps = msgspec.convert(json, schema.Transforms)
    expected = list(possible(digit, composition))

    assert notes == []
    forms = formats_after(steps, Format(1, 28, 28))
    assert forms == {Format(1, image.shape[1], image.shape[2], True) for image in expected}
    batch = digit.expand(12, 1, 28, 28)
    if len(forms) > 1:  # no batch could be made, unless what follows makes them equal again
        for form in forms:
            steps_to_one = [*steps, schema.Crop((form.height, form.width), random=False)]
            assert run(batch, *steps_to_one).shape[2:] == (form.height, form.width)
        return
    for image in run(batch, *steps):
        differences = [(image - one).abs() for one in expected]
        assert min(float(d.gt(6 / 255).float().mean()) for d in differences) < 0.02


def test_branches_are_taken_as_often_as_they_say(digits: torch.Tensor) -> None:
    """A quarter of the images gets the crop; the others stay, in their places of the batch."""
    many = digits.repeat(10, 1, 1, 1)
    choice = schema.Choice(
        [schema.Branch(0.25, [schema.Crop((22, 22), random=False)]), schema.Branch(0.75, [])]
    )
    mixed = run(many, choice, schema.Resize((28, 28)))
    cropped = run(many, schema.Crop((22, 22), random=False), schema.Resize((28, 28)))
    same = (mixed == many).flatten(1).all(1)
    other = (mixed == cropped).flatten(1).all(1)

    assert bool((same | other).all())
    assert abs(float(other.float().mean()) - 0.25) < 0.04


def test_images_that_end_in_different_sizes_are_the_submissions_error(
    digits: torch.Tensor,
) -> None:
    """What torchvision's loader says of stacking is said in words."""
    choice = schema.Choice([schema.Branch(0.5, [schema.Resize((20, 20))]), schema.Branch(0.5, [])])
    with pytest.raises(SubmissionError, match="different sizes") as caught:
        run(digits, choice, schema.ToFloat())
    assert caught.value.found == "1×20×20 and 1×28×28"


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_a_resized_window_is_torchvisions(digits: torch.Tensor, interpolation: Any) -> None:
    """With the same windows, bytes differ by rounding alone."""
    step = schema.ResizedCrop((30, 26), interpolation=interpolation)
    ours = resized_crop(digits, step, source())
    windows = zip(
        *(w.int().tolist() for w in draw_windows(200, 28, 28, step, source())), strict=True
    )
    mode = tvt.InterpolationMode(interpolation)
    theirs = [
        tv.pil_to_tensor(
            tv.resized_crop(Image.fromarray(image[0].numpy()), *window, [30, 26], mode)
        )
        for image, window in zip(digits, windows, strict=True)
    ]

    differences = (ours.int() - torch.stack(theirs).int()).abs()
    assert differences.max() <= (0 if interpolation == "nearest" else 2)  # of 255
    assert differences.gt(1).float().mean() < 1e-3


@pytest.mark.parametrize(
    ("size", "ratio"), [((28, 28), (0.75, 4 / 3)), ((30, 20), (0.5, 0.6)), ((12, 28), (0.9, 1.1))]
)
def test_windows_are_distributed_as_torchvisions(
    size: tuple[int, int], ratio: tuple[float, float]
) -> None:
    """Places and sizes have torchvision's mean and spread, those that never fit included."""
    step = schema.ResizedCrop((28, 28), (0.3, 1.0), ratio)
    ours = torch.stack(draw_windows(4_000, *size, step, source()), 1)
    torch.manual_seed(0)
    image = torch.zeros(1, *size)
    crop = tvt.RandomResizedCrop
    theirs = torch.tensor(
        [crop.get_params(image, [*step.scale], [*ratio]) for _ in range(4_000)], dtype=torch.float64
    )

    assert (ours.mean(0) - theirs.mean(0)).abs().max() < 0.3
    assert (ours.std(0) - theirs.std(0)).abs().max() < 0.2


def test_a_random_crop_pads_what_is_missing(digits: torch.Tensor) -> None:
    """With `pad_if_needed`, windows are cut out of the image padded on either side."""
    step = schema.Crop((32, 20), edge="symmetric", pad_if_needed=True)
    ours = run(digits[:50], step)
    whole = torch.stack([
        tv.pil_to_tensor(tv.pad(Image.fromarray(image[0].numpy()), [0, 4], 0, "symmetric")).float()
        for image in digits[:50]
    ])  # fmt: skip
    places = [
        (ours == whole[..., top : top + 32, left : left + 20]).flatten(1).all(1)
        for top in range(5)
        for left in range(9)
    ]

    assert bool(torch.stack(places).any(0).all())


def test_an_augmentation_that_changes_no_size_draws_as_it_always_did(digits: torch.Tensor) -> None:
    """Steps after one another use the source one after the other, whatever stands between."""
    first, second = schema.Affine((-9.0, 9.0)), schema.Affine(translate=(0.1, 0.1), p=0.5)
    draw = source()
    apart = augment(augment(digits, [first], draw).to(torch.uint8), [second], draw)

    assert torch.equal(run(digits, first, second), apart)
