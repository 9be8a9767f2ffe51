"""What a command in the box may read: a list of files and folders, and how to show just those.

The interpreter that runs this module decides: its standard library, its packages (those a `.pth`
file adds too), the system's shared libraries, what the processors are, and what the caller asks for
by name. The grader's
own package is hidden wherever it is installed, because the test labels are in it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PACKAGE = str(Path(__file__).resolve().parent.parent)
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
_PROCESSORS = (
    "/proc/cpuinfo",
    "/sys/devices/system/cpu",
)  # PyTorch and OpenMP ask what they run on
_ZONES = ("/usr/share/zoneinfo", "/etc/localtime")
_PACKAGES = ("site-packages", "dist-packages")
_MOST_STEPS = 1000  # from folder to folder, before a path is taken for a loop of links


@dataclass(frozen=True)
class Step:
    """One step of building a view: a link, something bound read-only, or an empty folder."""

    do: Literal["link", "bind", "hide"]
    path: str
    target: str = ""


def of_interpreter(library_path: str = "") -> list[str]:
    """Return what this interpreter needs to run and to import; `library_path` as the loader's."""
    roots = [*_LIBRARIES, *_PROCESSORS, *_ZONES, sys.executable]
    for prefix in {sys.prefix, sys.base_prefix}:
        roots += [f"{prefix}/{name}" for name in ("lib", "lib64", "pyvenv.cfg")]
    roots += [path for path in sys.path if _is_packages(path)]
    roots += [p for p in library_path.split(":") if p.startswith("/") and not _within(PACKAGE, p)]
    return [root for root in roots if os.path.lexists(root)]


def _is_packages(path: str) -> bool:
    """Tell whether a place of imports holds no more than packages; a project's folder does."""
    return Path(path).name in _PACKAGES or not _within(PACKAGE, str(Path(path).resolve()))


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def plan(roots: Iterable[str], asked: Collection[str]) -> list[Step]:
    """Return the steps that show `roots` without the grader, and then what is `asked` for.

    Every path keeps its name: where it leads through links, the links are shown too.
    """
    steps = _shown(roots)
    if any(step.do == "bind" and _within(PACKAGE, step.path) for step in steps):
        steps.append(Step("hide", PACKAGE))
        own = [path for path in asked if _within(path, PACKAGE)]
        return [*steps, *_shown(own), *_shown(set(asked) - set(own), steps)]
    return [*steps, *_shown(asked, steps)]


def _shown(paths: Iterable[str], before: Iterable[Step] = ()) -> list[Step]:
    """Return the steps that show paths, folders before what is in them, nothing twice."""
    links: dict[str, str] = {}
    places = {place for path in paths if (place := _followed(path, links))}
    seen = {step.path for step in before}
    bound: list[str] = [step.path for step in before if step.do == "bind"]
    for place in sorted(places, key=lambda path: path.count("/")):
        if not any(_within(place, folder) for folder in bound):
            bound.append(place)
    steps = [Step("bind", place) for place in bound if place not in seen]
    shown = [link for link in links if not any(_within(link, folder) for folder in bound)]
    return steps + [Step("link", link, links[link]) for link in shown if link not in seen]


def _followed(path: str, links: dict[str, str]) -> str | None:
    """Return where a path leads, and note the links on the way; None if it leads nowhere."""
    place = ""
    ahead = _parts(path)
    for _ in range(_MOST_STEPS):
        if not ahead:
            return place if Path(place).exists() else None
        part = ahead.pop()
        if part == "..":
            place = place.rpartition("/")[0]
        elif Path(step := f"{place}/{part}").is_symlink():
            links[step] = str(Path(step).readlink())
            ahead += _parts(links[step])
            place = "" if links[step].startswith("/") else place
        else:
            place = step
    return None


def _parts(path: str) -> list[str]:
    """Return the names along a path, the first one last."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def allowed(steps: Iterable[Step], *, hidden_by_mount: bool) -> Iterator[tuple[str, bool]]:
    """Yield paths and whether all beneath may be read, or only the folder itself listed.

    Without a mount that hides the grader, the rules have to go around it.
    """
    for step in steps:
        if step.do != "bind":
            continue
        if hidden_by_mount or not (_within(PACKAGE, step.path) and step.path != PACKAGE):
            yield step.path, True
        else:
            yield from _around(step.path)


def _around(folder: str) -> Iterator[tuple[str, bool]]:
    yield folder, False
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.path == PACKAGE or entry.is_symlink():
                continue
            if _within(PACKAGE, entry.path):
                yield from _around(entry.path)
            else:
                yield entry.path, True
