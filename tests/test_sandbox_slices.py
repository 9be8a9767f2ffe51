"""Mini-batch loops over slices of tensors are read as loops over a loader are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.describing import described_here
from tests.reading import net, script
from tests.watching import LOOP, kinds, learning_rate, rates, watched

TENSORS = """\
train_set = datasets.MNIST('data', train=True, download=True)
x = (train_set.data.float() / 255).unsqueeze(1)
y = train_set.targets
x_test = datasets.MNIST('data', train=False).data.float().unsqueeze(1) / 255
model = Net()
optimizer = optim.SGD(model.parameters(), lr=0.05)
scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=6)
def step(xb, yb, rows=slice(None)):
    optimizer.zero_grad()
    loss = F.nll_loss(model(xb), yb[rows])
    loss.backward()
    optimizer.step()
def test():
    model.eval()
    with torch.no_grad():
        for i in range(0, len(x_test), 500):
            model(x_test[i:i + 500])
"""
SLICES = {
    "order": ("for i in tqdm(range(0, len(x), 128)):",
              "rows = order[i:i + 128]; step(x[rows], y[rows])"),
    "pairs": ("for xb, yb in zip(x.split(128), y.split(128)):", "step(xb, yb)"),
    "generator": ("for k, (xb, yb) in enumerate(batches(128)):", "step(xb, yb)"),
    "number": ("for k in range(len(x) // 128):",
               "step(x[k * 128:][:128], y, slice(k * 128, k * 128 + 128))"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SLICES)
def test_mini_batches_of_tensors(tmp_path: Path, kind: str) -> None:
    """A loop over slices is a pass as one over a loader is: as short, with all of its recipe."""
    head, body = SLICES[kind]
    found = described_here(script(
        tmp_path, "from tqdm import tqdm", net(), TENSORS,
        "def batches(n):\n    for i in range(0, len(x), n):\n        yield x[i:i + n], y[i:i + n]",
        "for epoch in range(15):\n    model.train()\n    order = torch.randperm(len(x))\n"
        f"    {head}\n        {body}\n    test()\n    scheduler.step()",
    ))  # fmt: skip
    assert (found.epochs, found.batch_size, found.level) == (15, 128, "rebuilt")
    assert found.drop_last == (kind == "number")
    assert kinds(found.train_transform) == ["ToFloat"]
    assert rates(found) == [0.05] * 6 + [0.005] * 6 + [0.0005] * 3
    assert found.loss is not None
    assert found.notes == []


def test_batches_drawn_without_epochs(tmp_path: Path) -> None:
    """Of a loop that draws batches one by one, the number of images makes the epochs."""
    found = described_here(script(
        tmp_path, net(), TENSORS,
        "for turn in range(6000):\n    rows = torch.randint(0, len(x), (100,))\n"
        "    step(x[rows], y[rows])",
    ))  # fmt: skip
    assert (found.epochs, found.batch_size, found.drop_last) == (10, 100, False)
    assert learning_rate(found) == 0.05


@pytest.mark.parametrize("own", [False, True])
def test_labels_are_not_what_a_model_says(tmp_path: Path, own: bool) -> None:
    """The labels of a batch are what its loss, or its network, is given: no maximum of scores."""
    network = net().replace("(self, x)", "(self, x, y=None)").replace("return ", "x = ")
    network += "        return x, None if y is None else F.nll_loss(x, y)\n"
    asked = "out, loss = model(x[rows], y[rows])" if own else "out = model(x[rows])"
    found = described_here(script(
        tmp_path, network if own else net(), TENSORS,
        "for turn in range(600):\n    rows = torch.randint(0, len(x), (100,))\n"
        f"    {asked}\n    right = (out.argmax(1) == y[rows]).float().mean()\n"
        + ("" if own else "    loss = F.nll_loss(out, y[rows], reduction='none').mean()\n")
        + "    optimizer.zero_grad(); loss.backward(); optimizer.step()",
    ))  # fmt: skip
    assert found.loss is not None
    assert found.level == "rebuilt"
    assert "its own loop" not in " ".join(found.notes)


def test_loops_of_a_network_are_left_alone(tmp_path: Path) -> None:
    """However a network that loops over its layers is asked, all of them are in its scores."""
    loop = (
        "        for layer in [self.conv, self.out] + [nn.Identity()] * 8 + [torch.sin]:\n"
        "            x = layer(x)\n        return F.log_softmax(x.mean((2, 3)), dim=1)\n"
    )
    deep = net().partition("        return")[0] + loop
    found = described_here(script(
        tmp_path, deep, TENSORS,
        "for ask in (model, model.forward):\n    with torch.no_grad():\n"
        "        assert ask(x[:64]).exp().max() < 0.5, 'no sine'\n"
        "for i in range(0, len(x), 64):\n    step(x[i:i + 64], y[i:i + 64]); scheduler.step()",
    ))  # fmt: skip
    assert "aten.sin.default" in [node.op for node in found.model.train.nodes]
    assert (found.epochs, found.notes) == (1, [])


def test_a_network_that_is_asked_about_every_image_is_asked_about_some(tmp_path: Path) -> None:
    """A loop that asks a trained network image by image ends before its time."""
    asking = (
        "asked = 0\nfor i in range(len(x_test)):\n    model(x_test[i:i + 1])\n    asked += 1\n"
        "for i in range(500):\n    model(x_test[i:i + 1])\n    asked -= 1\n"
        "EPOCHS = 2 if 0 < asked < len(x_test) - 500 else 3\n"
    )
    found = described_here(script(
        tmp_path, net(), TENSORS, asking,
        "for epoch in range(EPOCHS):\n    for i in range(0, len(x), 64):\n"
        "        step(x[i:i + 64], y[i:i + 64])",
    ))  # fmt: skip
    assert (found.epochs, found.batch_size) == (2, 64)


def test_a_trial_of_a_few_images_is_no_pass(tmp_path: Path) -> None:
    """Before a training by a loader, a network may learn a batch by heart."""
    trial = "model = Net()\noptimizer = optim.SGD(model.parameters(), lr=0.1)\n"
    trial += "x, y = torch.rand(100, 1, 28, 28), torch.arange(100) % 10\n"
    trial += "for _ in range(80):\n    F.nll_loss(model(x), y).backward(); optimizer.step()\n"
    loop = LOOP.replace("model = Net()\n", "")
    found = watched(tmp_path, trial, loop)
    assert (found.epochs, found.batch_size) == (15, 64)
