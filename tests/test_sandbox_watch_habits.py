"""Habits of public trainings that are read for what they mean: one small case of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.plan.schema import Description, Normalize
from grader.submission import read_program
from tests.describing import described_here
from tests.reading import HEAD, TRAIN, net, refusal, script, write
from tests.watching import learning_rate

LOADER = """\
t = transforms.ToTensor()
train_loader = torch.utils.data.DataLoader(datasets.MNIST('.', transform=t), 100)
"""
MADE = "model = Net()\noptimizer = optim.SGD(model.parameters(), lr=0.05)\n"
FIT = """\
for epoch in range(5):
    train(model, 'cpu', train_loader, optimizer, epoch)
"""


def fitted(folder: Path, *parts: str) -> Description:
    """Describe a script with a network, a function that trains, a loader, and some parts."""
    return described_here(script(folder, net(), TRAIN, LOADER, *parts))


def tensors(folder: Path, images: str, *, labels: str = "labels") -> Description:
    """Describe a training on tensors that are made by some lines."""
    pair = f"torch.tensor(images), torch.tensor({labels}).long()"
    data = f"data = torch.utils.data.TensorDataset({pair})\n"
    loader = "train_loader = torch.utils.data.DataLoader(data, 64)\n"
    return described_here(script(folder, "import numpy as np", net(), TRAIN, images, data + loader,
                                 MADE, FIT))  # fmt: skip


def test_evaluation_mode_that_changes_nothing_is_plain(tmp_path: Path) -> None:
    """A network without dropout and batch norm learns the same in evaluation mode."""
    found = fitted(tmp_path, MADE, FIT.replace("    train(", "    model.eval()\n    train("))
    assert found.level == "rebuilt"


def test_code_that_relies_on_the_size_of_a_batch(tmp_path: Path) -> None:
    """Where batches of four images are too few, the statement is run again with whole ones."""
    loop = TRAIN.replace(
        "loss = ", "picked = [int(target[i]) for i in range(100)]\n        loss = "
    )
    found = fitted(tmp_path, loop, MADE, FIT)
    assert (found.epochs, found.batch_size, found.level) == (5, 100, "rebuilt")


def test_a_batch_that_is_tried_is_no_epoch(tmp_path: Path) -> None:
    """A step on one batch ahead of the loop is a trial."""
    trial = "data, target = next(iter(train_loader))\nF.nll_loss(model(data), target).backward()\n"
    assert fitted(tmp_path, MADE, trial + "optimizer.step()\n", FIT).epochs == 5


def test_a_loop_whose_variable_is_in_its_own_range(tmp_path: Path) -> None:
    """`range(epoch, EPOCHS)` is as long as it was when the loop began, also if it is left early."""
    loop = FIT.replace("range(5):", "range(epoch, EPOCHS):") + "    if loss_is_low(): break\n"
    head = "epoch, EPOCHS = 2, 9\ndef loss_is_low(): return epoch > 3\n"
    assert fitted(tmp_path, MADE, head, loop).epochs == 7


def test_a_scheduler_that_moves_ahead_of_the_optimiser(tmp_path: Path) -> None:
    """Stepped ahead of every step, it gives each the rate of the next: the rest is plain."""
    loop = TRAIN.replace("        optimizer.step()", "        s.step()\n        optimizer.step()")
    made = MADE + "s = optim.lr_scheduler.ExponentialLR(optimizer, 0.9)\n"
    found = fitted(tmp_path, loop, made, FIT)
    assert found.schedule is not None
    assert found.schedule.lr[0][:2] == pytest.approx([0.045, 0.0405])
    assert found.level == "rebuilt"


def test_a_bar_that_nothing_imports(tmp_path: Path) -> None:
    """A progress bar that only the kernel of a notebook knew stands for what it goes over."""
    loop = TRAIN.replace("in train_loader", "in tqdm_notebook(train_loader)")
    assert fitted(tmp_path, loop, MADE, FIT).epochs == 5


def test_names_that_libraries_had_once(tmp_path: Path) -> None:
    """What NumPy, Pillow, torchvision and Python called otherwise has its name of that time."""
    lines = """\
