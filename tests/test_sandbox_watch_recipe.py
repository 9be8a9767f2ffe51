"""The recipe that a file trains with, as it was seen: each part with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.datasets.known import FASHION_MNIST
from grader.submission import read_program
from tests.describing import described_here
from tests.reading import HEAD, TRAIN, net, notebook, script, write
from tests.watching import DATA, LOOP, TEST, USUAL, kinds, learning_rate, rates, told, watched


def test_the_recipe_of_a_notebook(tmp_path: Path) -> None:
    """Optimiser, scheduler, loss, transforms, batch size and epochs, each with its cell."""
    found = described_here(read_program(notebook(tmp_path, HEAD, *USUAL)))
    assert told(found) == {
        "epochs": ("15", "work.ipynb, cell 6, line 4"),
        "batch_size": ("64", "work.ipynb, cell 5, line 5"),
        "train_transform": ("affine → to_float", "work.ipynb, cell 5, line 3"),
        "test_transform": ("to_float", "work.ipynb, cell 5, line 4"),
        "loss": ("F.nll_loss(model(data.to(device)), target.to(device))",
                 "work.ipynb, cell 3, line 5"),
        "optimizer": ("SGD(lr=0.05, momentum=0.9)", "work.ipynb, cell 6, line 2"),
        "scheduler": ("StepLR", "work.ipynb, cell 6, line 3"),
    }  # fmt: skip
    assert rates(found) == [0.05] * 6 + [0.005] * 6 + [0.0005] * 3
    assert found.level == "rebuilt"


def test_everything_in_functions(tmp_path: Path) -> None:
    """The same inside `main`, with loaders made by a function and arguments passed on."""
    body = LOOP.replace("EPOCHS", "args.epochs").replace("train_loader", "loader")
    body = body.replace("test_loader", "other")
    loaders = "def loaders(SIZE):\n" + "".join(f"    {x}\n" for x in DATA.splitlines())
    main = (
        "def main():\n    parser = argparse.ArgumentParser()\n"
        "    parser.add_argument('--epochs', type=int, default=7)\n"
        "    parser.add_argument('--no-cuda', action='store_true')\n"
        "    args = parser.parse_args()\n    loader, other = loaders(32)\n"
        + "".join(f"    {x}\n" for x in body.splitlines())
    )
    found = described_here(
        script(tmp_path, "import argparse", net(), TRAIN + TEST,
               loaders + "    return train_loader, test_loader\n", main,
               "if __name__ == '__main__':\n    main()")
    )  # fmt: skip
    assert (found.epochs, found.batch_size) == (7, 32)
    assert kinds(found.train_transform) == ["Affine", "ToFloat"]
    assert kinds(found.test_transform) == ["ToFloat"]
    assert learning_rate(found) == 0.05


def test_a_scheduler_stepped_with_every_batch(tmp_path: Path) -> None:
    """`scheduler.step()` beside `optimizer.step()` moves with batches, of the loader's number."""
    step = TRAIN.replace("def train(", "def step(").replace("epoch)", "scheduler)")
    loop = (
        "model = Net()\noptimizer = optim.SGD(model.parameters(), lr=0.1)\n"
        "steps = len(train_loader) * EPOCHS\n"
        "scheduler = optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)\n"
        "for epoch in range(EPOCHS):\n"
        "    step(model, 'cpu', train_loader, optimizer, scheduler)\n"
    )
    found = watched(tmp_path, step + "        scheduler.step()\n", loop, epochs=3)
    assert found.schedule is not None
    assert len(found.schedule.lr[0]) == 3 * 938
    assert found.schedule.lr[0][0] == pytest.approx(0.004)
    assert max(found.schedule.lr[0]) == pytest.approx(0.1)


def test_a_scheduler_never_stepped_is_left_out(tmp_path: Path) -> None:
    """A scheduler without steps changes nothing, and the notes say so."""
    found = watched(tmp_path, LOOP.replace("    scheduler.step()\n", ""))
    assert rates(found) == [0.05]
    assert "never stepped" in " ".join(found.notes)


