"""Which trainings are plain loops of their recipe: told by what they do to the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from grader.plan.schema import Description
from grader.training.network import CompiledGraph
from tests.describing import described_here
from tests.reading import script

NET = """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 5, stride=4)
        self.bn = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(4, 10)
    def forward(self, x):
        x = self.drop(F.relu(self.bn(self.conv(x))))
        return F.log_softmax(self.out(x.mean((2, 3))), dim=1)
"""
DATA = """\
from tqdm import tqdm
train_set = datasets.MNIST('data', train=True, download=True, transform=transforms.ToTensor())
train_loader = torch.utils.data.DataLoader(train_set, batch_size=64, shuffle=True)
test_set = datasets.MNIST('data', train=False, transform=transforms.ToTensor())
test_loader = torch.utils.data.DataLoader(test_set, batch_size=64)
criterion = nn.NLLLoss()
train_losses, train_acc = [], []
device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
model = Net().to(device)
optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
"""
ONE = """\
def train(model, device, train_loader, optimizer, epoch):
    model.train()
    for i, (x, y) in enumerate(train_loader):
        x, y = x.to(device), y.to(device)
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
for epoch in range(1, 4):
    train(model, device, train_loader, optimizer, epoch)
"""
PROGRESS = (
    ONE.replace("enumerate(train_loader)", "enumerate(pbar)")
    .replace("    model.train()\n", "    model.train()\n    pbar = tqdm(train_loader)\n")
    .replace("range(1, 4)", "range(3)")
    .replace(
        "        optimizer.step()\n",
        "        optimizer.step()\n        train_losses.append(loss.item())\n"
        "        pbar.set_description(desc=f'{loss.item():.4f} {len(train_loader.dataset)}')\n",
    )
)


def scheduled(scheduler: str, epochs: int = 3) -> str:
    """Write a plain loop of some epochs with a scheduler that moves after each."""
    loop = ONE.replace("def", f"scheduler = optim.lr_scheduler.{scheduler}\ndef")
    return loop.replace("range(1, 4)", f"range({epochs})") + "    scheduler.step()\n"


CYCLE = (
    ONE.replace("optimizer, epoch", "optimizer, epoch, scheduler")
    .replace("optimizer.step()\n", "optimizer.step()\n        scheduler.step()\n")
    .replace(
        "def",
        "scheduler = optim.lr_scheduler.OneCycleLR(optimizer, 0.1, epochs=3,"
        " steps_per_epoch=len(train_loader))\ndef",
    )
)
ALL = """\
def test(model, loader):
    model.eval()
    with torch.no_grad():
        return sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
def fit(net, train_dl, test_dl, num_epochs, lr):
    opt = optim.Adam(net.parameters(), lr=lr)
    best = 0
    for epoch in range(num_epochs):
        net.train()
        for x, y in train_dl:
            opt.zero_grad()
            loss = F.nll_loss(net(x), y)
            loss.backward()
            opt.step()
        score = test(net, test_dl) / len(test_dl.dataset)
        if score > best:
            best = score
            torch.save(net.state_dict(), '/content/drive/best.pt')
    return best
fit(model, train_loader, test_loader, 3, lr=1e-3)
"""
SMOOTH = ONE.replace("criterion(model(x), y)", "smooth(model(x), y)").replace(
    "def", "def smooth(o, y):\n    return 0.9 * criterion(o, y) - 0.1 * o.mean()\ndef", 1
)
TOP = """\
for epoch in range(3):
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x.to(device)), y.to(device))
        loss.backward()
        optimizer.step()
