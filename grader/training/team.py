"""Threads that share the pieces of one job, the caller's among them.

The work on a piece is compiled code without Python's lock. Who is late finds nothing left to do:
on a busy machine the caller never waits for a thread to wake up.
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
    """`threads` workers, of which one is whoever calls."""

    def __init__(self, threads: int) -> None:
        self._others = threads - 1
        self._pool = ThreadPoolExecutor(max(self._others, 1), "piece")

    def run(self, work: Callable[[int], _Result], count: int) -> list[_Result]:
        """Return [work(0), …, work(count - 1)], each done by whoever is free."""
        results: dict[int, _Result] = {}
        tickets = itertools.count()

        def take() -> None:
            with torch.no_grad():  # a thread has its own setting
                while (index := next(tickets)) < count:
                    results[index] = work(index)

        helpers = [self._pool.submit(take) for _ in range(min(self._others, count - 1))]
        take()
        for helper in helpers:
            if not helper.cancel():
                helper.result()
        return [results[index] for index in range(count)]


@cache
def team(threads: int) -> Team:
    """Return the team of so many threads, always the same one."""
    return Team(threads)
