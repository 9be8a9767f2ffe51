"""Warps and windows of a batch, every image with its own, as Pillow computes them.

torchvision hands PIL images to Pillow, so the pixels here follow Pillow (`Geometry.c`): an output
pixel takes its value from where the map sends its centre; affine maps with nearest-neighbour
sampling are worked out in 16.16 fixed point, which integers reproduce bit for bit.
"""

from __future__ import annotations

import math

import torch

from grader.plan import schema
from grader.plan.schema import Interpolation
from grader.training.draw import Draw

_ONE = 1 << 16  # 1.0 in 16.16 fixed point
_FARTHEST = 1 << 29  # keeps sums of three products within 32 bits; 8,192 pixels away


def affine(images: torch.Tensor, transform: schema.Affine, draw: Draw) -> torch.Tensor:
    """Rotate, shift, scale and shear images [B, C, H, W], one draw of parameters an image."""
    count, (height, width) = len(images), images.shape[-2:]
    matrices = inverse_affine(
        draw.uniform(count, *transform.degrees),
        torch.stack(
            [
                draw.uniform(count, -fraction * size, fraction * size).round()
                for fraction, size in zip(transform.translate, (width, height), strict=True)
            ]
        ),
        draw.uniform(count, *transform.scale),
        torch.stack(
            [draw.uniform(count, *transform.shear_x), draw.uniform(count, *transform.shear_y)]
        ),
        (height, width),
    )
    return warp_affine(images, matrices, transform.interpolation, transform.fill)


def inverse_affine(
    degrees: torch.Tensor,
    shift: torch.Tensor,
    scale: torch.Tensor,
    shear: torch.Tensor,
    size: tuple[int, int],
) -> torch.Tensor:
    """Return [B, 6], float64: the maps from output to input pixels, row by row.

    `degrees` [B] turn counter-clockwise about the centre; `shift` [2, B] is in pixels along x and
    y; `shear` [2, B] is in degrees. The formula is the inverse of torchvision's
    T(shift) C R S Shear C⁻¹ (`torchvision.transforms.functional._get_inverse_affine_matrix`),
    whose angles turn clockwise.
    """
    angle, (shear_x, shear_y) = torch.deg2rad(-degrees), torch.deg2rad(shear)
    turned = angle - shear_y
    a = turned.cos() / shear_y.cos()
    b = -turned.cos() * shear_x.tan() / shear_y.cos() - angle.sin()
    c = turned.sin() / shear_y.cos()
    d = -turned.sin() * shear_x.tan() / shear_y.cos() + angle.cos()
    xx, xy, yx, yy = (value / scale for value in (d, -b, -c, a))
    center_y, center_x = (side / 2 for side in size)
    from_x, from_y = -center_x - shift[0], -center_y - shift[1]
    return torch.stack(
        [
            xx, xy, xx * from_x + xy * from_y + center_x,
            yx, yy, yx * from_x + yy * from_y + center_y,
        ],
        dim=1,
    )  # fmt: skip


def warp_affine(
    images: torch.Tensor, matrices: torch.Tensor, interpolation: Interpolation, fill: float
) -> torch.Tensor:
    """Sample images [B, C, H, W] through `matrices` [B, 6] from `inverse_affine`."""
    if interpolation == "nearest":
        return _gather(images, *_fixed_point(matrices, images), fill)
    return _bilinear(images, *_positions(matrices, images), fill)