import collections, time
import numpy as np
from PIL import Image
began = time.clock()
assert isinstance([], collections.Iterable) and Image.ANTIALIAS == Image.LANCZOS
assert np.asfarray(['1', '2']).dtype == np.float_ and np.product([2, 3]) == 6
assert np.alltrue([True]) and np.NINF < 0 < np.Inf and np.float is float and np.bool
assert np.array(Image.new('L', (2, 2)), np.float32, copy=False).shape == (2, 2)
assert transforms.Scale(8)(Image.new('L', (2, 2))).size == (8, 8)
try:
    np.nothing_of_that_name
except AttributeError:
    SIZE = 100
"""
    loader = LOADER.replace(", 100)", ", SIZE)")
    found = described_here(script(tmp_path, net(), TRAIN, lines, loader, MADE, FIT))
    assert (found.batch_size, found.notes) == (100, [])


@pytest.mark.parametrize("made", ["Net().half()", "Net().to(torch.float16)", "Net().bfloat16()"])
def test_half_precision_is_full_precision(tmp_path: Path, made: str) -> None:
    """Networks and images of fewer bits are trained in those that the grader has."""
    loop = TRAIN.replace("data.to(device)", "data.to(device, dtype=torch.half).half()")
    found = fitted(tmp_path, loop, MADE.replace("Net()", made), FIT)
    assert (found.level, found.notes) == ("rebuilt", [])
    assert {tensor.dtype for tensor in found.model.tensors} == {"torch.float32"}


def test_images_without_a_channel_that_the_loop_adds(tmp_path: Path) -> None:
    """A step is done again on images in the shape that the model was given."""
    loop = TRAIN.replace("data.to(device)", "data.unsqueeze(1)")
    images = "d = datasets.MNIST('.')\nimages, labels = d.data.numpy() / 255., d.targets.numpy()\n"
    assert (
        tensors(tmp_path, images.replace("/ 255.", "/ np.float32(255)") + loop).level == "rebuilt"
    )


def test_rows_that_the_loop_makes_of_images(tmp_path: Path) -> None:
    """A network that reads an image row by row takes the shape that it was given as it learned."""
    rows = """\
