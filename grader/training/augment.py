"""A Plan's transforms on whole batches: every image its own draw, distributed as torchvision's.

Bytes stay bytes until `ToFloat`, as they do between torchvision's transforms of PIL images, and
every transform rounds where Pillow rounds.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch.nn.functional import interpolate

from grader.errors import SubmissionError
from grader.plan import schema
from grader.training.draw import Draw
from grader.training.warp import affine, perspective


def augment(images: torch.Tensor, transforms: list[schema.Transform], draw: Draw) -> torch.Tensor:
    """Apply `transforms` in order to bytes (or floats) [B, C, H, W]; returns float32.

    Raises SubmissionError when they do not fit the images or one another.
    """
    for transform in transforms:
        try:
            images = _some(images, transform, draw)
        except RuntimeError as error:
            raise SubmissionError(
                f"a transform cannot be applied: {type(transform).__name__} says: {error}",
                found=f"images of shape {list(images.shape[1:])}",
                where="train_transform or test_transform",
            ) from None
    return images.to(torch.float32)


def _some(images: torch.Tensor, transform: schema.Transform, draw: Draw) -> torch.Tensor:
    """Apply one transform to each image with the probability it declares."""
    p = getattr(transform, "p", 1.0)
    changed = _all(images, transform, draw)
    if p == 1:
        return changed
    chosen = draw.uniform(len(images), 0, 1) < p
    return torch.where(chosen[:, None, None, None], changed, images)


def _all(images: torch.Tensor, transform: schema.Transform, draw: Draw) -> torch.Tensor:  # noqa: PLR0911
    match transform:
        case schema.Affine():
            return affine(images, transform, draw)
        case schema.Perspective():
            return perspective(images, transform, draw)
        case schema.Crop():
            return _crop(images, transform, draw)
        case schema.Pad(padding, fill):
            return _padded(images, padding, fill)
        case schema.Resize(size, interpolation):
            return _resize(images, size, interpolation)
        case schema.Flip(axis):
            return images.flip(-1 if axis == "horizontal" else -2)
        case schema.Jitter():
            return _jitter(images, transform, draw)
        case schema.Erase():
            return _erase(images, transform, draw)
        case schema.Blur():
            return _blur(images, transform, draw)
        case schema.Channels(count):
            return images.expand(-1, count, -1, -1).contiguous()
        case schema.ToFloat():
            return _to_float(images)
        case schema.Normalize(mean, std):
            return images.sub(_per_channel(mean, images)).div_(_per_channel(std, images))


def _to_float(images: torch.Tensor) -> torch.Tensor:
    return images.to(torch.float32).div_(255) if images.dtype == torch.uint8 else images


def _per_channel(values: list[float], images: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32, device=images.device)[:, None, None]


def _padded(images: torch.Tensor, padding: tuple[int, int, int, int], fill: float) -> torch.Tensor:
    left, top, right, bottom = padding
    return F.pad(images, (left, right, top, bottom), value=fill)


def _crop(images: torch.Tensor, transform: schema.Crop, draw: Draw) -> torch.Tensor:
    """Cut a window out; random ones start anywhere they fit, central ones pad what is missing."""
    images = _padded(images, transform.padding, transform.fill)
    height, width = transform.size
    if not transform.random:
        return _center_crop(images, height, width)
    count, spare_y, spare_x = len(images), images.shape[-2] - height, images.shape[-1] - width
    if spare_y < 0 or spare_x < 0:
        raise RuntimeError(f"a window of {height}×{width} does not fit")
    top, left = draw.integers(count, 0, spare_y + 1), draw.integers(count, 0, spare_x + 1)
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    each = torch.arange(count, device=images.device)
    return images.permute(0, 2, 3, 1)[
        each[:, None, None], rows[:, :, None], columns[:, None, :]
    ].permute(0, 3, 1, 2).contiguous()  # fmt: skip


def _center_crop(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    lack_y, lack_x = max(height - images.shape[-2], 0), max(width - images.shape[-1], 0)
    whole = (lack_x // 2, lack_y // 2, (lack_x + 1) // 2, (lack_y + 1) // 2)
    images = _padded(images, whole, 0)
    top = round((images.shape[-2] - height) / 2)
    left = round((images.shape[-1] - width) / 2)
    return images[..., top : top + height, left : left + width].contiguous()


def _resize(images: torch.Tensor, size: tuple[int, int], interpolation: str) -> torch.Tensor:
    if interpolation == "nearest":
        return interpolate(images, size, mode="nearest-exact")
    return interpolate(images, size, mode="bilinear", antialias=True)


def _jitter(images: torch.Tensor, transform: schema.Jitter, draw: Draw) -> torch.Tensor:
    """Change brightness and contrast, for each image in its own order."""
    count = len(images)
    brightness, contrast = (
        draw.uniform(count, *span)[:, None, None, None]
        for span in (transform.brightness, transform.contrast)
    )
    if transform.brightness == (1, 1):
        return _contrasted(images, contrast)
    if transform.contrast == (1, 1):
        return _brightened(images, brightness)
    first = draw.uniform(count, 0, 1)[:, None, None, None] < 0.5
    return torch.where(
        first,
        _contrasted(_brightened(images, brightness), contrast),
        _brightened(_contrasted(images, contrast), brightness),
    )


def _brightened(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return _blend(images, torch.zeros_like(factor), factor)


def _contrasted(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blend with the image's own mean grey, which Pillow rounds to a whole byte."""
    grey = images.to(torch.float64).mean((1, 2, 3), keepdim=True)
    if images.dtype == torch.uint8:
        grey = (grey + 0.5).floor()
    return _blend(images, grey, factor)