@pytest.mark.parametrize(
    "given",
    [
        "batch_size=48", "48", "**dict(batch_size=48, shuffle=True)", "**options",
        "batch_size=48 if torch.cuda.is_available() else 4",
        "**(dict(batch_size=48) if use_cuda else dict(batch_size=4))",
        "batch_sampler=torch.utils.data.BatchSampler("
        "torch.utils.data.RandomSampler(train_set), 48, False)",
    ],
)  # fmt: skip
def test_batch_sizes(tmp_path: Path, given: str) -> None:
    """However the loader is told its batch size; where a GPU decides, with one."""
    data = DATA.replace("batch_size=SIZE, shuffle=True", given)
    options = "use_cuda = torch.cuda.is_available()\noptions = dict(batch_size=48)\nEPOCHS = 1"
    found = described_here(script(tmp_path, net(), TRAIN + TEST, options, data, LOOP))
    assert found.batch_size == 48


@pytest.mark.parametrize(
    ("loop", "count"),
    [
        ("for epoch in range(12):", 12),
        ("for epoch in range(1, 12):", 11),
        ("for epoch in tqdm(range(1, EPOCHS)):", 14),
        ("for epoch in trange(9):", 9),
        ("epoch = 0\nwhile epoch < 30:\n    epoch += 1", 30),
        ("for epoch in list(range(100)):\n    if epoch == 8: break", 8),
        ("for epoch in [1, 2, 3]:", 3),
        ("for phase in (5, 4):\n  for epoch in range(phase):", 9),
    ],
)
def test_epochs_are_counted_as_the_loop_counts(tmp_path: Path, loop: str, count: int) -> None:
    """An epoch is a pass in which the optimiser stepped, whatever loop it stands in."""
    text = LOOP.replace("for epoch in range(1, EPOCHS + 1):", loop)
    assert watched(tmp_path, "from tqdm import tqdm, trange", text).epochs == count


AGAIN = """\
for epoch in range(EPOCHS, EPOCHS + 5):
    train(model, 'cpu', train_loader, optimizer, epoch)
"""


def test_loops_one_after_another_count_together(tmp_path: Path) -> None:
    """Fifteen epochs and five more are twenty, with the rates that they had."""
    found = watched(tmp_path, LOOP, "optimizer.param_groups[0]['lr'] = 0.001", AGAIN)
    assert found.epochs == 20


def test_two_fits_are_one_training(tmp_path: Path) -> None:
    """A helper that is called twice with other rates trains all epochs, each with its own rate."""
    fit = (
        "def fit(epochs, lr, model, loader):\n    opt = optim.SGD(model.parameters(), lr=lr)\n"
        "    for epoch in range(epochs):\n        train(model, 'cpu', loader, opt, epoch)\n"
    )
    found = watched(tmp_path, fit, "model = Net()\nfit(4, .1, model, train_loader)\n"
                    "fit(2, .01, model, train_loader)")  # fmt: skip
    assert found.epochs == 6
    assert found.level == "sandboxed" or rates(found) == [0.1] * 4 + [0.01] * 2


def test_rates_set_by_hand(tmp_path: Path) -> None:
    """A rate that the loop sets itself is the rate of its epochs."""
    loop = (
        "model = Net()\noptimizer = optim.SGD(model.parameters(), lr=0.1)\n"
        "for epoch in range(4):\n"
        "    for g in optimizer.param_groups: g['lr'] = 0.1 / (epoch + 1)\n"
        "    train(model, 'cpu', train_loader, optimizer, epoch)\n"
    )
    assert rates(watched(tmp_path, loop)) == [0.1, 0.05, pytest.approx(0.1 / 3), 0.025]


def test_of_two_optimisers_the_one_that_steps_counts(tmp_path: Path) -> None:
    """An optimiser that is made and never stepped is none of the recipe."""
    loop = LOOP.replace("optimizer = ", "spare = optim.Adam(model.parameters())\noptimizer = ", 1)
    found = watched(tmp_path, loop, "unused = optim.RMSprop(model.parameters())")
    assert found.optimizer is not None
    assert found.optimizer.name == "SGD"


@pytest.mark.parametrize(
    "parameters",
    ["params = net.parameters()\nopt = optim.Adam(params)",
     "opt = getattr(optim, 'Adam')(net.parameters())",
     "make = {'adam': optim.Adam}['adam']\nopt = make([p for p in net.parameters()])"],
)  # fmt: skip
def test_however_an_optimiser_is_made(tmp_path: Path, parameters: str) -> None:
    """Names, registries and lists of parameters do not hide an optimiser."""
    loop = "for epoch in range(2):\n    train(net, 'cpu', train_loader, opt, epoch)\n"
    found = watched(tmp_path, f"net = Net()\n{parameters}\n{loop}")
    assert found.optimizer is not None
    assert found.optimizer.name == "Adam"
    assert learning_rate(found) == 0.001


