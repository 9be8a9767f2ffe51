"""How many numbers a table holds, whatever its size: what it takes to write it down.

A table made by a formula takes few numbers: one row where all are alike, half where it mirrors
itself, a frequency and two amplitudes for a wave. Weights that somebody trained take all of theirs.
Each rule below says what it writes down and charges every deviation from it by its bits, so that
nothing can be hidden in what a rule leaves open.
"""

from __future__ import annotations

import lzma
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEW = 256
"""Tables of more numbers are kept to `PLACES` bits, so that a formula's rounding tells nothing."""

PLACES = 16
BITS = PLACES  # that count as one number, wherever a table is told by less than its numbers
_RANKS = (1, 2, 3)
_POWERS = 6
_TRIED = 8  # lines: where no rule helps with these, it is not tried on the rest
_HELPS = 0.7  # of what the lines take as they stand
_SLICES = 32  # told one by one
_MANY = 20_000  # for which no formula is looked for
_DEEP = 6  # rules upon rules
_LZMA = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 20}]


def rounded(values: Sequence[float]) -> list[float]:
    """Return numbers as multiples of 2⁻¹⁶ of the largest (of the next power of two)."""
    table = np.asarray(values, dtype=np.float64)
    step = _step(table)
    return [float(value) for value in np.round(table / step) * step]


def _step(table: Floats) -> float:
    _, exponent = math.frexp(float(np.abs(table).max(initial=0.0)))
    return math.ldexp(1.0, max(exponent - PLACES, -1000))


def numbers_in(values: Sequence[float], shape: Sequence[int] | None = None) -> int:
    """Return how many numbers it takes to write down a table, row by row.

    Formulas are looked for in tables of more than `FEW` values, once these are `rounded`: what lies
    below would be hidden from them.
    """
    table = np.asarray(values, dtype=np.float64)
    if shape is not None and math.prod(shape) == table.size:
        table = table.reshape(shape)
    table = table.reshape([n for n in table.shape if n > 1] or [-1])
    step = _step(table)
    plain = table.size <= FEW or table.size > _MANY or bool((table % step).any())
    bits = _as_it_stands(table) if plain else _bits(table, step)
    return math.ceil(bits / BITS)


def order_bits(items: Sequence[object]) -> float:
    """Return the bits that tell in which order some things of a few kinds come."""
    codes: dict[object, int] = {}
    sequence = [codes.setdefault(item, len(codes)) for item in items]
    if len(codes) < 2:
        return 0.0
    _, counts = np.unique(sequence, return_counts=True)
    entropy = float(-(counts * np.log2(counts / len(sequence))).sum())
    return min(entropy, compressed_bits(np.asarray(sequence, dtype="<u4").tobytes()))


def compressed_bits(content: bytes) -> float:
    """Return the bits that some bytes take once compressed."""
    return 8.0 * len(lzma.compress(content, format=lzma.FORMAT_RAW, filters=_LZMA))


