"""`grade store`: look at kept results of trainings, carry them elsewhere, remove some."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from grader.errors import GraderFault, UsageFault
from grader.events import EpochDone
from grader.store import Kept, Store

_FILES = ("about.json", "events.jsonl", "weights.safetensors")
_KEY = re.compile(r"[0-9a-f]{64}")
_MOST = 2 << 30  # bytes of one file in an archive
_DAY = 86_400  # seconds


def keys(store: Store) -> list[str]:
    """Return the keys under which something lies, whole or not."""
    found = (path.name for path in store.place.glob("??/*") if path.is_dir())
    return sorted(name for name in found if _KEY.fullmatch(name))


def line_of(kept: Kept) -> str:
    """Describe a result in one line: when, whose, and what came of it."""
    epochs = [event for event in kept.events if isinstance(event, EpochDone)]
    ended = f"{100 * (1 - epochs[-1].test_errors / epochs[-1].test_samples):.2f}%" if epochs else ""
    depends = kept.about.depends_on
    return (
        f"{kept.folder.name[:12]}  {kept.about.trained}  {ended or 'diverged':>8}  "
        f"{depends.get('epochs')} epochs, seed {depends.get('seed')}  {kept.about.submission}"
    )


def broken(store: Store) -> list[str]:
    """Return the keys whose results are not whole; nothing is ever taken from them."""
    return [key for key in keys(store) if store.find(key) is None]


def exported(store: Store, path: Path) -> int:
    """Write all whole results to a zip; return how many. Raises GraderFault."""
    count = 0
    try:
        with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
            for kept in _whole(store):
                for name in _FILES:
                    if (kept.folder / name).exists():
                        archive.write(kept.folder / name, f"{kept.folder.name}/{name}")
                count += 1
    except OSError as error:
        raise GraderFault(
            "the archive could not be written", expected="the name of a new file",
            found=str(error), where=str(path), help="choose another name, or free some space",
        ) from None  # fmt: skip
    return count


def imported(store: Store, path: Path) -> tuple[int, int]:
    """Take over the results in a zip that `exported` wrote.

    Returns how many are new, and how many were refused because they are not whole. Raises
    UsageFault where the file is no such archive.
    """
    taken = refused = 0
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            members = {info.filename: info for info in archive.infolist()}
            for key in sorted({name.partition("/")[0] for name in members} & _keys(members)):
                if store.find(key) is not None:
                    continue
                scratch = Store(Path(folder))
                _unpack(archive, members, key, scratch.folder(key))
                kept = scratch.find(key)
                if kept is None:
                    refused += 1
                else:
                    store.keep(key, kept.about, kept.events, kept.weights)
                    taken += 1
                shutil.rmtree(scratch.folder(key))
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError,
            RuntimeError) as error:  # fmt: skip
        raise UsageFault(
            "this is no archive of results", expected="a zip that `grade store export` wrote",
            found=str(error), where=str(path), help="export it again",
        ) from None  # fmt: skip
    return taken, refused


def _keys(members: dict[str, zipfile.ZipInfo]) -> set[str]:
    return {name[:64] for name in members if _KEY.fullmatch(name[:64])}


def _unpack(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], key: str, folder: Path
) -> None:
    """Write the files of one result, by names of ours; one too long to be honest is left out."""
    folder.mkdir(parents=True)
    for name in _FILES:
        info = members.get(f"{key}/{name}")
        if info is not None and info.file_size <= _MOST:
            with archive.open(info) as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)


def pruned(store: Store, days: float) -> int:
    """Remove results older than so many days, and what is not whole; return how many.

    What old trainings left that never got to their end goes as well, uncounted.
    """
    if not store.place.is_dir():
        return 0
    with tempfile.NamedTemporaryFile(dir=store.place) as file:
        now = os.fstat(file.fileno()).st_mtime  # by the clock that times what lies there

    def is_old(path: Path) -> bool:
        return now - path.stat().st_mtime > days * _DAY

    count = 0
    for key in keys(store):
        folder = store.folder(key)
        if is_old(folder) or store.find(key) is None:
            shutil.rmtree(folder, ignore_errors=True)
            count += 1
    for left in [*store.place.glob("??/*.state"), *store.place.glob("??/.new-*")]:
        with contextlib.suppress(OSError):
            if is_old(left):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    return count


def _whole(store: Store) -> Iterator[Kept]:
    yield from (kept for key in keys(store) if (kept := store.find(key)) is not None)


def lines(store: Store) -> Iterator[str]:
    """Describe every whole result in a line."""
    yield from map(line_of, _whole(store))
