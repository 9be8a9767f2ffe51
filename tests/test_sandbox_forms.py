"""Networks and images in forms that ask for more than usual: one small case of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.errors import SubmissionError
from grader.plan.schema import Description
from tests.describing import described_here
from tests.reading import HEAD, TRAIN, net, script, write
from tests.test_sandbox_watch_habits import FIT, LOADER, MADE, fitted

pytestmark = pytest.mark.slow  # each runs a training in a process of its own


def test_a_network_in_double_precision(tmp_path: Path) -> None:
    """The precision is the grader's own: the same network is graded in single."""
    made = MADE.replace("Net()", "Net().double()")
    loop = TRAIN.replace("data.to(device)", "data.double()")
    found = fitted(tmp_path, loop, made, FIT)
    kinds = {tensor.dtype for tensor in found.model.tensors if tensor.role == "parameter"}
    assert (kinds, found.epochs, found.level) == ({"torch.float32"}, 5, "rebuilt")


def test_a_network_whose_own_train_is_a_training(tmp_path: Path) -> None:
    """A method of that name sets no mode, and nothing of ours calls it."""
    method = (
        "class Own(Net):\n    def train(self, images, labels):\n"
        "        optimizer.zero_grad()\n        F.nll_loss(self(images), labels).backward()\n"
        "        optimizer.step()\n"
    )
    loop = "for epoch in range(5):\n    for x, y in train_loader:\n        model.train(x, y)\n"
    found = fitted(tmp_path, method, MADE.replace("Net()", "Own()"), loop)
    assert (found.model.class_name, found.epochs) == ("Own", 5)


def test_a_network_for_one_image(tmp_path: Path) -> None:
    """What can only be called with one image is refused, and told why."""
    alone = "x = x.reshape(1, 1, 28, 28)\n        return F"
    with pytest.raises(SubmissionError, match="one image at a time") as refused:
        described_here(script(tmp_path, net().replace("return F", alone)))
    assert "x.size(0) or -1" in str(refused.value)


def test_generators_of_other_devices(tmp_path: Path) -> None:
    """A loader's generator may be of any machine's device."""
    loader = LOADER.replace("100)", "100, generator=torch.Generator(device='mps:0'))")
    assert fitted(tmp_path, loader, MADE, FIT).batch_size == 100


def saved(folder: Path, *parts: str) -> Description:
    """Describe a training on tensors that were saved elsewhere."""
    return described_here(script(folder, net(), TRAIN, *parts, MADE, FIT))


PAIR = "data = torch.utils.data.TensorDataset(images, labels)\n"
LOADED = "train_loader = torch.utils.data.DataLoader(data, 50)\n"


@pytest.mark.parametrize("form", ["", ".unsqueeze(1)"])
def test_tensors_that_were_saved_alone(tmp_path: Path, form: str) -> None:
    """Files called `images` and `labels` hold these, with or without a channel."""
    body = (
        f"images = torch.load('d/train_images_0.pt'){form}\n"
        "labels = torch.load('d/train_target.pt')\n"
        + PAIR + LOADED + MADE + FIT
    )  # fmt: skip
    main = "def main():\n" + "".join(f"    {line}\n" for line in body.splitlines()) + "main()\n"
    found = described_here(script(tmp_path, net(), TRAIN, main))
    assert (found.epochs, found.batch_size, found.level) == (5, 50, "rebuilt")
    assert not any("initial weights" in note for note in found.notes)


def test_a_data_set_that_was_saved_as_a_whole(tmp_path: Path) -> None:
    """What a loader is handed as it was loaded is the half that its name speaks of."""
    found = saved(tmp_path, "data = torch.load('train_dataset.pt')\n" + LOADED)
    assert (found.epochs, found.batch_size) == (5, 50)
    assert [note for note in found.notes if "train_dataset.pt" not in note] == []


def test_a_network_in_a_module_without_a_forward(tmp_path: Path) -> None:
    """What only says how a network is trained is none itself."""
    module = (
        "import pytorch_lightning as pl\nclass Lit(pl.LightningModule):\n"
        "    def __init__(self):\n        super().__init__()\n        self.net = Net()\n"
        "    def training_step(self, batch, index):\n        x, y = batch\n"
        "        return F.nll_loss(self.net(x), y)\n"
        "    def configure_optimizers(self):\n"
        "        return optim.SGD(self.parameters(), lr=0.05)\n"
        "pl.Trainer(max_epochs=3).fit(Lit(), train_loader)\n"
    )
    found = fitted(tmp_path, module)
    assert (found.model.class_name, found.epochs, found.level) == ("Net", 3, "rebuilt")


def test_what_else_is_trained_is_told(tmp_path: Path) -> None:
    """Of networks of several classes the last counts, and the others are named."""
    found = fitted(tmp_path, net("First"), MADE.replace("Net", "First") + FIT, MADE + FIT)
    assert found.model.class_name == "Net"
    assert "it also trains First; what is trained last counts" in found.notes


@pytest.mark.parametrize("name", ["main", "run", "train_model"])
def test_a_training_that_nothing_calls(tmp_path: Path, name: str) -> None:
    """Where a file trains nothing, the function is called that needs no arguments for it."""
    body = "".join(f"    {line}\n" for line in (LOADER + MADE + FIT).splitlines())
    found = described_here(script(tmp_path, net(), TRAIN, f"def {name}():\n{body}"))
    assert found.epochs == 5
    assert f"nothing calls `{name}()`, which was called here (work.py)" in found.notes


def test_a_program_that_ends_well(tmp_path: Path) -> None:
    """`sys.exit()` after a training is no failure."""
    body = "".join(f"    {line}\n" for line in (LOADER + MADE + FIT).splitlines())
    found = described_here(script(tmp_path, net(), TRAIN, f"def go():\n{body}    exit(0)\ngo()\n"))
    assert (found.epochs, found.notes) == (5, [])