def _blend(images: torch.Tensor, other: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    top = 255 if images.dtype == torch.uint8 else 1
    return torch.lerp(other, images.to(torch.float64), factor).clamp_(0, top).to(images.dtype)


def _erase(images: torch.Tensor, transform: schema.Erase, draw: Draw) -> torch.Tensor:
    """Overwrite one rectangle an image: the first of ten draws that fits, or none."""
    count, (height, width), tries = len(images), images.shape[-2:], 10
    area = height * width * draw.uniform(count * tries, *transform.scale)
    aspect = draw.uniform(count * tries, *(math.log(r) for r in transform.ratio)).exp()
    high, wide = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = ((high < height) & (wide < width)).view(count, tries)
    first = torch.arange(count, device=images.device) * tries + fits.int().argmax(1)
    high, wide = high[first], wide[first]
    top = (draw.uniform(count, 0, 1) * (height - high + 1)).floor()
    left = (draw.uniform(count, 0, 1) * (width - wide + 1)).floor()
    row, column = (torch.arange(side, device=images.device) for side in (height, width))
    within_rows = (row >= top[:, None]) & (row < (top + high)[:, None])
    within_columns = (column >= left[:, None]) & (column < (left + wide)[:, None])
    hole = within_rows[:, :, None] & within_columns[:, None, :] & fits.any(1)[:, None, None]
    return images.masked_fill(hole[:, None], transform.value)


def _blur(images: torch.Tensor, transform: schema.Blur, draw: Draw) -> torch.Tensor:
    """Convolve each image with its own Gaussian, mirrored at the border."""
    sigma = draw.uniform(len(images), *transform.sigma).to(torch.float32)
    wide, high = (_gaussian(size, sigma) for size in transform.kernel)
    kernels = high[:, :, None] * wide[:, None, :]
    across, down = (size // 2 for size in transform.kernel)
    padded = F.pad(images.to(torch.float32), (across, across, down, down), mode="reflect")
    count, channels = images.shape[:2]
    blurred = F.conv2d(
        padded.flatten(0, 1)[None],
        kernels.repeat_interleave(channels, 0)[:, None],
        groups=count * channels,
    ).view_as(images)
    return blurred.round().to(images.dtype) if images.dtype == torch.uint8 else blurred


def _gaussian(size: int, sigma: torch.Tensor) -> torch.Tensor:
    """Return [B, size]: a Gaussian of each `sigma` [B] at whole pixels, summing to one."""
    away = torch.arange(size, device=sigma.device) - (size - 1) / 2
    weights = (-0.5 * (away / sigma[:, None]) ** 2).exp()
    return weights / weights.sum(1, keepdim=True)
