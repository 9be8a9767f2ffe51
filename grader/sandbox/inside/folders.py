"""Stands for folders of images that are not there. Runs in the sandbox.

Such a folder is known by its name. It holds a folder for each class, or the images alone if it is
called one of images; whoever lists it, walks it or asks whether it is there finds that.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import genericpath
import glob
import os
import re
import stat
from collections.abc import Callable, Iterator
from typing import Any, Self

from data import STANDS, asked, in_training

_SPEAKS = re.compile(r"train|test|val(?!ue)|mnist|digit|image|img", re.I)
_OTHER = re.compile(r"check|ckpt|model|weight|log|result|out|run|save|plot|fig|pred|state", re.I)
_FLAT = re.compile(r"(.*[_-])?(images?|imgs?)", re.I)
_PICTURE = re.compile(r".+\.(png|jpe?g|bmp|gif|tiff?)", re.I)


def install(known: Callable[[str], bool]) -> None:
    """Let folders be found, and files that are `known`."""
    os.stat = _stat(os.stat, known)
    for name in ("exists", "isfile", "isdir"):  # whatever else asks the system on Windows
        setattr(os.path, name, getattr(genericpath, name))
    os.listdir = _listed(os.listdir, lambda path: [entry.name for entry in _entries(path)])
    os.scandir = _listed(os.scandir, lambda path: _Entries(_entries(path)))
    os.mkdir = _made(os.mkdir)
    vars(glob)["glob"] = _matched(glob.glob)


@functools.lru_cache
def _is_folder(path: str) -> bool:
    *above, last = _parts(path)
    if last in asked.kind.folders and above:
        return _is_folder("/".join(above))
    end = "/".join([*above[-1:], last])
    return "." not in last and bool(_SPEAKS.search(last)) and not _OTHER.search(end)


def is_picture(path: str) -> bool:
    """Tell whether a path that is not there is one of an image in such a folder."""
    folder, name = os.path.split(path)
    return bool(_PICTURE.fullmatch(name)) and _is_folder(folder)


def _parts(path: str) -> list[str]:
    return [part for part in re.split(r"[\\/]", path) if part not in ("", ".", "..")] or [""]


def stood_for(folder: str) -> None:
    """Note that made-up images stand for those of a folder, or of the folders of its classes."""
    above, last = os.path.split(folder)
    STANDS.setdefault(above if last in asked.kind.folders else folder)


@functools.lru_cache(maxsize=32)
def pictures(path: str) -> tuple[str, ...]:
    """Name the images of a half, or of one class: each name begins and ends with the label."""
    kind, last = asked.kind, _parts(path)[-1]
    only = int(last) if last in kind.folders else None
    count = kind.train if in_training(path) else kind.test
    labels = ((number, number % kind.classes) for number in range(count))
    return tuple(f"{y}_{number:05}_{y}.png" for number, y in labels if only in (None, y))


def _entries(path: str) -> Iterator[Entry]:
    """List what a folder holds that is not there."""
    stood_for(path)
    last = _parts(path)[-1]
    flat = last in asked.kind.folders or _FLAT.fullmatch(last) is not None
    for name in pictures(path) if flat else asked.kind.folders:
        yield Entry(path, name, holds=not flat)


class Entry:
    """What `os.scandir` yields: an image, or a folder that `holds` images."""

    def __init__(self, folder: str, name: str, *, holds: bool) -> None:
        self.name, self._holds = name, holds
        self.path = os.path.join(folder, name)  # noqa: PTH118 - as `os.scandir` has it

    def is_dir(self, **options: Any) -> bool:
        """Tell whether it is a folder."""
        return self._holds

    def is_file(self, **options: Any) -> bool:
        """Tell whether it is an image."""
        return not self._holds

    def is_symlink(self) -> bool:
        """Tell that it is what it is."""
        return False

    def __fspath__(self) -> str:
        """Return its path."""
        return self.path


class _Entries:
    """What `os.scandir` returns."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        self._entries = entries

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...

    def __iter__(self) -> Iterator[Entry]:
        return self._entries

    def __next__(self) -> Entry:
        return next(self._entries)

    def close(self) -> None:
        """Do nothing."""


def _listed(function: Callable[..., Any], made: Callable[[str], Any]) -> Callable[..., Any]:
    def listed(path: Any = ".") -> Any:
        try:
            return function(path)
        except FileNotFoundError:
            text = os.fspath(path)
            if not isinstance(text, str) or not _is_folder(text):
                raise
            return made(text)

    return listed


def _stat(function: Callable[..., Any], known: Callable[[str], bool]) -> Callable[..., Any]:
    def found(path: Any, *args: Any, **options: Any) -> Any:
        try:
            return function(path, *args, **options)
        except FileNotFoundError:
            text = os.fspath(path)
            if isinstance(text, str) and _is_folder(text):
                return os.stat_result([stat.S_IFDIR | 0o755] + [0] * 9)
            if isinstance(text, str) and known(text):
                return os.stat_result([stat.S_IFREG | 0o644] + [0] * 9)
            raise

    return found


def _made(mkdir: Callable[..., None]) -> Callable[..., None]:
    """Let a folder be made in one that only seems to be there; those of other machines need none.

    What is written in them lies elsewhere.
    """

    def made(path: Any, *args: Any, **options: Any) -> None:
        with contextlib.suppress(FileNotFoundError):
            _make(path, *args, **options)
            return
        above = os.path.dirname(os.fspath(path))  # noqa: PTH120 - any path
        if isinstance(above, str) and _is_folder(above) and not os.access(above, os.F_OK):
            _make(above)
        _make(path, *args, **options)

    def _make(path: Any, *args: Any, **options: Any) -> None:
        try:
            mkdir(path, *args, **options)
        except FileExistsError:
            raise
        except OSError:
            if not os.path.isabs(path):  # noqa: PTH117 - any path
                raise

    return made


def _matched(find: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """Find the images of a folder without folders for classes: `glob("train/*.png")`."""

    def matched(pattern: Any, **options: Any) -> list[str]:
        found = find(pattern, **options)
        folder, name = os.path.split(os.fspath(pattern))
        if found or not is_picture(os.fspath(pattern)) or os.access(folder, os.F_OK):
            return found
        stood_for(folder)
        end = os.path.splitext(name)[1]  # noqa: PTH122 - of any machine
        named = (os.path.splitext(each)[0] + end for each in pictures(folder))  # noqa: PTH122
        return [os.path.join(folder, each) for each in fnmatch.filter(named, name)]  # noqa: PTH118

    return matched