"""
TRAINER = """\
class Trainer:
    def __init__(self, model, loader):
        self.model, self.loader = model, loader
        self.optimizer = self.make_optimizer()
    def make_optimizer(self):
        return optim.SGD(self.model.parameters(), lr=0.05)
    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.nll_loss(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()
    def fit(self, epochs):
        for epoch in range(epochs):
            self.model.train()
            losses = [self.step(x, y) for x, y in self.loader]
            print(sum(losses) / len(losses))
Trainer(model, train_loader).fit(3)
"""
PLAIN = {
    "a call a pass": ONE,
    "bars and lists": PROGRESS,
    "a scheduler outside": scheduled("StepLR(optimizer, 1)"),
    "a scheduler inside": CYCLE,
    "one call for all": ALL,
    "a loss of its own": SMOOTH,
    "a loop in the open": TOP,
    "a trainer class": TRAINER,
    "zero_grad after the step": TOP.replace("        optimizer.zero_grad()\n", "")
    + "        optimizer.zero_grad()\n",
    "gradients set to None": TOP.replace(
        "optimizer.zero_grad()", "model.zero_grad(set_to_none=True)"
    ),
    "a loop that counts for itself": "epoch = 0\n"
    + TOP.replace("for epoch in range(3):", "while epoch < 3:\n    epoch += 1"),
    "a cosine of 20 epochs": scheduled("CosineAnnealingLR(optimizer, T_max=20)", 20),
    "an exponential of 20 epochs": scheduled("ExponentialLR(optimizer, 0.9)", 20),
    "a cosine of 19 epochs": scheduled("CosineAnnealingLR(optimizer, T_max=19)", 19),
    "an optimiser made twice": "other = optim.SGD(model.parameters(), lr=0.1)\n" + ONE,
    "layers that are called one by one": TOP.replace(
        "model(x.to(device))",
        "model.out(model.drop(F.relu(model.bn(model.conv(x)))).mean((2, 3))).log_softmax(1)",
    ),
    "forward of a sequence": "model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10),"
    " nn.LogSoftmax(1))\noptimizer = optim.Adam(model.parameters())\n"
    + TOP.replace("model(x", "model.forward(x"),
    "automatic mixed precision": "scaler = torch.cuda.amp.GradScaler()\n"
    + TOP.replace("loss.backward()", "scaler.scale(loss).backward()")
    .replace("optimizer.step()", "scaler.step(optimizer); scaler.update()")
    .replace("        loss =", "        with torch.cuda.amp.autocast():\n            loss ="),
}
OWN = {
    "an L1 penalty": ONE.replace(
        "loss.backward()",
        "(loss + 1e-6 * sum(p.abs().sum() for p in model.parameters())).backward()",
    ),
    "clipping that does not bite yet": ONE.replace(
        "optimizer.step()", "nn.utils.clip_grad_norm_(model.parameters(), 1e6); optimizer.step()"
    ),
    "accumulation": ONE.replace(
        "        optimizer.step()", "        if i % 2 == 1: optimizer.step(); optimizer.zero_grad()"
    ).replace("        optimizer.zero_grad()\n        loss", "        loss"),
    "mixup": ONE.replace("x, y =", "x = 0.7 * x + 0.3 * x[torch.randperm(len(x))]; x, y ="),
    "mixup in the open": TOP.replace(
        "        loss =", "        x = 0.7 * x + 0.3 * x[torch.randperm(len(x))]\n        loss ="
    ),
    "a rate set by hand in a pass": ONE.replace(
        "        optimizer.step()",
        "        for g in optimizer.param_groups: g['lr'] = 0.05 / (i + 1)\n"
        "        optimizer.step()",
    ),
    "two optimisers": ONE.replace(
        "def", "other = optim.Adam(model.out.parameters())\ndef", 1
    ).replace("        optimizer.step()", "        other.step(); optimizer.step()"),
    "weights that are changed by hand": ONE.replace(
        "        optimizer.step()",
        "        optimizer.step()\n        model.out.weight.data.clamp_(-0.1, 0.1)",
    ),
    "two steps a batch": ONE.replace("        optimizer.step()", "        optimizer.step()\n" * 2),
}


def watched(folder: Path, loop: str) -> Description:
    """Describe a script with a network, data and a loop."""
    return described_here(script(folder, NET, DATA, loop))


@pytest.mark.parametrize("style", PLAIN)
def test_plain_loops_are_rebuilt(style: str, tmp_path: Path) -> None:
    """However a plain loop is written, the grader's own loop stands for it."""
    found = watched(tmp_path, PLAIN[style])
    assert (found.level, found.own) == ("rebuilt", None)
    assert "its own loop" not in " ".join(found.notes)
    assert found.optimizer is not None


@pytest.mark.parametrize("style", OWN)
def test_other_loops_run_themselves(style: str, tmp_path: Path) -> None:
    """What moves the weights otherwise than the recipe says is graded as it is."""
    found = watched(tmp_path, OWN[style])
    assert found.level == "sandboxed"
    assert found.own is not None
    assert "its own loop trains it" in found.notes[-1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("        optimizer.zero_grad()\n", "", "optimizer.zero_grad() is missing"),
        ("        optimizer.step()\n", "", "no optimiser is ever stepped"),
        ("    model.train()\n", "    model.eval()\n", "model.train() is missing"),
    ],
)
def test_what_a_loop_lacks_is_said(old: str, new: str, said: str, tmp_path: Path) -> None:
    """A forgotten call is named, since it costs accuracy and shows in no error."""
    assert said in " ".join(watched(tmp_path, ONE.replace(old, new)).notes)


