"""Threads that share the pieces of one job; inside a piece PyTorch keeps to one thread.

Work on pieces that fit a core's cache scales better this way than with PyTorch's own threads,
which share every single operation. Results come in the order of the pieces, whoever did them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

_Result = TypeVar("_Result")


class Team:
    """`threads` workers."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        # OpenMP's number of threads belongs to the thread that sets it: others keep theirs.
        self._pool = ThreadPoolExecutor(threads, "piece", torch.set_num_threads, (1,))

    def run(self, work: Callable[[int], _Result], count: int) -> list[_Result]:
        """Return [work(0), …, work(count - 1)], each done by whoever is free."""
        results: dict[int, _Result] = {}
        tickets = itertools.count()

        def take() -> None:
            with torch.no_grad():
                while (index := next(tickets)) < count:
                    results[index] = work(index)

        for future in [self._pool.submit(take) for _ in range(min(self._threads, count))]:
            future.result()
        return [results[index] for index in range(count)]


@cache
def team(threads: int) -> Team:
    """Return the team of so many threads, always the same one."""
    return Team(threads)
