"""What a recipe's transforms make of images, as far as the transforms alone tell: their sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from grader.datasets.known import MNIST, Dataset
from grader.errors import SubmissionError
from grader.plan.schema import (
    Affine,
    Blur,
    Borders,
    Channels,
    Choice,
    Crop,
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
)  # fmt: skip

About = Literal["train_transform", "test_transform"]

LARGEST = 512
"""The longest side that an image may have on its way: far beyond what small images need."""


@dataclass(frozen=True)
class Format:
    """Sizes of an image, and whether its values are real numbers (bytes if not)."""

    channels: int
    height: int
    width: int
    real: bool = False

    def __str__(self) -> str:
        return f"{self.channels}×{self.height}×{self.width}"


def formats_after(transforms: list[Transform], start: Format) -> set[Format]:
    """Return the formats that images may have after `transforms`, all having begun as `start`.

    Raises SubmissionError when a transform cannot be applied to an image that may reach it.
    """
    found = {start}
    for transform in transforms:
        found = {after for before in found for after in _after(transform, before)}
    return found


def shape_after(plan: Plan, about: About, dataset: Dataset = MNIST) -> list[int]:
    """Return the one shape [C, H, W] in which images leave the transforms of `plan`.

    Raises SubmissionError when a transform does not fit, or shapes differ from image to image.
    """
    try:
        found = formats_after(getattr(plan.recipe, about), Format(*dataset.shape))
    except SubmissionError as error:
        error.where = _place(plan, about)
        raise
    if len(found) > 1:
        raise differing([str(form) for form in found], _place(plan, about))
    (form,) = found
    return [form.channels, form.height, form.width]


def _place(plan: Plan, about: About) -> str:
    """Say where the transforms come from."""
    places = [fact.where for fact in plan.provenance if fact.about == about]
    return ", ".join([about, *places])


def differing(found: list[str], where: str) -> SubmissionError:
    """Make the error for images that cannot be stacked into a batch."""
    return SubmissionError(
        "the transforms make images of different sizes, which cannot form a batch",
        expected="images of one size at the end", found=" and ".join(sorted(set(found))),
        where=where, help="end the transforms that change sizes with a Resize to height and width",
    )  # fmt: skip


def validate_images(plan: Plan, dataset: Dataset = MNIST) -> None:
    """Check that images reach the network in the shape it takes, and that testing is not random.

    Raises SubmissionError.
    """
    parts: tuple[About, ...] = ("train_transform", "test_transform")
    for about in parts:
        shape = shape_after(plan, about, dataset)
        if shape != plan.model.input_shape:
            raise SubmissionError(
                "the network does not take the images that its transforms make",
                expected=f"images of {_sizes(plan.model.input_shape)}", found=_sizes(shape),
                where=_place(plan, about),
                help="resize the images in the transforms, for training and for testing",
            )  # fmt: skip
    if random := [step for step in plan.recipe.test_transform if is_random(step)]:
        raise SubmissionError(
            "testing is random", expected="transforms that do the same to every image",
            found=", ".join(type(step).__name__ for step in random),
            where=_place(plan, "test_transform"), help="leave random transforms to the training",
        )  # fmt: skip


def _sizes(shape: list[int]) -> str:
    return "×".join(map(str, shape))


def is_random(transform: Transform) -> bool:
    """Tell whether a transform may do one thing to one image, and another to the next."""
    p = getattr(transform, "p", 1)
    return 0 < p < 1 or (p == 1 and _varies(transform))


def _varies(transform: Transform) -> bool:  # noqa: PLR0911 - one for each transform
    match transform:
        case Choice(branches):
            taken = [branch for branch in branches if branch.p]
            return len(taken) > 1 or any(is_random(s) for b in taken for s in b.steps)
        case Affine(degrees, translate, scale, shear_x, shear_y):
            spans = (degrees, scale, shear_x, shear_y)
            return any(low != high for low, high in spans) or any(translate)
        case Blur(_, (low, high)):
            return low != high
        case Jitter(brightness, contrast):  # in random order
            both = brightness != (1, 1) and contrast != (1, 1)
            return both or any(low != high for low, high in (brightness, contrast))
        case Crop():
            return transform.random
        case Perspective(distortion):
            return distortion > 0
    return isinstance(transform, Erase | ResizedCrop)


def without_chance(transforms: list[Transform]) -> list[Transform]:
    """Return what `transforms` come to without chance: the same sizes, the same for every image.

    A random window becomes the central one, or the whole image where it would be resized; of
    branches stays the likeliest; what is random in any other way is left out.
    """
    return [step for transform in transforms for step in _without_chance(transform)]


def _without_chance(transform: Transform) -> list[Transform]:
    if not is_random(transform):
        return [transform]
    match transform:
        case Crop():
            return [_central(transform)]
        case ResizedCrop(size):
            return [Resize(size, transform.interpolation)]
        case Choice(branches):
            likeliest = min(branches, key=lambda branch: (-branch.p, len(branch.steps)))
            return without_chance([*likeliest.steps])
    return []


def _central(crop: Crop) -> Crop:
    return Crop(crop.size, crop.padding, random=False, fill=crop.fill, edge=crop.edge)


def _after(transform: Transform, form: Format) -> set[Format]:
    if isinstance(transform, Choice):
        taken = [branch for branch in transform.branches if branch.p]
        if not math.isclose(sum(branch.p for branch in taken), 1, abs_tol=1e-3):
            raise _misfit(transform, form, "probabilities that sum to 1", "others")
        return {after for branch in taken for after in formats_after([*branch.steps], form)}
    after = _after_step(transform, form)
    if max(after.height, after.width) > LARGEST:
        raise _misfit(transform, form, f"an image of at most {LARGEST}×{LARGEST}", str(after))
    return {after}


def _after_step(step: Step, form: Format) -> Format:  # noqa: PLR0911 - one for each transform
    match step:
        case Crop(size, padding):
            return _cropped(step, _padded(form, padding), size)
        case Pad(padding):
            return _padded(form, padding)
        case Resize(size):
            height, width = resized((form.height, form.width), size)
            return replace(form, height=height, width=width)
        case ResizedCrop((height, width)):
            return replace(form, height=height, width=width)
        case Channels(count):
            if form.channels not in (1, count) and (form.channels, count) != (3, 1):
                raise _misfit(step, form, f"1 or {count} channels", str(form))
            return replace(form, channels=count)
        case ToFloat():
            return replace(form, real=True)
        case Normalize(mean, std):
            if not {len(mean), len(std)} <= {1, form.channels}:
                most = max(len(mean), len(std))
                raise _misfit(step, form, f"images of {most} channels", str(form))
            return form
        case Blur((across, down)):
            if across // 2 >= form.width or down // 2 >= form.height:
                raise _misfit(step, form, f"images larger than {down // 2}×{across // 2}", "")
            return form
        case Affine() | Perspective() | Flip() | Jitter() | Erase():
            return form


def _padded(form: Format, padding: Borders) -> Format:
    left, top, right, bottom = padding
    return replace(form, height=form.height + top + bottom, width=form.width + left + right)


def _cropped(step: Crop, form: Format, size: tuple[int, int]) -> Format:
    height, width = size
    fits = height <= form.height and width <= form.width
    if step.random and not fits and not step.pad_if_needed:
        raise _misfit(step, form, f"images of at least {height}×{width}", str(form))
    return replace(form, height=height, width=width)


def resized(before: tuple[int, int], size: tuple[int, ...]) -> tuple[int, int]:
    """Return the height and width that a `Resize` to `size` makes of an image of `before`."""
    if len(size) == 2:
        return size[0], size[1]
    (shorter,), (height, width) = size, before
    if height <= width:
        return shorter, int(shorter * width / height)
    return int(shorter * height / width), shorter


def _misfit(step: Transform, form: Format, expected: str, found: str) -> SubmissionError:
    return SubmissionError(
        f"the transform {type(step).__name__} cannot be applied to images of {form}",
        expected=expected, found=found or str(form),
        help="apply the transforms to one image yourself, and look at its size after each",
    )  # fmt: skip