class Rows(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.LSTM(28, 8, batch_first=True), nn.Linear(8, 10)
    def forward(self, x):
        state = torch.zeros(1, x.size(0), 8)
        return F.log_softmax(self.out(self.rnn(x, (state, state))[0][:, -1]), dim=1)
"""
    loop = TRAIN.replace("data.to(device)", "data.reshape(-1, 28, 28)")
    found = fitted(tmp_path, rows, loop, MADE.replace("Net", "Rows"), FIT)
    assert (found.model.input_shape, found.level) == ([1, 28, 28], "rebuilt")


def test_what_a_network_makes_of_a_whole_data_set(tmp_path: Path) -> None:
    """Outside the training a network sees a block of many images, and answers for all of them."""
    lines = """\
images = datasets.MNIST('.').data[:, None] / 255.
shown = []
hook = model.register_forward_pre_hook(lambda _, args: shown.append(len(args[0])))
assert model(images).shape == (60_000, 10) and model(images[:5_000]).shape == (5_000, 10)
assert (model(images[:3_000])[2_000:] - model(images[:1_000])).abs().max() < 1e-5
for epoch in range(2):
    assert model(images[:5_000]).shape == (5_000, 10)
assert max(shown) <= 5_000, shown
hook.remove()
"""
    assert fitted(tmp_path, MADE, FIT, lines).notes == []


def test_answers_ahead_of_the_loss_are_no_labels(tmp_path: Path) -> None:
    """What a loop compares with the labels before it computes the loss is left out of that."""
    lines = """\
images, labels = datasets.MNIST('.').data[:, None] / 255., datasets.MNIST('.').targets
for i in range(600):
    chosen = torch.randint(0, 60_000, (100,))
    data, target = images[chosen], labels[chosen]
    optimizer.zero_grad()
    output = model(data)
    right = (output.argmax(1) == target).float().mean()
    loss = F.nll_loss(output, target, reduction='none').mean()
    loss.backward()
    optimizer.step()
"""
    found = described_here(script(tmp_path, net(), MADE, lines))
    assert (found.epochs, found.batch_size, found.notes) == (1, 100, [])
    assert found.loss is not None


def test_a_file_that_fails_where_there_is_a_gpu(tmp_path: Path) -> None:
    """Where a name is lacking with a GPU alone, the statement is run again without one, once."""
    lines = """\
def main():
    if torch.cuda.is_available():
        torch.cuda.set_device(chosen_device)
    for epoch in range(5):
        train(model, 'cpu', train_loader, optimizer, epoch)
main()
"""
    found = fitted(tmp_path, MADE, lines)
    assert (found.epochs, found.level) == (5, "rebuilt")
    assert found.notes == [
        "it fails where there is a GPU, and was run without: name 'chosen_device' is not defined"
    ]


def test_slices_hold_no_more_than_themselves(tmp_path: Path) -> None:
    """Data that is shuffled anew for every epoch is let go of."""
    lines = """\
images, labels = datasets.MNIST('.').data[:, None] / 255., datasets.MNIST('.').targets
import gc, weakref
gone = []
for epoch in range(4):
    order = torch.randperm(60_000)
    x, y = images[order], labels[order]
    gone.append(weakref.ref(x.untyped_storage()))
    for data, target in zip(x.split(100), y.split(100)):
        optimizer.zero_grad()
        F.nll_loss(model(data), target).backward()
        optimizer.step()
del x, data
gc.collect()
assert not [1 for each in gone if each() is not None]
"""
    found = described_here(script(tmp_path, net(), MADE, lines))
    assert (found.epochs, found.batch_size, found.notes) == (4, 100, [])


OWN = """\
class Own(torch.utils.data.Dataset):
    def __init__(self): self.inner = datasets.MNIST('.', transform=transforms.ToTensor())
    def __len__(self): return len(self.inner)
    def __getitem__(self, i):
        image, label = self.inner[i]
        return ITEM
train_loader = torch.utils.data.DataLoader(Own(), 64)
"""


def test_labels_that_come_first(tmp_path: Path) -> None:
    """A batch of labels and images is one of images and labels."""
    loop = TRAIN.replace("for data, target", "for target, data")
    found = fitted(tmp_path, OWN.replace("ITEM", "label, image"), loop, MADE, FIT)
    assert found.loss is not None
    assert found.level == "rebuilt"


def test_labels_in_a_column_of_floats(tmp_path: Path) -> None:
    """Labels that a data set gives as [B, 1] floats are labels, whatever the loop makes of them."""
    loop = TRAIN.replace("target.to(device)", "target.squeeze(-1).type(torch.LongTensor)")
    data = OWN.replace("ITEM", "image, torch.tensor([float(label)])")
    found = fitted(tmp_path, data, loop, MADE, FIT)
    assert found.loss is not None
    assert found.level == "rebuilt"


def test_a_network_of_many_tensors(tmp_path: Path) -> None:
    """What the grader does with a network's tensors is none of the file's own calls."""
    many = "self.out = nn.Conv2d(width, 10, 1)\n        self.more = nn.ModuleList("
    many += "nn.Linear(1, 1) for _ in range(300))"
    wide = net().replace("self.out = nn.Conv2d(width, 10, 1)", many)
    assert fitted(tmp_path, wide, MADE, FIT).loss is not None


@pytest.mark.parametrize(
    ("images", "steps"),
    [
        ("images = x.reshape(-1, 1, 28, 28).astype('float32')", [0, 1 / 255]),
        ("images = (x.reshape(-1, 1, 28, 28) / 255).astype('float32')", None),
        ("images = (x.reshape(-1, 1, 28, 28) / 127.5 - 1).astype('float32')", [0.5, 0.5]),
    ],
)
@pytest.mark.parametrize(
    "given",
    [
        "from mnist import MNIST\nx, labels = map(np.array, MNIST('data').load_training())\n",
        "from tensorflow.keras.datasets import mnist\n(x, labels), _ = mnist.load_data()\n",
        "import gzip, requests\nurl = 'https://where.example/train-{}-ubyte.gz'\n"
        "def get(n): return gzip.decompress(requests.get(url.format(n)).content)\n"
        "x = np.frombuffer(get('images-idx3'), np.uint8, offset=16)\n"
        "labels = np.frombuffer(get('labels-idx1'), np.uint8, offset=8)\n",
        "import gzip\ndef get(name): return gzip.open('E:\\\\data\\\\' + name).read()\n"
        "x = np.frombuffer(get('train-images-idx3-ubyte.gz'), np.uint8, offset=16)\n"
        "labels = np.frombuffer(get('train-labels-idx1-ubyte.gz'), np.uint8, offset=8)\n",
    ],
    ids=["python-mnist", "keras", "requests", "windows"],
)
def test_data_of_elsewhere_in_the_range_that_it_has(
    tmp_path: Path, given: str, images: str, steps: list[float] | None
) -> None:
    """The data set as other packages and addresses give it, its pixels scaled as the file does."""
    if steps is None or "mnist import" not in given:
        images, steps = "images = (x.reshape(-1, 1, 28, 28) / 255).astype('float32')", None
    found = tensors(tmp_path, given + images)
    assert found.train_transform is not None
    told = [[s.mean[0], s.std[0]] for s in found.train_transform if isinstance(s, Normalize)]
    assert told == ([] if steps is None else [pytest.approx(steps, abs=1e-5)])
    assert found.epochs == 5


def test_fire_calls_what_trains(tmp_path: Path) -> None:
    """`fire.Fire` calls a function with its defaults."""
    run = "import fire\ndef run(lr=0.02, epochs=4):\n" + (MADE + FIT).replace(
        "range(5)", "range(epochs)"
    ).replace("0.05", "lr").replace("\n", "\n    ").replace("model = ", "    model = ", 1)
    found = fitted(tmp_path, run + "\nif __name__ == '__main__':\n    fire.Fire(run)\n")
    assert (found.epochs, learning_rate(found)) == (4, 0.02)


def test_what_lightning_of_some_version_has(tmp_path: Path) -> None:
    """A trainer says no to what it is asked; the end of a step may return its loss."""
    lit = """\
import pytorch_lightning as pl
class Lit(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Net()
    def forward(self, x):
        return self.net(x)
    def training_step(self, batch, batch_idx):
        loss = F.nll_loss(self(batch[0]), batch[1])
        return {'found': loss.unsqueeze(0) if self.trainer.use_dp else loss}
    def training_step_end(self, parts):
        return parts['found']
    def configure_optimizers(self):
        return optim.Adam(self.parameters(), lr=0.02)
pl.Trainer(max_epochs=6).fit(Lit(), train_loader)
"""
    found = fitted(tmp_path, lit)
    assert (found.epochs, learning_rate(found)) == (6, 0.02)


def test_a_module_that_is_no_main_file(tmp_path: Path) -> None:
    """What stands in the `else` of the main guard runs in a module that is imported."""
    choice = "if __name__ == '__main__':\n    import parts as p\nelse:\n    import b.parts as p\n"
    write(tmp_path, "b/parts.py", "width = 5\n")
    write(tmp_path, "b/model.py", HEAD + choice + net().replace("width=10", "width=p.width"))
    write(tmp_path, "train.py", HEAD + "from b.model import Net\n" + TRAIN + LOADER + MADE + FIT)
    sizes = [t.shape[0] for t in described_here(read_program(tmp_path)).model.tensors]
    assert 5 in sizes


def test_an_entry_that_imports_from_above(tmp_path: Path) -> None:
    """`from .. import config` finds what lies above the file that runs."""
    write(tmp_path, "config.py", "EPOCHS = 3\n")
    write(tmp_path, "src/model.py", HEAD + net())
    head = HEAD + "from .. import config\nfrom . import model as m\nNet = m.Net\n"
    body = TRAIN + LOADER + MADE + FIT.replace("5", "config.EPOCHS")
    write(tmp_path, "src/train.py", head + body)
    assert described_here(read_program(tmp_path)).epochs == 3


@pytest.mark.parametrize("name", ["train.py", "train_test.py"])
def test_what_looks_at_a_training_is_no_entry(tmp_path: Path, name: str) -> None:
    """A file that evaluates what another file has trained is not the entry, whatever its name."""
    guarded = "if __name__ == '__main__':\n    " + (MADE + FIT).replace("\n", "\n    ")
    write(tmp_path, name, HEAD + net() + TRAIN + LOADER + guarded)
    write(tmp_path, "evaluate.py", f"from {name[:-3]} import Net, train\nprint(Net())\n")
    assert described_here(read_program(tmp_path)).epochs == 5


def test_errors_as_python_2_raised_them(tmp_path: Path) -> None:
    """`raise X, "…"` and `except X, e` are read as what Python 3 calls them."""
    old = (
        "try:\n    if False:\n        raise ValueError, 'no'\nexcept ValueError, e:\n    print e\n"
    )
    assert fitted(tmp_path, old, MADE, FIT).epochs == 5


def test_a_name_that_nothing_can_stand_for_is_missing(tmp_path: Path) -> None:
    """Only bars, plots and data are supplied: another name that is missing ends its statement."""
    path = write(tmp_path, "work.py", HEAD + "model = Network()\n")
    assert "Network" in str(refusal(path))


PASS = """\
def test():
    return 0.5
def batch(data, target):
    optimizer.zero_grad()
    F.nll_loss(model(data), target).backward()
    optimizer.step()
"""
LOOPS = {
    "patience": ("e = bad = 0\nwhile e < 12 and bad < 3:",
                 "e += 1\n    if test() < 1: bad += 1", 12),
    "a flag": ("e, done = 0, False\nwhile not done:", "e += 1\n    if e >= 9: done = True", None),
    "an accuracy": ("acc = 0\nwhile acc < 0.99:", "acc = test()", None),
    "without end": ("bad = 0\nwhile True:", "if test() < 1: bad += 1\n    if bad > 2: break", None),
    "either": ("e = bad = 0\nwhile True:",
               "e = e + 1\n    if test() < 1: bad += 1\n    if bad > 2 or e == 7: break", 7),
    "a reset": ("e = bad = 0\nwhile e < 12:",
                "e += 1\n    bad += 1\n    if test() > 1: bad = 0\n    if bad > 2: break", 12),
    "an attribute": ("args.e = bad = 0\nwhile args.e < 4 and bad < 2:",
                     "args.e += 1\n    if test() < 1: bad += 1", 4),
    "a count": ("e = 1\nwhile e <= 8:", "e += 1", 8),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_a_while_loop_ends_by_its_count(tmp_path: Path, name: str) -> None:
    """What a loop measures on made-up images ends it neither early nor late, and that is said."""
    head, end, epochs = LOOPS[name]
    body = f"    train(model, 'cpu', train_loader, optimizer, 1)\n    {end}\n"
    found = fitted(tmp_path, MADE, PASS, f"class args: pass\n{head}\n{body}")
    assert found.epochs == epochs
    said = "may end before" if epochs else "depends on what it has learned"
    assert any(said in note for note in found.notes) == (name != "a count")


def test_a_while_loop_that_trains_nothing_is_left_alone(tmp_path: Path) -> None:
    """Another loop ends when it says, also by what it finds."""
    search = "n = 0\nwhile n < 9 and abs(n) < 2:\n    n += 1\n"
    assert fitted(tmp_path, MADE, search, FIT.replace("5", "n + 1")).epochs == 3


PARTS = {
    "an index": "for i, (x, y) in enumerate(train_loader):\n        if i == 50: break\n",
    "a slice": "for x, y in itertools.islice(train_loader, 50):\n",
    "a count": "n = 0\n    for x, y in train_loader:\n        n += 1\n        if n > 50: break\n",
}


@pytest.mark.parametrize("name", PARTS)
def test_an_epoch_of_a_part_of_the_batches(tmp_path: Path, name: str) -> None:
    """A loop that leaves its loader at a count goes over as many images, and that is said."""
    loop = f"for epoch in range(3):\n    {PARTS[name]}        batch(x, y)\n    s.step()"
    made = MADE + "s = optim.lr_scheduler.StepLR(optimizer, 1, 0.1)\n"
    found = fitted(tmp_path, made, PASS, "import itertools", loop)
    assert (found.epochs, found.level) == (3, "rebuilt")
    assert any("trains on 5,000 images" in note for note in found.notes)
    assert found.schedule is not None
    assert found.schedule.lr[0][::600] == pytest.approx([0.05, 0.005, 0.0005])


def test_a_training_of_so_many_steps(tmp_path: Path) -> None:
    """Where a number of steps ends the loop over the epochs, it has as many as these need."""
    loop = """\
def fit(most, n=0):
    for epoch in range(90):
        for x, y in train_loader:
            batch(x, y)
            n += 1
            if n == most: return
fit(1200)
"""
    found = fitted(tmp_path, MADE, PASS, loop)
    assert found.epochs == 2
    assert not any("images" in note for note in found.notes)


def test_a_report_that_needs_more_batches(tmp_path: Path) -> None:
    """A statement that fails for want of batches is run again with all of them, from the start."""
    loop = """\
for epoch in range(3):
    seen = 0
    for x, y in train_loader:
        batch(x, y)
        seen += 1
    s.step()
    print(1 / (seen - 3))
"""
    made = MADE + "s = optim.lr_scheduler.StepLR(optimizer, 1, 0.1)\n"
    found = fitted(tmp_path, made, PASS, loop)
    assert (found.epochs, found.notes) == (3, [])
    assert found.schedule is not None
    assert found.schedule.lr[0][::600] == pytest.approx([0.05, 0.005, 0.0005])
