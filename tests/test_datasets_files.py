"""The data: what is bundled is MNIST, and nothing else is taken for it."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from grader.datasets import files
from grader.datasets.known import MNIST
from grader.errors import UsageFault


def copy_of_mnist(folder: Path, *, unpack: bool = False) -> Path:
    """Put the four files into `folder`, gzipped or not."""
    folder.mkdir(parents=True)
    for path in files.BUNDLED.glob("*.gz"):
        if unpack:
            (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        else:
            shutil.copy(path, folder)
    return folder


def test_bundled_data_has_the_shapes_and_the_class_counts_of_mnist() -> None:
    """60,000 and 10,000 images of 28×28 bytes; 5,923 and 980 of them are zeros."""
    data = files.load()
    assert data.train_images.shape == (60_000, 28, 28)
    assert data.test_images.shape == (10_000, 28, 28)
    assert data.train_images.dtype == data.train_labels.dtype == np.uint8
    assert np.bincount(data.train_labels)[0] == 5_923
    assert np.bincount(data.test_labels)[0] == 980
    assert sorted(set(data.test_labels)) == list(range(10))


@pytest.mark.parametrize("below", ["MNIST/raw", "raw", "."])
@pytest.mark.parametrize("unpack", [False, True])
def test_a_torchvision_root_is_read(tmp_path: Path, below: str, unpack: bool) -> None:
    """The root, its MNIST folder and the raw folder all serve, gzipped or not."""
    copy_of_mnist(tmp_path / "data" / below, unpack=unpack)
    data = files.load(MNIST, tmp_path / "data")
    assert np.array_equal(data.test_images, files.load().test_images)


def test_the_notice_names_the_authors_and_the_licence() -> None:
    """What the licence asks for travels with the files."""
    notice = (files.BUNDLED / "NOTICE").read_text()
    assert all(word in notice for word in ("LeCun", "Cortes", "Burges", "CC BY-SA 3.0"))


def broken(path: Path, how: str) -> None:
    """Damage one file of a copy."""
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "longer":
        path.write_bytes(gzip.compress(gzip.decompress(content) + b"x"))
    elif how == "altered":
        plain = bytearray(gzip.decompress(content))
        plain[-1] ^= 1
        path.write_bytes(gzip.compress(bytes(plain)))
    elif how == "garbage":
        path.write_bytes(b"<html>404</html>")


@pytest.mark.parametrize("how", ["missing", "truncated", "longer", "altered", "garbage"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, how: str) -> None:
    """The error says which file, what it should have been and what to do."""
    folder = copy_of_mnist(tmp_path / "data")
    broken(folder / "t10k-labels-idx1-ubyte.gz", how)
    with pytest.raises(UsageFault) as caught:
        files.verify(MNIST, tmp_path / "data")
    assert "t10k-labels-idx1-ubyte" in caught.value.where
    assert "10,008 bytes" in caught.value.expected
    assert caught.value.found
    assert "--data-dir" in caught.value.help


def test_a_folder_without_mnist_is_refused_with_the_places_looked_at(tmp_path: Path) -> None:
    """A wrong --data-dir is told where the files would have been."""
    with pytest.raises(UsageFault) as caught:
        files.load(MNIST, tmp_path / "nowhere")
    assert "no such folder" in caught.value.found
    assert str(tmp_path / "nowhere" / "MNIST" / "raw") in caught.value.expected
