"""Placeholder until the package is merged."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grader.errors import UsageFault


@dataclass(frozen=True)
class Entry:
    key: str
    path: Path


@dataclass(frozen=True)
class Intake:
    entries: list[Entry]


def gather(submissions: Sequence[Path], collection: Path | None, roster: Path | None) -> Intake:
    paths = [
        *submissions,
        *(
            sorted(p for p in collection.iterdir() if not p.name.startswith("."))
            if collection
            else []
        ),
    ]
    if not paths:
        raise UsageFault("nothing is handed in", expected="x", found="y")
    out = []
    seen = set()
    for p in paths:
        key = p.stem if p.stem not in seen else p.name
        seen.add(key)
        out.append(Entry(key, p.absolute()))
    return Intake(out)
