"""What a file needs and nobody handed in is stood in for: data, weights, packages, settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.plan.schema import Description, Normalize
from grader.submission import read_program
from tests.boxed import boxed
from tests.describing import described_here
from tests.reading import HEAD, TRAIN, net, notebook, refusal, script, write

DATA = """\
t = transforms.Compose([transforms.RandomRotation(7), transforms.ToTensor()])
train_set = datasets.MNIST('data', train=True, download=True, transform=t)
loader = torch.utils.data.DataLoader(train_set, batch_size=64, shuffle=True)
"""
FIT = """\
model = Net()
optimizer = optim.SGD(model.parameters(), lr=0.05)
for epoch in range(5):
    train(model, 'cpu', loader, optimizer, epoch)
"""


def watched(folder: Path, *parts: str) -> Description:
    """Describe a script with a network, a function that trains, and some parts."""
    return described_here(script(folder, net(), TRAIN, *parts))


def kinds(found: Description) -> list[str]:
    """Name the steps of the training transform."""
    assert isinstance(found.train_transform, list)
    return [type(step).__name__ for step in found.train_transform]


TABLES = [
    "import pandas as pd\ntable = pd.read_csv('../input/digit-recognizer/train.csv')\n"
    "labels = table['label'].values\nimages = table.drop(['label'], axis=1).values / 255.0",
    "import pandas as pd\ntable = pd.read_csv('train.csv')\n"
    "labels, images = table.label.to_numpy(), table.iloc[:, 1:].to_numpy() / 255",
    "import pandas as pd\ntable = pd.read_csv('mnist_train.csv', header=None)\n"
    "labels, images = table[0].values, table.loc[:, 1:].values / 255",
    "import numpy as np\ntable = np.loadtxt('train.csv', delimiter=',', skiprows=1)\n"
    "labels, images = table[:, 0].astype(int), table[:, 1:] / 255",
    "import numpy as np\nwith np.load('mnist.npz') as f:\n"
    "    labels, images = f['y_train'], f['x_train'] / 255",
    "import gzip, pickle\nwith gzip.open('data/mnist.pkl.gz', 'rb') as f:\n"
    "    (images, labels), _, _ = pickle.load(f, encoding='latin-1')",
    "import gzip\nimport numpy as np\n"
    "with gzip.open('data/train-images-idx3-ubyte.gz') as f:\n"
    "    images = np.frombuffer(f.read(), np.uint8, offset=16) / 255\n"
    "with gzip.open('data/train-labels-idx1-ubyte.gz') as f:\n"
    "    labels = np.frombuffer(f.read(), np.uint8, offset=8)",
]
TENSORS = """\
from sklearn.model_selection import train_test_split
images, _, labels, _ = train_test_split(images.reshape(-1, 1, 28, 28), labels, test_size=0.1)
images, labels = torch.tensor(images).float(), torch.tensor(labels).long()
loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(images, labels), batch_size=100, shuffle=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_tables_and_archives_of_digits(tmp_path: Path, table: str) -> None:
    """However MNIST is read from a file that is not there, its images are of the right kind."""
    found = watched(tmp_path, table, TENSORS, FIT)
    assert (found.epochs, found.batch_size, kinds(found)) == (5, 100, ["ToFloat"])