def test_a_scheduler_of_the_file(tmp_path: Path) -> None:
    """A scheduler class or function of the student's own gives the rates it gave."""
    own = (
        "class Warm(optim.lr_scheduler.LRScheduler):\n    def get_lr(self):\n"
        "        return [b * min(1, (self.last_epoch + 1) / 3) for b in self.base_lrs]\n"
    )
    loop = LOOP.replace("optim.lr_scheduler.StepLR(optimizer, step_size=6, verbose=True)",
                        "Warm(optimizer)")  # fmt: skip
    found = watched(tmp_path, own, loop, epochs=4)
    assert rates(found) == [pytest.approx(0.05 / 3), pytest.approx(0.1 / 3), 0.05, 0.05]


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("part = torch.utils.data.Subset(train_set, range(30_000))", 30_000),
        ("part, rest = torch.utils.data.random_split(train_set, [50_000, 10_000])", 50_000),
        ("part = torch.utils.data.ConcatDataset([train_set, train_set])", 120_000),
    ],
)
def test_the_length_of_the_data_is_what_the_file_makes_of_it(
    tmp_path: Path, line: str, size: int
) -> None:
    """Subsets, halves and sums of data sets have their own number of images and steps."""
    data = f"{line}\nassert len(part) == {size}\n"
    data += "train_loader = torch.utils.data.DataLoader(part, batch_size=100)\n"
    data += f"assert len(train_loader) == {size // 100}\n"
    found = watched(tmp_path, data, LOOP, epochs=2)
    assert found.epochs == 2
    assert found.batch_size == 100
    assert kinds(found.train_transform) == ["Affine", "ToFloat"]


def test_a_test_half_of_the_training_data_has_no_random_transform(tmp_path: Path) -> None:
    """A half that was split off to test on does not bring its augmentation into the test."""
    split = (
        "train_set, test_set = torch.utils.data.random_split(train_set, [50_000, 10_000])\n"
        "train_loader = torch.utils.data.DataLoader(train_set, batch_size=100)\n"
        "test_loader = torch.utils.data.DataLoader(test_set, batch_size=100)\n"
    )
    assert "Affine" not in kinds(watched(tmp_path, split, LOOP, epochs=2).test_transform or [])


def test_a_data_set_of_the_file_around_another(tmp_path: Path) -> None:
    """A wrapper that applies its transform itself is trained through."""
    own = (
        "class Own(torch.utils.data.Dataset):\n    def __init__(self, inner, transform):\n"
        "        self.inner, self.transform = inner, transform\n"
        "    def __len__(self):\n        return len(self.inner)\n"
        "    def __getitem__(self, i):\n        x, y = self.inner[i]\n"
        "        return self.transform(x), y\n"
        "wrapped = Own(datasets.MNIST('.'), train_t)\n"
        "train_loader = torch.utils.data.DataLoader(wrapped, batch_size=100)\n"
    )
    found = watched(tmp_path, own, LOOP, epochs=2)
    assert (found.epochs, found.batch_size) == (2, 100)
    assert kinds(found.train_transform) == ["Affine", "ToFloat"]


