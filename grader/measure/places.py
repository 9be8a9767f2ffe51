"""Which dimensions of a value are places of the image: what looks elsewhere along them.

A band of the image is changed, and every value is looked at: how strongly does each of its numbers
answer? From all bands follows where a number looks, as the centre of what it answers to. Along a
dimension of places that centre wanders, along channels or what a linear layer made it does not,
but for chance, which other weights show.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import torch

from grader.measure.laboratory import Draw, Laboratory
from grader.measure.running import differs, parts

_BANDS = 4  # horizontal, and as many vertical ones
_ROUNDING = 1e-12  # of a value, which is no answer
_WEIGHTS = range(6)  # choices of weights, numbered as draws
_LEAST_WAY = 0.1  # bands between the outermost centres
_CERTAIN = 4  # standard errors by which centres must differ; 30 and more are usual, chance makes 1
_FAR, _SMOOTH, _LONG = 0.3, 0.3, 7
"""Where every choice of weights turns the image anew: centres of at least so many places that lie
so many bands apart, by steps that are small beside the whole way, for half of the choices or more.
"""


Places = dict[str, tuple[int, ...]]
"""For each value, by its node's name, the dimensions that are places."""


def places_of(laboratory: Laboratory, mode: str) -> Places:
    """Find the places of every value of a graph."""
    centres: dict[str, list[torch.Tensor]] = defaultdict(list)  # [4, …] for each choice of weights
    for index in _WEIGHTS:
        for name, centre in _centres(laboratory, mode, laboratory.draw(index)):
            centres[name].append(centre)
    return {name: _wandering(torch.stack(found)) for name, found in centres.items()}


def _centres(laboratory: Laboratory, mode: str, draw: Draw) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield for each value the bands [row, column, row, column] its numbers look at.

    By how strongly they answer, and, where one band drowns all others, with the same say for each.
    NaN for nowhere.
    """
    usual, *runs = _runs(laboratory, mode, draw)
    sums = {name: torch.zeros(4, 2, *value.shape) for name, value in usual.items()}
    for number, run in enumerate(runs):
        axis, band = divmod(number, _BANDS)
        for name, value in run.items():
            if value.shape == usual[name].shape:
                answer = (value - usual[name]).abs().nan_to_num(0, 0, 0)
                mean, least = answer.mean(), _ROUNDING * usual[name].abs().mean()
                if mean > least:
                    both = torch.stack([answer, answer / mean]).float()
                    sums[name][axis::2, 0] += both
                    sums[name][axis::2, 1] += both * band
    for name, whole in sums.items():
        yield name, whole[:, 1] / whole[:, 0]


def _runs(laboratory: Laboratory, mode: str, draw: Draw) -> list[dict[str, torch.Tensor]]:
    """Return the values for two images, and for these with each band changed.

    All at once, where images neither mix nor stand anywhere but in the first dimension, and the
    same images have the same values wherever they stand: noise would be another one there.
    """
    few = draw.images[:2]
    changed = [_changed(few, axis, band, draw.seed) for axis in (0, 1) for band in range(_BANDS)]
    batches = [few, few, *changed]

    def numbers(images: torch.Tensor) -> dict[str, torch.Tensor]:
        return _numbers(laboratory, mode, laboratory.with_images(draw, images))

    usual, whole = numbers(few), numbers(torch.cat(batches))
    count = len(batches)
    if all(
        name in whole
        and len(whole[name]) == count * len(value)
        and not any(differs(piece, value) for piece in whole[name].chunk(count)[:2])
        for name, value in usual.items()
        if name in laboratory.of_images(mode)
    ):
        alike = [n for n in usual if n in whole and len(whole[n]) % count == 0]
        pieces = {name: whole[name].chunk(count) for name in alike}
        return [usual, *({n: pieces[n][i] for n in alike} for i in range(2, count))]
    return [usual, *map(numbers, changed)]


def _numbers(laboratory: Laboratory, mode: str, draw: Draw) -> dict[str, torch.Tensor]:
    """Return the values of a run that have dimensions and can answer to a small change."""
    first = {n: next(parts(v), None) for n, v in laboratory.values(mode, draw).items()}
    return {n: v for n, v in first.items() if v is not None and v.dim() and v.is_floating_point()}


def _changed(images: torch.Tensor, axis: int, band: int, seed: int) -> torch.Tensor:
    """Put noise over one band of images [B, C, H, W]."""
    changed = images.clone()
    size = changed.shape[2 + axis]
    part = changed.narrow(2 + axis, band * size // _BANDS, max(size // _BANDS, 1))
    noise = torch.randn(part.shape, generator=torch.Generator().manual_seed(seed + band))
    part.add_(noise.to(part.dtype) * (images.std() or 1.0))
    return changed


def _wandering(centres: torch.Tensor) -> tuple[int, ...]:
    """Return the dimensions along which centres [weights, 4, …] wander."""
    dims = range(2, centres.dim())
    return tuple(dim - 2 for dim in dims if centres.shape[dim] > 1 and _wanders(centres, dim))


def _wanders(centres: torch.Tensor, dim: int) -> bool:
    """Tell whether centres differ along a dimension for all weights, or change step by step."""
    others = [d for d in range(2, centres.dim()) if d != dim]
    along = centres.nanmean(others) if others else centres  # [weights, 2, length]
    mean = along.nanmean(0)
    seen = along.isnan().logical_not().sum(0)
    error = ((along - mean) ** 2).nanmean(0) / (seen - 1).clamp(min=1)
    certain = _spread(mean) > (_CERTAIN * (1 + 2 / mean.shape[1])) ** 2 * error.nanmean(1)
    steps = (along.diff(dim=2) ** 2).nanmean(2)
    smooth = (steps < _SMOOTH * _spread(along)) & (_way(along) > _FAR)
    told = (_spread(along) > 0).any(1)
    turned = mean.shape[1] >= _LONG and 2 * int(smooth.any(1)[told].sum()) >= max(
        int(told.sum()), 1
    )
    return turned or bool(((_way(mean) > _LEAST_WAY) & certain).any())


def _spread(along: torch.Tensor) -> torch.Tensor:
    return ((along - along.nanmean(-1, keepdim=True)) ** 2).nanmean(-1)


def _way(along: torch.Tensor) -> torch.Tensor:
    return along.nan_to_num(-1e9).amax(-1) - along.nan_to_num(1e9).amin(-1)
