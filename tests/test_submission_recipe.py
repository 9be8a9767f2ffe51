"""The recipe that a file trains with: each part found where the training happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grader.submission import read_program
from grader.submission.program import Program
from tests.reading import HEAD, TRAIN, net, notebook, script, value, write

DATA = """\
train_t = transforms.Compose([transforms.RandomRotation(7), transforms.ToTensor()])
test_t = transforms.Compose([transforms.ToTensor()])
train_set = datasets.MNIST('data', train=True, download=True, transform=train_t)
test_set = datasets.MNIST('data', train=False, download=True, transform=test_t)
train_loader = torch.utils.data.DataLoader(train_set, batch_size=SIZE, shuffle=True)
test_loader = torch.utils.data.DataLoader(test_set, batch_size=1000)
"""
LOOP = """\
model = Net()
optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=6, verbose=True)
for epoch in range(1, EPOCHS + 1):
    train(model, 'cpu', train_loader, optimizer, epoch)
    scheduler.step()
"""
USUAL = (net(), TRAIN, "SIZE = 64\nEPOCHS = 15", DATA, LOOP)


def plain(program: Program, key: str, **given: Any) -> Any:
    """Evaluate a part of the recipe."""
    return value(program, program.recipe[key], **given)


def test_a_notebook_s_recipe(tmp_path: Path) -> None:
    """Optimiser, scheduler, loss, transforms, batch size and epochs, each with its cell."""
    program = read_program(notebook(tmp_path, HEAD, *USUAL))
    model = value(program, program.model)
    optimizer = plain(program, "optimizer", model=model)
    assert optimizer.defaults["lr"] == 0.05
    assert plain(program, "scheduler", optimizer=optimizer).step_size == 6
    assert plain(program, "epochs") == 15
    assert plain(program, "batch_size") == 64
    assert len(plain(program, "train_transform").transforms) == 2
    assert len(plain(program, "test_transform").transforms) == 1
    assert program.recipe["loss"].source == "lambda output, target: F.nll_loss(output, target)"
    assert program.scheduler_steps == "epoch"
    assert program.recipe["optimizer"].where == "work.ipynb, cell 6, line 2"
    assert program.recipe["epochs"].where == "work.ipynb, cell 6, line 4"
    assert program.recipe["batch_size"].where == "work.ipynb, cell 5, line 5"
    assert "verbose" not in program.recipe["scheduler"].source


def test_everything_in_functions(tmp_path: Path) -> None:
    """The same inside `main`, with loaders made by a function and arguments passed on."""
    body = LOOP.replace("EPOCHS", "args.epochs").replace("train_loader", "loader")
    loaders = "def loaders(SIZE):\n" + "".join(f"    {x}\n" for x in DATA.splitlines())
    main = (
        "def main():\n    parser = argparse.ArgumentParser()\n"
        "    parser.add_argument('--epochs', type=int, default=7)\n"
        "    args = parser.parse_args([])\n    criterion = nn.NLLLoss()\n"
        "    loader, other = loaders(32)\n" + "".join(f"    {x}\n" for x in body.splitlines())
    )
    train = TRAIN.replace("epoch)", "criterion)").replace("F.nll_loss", "criterion")
    main = main.replace("optimizer, epoch)", "optimizer, criterion)")
    program = script(
        tmp_path, "import argparse", net(), train,
        loaders + "    return train_loader, test_loader\n", main, "main()",
    )  # fmt: skip
    assert plain(program, "epochs") == 7
    assert plain(program, "batch_size") == 32
    assert len(plain(program, "train_transform").transforms) == 2
    model = value(program, program.model)
    assert plain(program, "optimizer", model=model).defaults["momentum"] == 0.9
    import torch

    loss = plain(program, "loss")(torch.zeros(2, 10), torch.zeros(2, dtype=torch.long))
    assert loss.item() == 0


def test_a_scheduler_stepped_with_every_batch(tmp_path: Path) -> None:
    """`scheduler.step()` beside `optimizer.step()` moves with batches; loaders are handed in."""
    train = TRAIN.replace("epoch)", "scheduler)") + "        scheduler.step()\n"
    loop = (
        "model = Net()\noptimizer = optim.SGD(model.parameters(), lr=0.1)\n"
        "steps = len(train_loader) * EPOCHS\n"
        "scheduler = optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)\n"
        "for epoch in tqdm(range(EPOCHS)):\n"
        "    train(model, 'cpu', train_loader, optimizer, scheduler)\n"
    )
    program = script(tmp_path, net(), train, "SIZE = 64\nEPOCHS = 3", DATA, loop)
    assert program.scheduler_steps == "batch"
    model = value(program, program.model)
    optimizer = plain(program, "optimizer", model=model)
    scheduler = plain(program, "scheduler", optimizer=optimizer, train_loader=range(938))
    assert scheduler.total_steps == 3 * 938


def test_a_scheduler_never_stepped_is_left_out(tmp_path: Path) -> None:
    """A scheduler without steps changes nothing, and the notes say so."""
    program = script(tmp_path, *USUAL[:-1], LOOP.replace("    scheduler.step()\n", ""))
    assert "scheduler" not in program.recipe
    assert any("never stepped" in note for note in program.notes)


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ("batch_size=48", 48),
        ("48", 48),
        ("**dict(batch_size=48, shuffle=True)", 48),
        ("**options", 48),
        ("batch_size=48 if torch.cuda.is_available() else 4", 48),
        ("**(dict(batch_size=48) if use_cuda else dict(batch_size=4))", 48),
    ],
)
def test_batch_sizes(tmp_path: Path, given: str, size: int) -> None:
    """However the loader is told its batch size; where a GPU decides, with one."""
    data = DATA.replace("batch_size=SIZE", given)
    options = "use_cuda = torch.cuda.is_available()\noptions = dict(batch_size=48)\nEPOCHS = 1"
    program = script(tmp_path, net(), TRAIN, options, data, LOOP)
    assert plain(program, "batch_size") == size


@pytest.mark.parametrize(
    ("loop", "count"),
    [
        ("range(12)", 12),
        ("range(1, 12)", 11),
        ("tqdm(range(1, EPOCHS))", 14),
        ("trange(9)", 9),
    ],
)
def test_epochs_are_counted_as_the_loop_counts(tmp_path: Path, loop: str, count: int) -> None:
    """`range(1, EPOCHS)` is one epoch less than EPOCHS says."""
    text = LOOP.replace("range(1, EPOCHS + 1)", loop)
    assert plain(script(tmp_path, *USUAL[:-1], text), "epochs") == count


def test_what_is_added_to_the_loss_is_named(tmp_path: Path) -> None:
    """A penalty on the weights is not taken over, and the notes say so."""
    train = TRAIN.replace(
        "        loss.backward()", "        loss += 1e-4 * penalty(model)\n        loss.backward()"
    )
    program = script(tmp_path, net(), train, "SIZE = 64\nEPOCHS = 15", DATA, LOOP)
    assert any("F.nll_loss" in note and "added" in note for note in program.notes)


def test_the_recipe_of_the_model_chosen(tmp_path: Path) -> None:
    """Of two trainings the one of the chosen model counts."""
    first = LOOP.replace("Net()", "Old()").replace("0.05", "0.5")
    program = script(tmp_path, net("Old"), *USUAL[:-1], first, LOOP)
    assert "lr=0.05" in program.recipe["optimizer"].source
    path = tmp_path / "work.py"
    assert "lr=0.5" in read_program(path, model="Old").recipe["optimizer"].source


def test_modules_hold_the_training(tmp_path: Path) -> None:
    """Training and loaders may live in siblings; their constants are imported from there."""
    write(tmp_path, "data.py", HEAD + "SIZE = 96\n" + DATA)
    write(tmp_path, "engine.py", HEAD + TRAIN)
    top = "from data import train_loader\nfrom engine import train\nEPOCHS = 4\n"
    write(tmp_path, "work.py", "\n".join([HEAD, net(), top, LOOP]))
    program = read_program(tmp_path)
    assert plain(program, "batch_size") == 96
    assert plain(program, "epochs") == 4
    assert "nll_loss" in program.recipe["loss"].source


def test_names_for_the_grader(tmp_path: Path) -> None:
    """A file without training says its recipe by name; functions are hooks."""
    hooks = (
        "EPOCHS = 12\nBATCH_SIZE = 80\ntrain_transform = transforms.ToTensor()\n"
        "def optimizer(model):\n    return optim.SGD(model.parameters(), lr=LR)\nLR = 0.3\n"
        "scheduler = lambda optimizer, steps_per_epoch: None\n"
        "loss = nn.NLLLoss()\n"
        "PLAIN_EPOCHS = 1\nAVERAGED_EPOCHS = 2\nEMA_DECAY = 0.9\n"
    )
    program = script(tmp_path, net(), hooks)
    how = {key: part.how for key, part in program.recipe.items()}
    assert how == {
        "epochs": "value", "batch_size": "value", "train_transform": "value", "loss": "value",
        "optimizer": "hook", "scheduler": "hook", "plain_epochs": "value",
        "averaged_epochs": "value", "ema_decay": "value",
    }  # fmt: skip
    assert plain(program, "epochs") == 12
    model = value(program, program.model)()
    assert plain(program, "optimizer")(model).defaults["lr"] == 0.3


def test_names_win_in_a_file_written_for_the_grader(tmp_path: Path) -> None:
    """With `MODEL` in the file its names win over what its training does."""
    loop = LOOP.replace("range(1, EPOCHS + 1)", "range(2)")
    said = script(tmp_path, *USUAL[:-1], loop, "MODEL = Net")
    assert plain(said, "epochs") == 15
    assert plain(script(tmp_path, *USUAL[:-1], loop), "epochs") == 2


def test_nothing_of_the_recipe_is_invented(tmp_path: Path) -> None:
    """A file with a model alone has no recipe."""
    assert script(tmp_path, net()).recipe == {}


def test_a_trainer_class(tmp_path: Path) -> None:
    """What `__init__` sets on `self` is followed, and only as far as it is needed."""
    trainer = (
        "class Trainer:\n    def __init__(self, model, lr, loader):\n"
        "        self.model = model.to('cpu')\n        self.writer = SummaryWriter()\n"
        "        self.loader = loader\n        self.criterion = nn.NLLLoss()\n"
        "        self.optimizer = optim.SGD(self.model.parameters(), lr=lr)\n"
        "    def fit(self, epochs):\n        for epoch in range(epochs):\n"
        "            for data, target in self.loader:\n"
        "                loss = self.criterion(self.model(data), target)\n"
        "                loss.backward()\n                self.optimizer.step()\n"
    )
    run = "trainer = Trainer(Net(3), 0.25, train_loader)\ntrainer.fit(6)\n"
    program = script(tmp_path, net(), "SIZE = 16", DATA, trainer, run)
    model = value(program, program.model)
    assert plain(program, "optimizer", model=model).defaults["lr"] == 0.25
    assert plain(program, "epochs") == 6
    assert plain(program, "batch_size") == 16
    assert "self.criterion" in program.recipe["loss"].source
    assert "SummaryWriter" not in str(program.recipe)


def test_methods_that_make_transforms(tmp_path: Path) -> None:
    """A data class may build its transforms in a method of its own."""
    data = (
        "class Data:\n    def __init__(self, size):\n        self.size = size\n"
        "        self.set = datasets.MNIST('.', train=True, transform=self.augment())\n"
        "        self.loader = torch.utils.data.DataLoader(self.set, batch_size=self.size)\n"
        "    def augment(self):\n        return transforms.Compose([transforms.ToTensor()])\n"
    )
    program = script(tmp_path, net(), TRAIN, data, "d = Data(24)\nmodel = Net()\n")
    assert plain(program, "batch_size") == 24
    assert len(plain(program, "train_transform").transforms) == 1


def test_a_person_may_decide_whose_recipe_counts(tmp_path: Path) -> None:
    """`--recipe default` leaves the file's own aside, `--recipe own` misses one that is missing."""
    trained = write(tmp_path, "trained.py", "\n".join([HEAD, *USUAL]))
    bare = write(tmp_path, "bare.py", HEAD + net())
    default = read_program(trained, recipe="default")

    assert default.recipe == {}
    assert "--recipe default" in default.notes[-1]
    assert read_program(trained, recipe="own") == read_program(trained)
    assert [f.about for f in read_program(bare, recipe="own").flaws] == ["optimizer"]
