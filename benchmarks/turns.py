"""Times several ways to do the same, each in a process of its own, turn by turn.

Whatever else the machine does hits all of them alike, so that their ratios hold where their
seconds do not. The first turn of each warms up and does not count.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path


@dataclass(frozen=True)
class Turn:
    """Seconds one turn took."""

    wall: float
    cpu: float


Turns = dict[str, list[Turn]]


def take_turns(sides: Mapping[str, Callable[[], Callable[[], None]]], rounds: int) -> Turns:
    """Return what each side's turns took; a side makes, in its process, what a turn then runs."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    processes = []
    for side, make in sides.items():
        pipes[side], theirs = context.Pipe()
        processes.append(context.Process(target=_serve, args=(make, theirs), daemon=True))
        processes[-1].start()
        theirs.close()  # so that the pipe breaks if the process does
        pipes[side].recv()
    taken: Turns = {side: [] for side in sides}
    for _ in range(rounds):
        for side, pipe in pipes.items():
            pipe.send(True)
            taken[side].append(pipe.recv())
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.send(False)
        process.join()
    return taken


def _serve(make: Callable[[], Callable[[], None]], pipe: Connection) -> None:
    turn = make()
    turn()
    pipe.send(None)
    while pipe.recv():
        wall, cpu = time.perf_counter(), time.process_time()
        turn()
        pipe.send(Turn(time.perf_counter() - wall, time.process_time() - cpu))


def ratios(turns: Turns, side: str, of: str, clock: str) -> list[float]:
    """Return how many times longer `side` took than `of`, turn by turn, by "wall" or "cpu"."""
    return [
        getattr(a, clock) / getattr(b, clock) for a, b in zip(turns[side], turns[of], strict=True)
    ]


def spread(values: list[float], digits: int = 2) -> str:
    """Write a median with the smallest and the largest value."""
    return (
        f"{statistics.median(values):.{digits}f} "
        f"({min(values):.{digits}f} to {max(values):.{digits}f})"
    )


def setting() -> str:
    """Say what the figures were taken on."""
    import torch
    import torchvision

    return (
        f"{processor()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"torchvision {torchvision.__version__}, load {os.getloadavg()[0]:.1f}"
    )


def processor() -> str:
    """Return the processor's name where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