def width(value: float) -> int:
    """Return how many numbers of 32 bits one is: more than one where it needs more."""
    if isinstance(value, int) or float(value).is_integer():
        return max(1, -(-abs(int(value)).bit_length() // 32))
    return 1 if float(f"{value:.8g}") == value or float(np.float32(value)) == value else 2


def _as_it_stands(table: Floats) -> float:
    """Write all numbers, or those that differ and their order; 0 and 1 are known."""
    sizes = np.abs(table.ravel())
    different, which = np.unique(sizes, return_inverse=True)
    widths = np.array([width(value) for value in different])
    if len(different) > table.size / 2:
        return float(BITS * widths[which].sum())
    told = BITS * float(widths[~np.isin(different, (0.0, 1.0))].sum())
    signs = order_bits((table.ravel() < 0).tolist())
    return min(BITS * float(widths[which].sum()), told + order_bits(which.tolist()) + signs)


def _bits(table: Floats, step: float, depth: int = 0) -> float:
    """Return the least that any rule takes, or a rule on what another rule leaves."""
    best = _as_it_stands(table)
    if table.size < 9 or depth > _DEEP or best <= 2 * BITS:
        return best
    for axis, length in enumerate(table.shape):
        if length > 1:
            best = min(best, _mirrored(np.moveaxis(table, axis, 0), step, depth))
    if table.ndim > 1:  # two axes read as one: turned by half a turn, or a wave over all places
        joined = np.moveaxis(table.reshape(*table.shape[:-2], -1), -1, 0)
        best = min(best, _mirrored(joined, step, depth), _along(joined, step))
    if table.ndim > 2 and len(table) <= _SLICES:
        best = min(best, _one_by_one(table, step, depth))
    for axis in range(table.ndim):
        best = min(best, _along(np.moveaxis(table, axis, 0), step))
    return min([best, *_products(table, step)])


def _one_by_one(table: Floats, step: float, depth: int) -> float:
    """Write slice after slice; those that are another one turned or mirrored by its number."""
    told, before = 0.0, list[Floats]()
    for each in table:
        turned = [t for other in before for t in _turned(other) if t.shape == each.shape]
        again = min((_deviation(each, other, step) for other in turned), default=math.inf)
        if again < each.size:
            told += again + BITS
        else:
            told += _bits(each, step, depth + 1)
            before.append(each)
    return told


def _turned(table: Floats) -> Iterator[Floats]:
    for one in (table, table.swapaxes(-1, -2)):
        yield from (one, one[..., ::-1], one[..., ::-1, :], one[..., ::-1, ::-1])


def _mirrored(lines: Floats, step: float, depth: int) -> float:
    """Write one slice where all are alike, or half of those that mirror each other."""
    best = math.inf
    alike = _deviation(lines[1:], lines[:1], step)
    if alike < lines.size:
        first = lines[0] if lines.ndim > 1 else lines[:1]
        return alike + _bits(first, step, depth + 1)
    half = (len(lines) + 1) // 2
    for sign in (1, -1):
        deviation = _deviation(lines[half:], sign * lines[: len(lines) - half][::-1], step)
        if deviation < lines.size:
            best = min(best, deviation + _bits(lines[:half], step, depth + 1))
    return best


def _along(lines: Floats, step: float) -> float:
    """Write each different line along an axis as a wave, a power or a polynomial."""
    length = len(lines)
    if length < _POWERS:
        return math.inf
    columns = lines.reshape(length, -1).T
    different, which = np.unique(columns, axis=0, return_inverse=True)
    told = 0.0
    for count, column in enumerate(different, start=1):
        told += min(BITS * length, *(_fitted(column, *basis, step) for basis in _bases(column)))
        if count == _TRIED and told > _HELPS * BITS * length * count:
            return math.inf
    return told + order_bits(which.ravel().tolist())


def _bases(values: Floats) -> Iterator[tuple[Floats, int]]:
    """Yield what a line may be a sum of, and how many numbers say which functions these are."""
    steps = np.arange(len(values)) / len(values)
    for powers in (2, _POWERS):
        yield np.stack([steps**power for power in range(powers)], 1), 0
    past, now = values[:-1], values[1:]
    ratio = float(past @ now) / max(float(past @ past), 1e-300)
    if 0 < ratio < 2:
        yield np.exp(np.log(ratio) * steps * len(values))[:, None], 1
    turn = _frequency(values) * np.arange(len(values))
    yield np.stack([np.cos(turn), np.sin(turn)], 1), 1
    yield np.stack([np.cos(turn), np.sin(turn), np.ones_like(turn)], 1), 1


def _frequency(values: Floats) -> float:
    """Return the angle between steps of a wave, from ever longer strides."""
    angle, stride = math.pi / 2, 1
    while 3 * stride <= len(values):
        middle = values[stride:-stride]
        around = values[2 * stride :] + values[: -2 * stride]
        cosine = float(around @ middle) / max(2 * float(middle @ middle), 1e-300)
        base = math.acos(min(max(cosine, -1.0), 1.0))
        turns = round(angle * stride / (2 * math.pi))
        near = (2 * math.pi * (turns + t) + s * base for t in (-1, 0, 1) for s in (1, -1))
        found = [each / stride for each in near]
        angle = base if stride == 1 else min(found, key=lambda each: abs(each - angle))
        stride *= 2
    return angle


def _fitted(values: Floats, basis: Floats, told: int, step: float) -> float:
    weights = np.linalg.lstsq(basis, values, rcond=None)[0]
    return float(BITS * (told + basis.shape[1])) + _deviation(values, basis @ weights, step)


def _products(table: Floats, step: float) -> Iterator[float]:
    """Write a table as a plane, or as a sum of few products of a column and a row."""
    places = np.indices(table.shape).reshape(table.ndim, -1)
    plane = np.concatenate([places, np.ones((1, table.size))]).T
    yield _fitted(table.ravel(), plane, 0, step)
    for cut in range(1, table.ndim):
        matrix = table.reshape(math.prod(table.shape[:cut]), -1)
        if min(matrix.shape) > 1:
            left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
            for rank in _RANKS:
                made = (left[:, :rank] * sizes[:rank]) @ right[:rank]
                yield BITS * rank * sum(matrix.shape) + _deviation(matrix, made, step)


def _deviation(values: Floats, predicted: Floats, step: float) -> float:
    """Return the bits that lead from predictions to values that are multiples of a step."""
    steps = np.minimum(np.round(np.abs(values - predicted) / step), 2.0**40)
    return float(np.log2(2 * steps + 1).sum())
