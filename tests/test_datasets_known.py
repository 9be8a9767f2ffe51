"""Data sets by name, and their files wherever they lie."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from grader.datasets import files
from grader.datasets.known import FASHION_MNIST, KNOWN, MNIST, Dataset
from grader.errors import UsageFault
from tests.idx import tiny

DEBIAN = Path(FASHION_MNIST.folder)


@pytest.mark.parametrize(("channels", "shape"), [(1, (30, 6, 6)), (3, (30, 3, 6, 6))])
def test_a_data_set_says_what_its_files_hold(
    tmp_path: Path, channels: int, shape: tuple[int, ...]
) -> None:
    """Counts, size and channels are its own, and the images say which they are of."""
    dataset = tiny(tmp_path / "data", channels)
    data = files.load(dataset)

    assert data.train_images.shape == shape
    assert len(data.test_labels) == len(files.some(dataset).test_images) == 12
    assert data.dataset == dataset


def test_files_of_another_data_set_are_told() -> None:
    """They have the same names, and often the same sizes."""
    with pytest.raises(UsageFault) as caught:
        files.verify(FASHION_MNIST, files.BUNDLED)

    assert "(MNIST's)" in caught.value.found


def test_a_data_set_that_is_not_here_says_how_to_get_it(tmp_path: Path) -> None:
    """The package, and what else --data-dir takes."""
    absent = msgspec.structs.replace(FASHION_MNIST, folder=str(tmp_path / "none"))
    with pytest.raises(UsageFault) as caught:
        files.some(absent)

    assert "apt install dataset-fashion-mnist" in caught.value.help
    assert "torchvision.datasets.FashionMNIST" in caught.value.help


def test_each_data_set_is_its_own() -> None:
    """No name, class or digest stands for two; each class of images has a name."""
    for what in ("name", "torchvision", "digest"):
        assert len({getattr(dataset, what) for dataset in KNOWN.values()}) == len(KNOWN)
    assert all(len({*dataset.classes}) == 10 for dataset in KNOWN.values())


@pytest.mark.parametrize("dataset", KNOWN.values(), ids=list(KNOWN))
def test_mean_and_deviation_are_those_of_the_images(dataset: Dataset) -> None:
    """To five decimals, of all pixels to train on."""
    if dataset is not MNIST and not DEBIAN.is_dir():
        pytest.skip(f"{dataset.title} is not here: apt install {dataset.package}")
    counts = np.bincount(files.load(dataset).train_images.ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = float(np.average(values, weights=counts))
    variance = float(np.average((values - mean) ** 2, weights=counts))

    assert (dataset.mean, dataset.deviation) == (round(mean, 5), round(variance**0.5, 5))