def test_a_forgotten_train_after_a_test_is_said(tmp_path: Path) -> None:
    """A model that is tested and never set back learns in evaluation mode from then on."""
    loop = ALL.replace("        net.train()\n", "")
    assert "model.train() is missing" in " ".join(watched(tmp_path, loop).notes)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("open('/no/such/file')", "No such file"),
        ("raise SystemExit(0)", "SystemExit"),
        ("undefined.thing()", "'undefined'"),
    ],
)
def test_a_training_that_does_not_run(statement: str, said: str, tmp_path: Path) -> None:
    """What goes wrong in a training is told with its line."""
    text = NET + DATA + ONE.replace("    model.train()\n", f"    {statement}\n")
    found = described_here(script(tmp_path, text))
    assert found.level == "rebuilt"
    assert said in found.notes[0]
    assert "work.py, line" in found.notes[0]


@pytest.mark.parametrize(
    ("loss", "op"),
    [
        ("F.cross_entropy(x, y)", "cross_entropy"),
        ("F.cross_entropy(x, y, reduction='sum')", "cross_entropy"),
        ("F.mse_loss(x, torch.eye(10)[y])", "mse"),
    ],
)
def test_a_loss_that_the_network_works_out(loss: str, op: str, tmp_path: Path) -> None:
    """It is one of the usual losses if it has its values, and moves the weights alike."""
    forward = NET.replace("forward(self, x)", "forward(self, x, y=None)").replace(
        "return F.log_softmax(self.out(x.mean((2, 3))), dim=1)",
        f"x = self.out(x.mean((2, 3)))\n        return x, None if y is None else {loss}",
    )
    loop = ONE.replace("criterion(model(x), y)", "model(x, y)[1]")
    found = described_here(script(tmp_path, forward, DATA, loop))
    assert (found.level, found.epochs) == ("rebuilt", 3)
    assert found.loss is not None
    assert any(op in node.op for node in found.loss.nodes)
    scores, labels = torch.randn(9, 10), torch.arange(9)
    ours = CompiledGraph(found.loss, {}, torch.device("cpu"))
    scope = {"F": nn.functional, "torch": torch, "x": scores, "y": labels}
    assert ours(scores, labels) == pytest.approx(float(eval(loss, scope)))


USUAL = "MODEL = Net()\n" + ONE[: ONE.index("for epoch")]


def test_a_function_for_the_grader_is_called(tmp_path: Path) -> None:
    """In a file that says MODEL, a `train` that nobody calls is the training."""
    assert described_here(script(tmp_path, NET, "criterion = F.nll_loss", USUAL)).level == "rebuilt"
    own = USUAL.replace(
        "        optimizer.step()", "        x.mean()\n" + "        optimizer.step()\n" * 2
    )
    assert described_here(script(tmp_path, NET, "criterion = F.nll_loss", own)).level == "sandboxed"


@pytest.mark.parametrize("parameters", ["net, loader, opt", "model, train_dl, optim, epochs=3"])
def test_parameters_are_given_what_their_names_say(parameters: str, tmp_path: Path) -> None:
    """Model, loader, optimiser and epochs go by name; the rest keeps its default."""
    net, loader, opt = (name.strip() for name in parameters.split(",")[:3])
    body = f"def train({parameters}, lam=0.1):\n    for x, y in {loader}:\n"
    body += f"        {opt}.zero_grad()\n        (F.nll_loss({net}(x), y) * 2).backward()\n"
    body += f"        {opt}.step(); {opt}.step()\n"
    assert described_here(script(tmp_path, NET, "MODEL = Net()", body)).level == "sandboxed"


