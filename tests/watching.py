"""Files that train, as students write them, and what was seen of their recipe."""

from __future__ import annotations

from pathlib import Path

from grader.plan.schema import Description
from tests.describing import described_here
from tests.reading import TRAIN, net, script

DATA = """\
train_t = transforms.Compose([transforms.RandomRotation(7), transforms.ToTensor()])
test_t = transforms.Compose([transforms.ToTensor()])
train_set = datasets.MNIST('data', train=True, download=True, transform=train_t)
test_set = datasets.MNIST('data', train=False, download=True, transform=test_t)
train_loader = torch.utils.data.DataLoader(train_set, batch_size=SIZE, shuffle=True)
test_loader = torch.utils.data.DataLoader(test_set, batch_size=1000)
"""
TEST = """\
def test(model, loader):
    model.eval()
    with torch.no_grad():
        return sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
"""
LOOP = """\
model = Net()
optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=6, verbose=True)
for epoch in range(1, EPOCHS + 1):
    train(model, 'cpu', train_loader, optimizer, epoch)
    test(model, test_loader)
    scheduler.step()
"""
USUAL = (net(), TRAIN + TEST, "SIZE = 64\nEPOCHS = 15", DATA, LOOP)


def watched(folder: Path, *parts: str, size: int = 64, epochs: int = 15) -> Description:
    """Describe a script with a network, a function that trains, data, and some parts."""
    sizes = f"SIZE = {size}\nEPOCHS = {epochs}"
    return described_here(script(folder, net(), TRAIN + TEST, sizes, DATA, *parts))


def told(found: Description) -> dict[str, tuple[str, str]]:
    """Return each fact's value and place."""
    return {fact.about: (fact.value, fact.where) for fact in found.provenance}


def rates(found: Description) -> list[float]:
    """Return the learning rate at the start of each epoch."""
    assert found.schedule is not None
    assert found.epochs is not None
    (lr,) = found.schedule.lr
    steps = max(1, len(lr) // found.epochs)
    return [round(value, 9) for value in lr[::steps]]


def learning_rate(found: Description) -> object:
    """Return the learning rate that the optimiser was made with."""
    assert found.optimizer is not None
    return found.optimizer.groups[0].options["lr"]


def kinds(steps: object) -> list[str]:
    """Name the steps of a transform."""
    assert isinstance(steps, list)
    return [type(step).__name__ for step in steps]
