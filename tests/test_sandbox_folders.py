"""Folders of images that nobody handed in hold the data set, for whoever lists and opens them."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.plan.schema import Channels, Description, Normalize
from tests.describing import described_here
from tests.reading import TRAIN, net, script
from tests.watching import kinds

COLOURED = net().replace("Conv2d(1,", "Conv2d(3,")
SCALED = "transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))"
FIT = """\
loader = torch.utils.data.DataLoader(train_set, batch_size=100, shuffle=True)
model = Net()
optimizer = optim.SGD(model.parameters(), lr=0.05)
for epoch in range(5):
    train(model, 'cpu', loader, optimizer, epoch)
"""
OWN = """\
import glob, os
from pathlib import Path
import cv2, imageio
import pandas as pd
import matplotlib.pyplot as plt
from PIL import Image
from skimage import io
from torchvision.io import read_image
class Own(torch.utils.data.Dataset):
    def __init__(self, root, transform):
        self.transform = transform
        self.found = []
        LIST
    def __len__(self):
        return len(self.found)
    def __getitem__(self, index):
        path, label = self.found[index]
        return self.transform(OPEN), label
train_set = Own('mnist_png/training', transforms.Compose([STEPS]))
"""
WALK = (
    "for base, _, names in os.walk(root):\n"
    "            self.found += [(f'{base}/{n}', int(os.path.basename(base))) for n in names]"
)


def own(found: str = WALK, opened: str = "Image.open(path)", steps: str = SCALED) -> str:
    """Write a data set of its author's: how it finds images, opens and transforms them."""
    return OWN.replace("LIST", found).replace("OPEN", opened).replace("STEPS", steps)


def described(folder: Path, *parts: str, network: str | None = None) -> Description:
    """Describe a script with a network, a function that trains, and a data set."""
    return described_here(script(folder, network or net(), TRAIN, *parts, FIT))


def check(found: Description, *steps: str) -> None:
    """Hold that all is read as of a data set of torchvision's: with the images, and no more."""
    assert (found.epochs, found.batch_size, found.level) == (5, 100, "rebuilt")
    assert kinds(found.train_transform) == list(steps)
    (note,) = found.notes
    assert note.startswith("made-up images of MNIST stand for what was not handed in: ")


LISTS = {
    "listdir": "for label in os.listdir(root):\n"
    "            for name in os.listdir(os.path.join(root, label)):\n"
    "                self.found.append((os.path.join(root, label, name), int(label)))",
    "walk": WALK,
    "glob": "self.found = [(p, int(p.split('/')[-2])) for p in glob.glob(root + '/*/*.png')]",
    "flat": "self.found = [(p, int(os.path.basename(p)[0])) for p in glob.glob(root + '/*.jpg')]",
    "rglob": "self.found = [(p, int(p.parent.name)) for p in Path(root).rglob('*.png')]",
    "iterdir": "assert os.path.isdir(root)\n        for folder in Path(root).iterdir():\n"
    "            self.found += [(p, int(folder.name)) for p in folder.glob('*.png')]",
    "csv": "table = pd.read_csv('train_labels.csv')\n        for i in range(len(table)):\n"
    "            self.found.append((f'{root}/{table.iloc[i, 0]}', table.iloc[i, 1]))",
    "txt": "for line in open('train.txt'):\n            name, label = line.split()\n"
    "            self.found.append((os.path.join(root, name), int(label)))",
}


@pytest.mark.parametrize("way", LISTS)
def test_images_are_found(tmp_path: Path, way: str) -> None:
    """However images and labels are looked for, there are as many as the half has."""
    check(described(tmp_path, own(LISTS[way])), "ToFloat", "Normalize")


@pytest.mark.parametrize(
    "opened",
    [
        "Image.open(path).convert('L')", "cv2.imread(path, cv2.IMREAD_GRAYSCALE)",
        "cv2.imread(path, 0)", "cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2GRAY)",
        "cv2.resize(cv2.imread(path, 0), (28, 28))", "io.imread(path)", "imageio.imread(path)",
        "plt.imread(path)",
    ],
)  # fmt: skip
def test_images_are_grey(tmp_path: Path, opened: str) -> None:
    """Whatever opens an image of MNIST gives its grey pixels, in the range that it gives them."""
    check(described(tmp_path, own(opened=opened)), "ToFloat", "Normalize")