def test_a_parameter_that_nobody_explains_is_named(tmp_path: Path) -> None:
    """Where a parameter has no value the training is not called, and the note says which."""
    found = described_here(
        script(tmp_path, NET, USUAL.replace("optimizer, epoch", "optimizer, alpha"))
    )
    assert found.level == "rebuilt"
    assert "alpha" in " ".join(found.notes)


ROWS = {
    "a list of lists": "torch.tensor([[float(i == y) for i in range(10)] for y in y.tolist()])",
    "NumPy's rows": "torch.from_numpy(np.eye(10)[y.numpy()]).float()",
    "PyTorch's rows": "torch.eye(10)[y]",
    "one number at a time": "marked(torch.zeros(len(y), 10), y)",
    "softened": "torch.tensor(np.eye(10)[y.numpy()] * 0.9 + 0.01).float()",
}
LOSSES = {
    **{name: (made, "F.mse_loss(scores, given)") for name, made in ROWS.items()},
    "labels through NumPy": ("torch.tensor(y.numpy())", "F.nll_loss(scores, given)"),
    "a column": ("y.view(-1, 1)", "-scores.gather(1, given).mean()"),
    "a mean by hand": ("y", "F.nll_loss(scores, given, reduction='sum') / len(given)"),
    "rows by a range": ("y", "-scores[range(len(given)), given].mean()"),
    "rows by an index": ("y", "-scores[torch.arange(len(given)), given].mean()"),
}
MARKED = """\
import numpy as np
def marked(rows, labels):
    for i, label in enumerate(labels):
        rows[i][label.item()] = 1
    return rows
"""


@pytest.mark.parametrize("name", LOSSES)
def test_labels_by_way_of_python(name: str, tmp_path: Path) -> None:
    """What a loss is given of the labels is known by its numbers, for batches of any size."""
    made, loss = LOSSES[name]
    mine = f"{MARKED}\ndef mine(scores, y):\n    given = {made}\n    return {loss}\n"
    loop = ONE.replace("criterion(", "mine(")
    found = described_here(script(tmp_path, NET, DATA, mine, loop))
    assert (found.level, found.epochs) == ("rebuilt", 3)
    assert found.loss is not None

    scope: dict[str, Any] = {"torch": torch, "F": nn.functional}
    exec(mine, scope)
    scores, labels = torch.randn(9, 10), torch.tensor([0, 1, 1, 3, 9, 7, 2, 2, 4])
    ours = CompiledGraph(found.loss, {}, torch.device("cpu"))
    assert ours(scores, labels) == pytest.approx(float(scope["mine"](scores, labels)))


@pytest.mark.parametrize(
    ("label", "loss"),
    [
        ("torch.eye(10)[y]", "F.mse_loss(model(x), y)"),
        ("float(y)", "F.nll_loss(model(x), y.long())"),
    ],
)
def test_data_sets_that_give_rows_or_floats_for_labels(
    label: str, loss: str, tmp_path: Path
) -> None:
    """The loss is one of labels all the same."""
    data = DATA.replace("ToTensor())", f"ToTensor(), target_transform=lambda y: {label})")
    loop = ONE.replace("criterion(model(x), y)", loss)
    found = described_here(script(tmp_path, NET, data, loop))
    assert (found.level, found.loss is not None) == ("rebuilt", True)


def test_a_loss_of_numbers_that_no_label_explains(tmp_path: Path) -> None:
    """Where a loss cannot be written down, the file's own loop trains."""
    loop = ONE.replace("criterion(model(x), y)", "F.mse_loss(model(x), noise(len(y), 10))")
    made = "def noise(*shape): return torch.tensor([[0.5] * shape[1]] * shape[0])"
    found = described_here(script(tmp_path, NET, DATA, made, loop))
    assert (found.level, found.loss) == ("sandboxed", None)