FORMS = [
    "from scipy.io import loadmat\nm = loadmat('mnist-original.mat')\n"
    "images, labels = m['data'].T[:60_000] / 255, m['label'][0][:60_000]",
    "import scipy.io as sio\nm = sio.loadmat('mnist_all.mat')\n"
    "images = np.concatenate([m[f'train{d}'] for d in range(10)]) / 255\n"
    "labels = np.repeat(range(10), [len(m[f'train{d}']) for d in range(10)])",
    "import h5py\nwith h5py.File('mnist.h5', 'r') as f:\n"
    "    images, labels = f['train_images'][:] / 255, f['train_labels'][()]",
    "with np.load('digits_train.npz') as f:\n    images, labels = f['images'] / 255, f['labels']",
    "images, labels = np.load('X_train.npy') / 255, np.load('y_train.npy')",
    "import pickle\nimages, labels = pickle.load(open('train_data.p', 'rb'))\n"
    "images = images / 255",
    "import pickle\nwith open('mnist.pkl', 'rb') as f:\n    d = pickle.load(f)\n"
    "images, labels = d['training_images'] / 255, d['training_labels']",
    "import gzip, pickle\nwith gzip.open('digits.pkl.gz') as f:\n"
    "    (images, labels), (u, v) = pickle.load(f)\nassert len(u) == len(v) == 10_000\n"
    "images = images / 255",
    "images, labels = torch.load('data/processed/training.pt')\nimages = images.numpy() / 255",
    "from sklearn.datasets import fetch_openml\nd = fetch_openml('mnist_784')\n"
    "images, labels = d.data.values[:60_000] / 255, d.target.astype(int).values[:60_000]",
    "from sklearn.datasets import fetch_openml\n"
    "X, y = fetch_openml(name='mnist_784', return_X_y=True, as_frame=False)\n"
    "images, labels = X[:60_000] / 255, y[:60_000].astype('int64')",
    "t = np.loadtxt('mnist_train.csv', delimiter=',', dtype=np.float32)\n"
    "images, labels = t[:, 1:] / 255, t[:, 0]",
]
ALL = """\
images = torch.as_tensor(np.array(images)).float().reshape(-1, 1, 28, 28)
labels = torch.as_tensor(np.array(labels)).long()
loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(images, labels), batch_size=100, shuffle=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_files_in_the_form_of_their_authors(tmp_path: Path, form: str) -> None:
    """Of a file that is not there, what is asked for by name, index or order is the data set."""
    found = watched(tmp_path, "import numpy as np", form, ALL, FIT)
    assert (found.epochs, found.batch_size, kinds(found)) == (5, 100, ["ToFloat"])
    assert not [note for note in found.notes if "stand for" not in note]


def test_pixels_of_a_table_are_whole_numbers(tmp_path: Path) -> None:
    """They do not wrap around where the file takes something off them, as bytes would."""
    table = (
        "import numpy as np\nimport pandas as pd\ntable = pd.read_csv('mnist_train.csv')\n"
        "images, labels = (table.drop('label', axis=1).values - 128) / 128, table.label"
    )
    found = watched(tmp_path, table, ALL, FIT)
    assert kinds(found) == ["ToFloat", "Normalize"]
    assert found.train_transform is not None
    step = found.train_transform[1]
    assert isinstance(step, Normalize)
    assert (step.mean[0], step.std[0]) == pytest.approx((128 / 255, 128 / 255), abs=1e-3)
    assert found.notes == []


@pytest.mark.parametrize(
    "taken",
    [
        "t = np.array(list(csv.reader(open('train.csv')))[1:], float)\n"
        "images, labels = t[:, 1:] / 255, t[:, 0]",
        "t = np.array([line.split(',') for line in open('train.csv').readlines()], float)\n"
        "images, labels = t[:, 1:] / 255, t[:, 0]",
        "rows = list(csv.DictReader(open('train.csv')))\n"
        "labels = np.array([row.pop('label') for row in rows], int)\n"
        "images = np.array([list(row.values()) for row in rows], float) / 255",
    ],
)
def test_rows_of_a_text_are_few_and_that_is_told(tmp_path: Path, taken: str) -> None:
    """A table that the file takes apart by itself has some rows, for all would take too long."""
    found = watched(tmp_path, f"import csv\nimport numpy as np\n{taken}", ALL, FIT)
    assert kinds(found) == ["ToFloat"]
    assert "train.csv, of whose text 1,000 rows were made" in found.notes[0]


def test_names_of_weights_are_no_data(tmp_path: Path) -> None:
    """A checkpoint whose name speaks of training holds no images, and seems to have no keys."""
    lines = (
        "import os\nstate = torch.load('train_state.pt')\nassert not list(state.keys())\n"
        "one, other = torch.load('best_model_test.pt')\nmodel = Net()\nmodel.load_state_dict(one)\n"
        "assert not os.path.exists('train_cache.pkl')\n"
    )
    found = watched(tmp_path, DATA, lines, FIT)
    assert found.notes == [
        "train_state.pt, best_model_test.pt was not handed in: the network starts from its initial "
        "weights"
    ]


OWN = """\
import os
import cv2
class Own(torch.utils.data.Dataset):
    def __init__(self, root, transform=None):
        self.files = FILES
        self.transform = transform
    def __len__(self):
        return len(self.files)
    def __getitem__(self, index):
        image = cv2.imread(self.files[index])
        return self.transform(image), int(self.files[index][0])
t = transforms.Compose([transforms.ToPILImage(), transforms.RandomRotation(7),
                        transforms.ToTensor()])
