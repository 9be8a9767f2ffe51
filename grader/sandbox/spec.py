"""What the launcher is told, and what it finds out on the way."""

from __future__ import annotations

from dataclasses import dataclass, field

from grader.sandbox.view import Step


@dataclass(frozen=True)
class Spec:
    """What to run: `command` with `environment`, allowed to read `reads`, within bounds.

    Bytes for `memory` and `disk`, seconds of CPU for `cpu`, processes and threads for
    `processes`. `report` is an open descriptor.
    """

    command: list[str]
    environment: dict[str, str]
    reads: list[str]
    memory: int
    disk: int
    cpu: float
    processes: int
    report: int


@dataclass
class Situation:
    """What of the box has been built, and what was refused, with the reason.

    `apart`: what the launcher waits for cannot be reached by the command.
    """

    home: str
    outside: dict[str, int]
    steps: list[Step]
    refused: dict[str, str] = field(default_factory=dict)
    namespaced: bool = False
    viewed: bool = False
    reaped: bool = False
    apart: bool = False
