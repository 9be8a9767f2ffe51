"""Transforms of torchvision and albumentations become the JSON of `grader.plan.schema`.

Runs in the box.
"""

from __future__ import annotations

import contextlib
import itertools
import types
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torchvision
from albumentation import Albumentations, NotMapped
from data import asked
from recorded import Recorded

Json = dict[str, Any]
_MORE = 8  # pixels by which images are larger that transforms are tried on as well
_TRIES = 8  # for sizes that are random
_CHANCES = 40  # calls, in which a rare change shows
_MOST = 256  # pixels of a side, as grader.plan.schema has it
_MOST_BRANCHES = 64
_MOST_SHUFFLED = 4
_WITH_P = ("affine", "jitter", "blur")
_INTERPOLATIONS = {"nearest": "nearest", "nearest-exact": "nearest", "bilinear": "bilinear"}


def transforms_json(transform: Any, notes: list[str]) -> list[Json]:
    """Map a transform, or a `Compose` of them, in its order.

    What cannot be mapped is left out and named in `notes`. A list that never scales bytes to
    floats (an augmentation without `ToTensor`) does so at its end, or ahead of what normalizes.
    """
    mapped: list[Json] = []
    recorded = Albumentations()
    for step in _flatten(transform):
        try:
            mapped += recorded.map(step) if isinstance(step, Recorded) else _map(step)
        except NotMapped as reason:
            kept = _size_change(step)
            what = "is not applied, but to the size of images" if kept else "is not applied"
            notes.append(f"transform {_name(step)} {what}: {reason}")
            mapped += kept
    mapped = _without_repeats(mapped)
    if not any(_scales(step) for step in mapped):  # whoever normalizes has made floats before
        kinds = [*(step["type"] for step in mapped), "normalize"]
        mapped.insert(kinds.index("normalize"), {"type": "to_float"})
    if not any(step["type"] == "normalize" for step in mapped) and transform is None:
        mean, deviation = asked.kind.normalization
        mapped.append({"type": "normalize", "mean": [mean], "std": [deviation]})
    return mapped


