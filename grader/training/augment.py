"""A Plan's transforms on whole batches: every image its own draw, distributed as torchvision's.

Bytes stay bytes until `ToFloat`, as they do between torchvision's transforms of PIL images, and
every transform rounds where Pillow rounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch.nn.functional import interpolate

from grader.errors import SubmissionError
from grader.plan import schema
from grader.plan.images import differing, resized
from grader.training.draw import Draw
from grader.training.warp import affine, nearest, perspective, resized_crop


@dataclass(frozen=True)
class _Part:
    """Images [N, C, H, W] of a batch that have one shape, and their places [N] in it."""

    places: torch.Tensor
    images: torch.Tensor


def augment(images: torch.Tensor, transforms: list[schema.Transform], draw: Draw) -> torch.Tensor:
    """Apply `transforms` in order to bytes (or floats) [B, C, H, W]; returns float32.

    Raises SubmissionError when they do not fit the images or one another, or leave images of
    different sizes, which no batch can hold.
    """
    parts = [_Part(torch.arange(len(images), device=images.device), images)]
    for transform in transforms:
        parts = _merged([new for part in parts for new in _changed(part, transform, draw)])
    if len(parts) > 1:
        raise differing(
            ["×".join(map(str, part.images.shape[1:])) for part in parts], "the transforms"
        )
    return parts[0].images.to(torch.float32)


def _changed(part: _Part, transform: schema.Transform, draw: Draw) -> list[_Part]:
    """Apply one transform; images that are drawn for different branches part there."""
    if not isinstance(transform, schema.Choice):
        return [replace(part, images=_applied(part.images, transform, draw))]
    limits = torch.tensor([branch.p for branch in transform.branches], dtype=torch.float64).cumsum(
        0
    )
    drawn = draw.uniform(len(part.places), 0, float(limits[-1]))
    taken = torch.bucketize(drawn, limits[:-1].to(drawn.device), right=True)
    parts = []
    for index, branch in enumerate(transform.branches):
        (chosen,) = (taken == index).nonzero(as_tuple=True)
        if not len(chosen):
            continue
        images = part.images[chosen]
        for step in branch.steps:
            images = _applied(images, step, draw)
        parts.append(_Part(part.places[chosen], images))
    return parts


def _merged(parts: list[_Part]) -> list[_Part]:
    """Put parts whose images have one shape and type together, in the batch's order."""
    if len(parts) == 1:
        return parts
    alike: dict[tuple[torch.Size, torch.dtype], list[_Part]] = {}
    for part in parts:
        alike.setdefault((part.images.shape[1:], part.images.dtype), []).append(part)
    merged = []
    for group in alike.values():
        places = torch.cat([part.places for part in group])
        order = places.argsort()
        images = torch.cat([part.images for part in group])
        merged.append(_Part(places[order], images[order]))
    return merged


def _applied(images: torch.Tensor, step: schema.Step, draw: Draw) -> torch.Tensor:
    """Apply one step to each image with the probability it declares."""
    try:
        changed = _all(images, step, draw)
    except RuntimeError as error:
        raise SubmissionError(
            f"a transform cannot be applied: {type(step).__name__} says: {error}",
            found=f"images of shape {list(images.shape[1:])}",
            where="train_transform or test_transform",
        ) from None
    p = getattr(step, "p", 1.0)
    if p == 1:
        return changed
    chosen = draw.uniform(len(images), 0, 1) < p
    return torch.where(chosen[:, None, None, None], changed, images)