loader = torch.utils.data.DataLoader(Own('data/train', transform=t), 64, shuffle=True)
"""


@pytest.mark.parametrize(
    "files", ["os.listdir(root)", "os.listdir(root) if os.path.exists(root) else []", "['7'] * 60"]
)
def test_an_own_data_set_without_its_files(tmp_path: Path, files: str) -> None:
    """Made-up images stand for its items, with its own transform, and that is told."""
    found = watched(tmp_path, OWN.replace("FILES", files), FIT)
    assert (found.epochs, found.batch_size, kinds(found)) == (5, 64, ["Affine", "ToFloat"])
    assert any("made-up images stand for the data set Own" in note for note in found.notes)


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    """A checkpoint that is loaded and was not handed in ends nothing, and is told."""
    load = FIT.replace(
        "optimizer =", "state = torch.load('best.pt')\nmodel.load_state_dict(state['m'])\n"
        "optimizer ="
    )  # fmt: skip
    found = watched(tmp_path, DATA, load)
    assert found.epochs == 5
    assert "best.pt was not handed in: the network starts from its initial weights" in found.notes


def test_settings_beside_the_code(tmp_path: Path) -> None:
    """A JSON file of the folder is read as the file reads it."""
    write(tmp_path, "conf/config.json", '{"epochs": 8, "lr": 0.02}')
    fit = FIT.replace("range(5)", "range(C['epochs'])").replace("0.05", "C['lr']")
    read = "import json\nwith open('conf/config.json') as file:\n    C = json.load(file)"
    write(tmp_path, "train.py", "\n".join([HEAD, net(), TRAIN, DATA, read, fit]))
    found = described_here(read_program(tmp_path))
    assert found.epochs == 8
    assert found.optimizer is not None
    assert found.optimizer.groups[0].options["lr"] == 0.02


MODES = [
    "import argparse\np = argparse.ArgumentParser()\np.add_argument('--mode', default='test')\n"
    "wanted = p.parse_args().mode == 'train'",
    "import argparse\np = argparse.ArgumentParser()\np.add_argument('--train',"
    " action='store_true')\nwanted = p.parse_args().train",
    "import argparse\np = argparse.ArgumentParser()\n"
    "p.add_argument('what', choices=['test', 'train'])\nwanted = p.parse_args().what == 'train'",
    "import sys\nwanted = sys.argv[1] == 'train'",
    "import sys, argparse\np = argparse.ArgumentParser()\n"
    "p.add_argument('--mode', default='eval')\n"
    "if len(sys.argv) == 1:\n    p.print_help()\n    sys.exit()\n"
    "wanted = p.parse_args().mode == 'train'",
]


@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_trains_only_when_asked(tmp_path: Path, mode: str) -> None:
    """It is run as it is run to train."""
    main = "def main():\n" + "".join(f"    {line}\n" for line in mode.splitlines())
    fit = "    if wanted:\n" + "".join(f"        {line}\n" for line in FIT.splitlines())
    assert watched(tmp_path, DATA, f"{main}{fit}main()").epochs == 5


def test_means_of_three_channels_for_one(tmp_path: Path) -> None:
    """The first of them counts, as it did in older versions."""
    more = ", transforms.Normalize((0.5, 0.4, 0.3), (0.5, 0.4, 0.3))])"
    found = watched(tmp_path, DATA.replace("])", more), FIT)
    assert kinds(found) == ["Affine", "ToFloat", "Normalize"]
    assert found.train_transform is not None
    assert found.train_transform[-1].mean == [0.5]  # type: ignore[union-attr] # of this kind


def test_variables_of_old(tmp_path: Path) -> None:
    """What wraps a tensor in `Variable` is a plain loop."""
    loop = TRAIN.replace("    for data", "    from torch.autograd import Variable\n    for data")
    loop = loop.replace("optimizer.zero", "data, target = Variable(data), Variable(target)\n"
                        "        optimizer.zero")  # fmt: skip
    assert watched(tmp_path, loop, DATA, FIT).level == "rebuilt"


def test_a_loop_that_stops_early(tmp_path: Path) -> None:
    """All the epochs that it declares are taken over, and that is told."""
    loop = FIT.replace("range(5)", "range(20)") + "    if epoch * 0.5 > 1:\n        break\n"
    found = watched(
        tmp_path,
        DATA,
        loop.replace("epoch * 0.5", "bad")
        .replace("for epoch", "bad = 0\nfor epoch")
        .replace("    train(", "    bad += int(abs(bad) < 9)\n    train("),
    )
    assert found.epochs == 20
    assert any("its loop of 20 epochs was left after 2 of them" in note for note in found.notes)


def test_an_error_in_the_loop_does_not_lose_its_epochs(tmp_path: Path) -> None:
    """A plot that fails after the first epoch ends the loop, which says how long it is."""
    found = watched(tmp_path, DATA, FIT + "    [][epoch]\n")
    assert found.epochs == 5


ENGINES = {
    "ignite": (
        "from ignite.engine import Events, create_supervised_trainer\n"
        "model = Net()\noptimizer = optim.SGD(model.parameters(), lr=0.05)\n"
        "sched = optim.lr_scheduler.StepLR(optimizer, 2)\n"
        "trainer = create_supervised_trainer(model, optimizer, nn.NLLLoss(), device='cuda')\n"
        "@trainer.on(Events.EPOCH_COMPLETED)\ndef moved(engine):\n"
        "    print(f\"{engine.state.metrics['loss']:.2f}\")\n    sched.step()\n"
        "trainer.run(loader, max_epochs=5)"
    ),
    "skorch": (
        "from skorch import NeuralNetClassifier\nfrom skorch.callbacks import LRScheduler\n"
        "fitted = NeuralNetClassifier(Net, max_epochs=5, lr=0.05, batch_size=64,\n"
        "    criterion=nn.CrossEntropyLoss, iterator_train__shuffle=True,\n"
        "    callbacks=[('lr', LRScheduler(policy='StepLR', step_size=2))])\n"
        "fitted.fit(train_set, y=None)"
    ),
    "accelerate": (
        "from accelerate import Accelerator\nhelper = Accelerator()\n"
        "model = Net()\noptimizer = optim.SGD(model.parameters(), lr=0.05)\n"
        "sched = optim.lr_scheduler.StepLR(optimizer, 2)\n"
        "model, optimizer, loader = helper.prepare(model, optimizer, loader)\n"
        "for epoch in range(5):\n    for x, y in loader:\n        optimizer.zero_grad()\n"
        "        helper.backward(F.nll_loss(model(x), y))\n        optimizer.step()\n"
        "    sched.step()"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENGINES)
def test_engines_of_other_packages(tmp_path: Path, name: str) -> None:
    """What trains a network for others, trains it here."""
    found = watched(tmp_path, DATA, ENGINES[name])
    assert (found.epochs, found.batch_size, found.level) == (5, 64, "rebuilt")
    assert found.schedule is not None
    assert len(set(found.schedule.lr[0])) == 3


def test_what_wraps_a_trained_network_is_not_trained(tmp_path: Path) -> None:
    """A module for export, made after the optimiser, does not take its place."""
    wrap = "class Export(nn.Module):\n    def __init__(self, inner):\n        super().__init__()\n"
    wrap += (
        "        self.inner = inner\n    def forward(self, x):\n        return self.inner(x[0])\n"
    )
    assert watched(tmp_path, DATA, FIT, wrap + "export = Export(model)").model.class_name == "Net"


def test_a_repository_that_is_fetched(tmp_path: Path) -> None:
    """`from REPO import net` finds the file beside the notebook that fetches REPO."""
    write(tmp_path, "net.py", HEAD + net())
    notebook(tmp_path, "!git clone https://example.org/me/course.git", HEAD + TRAIN,
             "from course import net\nNet = net.Net", DATA + FIT)  # fmt: skip
    assert described_here(read_program(tmp_path)).epochs == 5


def test_names_of_another_framework(tmp_path: Path) -> None:
    """What comes with `from fastai… import *` is told by that name."""
    text = "from fastai.vision.all import *\nlearn = cnn_learner(data, resnet18)\n"
    error = refusal(write(tmp_path, "work.py", text))
    assert "this is fastai; the assignment asks for PyTorch" in error.message
    assert error.where == "work.py, line 1"


def test_a_key_of_a_service(tmp_path: Path) -> None:
    """The environment of another machine is empty, and nothing ends for it."""
    lines = "import os\nimport wandb\nkey = os.environ['WANDB_API_KEY']\n"
    assert watched(tmp_path, DATA, lines + FIT).epochs == 5


def test_the_file_that_runs_the_others_is_the_entry(tmp_path: Path) -> None:
    """What a file imports counts for it; a program of another framework does not."""
    write(tmp_path, "main.py", "from src.fit import fit\nfit()\n")
    body = "def fit():\n" + "".join(f"    {x}\n" for x in (DATA + FIT).splitlines())
    write(tmp_path, "src/fit.py", "\n".join([HEAD, net(), TRAIN, body]))
    write(tmp_path, "src/other.py", "import tensorflow as tf\nmodel.fit(1)\n")
    assert described_here(read_program(tmp_path)).epochs == 5


def test_an_error_of_its_own_in_the_forward(tmp_path: Path) -> None:
    """Shapes that do not fit are told in PyTorch's words, with the line, as the submission's."""
    bad = net().replace("self.out(self.conv(x))", "self.out(x)")
    text = "\n".join([HEAD, bad, TRAIN, DATA, FIT])
    error = refusal(write(tmp_path, "work.py", text))
    assert error.message.startswith("RuntimeError: Given groups=1")
    assert error.where == "work.py, line 13"


def test_a_module_that_gives_names_and_is_missing(tmp_path: Path) -> None:
    """What `%run helpers.py` would have defined is told by that file's name."""
    work = notebook(tmp_path, "%run helpers.py", HEAD + TRAIN + DATA, "model = make_net()")
    error = refusal(work)
    assert "'helpers' was not handed in" in error.message
    assert error.where == "work.ipynb, cell 1, line 1"


