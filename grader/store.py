"""Results of trainings, kept by all that they depend on: nothing is trained twice.

    <place>/<two digits>/<key>/          about.json, events.jsonl, weights.safetensors
    <place>/<two digits>/<key>.state     what a training that is under way goes on from
    <place>/<two digits>/<key>.lock      held by the process that trains it

The key is a SHA-256 of the plan's content, the data, the seed, the epochs, and what of the machine
and of the installed software decides the last bits. Entries are plain files: made under another
name, then renamed, so that they are whole or not there, also on a network folder and after a kill.
What is read from them is validated as if anybody could have written it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import shutil
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import filelock
import msgspec
import platformdirs

from grader import machine
from grader.datasets.known import MNIST, Dataset
from grader.datasets.mask import Mask
from grader.errors import GraderFault
from grader.events import EVENT, AnyEvent, Diverged, EpochDone, Finished, Progress
from grader.files import UNREADABLE, new_beside, readable, write_atomically

PLACE = "GRADER_STORE"
"""The environment variable that names another place than the user's own."""

ANYWHERE = {"instructions": "any", "gpu": "any"}
"""What stands in a key for the machine, where any of a cluster's may train."""

_PACKAGE = Path(__file__).parent
_TRAINERS = ("training", "plan", "datasets")
_WAIT = 0.5  # seconds between two looks at a lock that somebody else holds
_MOST_EVENTS = 64 << 20  # bytes; a training of a thousand epochs tells a third of a megabyte
_MOST_WEIGHTS = 2 << 30
_MOST_HEADER = 64 << 20


class About(msgspec.Struct, frozen=True):
    """What a result depends on, and whose training it was. `tensors` are names in the weights."""

    depends_on: dict[str, Any]
    tensors: list[str]
    submission: str
    trained: str  # when, ISO 8601, UTC


_ABOUT = msgspec.json.Decoder(About)  # made by one thread, see grader.events


@dataclass(frozen=True)
class Kept:
    """A training that is over; `events` ends with Finished, or Diverged: then it has no weights."""

    folder: Path
    about: About
    events: list[AnyEvent]

    @property
    def weights(self) -> Path:
        """Where its weights lie."""
        return self.folder / "weights.safetensors"


def default_place() -> Path:
    """Return where results are kept if nobody says otherwise."""
    named = os.environ.get(PLACE)
    return Path(named) if named else platformdirs.user_data_path("mnist-grader") / "trainings"