ITEMS = {
    "by another name": ("self.changed = test_t if plain else train_t", "self.changed(image)",
                        ["Affine", "ToFloat"], ["ToFloat"]),
    "of the file": ("self.plain = plain", "(test_t if self.plain else train_t)(image)",
                    ["Affine", "ToFloat"], ["ToFloat"]),
    "of bytes": (
        "self.plain = plain",
        "np.array(image if self.plain else turn(image), dtype=np.float32)[None] / 127.5 - 1",
        ["Affine", "ToFloat", "Normalize"], [],
    ),
    "of floats": (
        "self.plain = plain",
        "(nn.Identity() if self.plain else turn)(torch.tensor(np.array(image)[None]).float())",
        ["ToFloat", "Normalize", "Affine"], [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ITEMS)
def test_transforms_that_a_data_set_calls(tmp_path: Path, kind: str) -> None:
    """What a data set calls for an item counts, wherever it comes from, on bytes or on floats."""
    kept, item, train, test = ITEMS[kind]
    own = (
        "import numpy as np\nfrom torch.utils.data import DataLoader, Dataset\n"
        "turn = transforms.RandomRotation(5)\n"
        f"class Own(Dataset):\n    def __init__(self, half, plain):\n        {kept}\n"
        "        self.half = datasets.MNIST('data', train=half)\n"
        "    def __len__(self):\n        return len(self.half)\n"
        "    def __getitem__(self, i):\n        image, label = self.half[i]\n"
        f"        return {item}, label\n"
        "train_loader = DataLoader(Own(True, False), batch_size=64, shuffle=True)\n"
        "test_loader = DataLoader(Own(False, True), batch_size=64)\n"
    )
    found = watched(tmp_path, own, LOOP)
    assert kinds(found.train_transform) == train
    assert kinds(found.test_transform or []) == test  # or else the training's without chance
    assert found.level == "rebuilt"


def test_statistics_of_the_data_are_those_of_mnist(tmp_path: Path) -> None:
    """Mean and deviation that a file works out from its images are MNIST's own."""
    stats = (
        "raw = datasets.MNIST('.', download=True)\n"
        "mean, std = raw.data.float().mean() / 255, raw.data.float().std() / 255\n"
        "norm = transforms.Normalize((float(mean),), (float(std),))\n"
        "train_t = transforms.Compose([transforms.ToTensor(), norm])\n"
    )
    data = DATA.split("\n", 1)[1]
    found = described_here(
        script(tmp_path, net(), TRAIN + TEST, "SIZE = 64\nEPOCHS = 2", stats, data, LOOP)
    )
    assert found.train_transform is not None
    norm = found.train_transform[-1]
    assert getattr(norm, "mean") == [pytest.approx(0.1307, abs=1e-3)]  # noqa: B009 - of a union
    assert getattr(norm, "std") == [pytest.approx(0.3081, abs=1e-3)]  # noqa: B009 - of a union


def test_drop_last_is_seen(tmp_path: Path) -> None:
    """A loader that leaves out the last batch is one that does so in the plan."""
    data = "train_loader = torch.utils.data.DataLoader(train_set, batch_size=64, drop_last=True)"
    assert watched(tmp_path, data, LOOP, epochs=2).drop_last is True


def test_what_is_added_to_the_loss_makes_a_loop_its_own(tmp_path: Path) -> None:
    """A penalty on the weights is part of the training, so the file's own loop trains."""
    step = TRAIN.replace(
        "        loss.backward()",
        "        loss += 1e-4 * sum(p.abs().sum() for p in model.parameters())\n"
        "        loss.backward()",
    )
    found = watched(tmp_path, step, LOOP, epochs=2)
    assert found.level == "sandboxed"
    assert found.loss is not None


def test_the_recipe_of_the_model_chosen(tmp_path: Path) -> None:
    """Of two trainings the one of the chosen model counts."""
    first = LOOP.replace("Net()", "Old()").replace("0.05", "0.5").replace("EPOCHS", "3")
    program = script(tmp_path, net("Old"), *USUAL[:-1], first, LOOP)
    assert learning_rate(described_here(program)) == 0.05
    old = described_here(read_program(tmp_path / "work.py", model="Old"))
    assert (learning_rate(old), old.epochs) == (0.5, 3)


def test_modules_hold_the_training(tmp_path: Path) -> None:
    """Training and loaders may live in siblings."""
    write(tmp_path, "data.py", HEAD + "SIZE = 96\n" + DATA)
    write(tmp_path, "engine.py", HEAD + TRAIN + TEST)
    top = "from data import *\nfrom engine import train, test\nEPOCHS = 4\n"
    write(tmp_path, "work.py", "\n".join([HEAD, net(), top, LOOP]))
    found = described_here(read_program(tmp_path))
    assert (found.batch_size, found.epochs) == (96, 4)
    assert told(found)["batch_size"][1] == "data.py, line 11"
    assert told(found)["loss"][1].startswith("engine.py")


def test_names_win_in_a_file_written_for_the_grader(tmp_path: Path) -> None:
    """With `MODEL` in the file its names win over what its training does."""
    loop = LOOP.replace("range(1, EPOCHS + 1)", "range(2)")
    assert watched(tmp_path, loop, "MODEL = Net").epochs == 15
    assert watched(tmp_path, loop).epochs == 2


def test_nothing_of_the_recipe_is_invented(tmp_path: Path) -> None:
    """A file with a model alone has no recipe."""
    found = described_here(script(tmp_path, net()))
    assert (found.epochs, found.batch_size, found.optimizer, found.loss) == (None,) * 4
    assert found.provenance == []


@pytest.mark.parametrize(
    ("head", "made"),
    [
        ("class Config:\n    lr, epochs = 0.25, 6\nconfig = Config()", "config.lr"),
        ("from dataclasses import dataclass\n@dataclass\nclass C:\n    lr: float = 0.25\n"
         "    epochs: int = 6\nconfig = C()", "config.lr"),
        ("import wandb\nwandb.init(project='x', config={'lr': 0.25, 'epochs': 6})\n"
         "config = wandb.config", "config.lr"),
        ("import wandb\nconfig = wandb.config\nconfig.lr = 0.25\nconfig.epochs = 6",
         "config.lr"),
        ("import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', default=0.25)\n"
         "p.add_argument('--epochs', default=6)\nconfig, _ = p.parse_known_args()", "config.lr"),
        ("import types\nconfig = types.SimpleNamespace(**{'lr': 0.25, 'epochs': 6})",
         "vars(config)['lr']"),
    ],
    ids=["class", "dataclass", "wandb.init", "wandb.config", "argparse", "namespace"],
)  # fmt: skip
def test_configs(tmp_path: Path, head: str, made: str) -> None:
    """Wherever rates and epochs are kept, they are those of the run."""
    loop = LOOP.replace("0.05", made).replace("EPOCHS", "config.epochs")
    found = watched(tmp_path, head, loop)
    assert (learning_rate(found), found.epochs) == (0.25, 6)


def test_a_trainer_class(tmp_path: Path) -> None:
    """A training in methods is seen like any other."""
    trainer = (
        "class Trainer:\n    def __init__(self, model, lr, loader):\n"
        "        self.model = model.to('cpu')\n        self.writer = SummaryWriter()\n"
        "        self.loader = loader\n        self.criterion = nn.NLLLoss()\n"
        "        self.optimizer = self.make_optimizer(lr)\n"
        "    def make_optimizer(self, lr):\n"
        "        return optim.SGD(self.model.parameters(), lr=lr)\n"
        "    @staticmethod\n    def loss_of(criterion, output, target):\n"
        "        return criterion(output, target)\n"
        "    def fit(self, epochs):\n        for epoch in range(epochs):\n"
        "            for data, target in self.loader:\n"
        "                self.optimizer.zero_grad()\n"
        "                loss = self.loss_of(self.criterion, self.model(data), target)\n"
        "                loss.backward()\n                self.optimizer.step()\n"
        "                self.writer.add_scalar('loss', loss.item(), epoch)\n"
    )
    run = "trainer = Trainer(Net(3), 0.25, train_loader)\ntrainer.fit(6)\n"
    writer = "from torch.utils.tensorboard import SummaryWriter"
    found = watched(tmp_path, writer, trainer, run, size=16)
    assert (learning_rate(found), found.epochs, found.batch_size) == (0.25, 6, 16)
    assert "criterion" in told(found)["loss"][0]


def test_a_model_that_trains_itself(tmp_path: Path) -> None:
    """A network with a `fit` of its own is trained by it."""
    own = net().replace(
        "    def forward",
        "    def fit(self, loader, lr, epochs):\n"
        "        opt = optim.SGD(self.parameters(), lr=lr)\n"
        "        for epoch in range(epochs):\n            for x, y in loader:\n"
        "                opt.zero_grad()\n                F.nll_loss(self(x), y).backward()\n"
        "                opt.step()\n    def forward",
    )
    found = watched(tmp_path, own, "Net(3).fit(train_loader, 0.2, 5)")
    assert (learning_rate(found), found.epochs) == (0.2, 5)


def test_a_function_that_keeps_its_network_to_itself(tmp_path: Path) -> None:
    """The network that is trained counts, not one of its class that is made elsewhere."""
    main = "def main():\n" + "".join(f"    {x}\n" for x in LOOP.splitlines())
    found = watched(tmp_path, main.replace("Net()", "Net(3)"), "other = Net(4)\nmain()", epochs=3)
    assert found.model.tensors[0].shape[0] == 3
    assert found.epochs == 3


def test_a_training_that_never_runs_is_told(tmp_path: Path) -> None:
    """Where a file would train, and is not seen to, all of the recipe is the grader's: a note."""
    search = (
        "import optuna\ndef objective(trial):\n    model = Net()\n"
        "    optimizer = optim.SGD(model.parameters(), lr=trial.suggest_float('lr', 1e-3, 1))\n"
        "    train(model, 'cpu', train_loader, optimizer, 1)\n"
        "optuna.create_study().optimize(objective)\n"
    )
    found = watched(tmp_path, search)
    assert found.optimizer is None
    assert "not seen to learn from a loader" in " ".join(found.notes)


def test_other_images_are_told(tmp_path: Path) -> None:
    """A file that trains on FashionMNIST is told that it is tested on MNIST."""
    data = DATA.replace("datasets.MNIST", "datasets.FashionMNIST")
    found = watched(tmp_path, data, LOOP, epochs=2)
    assert "FashionMNIST" in " ".join(found.notes)


def test_the_rubric_says_which_images_are_the_right_ones(tmp_path: Path) -> None:
    """Those of another data set are told, and its own mean and deviation, lengths and classes."""
    head = net(), TRAIN + TEST, "SIZE = 64\nEPOCHS = 2"
    digits = described_here(script(tmp_path, *head, DATA, LOOP), dataset=FASHION_MNIST)
    own = DATA.replace("datasets.MNIST", "datasets.FashionMNIST")
    looks = (
        "pixels = train_set.data / 255",
        "print(0 / (round(float(pixels.mean()), 3) == 0.286))",
        "print(0 / (round(float(pixels.std()), 3) == 0.353))",
        "print(0 / (train_set.classes[9] == 'Ankle boot'))",
    )
    fashion = described_here(script(tmp_path, *head, own, *looks, LOOP), dataset=FASHION_MNIST)

    assert "trains on MNIST; the grader trains the network on Fashion-MNIST" in " ".join(
        digits.notes
    )
    assert fashion.notes == []


def test_a_person_may_decide_whose_recipe_counts(tmp_path: Path) -> None:
    """`--recipe default` leaves the file's own aside, `--recipe own` misses one that is missing."""
    trained = write(tmp_path, "trained.py", "\n".join([HEAD, *USUAL]))
    bare = write(tmp_path, "bare.py", HEAD + net())
    default = described_here(read_program(trained, recipe="default"))
    assert default.optimizer is None
    assert "--recipe default" in " ".join(default.notes)
    missing = described_here(read_program(bare, recipe="own"))
    assert [flaw.about for flaw in missing.flaws] == ["optimizer"]


OWN_LOOP = """\
model = Net()
optimizer = optim.SGD(model.parameters(), lr=0.05)
scheduler = optim.lr_scheduler.StepLR(optimizer, 1)
for epoch in range(3):
    for data, target in train_loader:
        optimizer.zero_grad()
        loss = F.nll_loss(model(data), target)
        loss.backward()
        optimizer.step()
    scheduler.step()
"""


def test_what_a_training_has_used_up_is_no_hook(tmp_path: Path) -> None:
    """`MODEL = …` below a training at top level leaves all that was seen of it."""
    found = watched(tmp_path, OWN_LOOP, "MODEL = model", epochs=3)
    assert found.flaws == []
    assert rates(found) == [0.05, 0.005, 0.0005]
    assert found.loss is not None


def test_the_last_run_of_a_loop_says_its_epochs(tmp_path: Path) -> None:
    """A function that trains two networks trains each for as long as its call says."""
    fit = "def fit(model, epochs):\n" + "".join(f"    {x}\n" for x in OWN_LOOP.splitlines()[1:])
    fit = fit.replace("range(3)", "range(epochs)")
    assert watched(tmp_path, fit, net("Old"), "fit(Old(), 20)\nfit(Net(), 10)").epochs == 10


@pytest.mark.parametrize(
    ("made", "step"),
    [
        ("CosineAnnealingWarmRestarts(optimizer, 2)", "scheduler.step(epoch + i / 938)"),
        ("StepLR(optimizer, 1)", "if i % 100 == 0: scheduler.step()"),
    ],
)
def test_a_scheduler_that_moves_otherwise_than_once_a_batch(
    tmp_path: Path, made: str, step: str
) -> None:
    """The file's own loop trains where no simulation gives the rates that were seen."""
    loop = OWN_LOOP.replace("StepLR(optimizer, 1)", made).replace("    scheduler.step()\n", "")
    loop = loop.replace("for data, target in", "for i, (data, target) in enumerate(")
    loop = loop.replace("train_loader:", "train_loader):") + f"        {step}\n"
    found = watched(tmp_path, loop)
    assert found.level == "sandboxed"
    assert "its scheduler does more than move on once after every batch" in found.notes[-1]


@pytest.mark.parametrize(
    "draw",
    [
        "for step in range(900):\n    data, target = next(iter(train_loader))",
        "for epoch in range(2):\n  batches = iter(train_loader)\n"
        "  for i in range(len(train_loader)):\n    data, target = next(batches)",
    ],
)
def test_single_batches_are_no_epochs(tmp_path: Path, draw: str) -> None:
    """Where a loop draws batches one by one, the file's EPOCHS counts, or else the default."""
    start, body = OWN_LOOP.partition("for epoch")[0], OWN_LOOP.partition("train_loader:\n")[2]
    body = body.partition("    scheduler")[0]
    text = start + f"{draw}\n" + body.replace("        ", "    ")
    assert watched(tmp_path, text).epochs == 15
    found = watched(tmp_path, "del EPOCHS", text)
    assert found.epochs is None
    assert any("it draws single batches" in note for note in found.notes)


WRAPPER = """\
class Own(torch.utils.data.Dataset):
    def __init__(self, inner, transform):
        self.inner, self.transform = inner, transform
    def __len__(self):
        return len(self.inner)
    def __getitem__(self, i):
        x, y = ITEM
        return self.transform(x), y
base = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
train_set = Own(datasets.MNIST('.', transform=base), OUTER)
train_loader = torch.utils.data.DataLoader(train_set, batch_size=100)
"""


@pytest.mark.parametrize(
    ("item", "outer", "names"),
    [
        ("self.inner[i]", "transforms.RandomRotation(7)", ["ToFloat", "Normalize", "Affine"]),
        ("transforms.ToPILImage()(self.inner.data[i]), int(self.inner.targets[i])", "train_t",
         ["Affine", "ToFloat"]),
    ],
)  # fmt: skip
def test_transforms_of_nested_data_sets(
    tmp_path: Path, item: str, outer: str, names: list[str]
) -> None:
    """The innermost comes first; one whose data set is passed by, of bytes, does not count."""
    data = WRAPPER.replace("ITEM", item).replace("OUTER", outer)
    assert kinds(watched(tmp_path, data, LOOP, epochs=2).train_transform) == names


def test_a_scheduler_of_batches_that_was_never_moved(tmp_path: Path) -> None:
    """OneCycleLR counts batches, also where the training ended before its first step."""
    made = "optim.lr_scheduler.OneCycleLR(optimizer, 0.1, epochs=EPOCHS, steps_per_epoch=938)"
    loop = OWN_LOOP.replace("optim.lr_scheduler.StepLR(optimizer, 1)", made)
    found = watched(
        tmp_path, loop.replace("    for data", "    unknown_name\n    for data"), epochs=2
    )
    assert found.schedule is not None
    assert max(found.schedule.lr[0]) == pytest.approx(0.1)


SCALED = """\
scaler = torch.cuda.amp.GradScaler()
for epoch in range(2):
    for data, target in train_loader:
        optimizer.zero_grad()
        scale = scaler.get_scale()
        scaler.scale(F.nll_loss(model(data), target)).backward()
        scaler.step(optimizer)
        scaler.update()
        if not scale > scaler.get_scale(): seen = scaler.is_enabled()
"""


def test_a_scaler_that_is_asked_for_its_scale(tmp_path: Path) -> None:
    """Precision is the grader's own affair: a scale is one and stays."""
    found = watched(tmp_path, OWN_LOOP.partition("for epoch")[0] + SCALED)
    assert (found.epochs, found.level) == (2, "rebuilt")
    assert not any("did not run" in note for note in found.notes)


def test_a_look_at_the_batch_after_its_step(tmp_path: Path) -> None:
    """What is evaluated within a batch, after its step, does not make its step another one."""
    look = (
        "        model.eval()\n        with torch.no_grad(): model(data)\n        model.train()\n"
    )
    assert (
        watched(tmp_path, OWN_LOOP.replace("    scheduler.s", f"{look}    scheduler.s")).level
        == "rebuilt"
    )


def test_a_data_set_of_letters_has_its_own_halves(tmp_path: Path) -> None:
    """Every split of EMNIST has a half to train on."""
    assertions = (
        "assert len(datasets.EMNIST('.', split='mnist')) == 112_800\n"
        "assert len(datasets.EMNIST('.', split='byclass', train=False)) == 18_800"
    )
    found = watched(tmp_path, assertions, LOOP)
    assert not any("did not run" in note for note in found.notes)