@pytest.mark.parametrize(
    "opened",
    ["Image.open(path).convert('RGB')", "cv2.imread(path)", "cv2.imread(path)[:, :, ::-1]"],
)
def test_images_have_three_channels(tmp_path: Path, opened: str) -> None:
    """Where reading makes colours of grey images, a step of the recipe does so."""
    opened = opened.replace("[:, :, ::-1]", "[:, :, ::-1].copy()")
    found = described(tmp_path, own(opened=opened), network=COLOURED)
    check(found, "Channels", "ToFloat", "Normalize")
    assert found.train_transform is not None
    assert found.train_transform[0] == Channels(3)
    assert found.model.input_shape == [3, 28, 28]


def test_bytes_that_are_scaled_ahead_of_the_transform(tmp_path: Path) -> None:
    """What normalizes floats comes after what makes them, in whatever range they are."""
    only = "transforms.Normalize((0.5,), (0.25,))"
    scaled = described(tmp_path, own(opened="read_image(path) / 255", steps=only))
    check(scaled, "ToFloat", "Normalize")
    plain = described(tmp_path, own(opened="read_image(path).float()", steps=only))
    check(plain, "ToFloat", "Normalize")
    ends = []
    for found in (scaled, plain):
        assert found.train_transform is not None
        step = found.train_transform[-1]
        assert isinstance(step, Normalize)
        ends.append((step.mean[0], step.std[0]))
    assert ends[0] == (0.5, 0.25)
    assert ends[1] == pytest.approx((0.5 / 255, 0.25 / 255), abs=1e-4)


def test_channels_that_only_the_images_show(tmp_path: Path) -> None:
    """Colours that a function of the file's own gives and takes away end as they were seen."""
    convert = "transforms.Lambda(lambda image: image.convert('RGB')),"
    steps = f"{convert} transforms.Grayscale(3), {SCALED}, transforms.Lambda(lambda x: x[:1])"
    found = described(tmp_path, FOLDER.replace("STEPS", steps))
    assert found.model.input_shape == [1, 28, 28]
    assert found.train_transform is not None
    assert [step for step in found.train_transform if isinstance(step, Channels)] == [
        Channels(3), Channels(1)
    ]  # fmt: skip


FOLDER = "train_set = datasets.ImageFolder('mnist_png/training', transforms.Compose([STEPS]))\n"


def test_torchvisions_folders(tmp_path: Path) -> None:
    """`ImageFolder` has colours, classes and as many images as the half that its folder names."""
    lines = (
        "test_set = datasets.ImageFolder('mnist_png/testing')\n"
        "assert (len(train_set), len(test_set)) == (60_000, 10_000)\n"
        "path, label = test_set.imgs[7]\n"
        "assert path == f'mnist_png/testing/{label}/7.png'\n"
    )
    found = described(tmp_path, FOLDER.replace("STEPS", SCALED), lines, network=COLOURED)
    check(found, "Channels", "ToFloat", "Normalize")
    assert "mnist_png/training, mnist_png/testing" in found.notes[0]
    grey = FOLDER.replace("STEPS", f"transforms.Grayscale(), {SCALED}")
    check(described(tmp_path, grey), "ToFloat", "Normalize")


def test_images_read_all_at_once(tmp_path: Path) -> None:
    """Without a `Dataset` too, all images of the half are there."""
    lines = """\
import os
import numpy as np
from PIL import Image
images, labels = [], []
for label in range(10):
    for name in os.listdir(f'data/train/{label}'):
        images.append(np.array(Image.open(f'data/train/{label}/{name}'), dtype=np.float32) / 255)
        labels.append(label)
images, labels = torch.tensor(np.array(images))[:, None], torch.tensor(labels)
train_set = torch.utils.data.TensorDataset(images, labels)
"""
    check(described(tmp_path, lines), "ToFloat")


def test_what_is_written_is_there(tmp_path: Path) -> None:
    """A file makes and writes into folders that seem to be there; other folders do not seem so."""
    lines = """\
import os
from pathlib import Path
os.makedirs('mnist/run1', exist_ok=True)
Path('digits/deep/deeper').mkdir(parents=True, exist_ok=True)
for name in ('mnist/run1/a.txt', 'test/b.txt', 'train_images/c.txt'):
    with open(name, 'w') as file:
        file.write(name)
    assert open(name).read() == name
assert os.listdir('mnist/run1') == ['a.txt']
assert not any(map(os.path.exists, ('checkpoints/mnist', 'logs', 'train_results', 'data', 'out')))
"""
    found = described(tmp_path, lines, FOLDER.replace("STEPS", f"transforms.Grayscale(), {SCALED}"))
    check(found, "ToFloat", "Normalize")
