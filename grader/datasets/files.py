"""A data set as arrays, from its files: the copy in this package, or a folder of the machine's.

All are held to the SHA-256 of the original, decompressed files, so that every verdict rests on
the same images. The pytest process checks the data and must import neither torch nor, for the
sake of a quick look, NumPy.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from grader.datasets.known import KNOWN, MNIST, Dataset
from grader.datasets.mask import Mask
from grader.errors import UsageFault

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Bytes: TypeAlias = "npt.NDArray[np.uint8]"

BUNDLED = Path(__file__).parent
_SOME = 4_000  # images of each kind, where a few will do


@dataclass(frozen=True)
class Images:
    """Images to train on and to test on, with their labels from 0 on, all bytes."""

    train_images: Bytes  # [N, size, size], or [N, channels, size, size] where there are several
    train_labels: Bytes  # [N]
    test_images: Bytes
    test_labels: Bytes
    dataset: Dataset = MNIST
    """Which they are of; there may be fewer than it has."""
    turn: int = 0
    """How a network gets to see them, after their transforms; see `grader.datasets.mask`."""

    def masked(self, mask: Mask | None) -> Images:
        """Return the data set under a mask."""
        import numpy as np

        if mask is None:
            return self
        names = np.array(mask.classes, np.uint8)
        train, test = names[self.train_labels], names[self.test_labels]
        return replace(self, train_labels=train, test_labels=test, turn=mask.turn)


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


NAMES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip


def _files(dataset: Dataset) -> list[_File]:
    image = dataset.shape[dataset.channels == 1 :]  # grey images have no dimension of channels
    shapes = [
        shape for count in (dataset.train, dataset.test) for shape in ((count, *image), (count,))
    ]
    return [_File(*each) for each in zip(NAMES, shapes, dataset.sha256, strict=True)]


def load(dataset: Dataset = MNIST, data_dir: Path | None = None) -> Images:
    """Read and check all four files.

    `data_dir` is a root as torchvision makes it (`MNIST/raw` below it), its `raw` folder's
    parent, or the folder of the files itself; they may be gzipped. None reads them where the data
    set has its place.

    Raises UsageFault when a file is missing, unreadable, truncated or not the data set's own.
    """
    folder = _folder(dataset, data_dir)
    return _images(dataset, (_array(_read(folder, f, dataset), f) for f in _files(dataset)))


def some(dataset: Dataset = MNIST, data_dir: Path | None = None) -> Images:
    """Read the first images and labels of what `load` would read, in a hundredth of the time.

    They are not held to any digest: `verify` is what checks them. Raises as `load` does.
    """
    folder = _folder(dataset, data_dir)
    firsts = [
        replace(file, shape=(min(_SOME, file.shape[0]), *file.shape[1:]))
        for file in _files(dataset)
    ]
    return _images(dataset, (_array(_start(folder, file, dataset), file) for file in firsts))


def images_of_test(dataset: Dataset = MNIST, data_dir: Path | None = None) -> Bytes:
    """Read and check the test images alone; raises UsageFault as `load` does, of their file."""
    folder = _folder(dataset, data_dir)
    file = _files(dataset)[2]
    return _array(_read(folder, file, dataset), file)


def verify(dataset: Dataset = MNIST, data_dir: Path | None = None) -> None:
    """Check what `load` would read (a quarter of a second), and raise what it would raise."""
    folder = _folder(dataset, data_dir)
    for file in _files(dataset):
        _read(folder, file, dataset)


def _images(dataset: Dataset, arrays: Iterable[Bytes]) -> Images:
    train_images, train_labels, test_images, test_labels = arrays
    return Images(train_images, train_labels, test_images, test_labels, dataset)


def _array(content: bytes, file: _File) -> Bytes:
    import numpy as np

    return np.frombuffer(content, np.uint8, offset=file.header).reshape(file.shape)


def _folder(dataset: Dataset, data_dir: Path | None) -> Path:
    """Return the folder of the four files, one of which is there at least."""
    if data_dir is not None:
        candidates = [data_dir / dataset.torchvision / "raw", data_dir / "raw", data_dir]
    elif dataset.folder:
        candidates = [Path(dataset.folder)]
    else:
        return BUNDLED
    for folder in candidates:
        if any(_path(folder, name) for name in NAMES):
            return folder
    last = candidates[-1]
    raise UsageFault(
        f"the data folder holds no {dataset.title} files"
        if data_dir is not None
        else f"{dataset.title} is not on this machine",
        expected=" or ".join(str(folder / NAMES[0]) + "[.gz]" for folder in candidates),
        found="a folder without them" if last.is_dir() else "no such folder",
        where=str(last), help=_help(dataset),
    )  # fmt: skip


def _help(dataset: Dataset) -> str:
    """Say where the files can be had."""
    if not dataset.folder:
        return (
            f"name a folder that torchvision.datasets.{dataset.torchvision} downloaded to, or "
            "leave --data-dir out to use the copy that comes with the grader"
        )
    return (
        f"install the Debian package {dataset.package} (apt install {dataset.package}), or give "
        f"--data-dir a folder that torchvision.datasets.{dataset.torchvision} downloaded to"
    )


def _path(folder: Path, name: str) -> Path | None:
    paths = (folder / name, folder / f"{name}.gz")
    return next((path for path in paths if path.is_file()), None)


def _start(folder: Path, file: _File, dataset: Dataset, more: int = 0) -> bytes:
    """Read as many bytes as the file has, and so many more."""
    path = _path(folder, file.name)
    if path is None:
        raise _fault(folder / file.name, file, dataset, "no such file")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            return stream.read(file.size + more)
    except (OSError, EOFError, zlib.error) as error:
        raise _fault(path, file, dataset, f"{type(error).__name__}: {error}") from None


def _read(folder: Path, file: _File, dataset: Dataset) -> bytes:
    content = _start(folder, file, dataset, more=1)  # one would show, and a bomb stays small
    path = folder / file.name
    if len(content) != file.size:
        more = "more than " if len(content) > file.size else ""
        found = f"{more}{min(len(content), file.size):,} bytes"
        raise _fault(path, file, dataset, found)
    if (found := hashlib.sha256(content).hexdigest()) != file.sha256:
        known = next((f" ({one.title}'s)" for one in KNOWN.values() if found in one.sha256), "")
        found = f"{len(content):,} bytes with SHA-256 {found}{known}"
        raise _fault(path, file, dataset, found)
    return content


def _fault(path: Path, file: _File, dataset: Dataset, found: str) -> UsageFault:
    damaged = ". If that copy itself is damaged, install the grader again"
    return UsageFault(
        f"a file of {dataset.title} cannot be used: {file.name}",
        expected=f"{file.size:,} bytes (decompressed) with SHA-256 {file.sha256}",
        found=found,
        where=str(path),
        help=_help(dataset) + (damaged if not dataset.folder else ""),
    )
