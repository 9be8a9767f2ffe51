"""From a file to a plan: the images that its transforms make are those that its network gets."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from grader.plan.schema import Plan
from tests.judging import Judged, check_of, judge

pytestmark = pytest.mark.slow

SUBMISSION = """
import torch, torch.nn as nn, torch.nn.functional as F
from torchvision import datasets, transforms as T
from torch.utils.data import DataLoader, random_split

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.05),
        )
        self.last = LAST

    def forward(self, x):
        return F.log_softmax(HEAD, dim=1)

train_transform = T.Compose([TRAIN])
data = datasets.MNIST(".", train=True, download=True, transform=train_transform)
TESTS
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for epoch in range(5):
    for images, target in DataLoader(data, batch_size=64, shuffle=True):
        optimizer.zero_grad()
        F.nll_loss(model(images), target).backward()
        optimizer.step()
    model.eval()
    for images, target in DataLoader(tests, batch_size=64):
        model(images)
"""
ANY_SIZE = {"LAST": "nn.Conv2d(8, 10, 3)", "HEAD": "self.last(self.features(x)).mean((2, 3))"}
OF_32 = {"LAST": "nn.Linear(8 * 15 * 15, 10)", "HEAD": "self.last(self.features(x).flatten(1))"}
ALIKE = 'tests = datasets.MNIST(".", train=False, transform=train_transform)'
SPLIT = "data, tests = random_split(data, [50_000, 10_000])"
END = "T.ToTensor(), T.Normalize((0.1307,), (0.3081,))"


def described(folder: Path, train: str, tests: str = ALIKE, **network: str) -> Judged:
    """Let a submission with such transforms and such a network describe itself."""
    text = SUBMISSION
    for name, value in {
        **(network or ANY_SIZE),
        "TRAIN": f"{train}, {END}",
        "TESTS": tests,
    }.items():
        text = text.replace(name, value)
    path = folder / "net.py"
    path.write_text(text, encoding="utf-8")
    return judge(path, folder / "grades", official=False)


def plan_of(folder: Path) -> Plan:
    """Read the plan that a description left."""
    return msgspec.json.decode((folder / "grades" / "net.py" / "plan.json").read_bytes(), type=Plan)


def test_a_crop_of_some_images_is_no_fault(tmp_path: Path) -> None:
    """The transforms of a course's template are taken as they are."""
    found = described(
        tmp_path,
        "T.RandomApply([T.CenterCrop(22)], p=0.1), T.Resize((28, 28)), T.RandomRotation(9)",
    )

    assert found.outcomes["loads"] == "passed"
    assert "not applied" not in " ".join(found.record.notes)


def test_images_that_differ_in_size_are_refused_before_any_training(tmp_path: Path) -> None:
    """What a data loader could not stack fails in a quick look, with the sizes and the place."""
    found = described(tmp_path, "T.RandomApply([T.CenterCrop(22)], p=0.1)")

    assert found.failed == {"loads"}
    assert found.record.problem is not None
    assert found.record.problem.found == "1×22×22 and 1×28×28"
    assert "line" in found.record.problem.where


def test_a_network_of_another_size_than_its_images_is_refused(tmp_path: Path) -> None:
    """A network for 32×32 that its own file hands 28×28 does not load."""
    found = described(tmp_path, "T.RandomRotation(9)", **OF_32)

    assert found.failed == {"loads"}
    assert "[1, 28, 28]" in str(found.record.problem)


@pytest.mark.parametrize("network", [ANY_SIZE, OF_32], ids=["any size", "32×32"])
def test_a_network_is_described_on_the_size_that_its_transforms_make(
    tmp_path: Path, network: dict[str, str]
) -> None:
    """A network that would also take digits as they are is judged on what it is trained on."""
    found = described(tmp_path, "T.Resize(32)", **network)

    assert found.outcomes["loads"] == "passed"
    assert plan_of(tmp_path).model.input_shape == [1, 32, 32]


@pytest.mark.parametrize("tests", [ALIKE, SPLIT], ids=["same", "split"])
def test_testing_is_never_random(tmp_path: Path, tests: str) -> None:
    """Whatever a file tests with, the digits stay as they are but for what is fixed."""
    described(tmp_path, "T.RandomRotation(90), T.RandomCrop(28, padding=4)", tests)
    kinds = [type(step).__name__ for step in plan_of(tmp_path).recipe.test_transform]

    assert kinds == ["Crop", "ToFloat", "Normalize"]


FAILING = {
    "a root of less than nothing": ("(output[:, 0] * target).sqrt().mean()", "nan"),
    "labels out of reach": ("F.nll_loss(output[:, :5], target)", "out of bounds"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_first_step_that_fails_is_told_in_a_quick_look(tmp_path: Path, name: str) -> None:
    """A recipe of which no step can be taken is the submission's fault; its layers still count."""
    loss, words = FAILING[name]
    text = SUBMISSION.partition("train_transform = ")[0]
    for key, value in ANY_SIZE.items():
        text = text.replace(key, value)
    path = tmp_path / "net.py"
    path.write_text(f"{text}\ndef loss(output, target):\n    return {loss}\n", encoding="utf-8")
    found = judge(path, tmp_path / "grades", official=False)
    problem = found.record.problem

    assert problem is not None
    assert (problem.stage, problem.fault) == ("train", "error")
    assert words in problem.found
    assert found.failed == set()
    assert check_of("test_accuracy", found.record).outcome == "failed"