def test_a_loader_that_another_module_lacks(tmp_path: Path) -> None:
    """A name that is looked up in a sibling ends its statement, once."""
    write(tmp_path, "engine.py", HEAD + "def fit(model):\n    for x, y in train_loader: pass\n")
    write(tmp_path, "work.py", f"{HEAD}from engine import fit\n{net()}\nfit(Net())\n")
    found = described_here(read_program(tmp_path))
    assert "'train_loader' is not defined" in " ".join(found.notes)


def test_a_package_that_another_module_lacks(tmp_path: Path) -> None:
    """What the notebook calls by a name is meant where a sibling forgets to import it."""
    write(tmp_path, "engine.py", f"import torch\n{TRAIN}")
    write(tmp_path, "work.py", f"{HEAD}from engine import train\n{net()}\n{DATA}{FIT}")
    found = described_here(read_program(tmp_path))
    assert (found.epochs, found.batch_size) == (5, 64)
    assert found.notes == ["`F` is not imported in engine.py, but in another file"]


def test_what_is_written_on_another_machine(tmp_path: Path) -> None:
    """Folders that were not handed in, or of a drive that is not here, take what is written."""
    lines = """\
import os
import numpy as np
os.makedirs('/proc/drive/mine/runs', exist_ok=True)
for place in ('kept\\\\', 'runs/first', '/proc/drive/mine/runs'):
    with open(os.path.join(place, 'log.txt'), 'w') as file: file.write('7')
    with open(os.path.join(place, 'log.txt')) as file: assert file.read() == '7'
    np.save(os.path.join(place, 'losses'), [1.0])
"""
    assert watched(tmp_path, DATA, lines, FIT).notes == []