def what_decides(
    content_sha256: str, seed: int, epochs: int, threads: int, *, own: bool,
    dataset: Dataset = MNIST, mask: Mask | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return all that the result of a training depends on, `own` saying by whose loop it is."""
    packages = ("torch", "numpy", "numba")
    return {
        "content": content_sha256,
        "data": dataset.digest,
        "mask": msgspec.to_builtins(mask),
        "seed": seed,
        "epochs": epochs,
        "threads": threads,
        "instructions": machine.instruction_set(),
        "gpu": machine.gpu(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "trainer": source_of(*_TRAINERS, *(("sandbox", "submission") if own else ())),
    }


@cache
def source_of(*folders: str) -> str:
    """Hash the code that trains: no version number would be raised for every change of it."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((_PACKAGE / folder).rglob("*.py")):
            digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def key_of(depends_on: Mapping[str, Any]) -> str:
    """Return the name under which a result is kept."""
    encoded = msgspec.json.encode(depends_on, order="deterministic")
    return hashlib.sha256(encoded).hexdigest()


class Store:
    """The results below a folder, which need not be there yet."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def folder(self, key: str) -> Path:
        """Return where the result of a key lies, or would."""
        return self.place / key[:2] / key

    def state(self, key: str) -> Path:
        """Return where a training under way keeps what it goes on from."""
        return self.folder(key).with_suffix(".state")

    @contextlib.contextmanager
    def lease(self, key: str, stop: Callable[[], bool]) -> Iterator[None]:
        """Be the only one to work on a key; wait while somebody else does.

        Raises CancelledError when `stop` says so meanwhile, GraderFault where nothing can be
        written.
        """
        path = self.folder(key).with_suffix(".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(path)
            while not stop():
                with contextlib.suppress(filelock.Timeout):
                    lock.acquire(timeout=_WAIT)
                    break
            else:
                raise CancelledError
        except (OSError, NotImplementedError) as error:  # a file system may know no locks
            raise _unusable(path, error) from error
        try:
            yield
        finally:
            lock.release()

    def find(self, key: str) -> Kept | None:
        """Return what is kept, if it is there, whole, and as a training leaves it."""
        folder = self.folder(key)
        with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError, RecursionError):
            about = _ABOUT.decode((folder / "about.json").read_bytes())
            told = _some(folder / "events.jsonl", _MOST_EVENTS)
            kept = Kept(folder, about, EVENT.decode_lines(told))
            if key_of(about.depends_on) == key and _is_whole(kept):
                return kept
        return None

    def errors_of(self, content_sha256: str, data: str, but: Container[int]) -> list[int]:
        """Return the errors that trainings of some content on some data ended with.

        Those of the seeds in `but` are left out.
        """
        found = []
        for key in _by_content(self.place).get((content_sha256, data), ()):
            kept = self.find(key)
            if kept is not None and kept.about.depends_on.get("seed") not in but:
                epochs = [event for event in kept.events if isinstance(event, EpochDone)]
                found += [epochs[-1].test_errors] if epochs else []
        return found

    def keep(self, key: str, about: About, events: Sequence[AnyEvent], weights: Path) -> None:
        """Keep a training that is over. Raises GraderFault where it cannot be written."""
        folder = self.folder(key)
        try:
            try:
                with new_beside(folder) as new:
                    (new / "about.json").write_bytes(readable(about))
                    told = [event for event in events if not isinstance(event, Progress)]
                    (new / "events.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(told))
                    if weights.exists():
                        shutil.copyfile(weights, new / "weights.safetensors")
                    shutil.rmtree(folder, ignore_errors=True)
                    new.rename(folder)
            finally:
                self.state(key).unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(folder, error) from error


@cache
def _by_content(place: Path) -> dict[tuple[str, str], list[str]]:
    """Return the keys that lay in a store when it was first asked, by content and data."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in place.glob("??/*/about.json"):
        with contextlib.suppress(*UNREADABLE):
            depends_on = _ABOUT.decode(path.read_bytes()).depends_on
            named = str(depends_on.get("content")), str(depends_on.get("data"))
            found.setdefault(named, []).append(path.parent.name)
    return found


def _is_whole(kept: Kept) -> bool:
    """Tell whether events and weights belong together and nothing is missing."""
    last = kept.events[-1] if kept.events else None
    if isinstance(last, Diverged):
        return True
    if not isinstance(last, Finished):
        return False
    content = _some(kept.weights, _MOST_WEIGHTS)
    return hashlib.sha256(content).hexdigest() == last.weights_sha256


def _some(path: Path, most: int) -> bytes:
    """Read a file; ValueError where it is longer than any honest one."""
    if path.stat().st_size > most:
        raise ValueError(path)
    return path.read_bytes()


def handed_out(kept: Kept, tensors: Sequence[str], weights: Path) -> list[AnyEvent]:
    """Write the weights of a kept training to another place; return its events.

    `tensors` are the names they shall have: a plan that computes the same may call them otherwise.
    """
    *before, last = kept.events
    if not isinstance(last, Finished):
        return kept.events
    content = kept.weights.read_bytes()
    if list(tensors) != kept.about.tensors:
        content = _renamed(content, dict(zip(kept.about.tensors, tensors, strict=True)))
    write_atomically(weights, content)
    digest = hashlib.sha256(content).hexdigest()
    return [*before, msgspec.structs.replace(last, weights_sha256=digest)]


class _Tensor(msgspec.Struct, frozen=True):
    """What the header of safetensors says of one (github.com/huggingface/safetensors, Format)."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def _renamed(content: bytes, names: Mapping[str, str]) -> bytes:
    """Give the tensors of safetensors other names: the bytes that saving them so would give.

    The library lays tensors out by type, in an order of its own, and those of a type by name.
    """
    length = int.from_bytes(content[:8], "little")
    if length > _MOST_HEADER:
        raise ValueError(length)
    header = msgspec.json.decode(content[8 : 8 + length], type=dict[str, _Tensor])
    types = list(dict.fromkeys(tensor.dtype for tensor in header.values()))
    named = sorted(
        ((names.get(name, name), tensor) for name, tensor in header.items()),
        key=lambda each: (types.index(each[1].dtype), each[0]),
    )
    data, new, place = content[8 + length :], {}, 0
    for name, tensor in named:
        first, last = tensor.data_offsets
        new[name] = msgspec.structs.replace(
            tensor, data_offsets=(place, place := place + last - first)
        )
    encoded = msgspec.json.encode(new)
    encoded += b" " * (-len(encoded) % 8)  # data is aligned to eight bytes
    parts = (data[slice(*tensor.data_offsets)] for _, tensor in named)
    return b"".join((len(encoded).to_bytes(8, "little"), encoded, *parts))


def now() -> str:
    """Return the time as records tell it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _unusable(path: Path, error: Exception) -> GraderFault:
    return GraderFault(
        "the store of trainings cannot be used", expected="a folder that can be written to",
        found=str(error), where=str(path),
        help=f"free some space, or name another folder in the environment variable {PLACE}",
    )  # fmt: skip
