"""Transforms of albumentations, as recorded calls, become those of the grader. Runs in the box.

Source of names, arguments and defaults: the documentation of albumentations 1.x, and of 2.x where
it renamed them. Borders are filled with black, which on these images is what lies there anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from data import asked
from recorded import Recorded

Json = dict[str, Any]


class NotMapped(Exception):
    """A transform that the grader's own augmentation has no equal for."""


class Albumentations:
    """Maps recorded calls one after the other, keeping track of the size of the images."""

    def __init__(self) -> None:
        self.height = self.width = asked.kind.size

    def map(self, step: Recorded) -> list[Json]:
        """Return what a step becomes. Raises NotMapped."""
        if step.name not in MAPPERS:
            raise NotMapped("the grader has no equivalent for it")
        return MAPPERS[step.name](self, step)

    def _p(self, step: Recorded, default: float) -> float:
        return float(step.options.get("p", default))

    def normalize(self, step: Recorded) -> list[Json]:
        """Subtract and divide, both in units of the largest value."""
        mean = _listed(step.argument("mean", 0, (0.485, 0.456, 0.406)))
        std = _listed(step.argument("std", 1, (0.229, 0.224, 0.225)))
        scale = 255 / float(step.argument("max_pixel_value", 2, 255.0))
        # (x/255 · scale - mean) / std, written with x/255 alone
        mean, std = [m / scale for m in mean], [s / scale for s in std]
        return [{"type": "to_float"}, {"type": "normalize", "mean": mean, "std": std}]

    def to_tensor(self, step: Recorded) -> list[Json]:
        """Do what the old `ToTensor` does, which scales bytes and may normalise."""
        given = step.argument("normalize")
        if not given:
            return [{"type": "to_float"}]
        return self.normalize(Recorded("Normalize", (), dict(given)))

    def container(self, step: Recorded) -> list[Json]:
        """Change the container, not the picture."""
        return []

    def to_float(self, step: Recorded) -> list[Json]:
        """Scale bytes to floats."""
        return [{"type": "to_float"}]

    def rotate(self, step: Recorded) -> list[Json]:
        """Turn about the centre."""
        degrees = _range(step.argument("limit", 0, 90))
        return [{"type": "affine", "degrees": degrees, **_sampled(step), "p": self._p(step, 0.5)}]

    def shift_scale_rotate(self, step: Recorded) -> list[Json]:
        """Shift, scale and turn, each by its own draw."""
        shift = step.argument("shift_limit", 0, 0.0625)
        across = _largest(step.argument("shift_limit_x", default=shift) or shift)
        down = _largest(step.argument("shift_limit_y", default=shift) or shift)
        low, high = _range(step.argument("scale_limit", 1, 0.1))
        return [
            {
                "type": "affine",
                "degrees": _range(step.argument("rotate_limit", 2, 45)),
                "translate": [across, down],
                "scale": [1 + low, 1 + high],
                **_sampled(step),
                "p": self._p(step, 0.5),
            }
        ]

    def affine(self, step: Recorded) -> list[Json]:
        """Do the same with other names; only plain ranges are taken over."""
        given = {"scale", "translate_percent", "rotate", "p", "interpolation"}
        if step.args or set(step.options) - given:
            raise NotMapped(f"only {', '.join(sorted(given))} are supported")
        shift = step.options.get("translate_percent") or 0
        shifts = [shift["x"], shift["y"]] if isinstance(shift, dict) else [shift, shift]
        scale = step.options.get("scale") or 1
        return [
            {
                "type": "affine",
                "degrees": _range(step.options.get("rotate") or 0),
                "translate": [_largest(s) for s in shifts],
                "scale": [float(s) for s in (_pair(scale))],
                **_sampled(step),
                "p": self._p(step, 0.5),
            }
        ]

    def flip(self, step: Recorded) -> list[Json]:
        """Mirror."""
        axis = "horizontal" if step.name == "HorizontalFlip" else "vertical"
        return [{"type": "flip", "axis": axis, "p": self._p(step, 0.5)}]

    def crop(self, step: Recorded) -> list[Json]:
        """Cut a window out, at random or in the centre."""
        height, width = int(step.argument("height", 0)), int(step.argument("width", 1))
        self.height, self.width = height, width
        random = step.name == "RandomCrop"
        return [{"type": "crop", "size": [height, width], "random": random}]

    def pad_if_needed(self, step: Recorded) -> list[Json]:
        """Pad on all sides, up to a smallest size."""
        spare = [
            max(0, int(step.argument("min_height", 0, 1024)) - self.height),
            max(0, int(step.argument("min_width", 1, 1024)) - self.width),
        ]
        self.height, self.width = self.height + spare[0], self.width + spare[1]
        top, left = spare[0] // 2, spare[1] // 2
        return [{"type": "pad", "padding": [left, top, spare[1] - left, spare[0] - top]}]

    def resize(self, step: Recorded) -> list[Json]:
        """Change the size."""
        self.height = int(step.argument("height", 0))
        self.width = int(step.argument("width", 1))
        return [{"type": "resize", "size": [self.height, self.width], **_sampled(step)}]

    def holes(self, step: Recorded) -> list[Json]:
        """Fill rectangles of one size; each hole is drawn by itself."""
        old = step.name == "Cutout"
        count = step.argument("num_holes" if old else "max_holes", 0, 8)
        height = step.argument("max_h_size" if old else "max_height", 1, 8)
        width = step.argument("max_w_size" if old else "max_width", 2, 8)
        if "num_holes_range" in step.options or "hole_height_range" in step.options:  # 2.x
            count = _same(step.argument("num_holes_range", default=(1, 1)))
            height = _same(step.argument("hole_height_range", default=(8, 8)))
            width = _same(step.argument("hole_width_range", default=(8, 8)))
        for name, value in (("holes", count), ("height", height), ("width", width)):
            if step.options.get(f"min_{name}") not in (None, value):
                raise NotMapped("only holes of one number and one size are supported")
        high, wide = self._pixels(height, self.height), self._pixels(width, self.width)
        fill = step.argument("fill_value", 3 if old else None, step.options.get("fill", 0))
        share, ratio = high * wide / (self.height * self.width), high / wide
        hole = {"scale": [share, share], "ratio": [ratio, ratio], "value": _number(fill)}
        return [{"type": "erase", **hole, "p": self._p(step, 0.5)}] * int(count)

    def _pixels(self, length: Any, side: int) -> float:
        """Read a length, which may be given as a fraction of the side."""
        return float(length * side if isinstance(length, float) and length <= 1 else length)

    def jitter(self, step: Recorded) -> list[Json]:
        """Change brightness and contrast; hue and saturation leave a grey image as it is."""
        names = (("brightness", 0), ("contrast", 1))
        pairs = {name: step.argument(name, place, 0.2) for name, place in names}
        ranges = {
            name: [max(0.0, 1 - v), 1 + v] if isinstance(v, (int, float)) else [float(n) for n in v]
            for name, v in pairs.items()
        }
        return [{"type": "jitter", **ranges, "p": self._p(step, 0.5)}]