def test_what_was_saved_on_a_gpu(tmp_path: Path) -> None:
    """Tensors and whole networks that the file itself has saved are loaded on whatever device."""
    lines = """\
model = Net()
torch.save({'w': torch.ones(3), 'model': model}, 'kept.pt')
for place in (0, 'cuda:0', torch.device('cuda'), torch.device(0), None, lambda s, _: s.cuda()):
    assert torch.load('kept.pt', map_location=place)['w'].sum() == 3
assert torch.load('kept.pt', torch.device(0))['model'].conv.weight.shape == model.conv.weight.shape
"""
    assert watched(tmp_path, DATA, lines, FIT).notes == []


def test_what_a_recorded_package_does_not_have(tmp_path: Path) -> None:
    """What a file asks of a stand-in in vain is its own error, in Python's words."""
    text = "import albumentations as A\nmodel = Net(A.Resize(2, 2).height)\n"
    error = refusal(write(tmp_path, "work.py", f"{HEAD}{net()}{text}"))
    assert error.message == "AttributeError: height"
    assert error.where == "work.py, line 14"


def test_halves_of_a_data_set(tmp_path: Path) -> None:
    """`train_test_split` of a data set gives its items, also where only the kernel knew it."""
    split = "train_set, _ = train_test_split(train_set, test_size=0.25)\n"
    loader = "loader = torch.utils.data.DataLoader(train_set, 64)\n"
    found = watched(tmp_path, DATA, split + loader, FIT)
    assert kinds(found) == ["Affine", "ToFloat"]
    assert found.notes == ["the file trains on 45,000 images; the grader trains on all of MNIST's "
                           "60,000"]  # fmt: skip


def test_a_training_half_by_its_number_of_rows() -> None:
    """`train_test_split` takes the number of rows of either half."""
    first, rest = boxed("frames").split(range(100), train_size=80)
    assert (len(first), len(rest)) == (80, 20)
