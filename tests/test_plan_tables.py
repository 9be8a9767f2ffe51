"""How many numbers a table takes: few by a formula, all where nothing tells them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.plan.tables import FEW, numbers_in, order_bits, rounded

_MADE = torch.Generator().manual_seed(0)


def _encoding(places: int, width: int) -> torch.Tensor:
    table = torch.zeros(places, width)
    place = torch.arange(places).float()[:, None]
    turn = torch.exp(torch.arange(0, width, 2).float() * (-math.log(10000.0) / width))
    table[:, 0::2], table[:, 1::2] = torch.sin(place * turn), torch.cos(place * turn)
    return table


def _grid() -> tuple[torch.Tensor, ...]:
    return torch.meshgrid(torch.linspace(-1, 1, 28), torch.linspace(-1, 1, 28), indexing="ij")


def _distance() -> torch.Tensor:
    y, x = _grid()
    return x**2 + y**2


def _gabor(count: int, size: int) -> torch.Tensor:
    line = torch.arange(size) - size // 2
    y, x = torch.meshgrid(line.float(), line.float(), indexing="ij")
    kernels = []
    for angle in (math.pi * i / count for i in range(count)):
        along, across = (
            x * math.cos(angle) + y * math.sin(angle),
            y * math.cos(angle) - x * math.sin(angle),
        )
        kernels.append(torch.exp(-(along**2 + 0.25 * across**2) / 8) * torch.cos(1.5 * along))
    return torch.stack(kernels)[:, None]


def _cosines(size: int) -> torch.Tensor:
    place = torch.arange(size).float()
    return torch.cos(math.pi * (place[None] + 0.5) * place[:, None] / size)


FORMULAS: dict[str, Callable[[], torch.Tensor]] = {
    "an encoding of places": lambda: _encoding(49, 16),
    "an encoding of many places": lambda: _encoding(196, 32),
    "an encoding of all pixels": lambda: _encoding(784, 16).t().reshape(1, 16, 28, 28),
    "coordinates": lambda: torch.stack(_grid()),
    "a distance from the middle": lambda: _distance().sqrt(),
    "a Gaussian window": lambda: torch.exp(-2 * _distance()),
    "a disc": lambda: 1.0 * (_distance() < 0.8),
    "Gabor kernels": lambda: _gabor(8, 7),
    "large Gabor kernels": lambda: _gabor(8, 11),
    "cosines": lambda: _cosines(28),
    "a causal mask": lambda: torch.tril(torch.ones(49, 49)),
    "ones on the diagonal": lambda: torch.eye(100),
    "relative places": lambda: torch.arange(49)[:, None] - torch.arange(49)[None],
    "whole numbers in order": lambda: torch.arange(1000),
}

LEARNED: dict[str, Callable[[], torch.Tensor]] = {
    "numbers by chance": lambda: torch.randn(20, 20, generator=_MADE),
    "three values by chance": lambda: torch.randint(-1, 2, (64, 64), generator=_MADE),
    "numbers between -20 and 20": lambda: torch.randint(-20, 21, (50, 50), generator=_MADE),
    "digits by chance": lambda: torch.randint(0, 10, (2_000,), generator=_MADE),
}


def numbers(table: torch.Tensor) -> int:
    """Count what a table holds, kept to as many digits as the grader keeps."""
    values = table.flatten().tolist()
    return numbers_in(rounded(values) if len(values) > FEW else values, table.shape)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_table_made_by_a_formula_takes_few_numbers(name: str) -> None:
    """Fixed filters, masks and encodings stay far below the limit of 256."""
    assert numbers(FORMULAS[name]()) < 160


@pytest.mark.parametrize("name", LEARNED)
def test_a_table_that_nothing_tells_takes_its_numbers(name: str) -> None:
    """Neither few digits nor few different values make knowledge cheap."""
    assert numbers(LEARNED[name]()) > FEW


def test_a_small_table_takes_at_most_its_numbers() -> None:
    """A kernel of nine numbers is nine numbers, or fewer where some are the same."""
    assert numbers_in([0.1, 0.7, 0.3, 0.4, 0.2]) == 5
    assert numbers_in([0.0, -1, 0, -1, 5, -1, 0, -1, 0]) <= 4
    assert numbers_in([1.0] * 9) == 0


def test_a_long_number_is_more_than_one() -> None:
    """A number that takes more than 32 bits counts by what it takes."""
    assert numbers_in([float(2**50 + 1)]) == 2


@given(st.lists(st.floats(-1e6, 1e6), max_size=400))
@settings(max_examples=30)
def test_what_is_kept_of_a_table_is_near_it(values: list[float]) -> None:
    """Rounding moves no number by more than a 65,000th of the largest."""
    kept = rounded(values)

    largest = max(map(abs, values), default=0.0)
    assert all(
        abs(one - other) <= largest / 2**15 + 1e-290
        for one, other in zip(values, kept, strict=True)
    )


@given(st.lists(st.integers(0, 3), min_size=1, max_size=200))
@settings(max_examples=30)
def test_an_order_takes_no_more_than_naming_each(items: list[int]) -> None:
    """Four kinds of things take two bits each, at most."""
    assert 0 <= order_bits(items) <= 2 * len(items)