def applied_by(dataset: Any) -> list[tuple[Any, bool]]:
    """Return torchvision's transforms that a data set calls for an item, whatever it names them.

    With each comes whether it was given floats.
    """
    found: list[tuple[Any, bool]] = []
    inside: list[Any] = []

    def noting(call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(thing: Any, *args: Any, **options: Any) -> Any:
            if not type(thing).__module__.startswith("torchvision.transforms"):
                return call(thing, *args, **options)
            if not inside and args:
                floats = isinstance(args[0], torch.Tensor) and args[0].is_floating_point()
                found.append((thing, floats))
            inside.append(thing)
            try:
                return call(thing, *args, **options)
            finally:
                inside.pop()

        return noted

    own = [k for k in vars(torchvision.transforms.transforms).values() if isinstance(k, type)]
    kinds = [torch.nn.Module, *(k for k in own if "__call__" in vars(k))]
    with contextlib.ExitStack() as undone, contextlib.suppress(Exception):  # of its own code
        for kind in kinds:
            call = vars(kind)["__call__"]
            undone.callback(setattr, kind, "__call__", call)
            setattr(kind, "__call__", noting(call))  # noqa: B010 # no name of a type's to mypy
        dataset[0]
    return found


def _without_repeats(steps: list[Json]) -> list[Json]:
    """Leave out steps that give images the channels they have."""
    counts = [asked.kind.channels, *(s["count"] for s in steps if s["type"] == "channels")]
    before = iter(counts)
    return [s for s in steps if s["type"] != "channels" or s["count"] != next(before)]


def _scales(step: Json) -> bool:
    """Tell whether a step makes floats of bytes."""
    branches = step.get("branches") or [{"steps": [step]}]
    return any(inner["type"] == "to_float" for branch in branches for inner in branch["steps"])


def _size_change(step: Any) -> list[Json]:
    """Return what a step without an equal does to the size of images, found out by trying."""
    size = asked.kind.size
    larger = size + _MORE
    tried = [{_size_after(step, side) for _ in range(_TRIES)} for side in (size, larger)]
    if any(len(sizes) > 1 or None in sizes for sizes in tried):
        return []
    small, large = (sizes.pop() for sizes in tried)
    assert small is not None
    assert large is not None
    if small == large:
        return [{"type": "resize", "size": list(small)}]
    more = [side - size for side in small]
    if more != [side - larger for side in large] or min(more) < 0 or max(more) == 0:
        return []
    (top, left), (down, right) = [m // 2 for m in more], [(m + 1) // 2 for m in more]
    return [{"type": "pad", "padding": [left, top, right, down]}]


def _size_after(step: Any, side: int) -> tuple[int, int] | None:
    """Return the height and width that a step makes of a square image; None if that fails."""
    from PIL import Image  # which takes a moment, and few files need

    for image in (Image.new("L", (side, side), 99), torch.full((1, side, side), 0.4)):
        with contextlib.suppress(Exception):  # the submission's own code
            result = step(image)
            size = result.size[::-1] if isinstance(result, Image.Image) else result.shape[-2:]
            height, width = (int(n) for n in size)
            if min(height, width) >= 1 and max(height, width) <= _MOST:
                return height, width
    return None


def _flatten(transform: Any) -> Iterable[Any]:
    """Open what holds other transforms: lists, composes, and functions that wrap one of them."""
    if transform is None:
        return
    if isinstance(transform, (list, tuple)):
        for step in transform:
            yield from _flatten(step)
    elif _name(transform) in ("Compose", "Sequential"):
        yield from _flatten(_steps(transform))
    elif (inner := _wrapped(transform)) is not None:
        yield from _flatten(inner)
    else:
        yield transform


def _steps(transform: Any) -> Any:
    given = getattr(transform, "transforms", None)
    return list(transform) if given is None else list(given)


def _wrapped(transform: Any) -> Any:
    """Return the only transform that a function, or an object of the file's own, works with.

    `lambda image: augment(image=np.array(image))["image"]` is what albumentations asks for.
    """
    if isinstance(transform, Recorded) or _known(transform):
        return None
    held: list[Any] = []
    if isinstance(transform, types.FunctionType):
        names = transform.__code__.co_names
        held += [transform.__globals__[n] for n in names if n in transform.__globals__]
        held += [cell.cell_contents for cell in transform.__closure__ or ()]
        held += [*(transform.__defaults__ or ()), *(transform.__kwdefaults__ or {}).values()]
    else:
        held += vars(transform).values() if hasattr(transform, "__dict__") else []
    found = [h for h in held if isinstance(h, Recorded) or (_known(h) and callable(h))]
    return found[0] if len(found) == 1 and not isinstance(found[0], type) else None


def _known(thing: Any) -> bool:
    """Tell whether it is an object of torchvision's."""
    return type(thing).__module__.startswith("torchvision.transforms")


def _name(step: Any) -> str:
    return step.name if isinstance(step, Recorded) else type(step).__name__


def _map(step: Any) -> list[Json]:
    if not _known(step):
        return _measured(step)
    if _name(step) not in MAPPERS:
        raise NotMapped("the grader has no equivalent for it")
    return MAPPERS[_name(step)](step)


def _pair(value: Any, centre: float | None = None) -> list[float]:
    """Read `(low, high)`, or a single number as a range around `centre` or as a square."""
    if isinstance(value, (int, float)):
        return [float(value), float(value)] if centre is None else [centre - value, centre + value]
    return [float(value[0]), float(value[1])]


def _fill(step: Any) -> float:
    fill = step.fill
    if isinstance(fill, dict):
        fill = next(iter(fill.values()), 0)
    if isinstance(fill, (list, tuple)):
        fill = fill[0] if len(set(fill)) == 1 else _refuse("it fills channels with several values")
    return float(fill or 0)


def _refuse(why: str) -> Any:
    raise NotMapped(why)


def _interpolation(step: Any) -> str:
    mode = getattr(step.interpolation, "value", step.interpolation)
    return _INTERPOLATIONS.get(str(mode)) or _refuse(f"interpolation {mode!r} is not supported")


def _rotation(step: Any) -> list[Json]:
    if step.expand or step.center is not None:
        raise NotMapped("only rotation about the centre without expansion is supported")
    affine = {"type": "affine", "degrees": _pair(step.degrees), "fill": _fill(step)}
    return [{**affine, "interpolation": _interpolation(step)}]


def _affine(step: Any) -> list[Json]:
    if step.center is not None:
        raise NotMapped("only transformations about the centre are supported")
    shear = [float(s) for s in step.shear or (0, 0)]
    low, high = _pair(step.degrees)
    return [
        {
            "type": "affine",
            "degrees": [-high, -low],  # clockwise here, unlike RandomRotation's
            "translate": _pair(step.translate or (0, 0)),
            "scale": _pair(step.scale or (1, 1)),
            "shear_x": shear[:2],
            "shear_y": shear[2:] or [0.0, 0.0],
            "interpolation": _interpolation(step),
            "fill": _fill(step),
        }
    ]


def _perspective(step: Any) -> list[Json]:
    return [
        {
            "type": "perspective",
            "distortion": float(step.distortion_scale),
            "p": float(step.p),
            "interpolation": _interpolation(step),
            "fill": _fill(step),
        }
    ]


def _borders(padding: Any) -> list[int]:
    """Read torchvision's padding as (left, top, right, bottom)."""
    if padding is None:
        return [0, 0, 0, 0]
    if isinstance(padding, int):
        return [padding] * 4
    values = [int(p) for p in padding]
    values = values if len(values) == 4 else values * (4 // len(values))
    if not all(0 <= value <= _MOST for value in values):
        raise NotMapped(f"padding by {values} is not supported")
    return values


def _size(size: Any) -> list[int]:
    values = [size] if isinstance(size, int) else list(size)
    return [_side(v) for v in (values * 2)[:2]]


def _side(value: Any) -> int:
    if not 1 <= int(value) <= _MOST:
        raise NotMapped(f"sizes from 1 to {_MOST} are supported")
    return int(value)


def _random_crop(step: Any) -> list[Json]:
    crop = {"type": "crop", "size": _size(step.size), "padding": _borders(step.padding)}
    return [{**crop, "pad_if_needed": bool(step.pad_if_needed), **_border_kind(step)}]


def _border_kind(step: Any) -> Json:
    """Read what lies beyond an image."""
    edge = str(getattr(step.padding_mode, "value", step.padding_mode))
    return {"fill": _fill(step) if edge == "constant" else 0.0, "edge": edge}


def _center_crop(step: Any) -> list[Json]:
    return [{"type": "crop", "size": _size(step.size), "random": False}]


def _pad(step: Any) -> list[Json]:
    return [{"type": "pad", "padding": _borders(step.padding), **_border_kind(step)}]


def _resize(step: Any) -> list[Json]:
    """One number is the length of the shorter side."""
    if step.size is None or step.max_size is not None:
        raise NotMapped("max_size is not supported")
    values = [step.size] if isinstance(step.size, int) else list(step.size)
    size = [_side(value) for value in values]
    return [{"type": "resize", "size": size, "interpolation": _interpolation(step)}]


def _resized_crop(step: Any) -> list[Json]:
    ranges = {"scale": sorted(_pair(step.scale)), "ratio": sorted(_pair(step.ratio))}
    crop = {"type": "resized_crop", "size": _size(step.size), **ranges}
    return [{**crop, "interpolation": _interpolation(step)}]


def _jitter(step: Any) -> list[Json]:
    """Hue and saturation leave a grey image as it is."""
    ranges = {k: _pair(v) for k in ("brightness", "contrast") if (v := getattr(step, k))}
    return [{"type": "jitter", **ranges}]


def _erase(step: Any) -> list[Json]:
    value = step.value[0] if isinstance(step.value, (list, tuple)) else step.value
    if not isinstance(value, (int, float)):
        raise NotMapped("only erasing with a number is supported")
    ranges = {"scale": _pair(step.scale), "ratio": _pair(step.ratio)}
    return [{"type": "erase", "p": float(step.p), "value": float(value), **ranges}]


def _blur(step: Any) -> list[Json]:
    return [{"type": "blur", "kernel": _size(step.kernel_size), "sigma": _pair(step.sigma)}]


def _normalize(step: Any) -> list[Json]:
    def listed(values: Any) -> list[float]:
        return [float(v) for v in (values if hasattr(values, "__iter__") else [values])]

    if not min(listed(step.std)) > 0:
        raise NotMapped("its standard deviation is not above 0")
    return [{"type": "normalize", "mean": listed(step.mean), "std": listed(step.std)}]


def _to_dtype(step: Any) -> list[Json]:
    """`ToDtype(float32, scale=True)` scales bytes; without `scale` values stay 0…255."""
    if not step.scale:
        raise NotMapped("only ToDtype(torch.float32, scale=True) is supported")
    return [{"type": "to_float"}]


def _with_probability(step: Any) -> list[Json]:
    inner = _inner(step.transforms)
    if len(inner) == 1 and inner[0]["type"] in _WITH_P and "p" not in inner[0]:
        return [{**inner[0], "p": float(step.p)}]
    return choice([(float(step.p), inner), (1 - float(step.p), [])])


def _one_of(step: Any) -> list[Json]:
    weights = [float(p) for p in step.p or [1.0] * len(step.transforms)]
    total = sum(weights)
    return choice([(w / total, _inner(t)) for w, t in zip(weights, step.transforms, strict=True)])


def _in_any_order(step: Any) -> list[Json]:
    parts = [_inner(t) for t in step.transforms]
    if len(parts) > _MOST_SHUFFLED:
        raise NotMapped(f"only RandomOrder of at most {_MOST_SHUFFLED} transforms is supported")
    orders = list(itertools.permutations(parts))
    return choice([(1 / len(orders), [s for part in order for s in part]) for order in orders])


def _inner(transforms: Any) -> list[Json]:
    return [mapped for step in _flatten(transforms) for mapped in _map(step)]


def choice(ways: list[tuple[float, list[Json]]]) -> list[Json]:
    """Return the choice of one of several lists, each with its probability.

    Choices in these lists are multiplied out.
    """
    found = [(p * q, steps) for p, way in ways for q, steps in _multiplied_out(way) if p * q]
    if len(found) > _MOST_BRANCHES:
        raise NotMapped(f"more than {_MOST_BRANCHES} different results of chance")
    if len(found) == 1:
        return found[0][1]
    return [{"type": "choice", "branches": [{"p": p, "steps": steps} for p, steps in found]}]


def _multiplied_out(steps: list[Json]) -> list[tuple[float, list[Json]]]:
    ways: list[tuple[float, list[Json]]] = [(1.0, [])]
    for step in steps:
        branches = step.get("branches") or [{"p": 1.0, "steps": [step]}]
        ways = [(p * b["p"], [*done, *b["steps"]]) for p, done in ways for b in branches]
        if len(ways) > _MOST_BRANCHES:
            raise NotMapped(f"more than {_MOST_BRANCHES} different results of chance")
    return ways


def _measured(function: Any) -> list[Json]:
    """Find out what a function of the file's own does to an image: repeat it, scale it, nothing.

    Raises NotMapped for anything else.
    """
    if not callable(function):
        raise NotMapped(f"it is not one of torchvision's ({type(function).__module__})")
    shape = (1, asked.kind.size, asked.kind.size)
    low, high = torch.rand(shape), torch.rand(shape) + 1
    try:
        first, second = function(low.clone()), function(high.clone())
        again = [function(low.clone()) for _ in range(_CHANCES)]
    except Exception as error:  # the submission's own code
        raise NotMapped(f"the grader has no equivalent for it ({type(error).__name__})") from None
    tensors = all(isinstance(each, torch.Tensor) for each in (first, second, *again))
    if not tensors or not all(torch.equal(first, each) for each in again):
        raise NotMapped("the grader has no equivalent for it")
    return _as_scaling(low, high, first, second)


def _as_scaling(low: Any, high: Any, first: Any, second: Any) -> list[Json]:
    mapped: list[Json] = []
    if first.numel() == low.numel():
        first, second = first.reshape(low.shape), second.reshape(low.shape)
    elif first.dim() == 3 and first.shape[1:] == low.shape[1:] and first.shape[0] <= 4:
        mapped.append({"type": "channels", "count": int(first.shape[0])})
        if not (torch.equal(first, first[:1].expand_as(first))):
            raise NotMapped("the grader has no equivalent for it")
        first, second = first[:1], second[:1]
    if first.shape != low.shape or not first.is_floating_point():
        raise NotMapped("the grader has no equivalent for it")
    slope = float((second.mean() - first.mean()) / (high.mean() - low.mean()))
    offset = float(first.mean() - slope * low.mean())
    close = torch.allclose(first, slope * low + offset, atol=1e-4)
    if not close or not torch.allclose(second, slope * high + offset, atol=1e-4) or slope <= 0:
        raise NotMapped("the grader has no equivalent for it")
    if abs(slope - 1) < 1e-4 and abs(offset) < 1e-4:
        return mapped
    return [*mapped, {"type": "normalize", "mean": [-offset / slope], "std": [1 / slope]}]


def _lambda(step: Any) -> list[Json]:
    return _measured(step.lambd)


def _constant(**mapped: Any) -> Callable[[Any], list[Json]]:
    return lambda step: [mapped]


def _flip(axis: str) -> Callable[[Any], list[Json]]:
    return lambda step: [{"type": "flip", "axis": axis, "p": float(step.p)}]


MAPPERS: dict[str, Callable[[Any], list[Json]]] = {
    "RandomRotation": _rotation,
    "RandomAffine": _affine,
    "RandomPerspective": _perspective,
    "RandomCrop": _random_crop,
    "CenterCrop": _center_crop,
    "Pad": _pad,
    "Resize": _resize,
    "RandomHorizontalFlip": _flip("horizontal"),
    "RandomVerticalFlip": _flip("vertical"),
    "ColorJitter": _jitter,
    "RandomErasing": _erase,
    "GaussianBlur": _blur,
    "Grayscale": lambda step: [{"type": "channels", "count": int(step.num_output_channels)}],
    "ToTensor": _constant(type="to_float"),
    "ConvertImageDtype": _constant(type="to_float"),
    "ToDtype": _to_dtype,
    "Normalize": _normalize,
    "RandomApply": _with_probability,
    "RandomChoice": _one_of,
    "RandomOrder": _in_any_order,
    "RandomResizedCrop": _resized_crop,
    "Lambda": _lambda,
    # These change the container, or colours that a grey picture does not have.
    "ToPILImage": lambda step: [],
    "PILToTensor": lambda step: [],
    "ToImage": lambda step: [],
    "ToPureTensor": lambda step: [],
    "Identity": lambda step: [],
    "RandomGrayscale": lambda step: [],
    "RandomChannelPermutation": lambda step: [],
    "ClampBoundingBoxes": lambda step: [],
    "ClampKeyPoints": lambda step: [],
    "ConvertBoundingBoxFormat": lambda step: [],
    "SanitizeBoundingBoxes": lambda step: [],
    "SanitizeKeyPoints": lambda step: [],
    "RGB": lambda step: [{"type": "channels", "count": 3}],
}