def _all(images: torch.Tensor, step: schema.Step, draw: Draw) -> torch.Tensor:  # noqa: PLR0911, PLR0912
    match step:
        case schema.Affine():
            return affine(images, step, draw)
        case schema.Perspective():
            return perspective(images, step, draw)
        case schema.Crop():
            return _crop(images, step, draw)
        case schema.Pad(padding, fill, edge):
            return _padded(images, padding, fill, edge)
        case schema.Resize(size, interpolation):
            before = (images.shape[-2], images.shape[-1])
            return _resize(images, resized(before, size), interpolation)
        case schema.ResizedCrop():
            return resized_crop(images, step, draw)
        case schema.Flip(axis):
            return images.flip(-1 if axis == "horizontal" else -2)
        case schema.Jitter():
            return _jitter(images, step, draw)
        case schema.Erase():
            return _erase(images, step, draw)
        case schema.Blur():
            return _blur(images, step, draw)
        case schema.Channels(count):
            return _grey(images) if count < images.shape[1] else _repeated(images, count)
        case schema.ToFloat():
            return _to_float(images)
        case schema.Normalize(mean, std):
            return _normalised(images, mean, std)


def _repeated(images: torch.Tensor, count: int) -> torch.Tensor:
    return images.expand(-1, count, -1, -1).contiguous()


def _grey(images: torch.Tensor) -> torch.Tensor:
    """Make one channel of red, green and blue, with Pillow's weights."""
    weights = torch.tensor([19595, 38470, 7471], dtype=torch.float64, device=images.device) / 65536
    grey = (images * weights[:, None, None]).sum(1, keepdim=True)
    return (grey + 0.5 if images.dtype == torch.uint8 else grey).to(images.dtype)


def _to_float(images: torch.Tensor) -> torch.Tensor:
    return images.to(torch.float32).div_(255) if images.dtype == torch.uint8 else images


def _normalised(images: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    if not {len(mean), len(std)} <= {1, images.shape[1]}:
        raise RuntimeError(f"{len(mean)} means and {len(std)} deviations do not fit")
    return images.sub(_per_channel(mean, images)).div_(_per_channel(std, images))


def _per_channel(values: list[float], images: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32, device=images.device)[:, None, None]


def _padded(
    images: torch.Tensor, padding: schema.Borders, fill: float, edge: schema.Edge
) -> torch.Tensor:
    left, top, right, bottom = padding
    if edge == "constant":
        return F.pad(images, (left, right, top, bottom), value=fill)
    height, width = images.shape[-2:]
    rows = _continued(height, top, bottom, edge).to(images.device)
    columns = _continued(width, left, right, edge).to(images.device)
    return images[..., rows[:, None], columns]


def _continued(side: int, before: int, after: int, edge: schema.Edge) -> torch.Tensor:
    """Return which of 0, …, side - 1 stands in each place of a row that goes on beyond its ends."""
    places = torch.arange(-before, side + after)
    if edge == "edge":
        return places.clamp(0, side - 1)
    period = 2 * side if edge == "symmetric" else max(2 * (side - 1), 1)
    places = places.remainder(period)
    last = 2 * side - 1 if edge == "symmetric" else 2 * (side - 1)
    return torch.where(places < side, places, last - places)


def _crop(images: torch.Tensor, crop: schema.Crop, draw: Draw) -> torch.Tensor:
    """Cut a window out; random ones start anywhere they fit, central ones pad what is missing."""
    images = _padded(images, crop.padding, crop.fill, crop.edge)
    height, width = crop.size
    if not crop.random:
        return _center_crop(images, height, width)
    if crop.pad_if_needed:
        high, wide = images.shape[-2:]
        lack_y, lack_x = max(height - high, 0), max(width - wide, 0)
        images = _padded(images, (lack_x, lack_y, lack_x, lack_y), crop.fill, crop.edge)
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
    images = _padded(images, whole, 0, "constant")
    top = round((images.shape[-2] - height) / 2)
    left = round((images.shape[-1] - width) / 2)
    return images[..., top : top + height, left : left + width].contiguous()


def _resize(images: torch.Tensor, size: tuple[int, int], interpolation: str) -> torch.Tensor:
    if interpolation == "nearest":
        sides = torch.tensor(images.shape[-2:], device=images.device)
        rows, columns = (nearest(s[None], n)[0] for s, n in zip(sides, size, strict=True))
        return images[..., rows[:, None], columns]
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