def test_a_module_that_lies_where_nothing_looks(tmp_path: Path) -> None:
    """The only file of the name of an import that finds nothing is meant, and a note says so."""
    from grader.submission import read_program

    write(tmp_path, "models/nets.py", HEAD + net())
    write(tmp_path, "tools/logging.py", "raise ValueError\n")
    text = HEAD + "import logging\nfrom nets import Net\n" + TRAIN + LOADER + MADE + FIT
    write(tmp_path, "scripts/train.py", text)
    program = read_program(tmp_path)
    assert program.notes == ["`nets` is models/nets.py, in no folder where Python looks"]
    assert described_here(program).epochs == 5


def test_networks_whose_weights_others_have_trained(tmp_path: Path) -> None:
    """Weights that would be fetched are lost: the network starts from its initial ones."""
    made = (
        "from torchvision import models\nmodel = models.shufflenet_v2_x0_5(weights='DEFAULT')\n"
        "model.fc = nn.Linear(1024, 10)\noptimizer = optim.SGD(model.parameters(), lr=0.05)\n"
    )
    loader = LOADER.replace("transforms.ToTensor()", "transforms.Compose([transforms.Grayscale(3),"
                            " transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])")  # fmt: skip
    found = fitted(tmp_path, loader, made, FIT.replace("'cpu'", "'cuda'"))
    assert (found.model.class_name, found.epochs) == ("ShuffleNetV2", 5)
    assert any("starts from its initial weights" in note for note in found.notes)


@pytest.mark.parametrize(
    ("rates", "level"), [("0.5", "rebuilt"), ("0.5, momentum=0.9", "sandboxed")]
)
def test_an_optimiser_for_each_call(tmp_path: Path, rates: str, level: str) -> None:
    """Plain ones are as good as one whose rate changes; what remembers begins anew each time."""
    calls = (
        "def fit(epochs, lr):\n    optimizer = optim.SGD(model.parameters(), lr=RATE)\n"
        "    for epoch in range(epochs):\n"
        "        train(model, 'cpu', train_loader, optimizer, epoch)\n"
        "model = Net()\nfit(2, 1.0)\nfit(3, 0.1)\n"
    ).replace("RATE", rates.replace("0.5", "lr"))
    found = fitted(tmp_path, calls)
    assert found.schedule is not None
    assert (found.epochs, found.level) == (5, level)
    assert found.schedule.lr[0][::600] == [1.0, 1.0, 0.1, 0.1, 0.1]


def test_steps_that_call_a_part_of_a_network(tmp_path: Path) -> None:
    """A loop that calls the layers by themselves, with rows of pixels, is plain all the same."""
    module = (
        "class Rows(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.layers = nn.Sequential(nn.Linear(784, 9), nn.ReLU(), nn.Linear(9, 10))\n"
        "    def forward(self, x):\n        return self.layers(x)\n"
    )
    loop = TRAIN.replace("model(data", "model.layers(data.flatten(1)")
    loop = loop.replace("nll_loss", "cross_entropy")
    found = fitted(tmp_path, module, loop, MADE.replace("Net", "Rows"), FIT)
    assert (found.model.class_name, found.epochs, found.level) == ("Rows", 5, "rebuilt")


def test_functions_that_numba_compiles(tmp_path: Path) -> None:
    """A compiled function of the file's own runs as it stands."""
    head = "from numba import njit\n@njit(cache=True)\ndef halved(x):\n    return x / 2\n"
    found = fitted(tmp_path, head, MADE.replace("0.05", "halved(0.1)"), FIT)
    assert (found.epochs, found.notes) == (5, [])


def test_a_transform_in_a_loop_is_no_network(tmp_path: Path) -> None:
    """What has no weights is not named among what is trained."""
    loop = TRAIN.replace("data.to(device)", "transforms.Normalize(0.5, 0.5)(data)")
    found = fitted(tmp_path, loop, MADE, FIT)
    assert not any("it also trains" in note for note in found.notes)


def test_rates_of_a_part_of_the_images(tmp_path: Path) -> None:
    """A schedule by batches that is made for fewer of them is stretched over all."""
    loader = LOADER + (
        "half, rest = torch.utils.data.random_split(train_loader.dataset, [30_000, 30_000])\n"
        "train_loader = torch.utils.data.DataLoader(half, 100)\n"
    )
    made = MADE + "s = optim.lr_scheduler.OneCycleLR(optimizer, 1, total_steps=1500)\n"
    loop = TRAIN.replace("optimizer.step()", "optimizer.step()\n        s.step()")
    found = fitted(tmp_path, loader, loop, made, FIT)
    assert found.schedule is not None
    (rates,) = found.schedule.lr
    assert (len(rates), found.epochs, found.level) == (3000, 5, "rebuilt")
    assert 890 <= rates.index(max(rates)) <= 910
    assert rates[-1] == min(rates) < 1e-5


def test_items_of_a_data_set_of_its_own(tmp_path: Path) -> None:
    """Items that do not repeat are what they are, and changing one changes no other."""
    own = (
        "class Own(torch.utils.data.Dataset):\n    def __len__(self): return 3000\n"
        "    def __getitem__(self, i): return torch.full((1, 28, 28), i / 3000), i // 300\n"
        "every = datasets.MNIST('.', transform=transforms.ToTensor())\nlen(every.data)\n"
        "assert len({Own()[i][1] for i in range(3000)}) == 10\n"
        "for image, _ in every: image.zero_()\n"
        "assert sum(float(every[i][0].sum()) for i in range(9)) > 0\nassert len(every) == 60_000\n"
    )
    assert fitted(tmp_path, own, MADE, FIT).notes == []
