"""Data sets small enough to be made in a test, in the files they come in."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np

from grader.datasets import files
from grader.datasets.known import FASHION_MNIST, Dataset


def idx(array: np.ndarray) -> bytes:
    """Write bytes as an IDX file holds them."""
    return np.array([0x800 + array.ndim, *array.shape], ">i4").tobytes() + array.tobytes()


def tiny(folder: Path, channels: int = 1) -> Dataset:
    """Make a data set of 30 and 12 images of 6×6 and three classes, with its files."""
    random = np.random.default_rng(0)
    side = (channels, 6, 6)[channels == 1 :]
    arrays = [
        random.integers(0, most, shape).astype(np.uint8)
        for count in (30, 12)
        for most, shape in ((256, (count, *side)), (3, (count,)))
    ]
    folder.mkdir(parents=True)
    contents = [idx(array) for array in arrays]
    for name, content in zip(files.NAMES, contents, strict=True):
        (folder / name).write_bytes(content)
    first, second, third, fourth = (hashlib.sha256(content).hexdigest() for content in contents)
    return msgspec.structs.replace(
        FASHION_MNIST, name="tiny", title="Tiny", torchvision="Tiny", classes=("a", "b", "c"),
        channels=channels, size=6, train=30, test=12, sha256=(first, second, third, fourth),
        folder=str(folder),
    )  # fmt: skip