def _listed(values: Any) -> list[float]:
    return [float(v) for v in (values if hasattr(values, "__iter__") else [values])]


def _pair(value: Any) -> tuple[Any, Any]:
    return (value, value) if isinstance(value, (int, float)) else (value[0], value[1])


def _range(limit: Any) -> list[float]:
    """Read a limit: one number stands for both directions."""
    if isinstance(limit, (int, float)):
        return [-abs(float(limit)), abs(float(limit))]
    return [float(limit[0]), float(limit[1])]


def _largest(limit: Any) -> float:
    low, high = _range(limit)
    if low != -high:
        raise NotMapped("only symmetric shifts are supported")
    return high


def _same(limits: Any) -> Any:
    low, high = _pair(limits)
    if low != high:
        raise NotMapped("only holes of one number and one size are supported")
    return high


def _number(fill: Any) -> float:
    values = set(_listed(fill)) if not isinstance(fill, str) else set()
    if len(values) != 1:
        raise NotMapped("only holes filled with one number are supported")
    return values.pop()


def _sampled(step: Recorded) -> Json:
    """Read cv2's number for an interpolation; a cv2 that is missing has none: the default."""
    mode = step.options.get("interpolation", 1)
    if not isinstance(mode, int):
        return {"interpolation": "bilinear"}
    if mode not in (0, 1):
        raise NotMapped("only nearest and bilinear interpolation are supported")
    return {"interpolation": ("nearest", "bilinear")[mode]}


MAPPERS: dict[str, Callable[[Albumentations, Recorded], list[Json]]] = {
    "Normalize": Albumentations.normalize,
    "ToTensor": Albumentations.to_tensor,
    "ToTensorV2": Albumentations.container,
    "ToFloat": Albumentations.to_float,
    "NoOp": Albumentations.container,
    "ToGray": Albumentations.container,
    "Rotate": Albumentations.rotate,
    "ShiftScaleRotate": Albumentations.shift_scale_rotate,
    "Affine": Albumentations.affine,
    "HorizontalFlip": Albumentations.flip,
    "VerticalFlip": Albumentations.flip,
    "RandomCrop": Albumentations.crop,
    "CenterCrop": Albumentations.crop,
    "PadIfNeeded": Albumentations.pad_if_needed,
    "Resize": Albumentations.resize,
    "CoarseDropout": Albumentations.holes,
    "Cutout": Albumentations.holes,
    "ColorJitter": Albumentations.jitter,
}
