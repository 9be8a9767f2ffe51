"""The data sets an assignment may be about, as values; a rubric names one of them."""

from __future__ import annotations

import hashlib

import msgspec


class Dataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What there is to know of a data set without opening it.

    It goes from the rubric to whatever describes, measures or trains a network. Images are square,
    `size` pixels a side, with `channels` of bytes; `mean` and `deviation` are of all training
    pixels, 1 being the largest byte. `sha256` is of the four files, decompressed: images and labels
    to train on, then to test on.
    """

    name: str
    title: str
    torchvision: str
    """Its class in torchvision.datasets, which is also its folder there."""

    classes: tuple[str, ...]
    channels: int
    size: int
    train: int
    test: int
    mean: float
    deviation: float
    guessed: float
    """The share of test images that a network may tell apart before it has learned any."""

    subject: int
    """How many pixels wide that is which an image shows."""

    sha256: tuple[str, str, str, str]
    folder: str = ""
    """Where its files are if nobody says otherwise; the grader's own if empty."""

    package: str = ""
    """The Debian package that puts them there."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.channels, self.size, self.size

    @property
    def normalization(self) -> tuple[float, float]:
        """Mean and deviation with the four decimals that recipes have."""
        return round(self.mean, 4), round(self.deviation, 4)

    @property
    def digest(self) -> str:
        """A hash that no two data sets share, and all copies of one do."""
        return hashlib.sha256("".join(self.sha256).encode()).hexdigest()


MNIST = Dataset(
    name="mnist", title="MNIST", torchvision="MNIST", classes=tuple("0123456789"),
    channels=1, size=28, train=60_000, test=10_000, mean=0.13066, deviation=0.30811, guessed=0.45,
    subject=20,  # digits were scaled to fit a box of 20×20 before they were centred
    sha256=(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)  # fmt: skip

FASHION_MNIST = Dataset(
    name="fashion-mnist", title="Fashion-MNIST", torchvision="FashionMNIST",
    classes=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
        "Ankle boot",
    ),
    channels=1, size=28, train=60_000, test=10_000, mean=0.28604, deviation=0.35302, guessed=0.55,
    subject=28,
    sha256=(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    folder="/usr/share/datasets/fashion-mnist", package="dataset-fashion-mnist",
)  # fmt: skip

KNOWN = {dataset.name: dataset for dataset in (MNIST, FASHION_MNIST)}
"""All of them by name; MNIST where a rubric names none."""