def _fixed_point(matrices: torch.Tensor, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the source column and row [B, H, W] of every pixel, int32."""
    xx, xy, x0, yx, yy, y0 = matrices.unbind(1)
    first_x, first_y = x0 + xx / 2 + xy / 2, y0 + yx / 2 + yy / 2
    exact = torch.stack([xx, xy, first_x, yx, yy, first_y])
    fixed = (exact * _ONE + 0.5).floor().clamp(-_FARTHEST, _FARTHEST).to(torch.int32)
    height, width = images.shape[-2:]
    row = torch.arange(height, dtype=torch.int32, device=images.device)[:, None]
    column = torch.arange(width, dtype=torch.int32, device=images.device)
    steps = fixed[:, :, None, None]
    along = [steps[i + 2] + steps[i + 1] * row for i in (0, 3)]
    return (
        (along[0] + steps[0] * column).bitwise_right_shift_(16),
        (along[1] + steps[3] * column).bitwise_right_shift_(16),
    )


def _positions(matrices: torch.Tensor, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where the centre of every pixel comes from, x and y [B, H, W]."""
    height, width = images.shape[-2:]
    row = torch.arange(height, device=images.device, dtype=torch.float64)[:, None] + 0.5
    column = torch.arange(width, device=images.device, dtype=torch.float64) + 0.5
    m = matrices.T[:, :, None, None]
    x = m[0] * column + m[1] * row + m[2]
    y = m[3] * column + m[4] * row + m[5]
    if len(m) == 8:
        scale = m[6] * column + m[7] * row + 1
        return x / scale, y / scale
    return x, y


def _gather(
    images: torch.Tensor, column: torch.Tensor, row: torch.Tensor, fill: float
) -> torch.Tensor:
    """Take the pixel at (row, column) [B, H, W] of every channel, or `fill` outside the image."""
    count, channels, height, width = images.shape
    outside = (column < 0) | (column >= width) | (row < 0) | (row >= height)
    index = (row * width + column).masked_fill_(outside, 0).to(torch.int64)
    flat = index.view(count, 1, height * width).expand(-1, channels, -1)
    taken = images.flatten(2).gather(2, flat).view_as(images)
    return taken.masked_fill_(outside[:, None], fill)


def _bilinear(images: torch.Tensor, x: torch.Tensor, y: torch.Tensor, fill: float) -> torch.Tensor:
    """Blend the four pixels around (x, y): the border's repeat, and `fill` lies beyond them."""
    count, channels, height, width = images.shape
    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    x, y = x - 0.5, y - 0.5
    left, top = x.floor(), y.floor()
    along, down = (x - left)[:, None], (y - top)[:, None]
    columns = [(left + i).clamp(0, width - 1) for i in (0, 1)]
    rows = [(top + i).clamp(0, height - 1) for i in (0, 1)]
    flat = images.flatten(2)
    corner = [
        flat.gather(
            2, (r * width + c).to(torch.int64).view(count, 1, -1).expand(-1, channels, -1)
        ).view_as(images).to(torch.float64)
        for r in rows
        for c in columns
    ]  # fmt: skip
    above = torch.lerp(corner[0], corner[1], along)
    below = torch.lerp(corner[2], corner[3], along)
    blended = torch.lerp(above, below, down).masked_fill_(outside[:, None], fill)
    return blended.to(images.dtype)


def perspective(images: torch.Tensor, transform: schema.Perspective, draw: Draw) -> torch.Tensor:
    """Pull the corners of images [B, C, H, W] inwards, one draw an image."""
    height, width = images.shape[-2:]
    corners = draw_corners(len(images), height, width, transform.distortion, draw)
    matrices = perspective_maps(corners, height, width)
    x, y = _positions(matrices, images)
    if transform.interpolation == "nearest":
        column, row = (place.floor().clamp(-1, 512).to(torch.int32) for place in (x, y))
        return _gather(images, column, row, transform.fill)
    return _bilinear(images, x, y, transform.fill)


def draw_corners(
    count: int, height: int, width: int, distortion: float, draw: Draw
) -> torch.Tensor:
    """Return [B, 4, 2]: where the corners land, clockwise from top left, as torchvision draws."""
    across, down = int(distortion * (width // 2)), int(distortion * (height // 2))
    left, right = (0, across + 1), (width - across - 1, width)
    top, bottom = (0, down + 1), (height - down - 1, height)
    sides = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return torch.stack(
        [torch.stack([draw.integers(count, *x), draw.integers(count, *y)], 1) for x, y in sides], 1
    )


def perspective_maps(corners: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return [B, 8], float64: the maps that send `corners` [B, 4, 2] to the image's own corners."""
    right, bottom = width - 1.0, height - 1.0
    own = corners.new_tensor(
        [[0, 0], [right, 0], [right, bottom], [0, bottom]], dtype=torch.float64
    ).expand(len(corners), 4, 2)
    from_ = corners.to(torch.float64)
    homogeneous = torch.cat([from_, torch.ones_like(from_[..., :1])], 2)  # x, y, 1
    zeros = torch.zeros_like(homogeneous)
    rows = [
        torch.cat([*parts, -own[..., axis, None] * from_], 2)
        for axis, parts in enumerate([(homogeneous, zeros), (zeros, homogeneous)])
    ]
    target = torch.cat([own[..., 0], own[..., 1]], 1)
    solution: torch.Tensor = torch.linalg.solve(torch.cat(rows, 1), target)
    return solution


def resized_crop(images: torch.Tensor, step: schema.ResizedCrop, draw: Draw) -> torch.Tensor:
    """Resize a window of each image [B, C, H, W] to `step.size`, one draw of a window an image."""
    height, width = images.shape[-2:]
    top, left, high, wide = draw_windows(len(images), height, width, step, draw)
    rows = _weights(top, high, height, step.size[0], step.interpolation)
    columns = _weights(left, wide, width, step.size[1], step.interpolation)
    across = torch.matmul(images.to(torch.float32), columns.transpose(1, 2)[:, None])
    if images.dtype == torch.uint8:
        across = across.round_()  # Pillow keeps bytes between its two passes
    both = torch.matmul(rows[:, None], across)
    return both.round_().to(torch.uint8) if images.dtype == torch.uint8 else both


def draw_windows(
    count: int, height: int, width: int, step: schema.ResizedCrop, draw: Draw
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return top, left, height and width [B] of windows, float64, as torchvision draws them.

    That is the first of ten draws that fits, or else the largest central window of the nearest
    ratio.
    """
    tries, (lowest, highest) = 10, step.ratio
    area = height * width * draw.uniform(count * tries, *step.scale)
    ratio = draw.uniform(count * tries, math.log(lowest), math.log(highest)).exp()
    wide, high = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = ((wide > 0) & (wide <= width) & (high > 0) & (high <= height)).view(count, tries)
    first = torch.arange(count, device=area.device) * tries + fits.int().argmax(1)
    wide, high, fitting = wide[first], high[first], fits.any(1)
    top = (draw.uniform(count, 0, 1) * (height - high + 1)).floor()
    left = (draw.uniform(count, 0, 1) * (width - wide + 1)).floor()
    central = (min(height, round(width / lowest)), min(width, round(height * highest)))
    whole = [torch.full_like(top, side) for side in central]
    high, wide = torch.where(fitting, high, whole[0]), torch.where(fitting, wide, whole[1])
    middle = [((side - own) / 2).floor() for side, own in ((height, high), (width, wide))]
    return torch.where(fitting, top, middle[0]), torch.where(fitting, left, middle[1]), high, wide


def _weights(
    start: torch.Tensor, length: torch.Tensor, side: int, size: int, interpolation: Interpolation
) -> torch.Tensor:
    """Return [B, size, side]: what each pixel of a side counts in each of a window's new ones."""
    own = torch.arange(side, device=start.device) - start[:, None, None]
    if interpolation == "nearest":
        return (own == nearest(length, size)[:, :, None]).to(torch.float32)
    scale = (length / size)[:, None, None]
    centre = (torch.arange(size, device=start.device)[:, None] + 0.5) * scale
    away = (own + 0.5 - centre).abs() / scale.clamp(min=1)
    within = (own >= 0) & (own < length[:, None, None])
    weights = (1 - away).clamp(min=0) * within
    return (weights / weights.sum(2, keepdim=True)).to(torch.float32)


def nearest(length: torch.Tensor, size: int) -> torch.Tensor:
    """Return [B, size]: which pixel of a side of `length` [B] stands for each of the new ones.

    Centres are summed up one by one, as Pillow does: where one meets a border, rounding decides.
    """
    steps = (length.to(torch.float64) / size)[:, None].repeat(1, size)
    steps[:, 0] /= 2
    return steps.cumsum(1).floor().to(torch.int64)
