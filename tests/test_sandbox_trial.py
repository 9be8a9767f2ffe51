"""Which trainings are plain loops of their recipe: told by what they do to the weights."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import torch

from grader.plan.assemble import request_defaults
from grader.sandbox.describe import describe
from tests.boxed import boxed
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
test_loader = torch.utils.data.DataLoader(train_set, batch_size=64)
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
STEPPED = ONE.replace("def", "scheduler = optim.lr_scheduler.StepLR(optimizer, 1)\ndef") + (
    "    scheduler.step()\n"
)
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
PLAIN = {
    "a call a pass": ONE,
    "bars and lists": PROGRESS,
    "a scheduler outside": STEPPED,
    "a scheduler inside": CYCLE,
    "one call for all": ALL,
    "a loss of its own": SMOOTH,
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
        "        optimizer.step()", "        if i % 8 == 7: optimizer.step()"
    ),
    "mixup": ONE.replace("x, y =", "x = 0.7 * x + 0.3 * x[torch.randperm(len(x))]; x, y ="),
    "a rate set by hand": ONE.replace(
        "    model.train()\n", "    optimizer.param_groups[0]['lr'] = 0.05 if epoch < 3 else 0.01\n"
    ),
    "two optimisers": ONE.replace(
        "def", "other = optim.Adam(model.out.parameters())\ndef", 1
    ).replace("        optimizer.step()", "        other.step(); optimizer.step()"),
    "passes until it is good enough": ALL.replace(
        "for epoch in range(num_epochs):", "while best < 0.994:"
    ),
}


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Compute as the box does, and undo what a trial does to a process that a box would end."""
    finders, save, modules = list(sys.meta_path), torch.save, set(sys.modules)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    sys.meta_path[:] = finders
    torch.save = save
    for name in {n for n in sys.modules if n.partition(".")[0] == "tqdm"} - modules:
        del sys.modules[name]


def level(tmp_path: Path, *parts: str) -> tuple[str, list[str]]:
    """Return the level of a script and the notes on it, as the box finds them."""
    program = msgspec.to_builtins(script(tmp_path, *parts))
    assert program["train"] is not None, program["notes"]
    defaults = {
        "epochs": 12, "batch_size": 128, "max_epochs": 19, "samples": 60_000,
        "optimizer": {"name": "SGD", "options": {"lr": 0.1}},
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as the box does
        found = boxed("description").describe(program, defaults, {"work.py"})
        result: tuple[str, list[str]] = boxed("trial").judge(program, found, defaults, {"work.py"})
    return result


@pytest.mark.parametrize("style", PLAIN)
def test_plain_loops_are_rebuilt(style: str, tmp_path: Path) -> None:
    """However a plain loop is written, the grader's own loop stands for it."""
    assert level(tmp_path, NET, DATA, PLAIN[style]) == ("rebuilt", [])


@pytest.mark.parametrize("style", OWN)
def test_other_loops_run_themselves(style: str, tmp_path: Path) -> None:
    """What moves the weights otherwise than the recipe says is graded as it is."""
    found, notes = level(tmp_path, NET, DATA, OWN[style])
    assert found == "sandboxed"
    assert "does more than a plain training loop" in notes[0]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("open('/no/such/file')", "No such file"),
        ("raise SystemExit(0)", "SystemExit"),
        ("undefined.thing()", "'undefined'"),
    ],
)
def test_a_training_that_cannot_be_called(statement: str, said: str, tmp_path: Path) -> None:
    """What goes wrong in it is told, and its recipe is trained by the grader's loop."""
    text = ONE.replace("    model.train()\n", f"    {statement}\n")
    found, notes = level(tmp_path, NET, DATA, text)
    assert found == "rebuilt"
    assert said in notes[0]
    assert "work.py, line" in notes[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "said"),
    [("__import__('os')._exit(3)", "status 3"), ("x = b'1' * 10**9; y = list(x)", "memory")],
)
def test_a_trial_that_goes_wrong_spoils_nothing(statement: str, said: str, tmp_path: Path) -> None:
    """Whatever happens while a training is tried, the description is there already."""
    text = ONE.replace("    model.train()\n", f"    {statement}\n")
    program = script(tmp_path, NET, DATA, text)
    found = describe(program, request_defaults(19), seconds=60, megabytes=1_500)
    assert found.level == "rebuilt"
    assert "`train` " in found.notes[-1]
    assert said in found.notes[-1].lower()


@pytest.mark.slow
def test_a_trial_tells_the_level_in_the_box(tmp_path: Path) -> None:
    """What the box finds of a training arrives with the description."""
    program = script(tmp_path, NET, DATA, OWN["mixup"])
    found = describe(program, request_defaults(19), seconds=60, megabytes=3_000)
    assert found.level == "sandboxed"
