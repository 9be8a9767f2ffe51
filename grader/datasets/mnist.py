"""MNIST as arrays: the copy inside this package, or a torchvision-style folder of the user's.

Both are held to the SHA-256 of the original, decompressed files, so that every verdict rests on
the same images. The pytest process checks the data and must import neither torch nor, for the
sake of a quick look, NumPy.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from grader.errors import UsageFault

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Bytes: TypeAlias = "npt.NDArray[np.uint8]"

BUNDLED = Path(__file__).parent
_SOME = 4_000  # images of each kind, where a few will do


@dataclass(frozen=True)
class Mnist:
    """60,000 images to train on and 10,000 to test on, with their labels 0…9, all bytes."""

    train_images: Bytes  # [60000, 28, 28], 0 is paper and 255 is ink
    train_labels: Bytes  # [60000]
    test_images: Bytes  # [10000, 28, 28]
    test_labels: Bytes  # [10000]


@dataclass(frozen=True)
class _File:
    """One IDX file: a header of four bytes and four more a dimension, then the bytes."""

    name: str
    shape: tuple[int, ...]
    sha256: str  # of the decompressed content, header included

    @property
    def header(self) -> int:
        return 4 + 4 * len(self.shape)

    @property
    def size(self) -> int:
        return self.header + math.prod(self.shape)


_FILES = (
    _File(
        "train-images-idx3-ubyte",
        (60_000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    _File(
        "train-labels-idx1-ubyte",
        (60_000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    _File(
        "t10k-images-idx3-ubyte",
        (10_000, 28, 28),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    _File(
        "t10k-labels-idx1-ubyte",
        (10_000,),
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)


def load(data_dir: Path | None = None) -> Mnist:
    """Read and check all four files.

    `data_dir` is a root as torchvision makes it (`MNIST/raw` below it), its `raw` folder's
    parent, or the folder of the files itself; they may be gzipped. None reads the bundled copy.

    Raises UsageFault when a file is missing, unreadable, truncated or not MNIST's own.
    """
    folder = BUNDLED if data_dir is None else _folder(data_dir)
    return Mnist(*(_array(_read(folder, file), file) for file in _FILES))


def some(data_dir: Path | None = None) -> Mnist:
    """Read the first images and labels of what `load` would read, in a hundredth of the time.

    They are not held to any digest: `verify` is what checks them. Raises as `load` does.
    """
    folder = BUNDLED if data_dir is None else _folder(data_dir)
    firsts = (replace(file, shape=(min(_SOME, file.shape[0]), *file.shape[1:])) for file in _FILES)
    return Mnist(*(_array(_start(folder, file), file) for file in firsts))


def verify(data_dir: Path | None = None) -> None:
    """Check what `load` would read (a quarter of a second), and raise what it would raise."""
    folder = BUNDLED if data_dir is None else _folder(data_dir)
    for file in _FILES:
        _read(folder, file)


def _array(content: bytes, file: _File) -> Bytes:
    import numpy as np

    return np.frombuffer(content, np.uint8, offset=file.header).reshape(file.shape)


def _folder(data_dir: Path) -> Path:
    candidates = [data_dir / "MNIST" / "raw", data_dir / "raw", data_dir]
    for folder in candidates:
        if any(_path(folder, file) for file in _FILES):
            return folder
    raise UsageFault(
        "the data folder holds no MNIST files",
        expected=" or ".join(str(folder / _FILES[0].name) + "[.gz]" for folder in candidates),
        found="a folder without them" if data_dir.is_dir() else "no such folder",
        where=str(data_dir),
        help="name a folder that torchvision.datasets.MNIST downloaded to, or leave --data-dir out"
        " to use the copy that comes with the grader",
    )


def _path(folder: Path, file: _File) -> Path | None:
    paths = (folder / file.name, folder / f"{file.name}.gz")
    return next((path for path in paths if path.is_file()), None)


def _start(folder: Path, file: _File, more: int = 0) -> bytes:
    """Read as many bytes as the file has, and so many more."""
    path = _path(folder, file)
    if path is None:
        raise _fault(folder / file.name, file, "no such file")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            return stream.read(file.size + more)
    except (OSError, EOFError, zlib.error) as error:
        raise _fault(path, file, f"{type(error).__name__}: {error}") from None


def _read(folder: Path, file: _File) -> bytes:
    content = _start(folder, file, more=1)  # one more would show, and a bomb stays small
    path = folder / file.name
    if len(content) != file.size:
        more = "more than " if len(content) > file.size else ""
        raise _fault(path, file, f"{more}{min(len(content), file.size):,} bytes")
    if (found := hashlib.sha256(content).hexdigest()) != file.sha256:
        raise _fault(path, file, f"{len(content):,} bytes with SHA-256 {found}")
    return content


def _fault(path: Path, file: _File, found: str) -> UsageFault:
    return UsageFault(
        f"a file of MNIST cannot be used: {file.name}",
        expected=f"{file.size:,} bytes (decompressed) with SHA-256 {file.sha256}",
        found=found,
        where=str(path),
        help="download the file again, or leave --data-dir out to use the copy that comes with"
        " the grader. If that copy itself is damaged, install the grader again",
    )
