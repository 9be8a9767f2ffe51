"""Lightning is read as far as it trains one network; other frameworks are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.submission import read_program
from tests.describing import described_here
from tests.reading import HEAD, TRAIN, net, refusal, script, write
from tests.watching import learning_rate, told, watched

LIGHTNING = """\
import pytorch_lightning as pl
class Lit(pl.LightningModule):
    def __init__(self, lr=0.02):
        super().__init__()
        self.save_hyperparameters()
        self.net = Net(3)
    def forward(self, x):
        return self.net(x)
    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.nll_loss(self(x), y)
        self.log('loss', loss)
        return loss
    def configure_optimizers(self):
        return optim.Adam(self.parameters(), lr=self.hparams.lr)
"""


def test_lightning(tmp_path: Path) -> None:
    """A LightningModule is trained as its own methods say, though Lightning is not installed."""
    fit = "trainer = pl.Trainer(max_epochs=7)\ntrainer.fit(Lit(), train_loader)\n"
    found = watched(tmp_path, LIGHTNING, fit)
    assert found.epochs == 7
    assert learning_rate(found) == 0.02


@pytest.mark.parametrize("given", ["self", "self, stage"])
def test_lightning_with_data_of_its_own(tmp_path: Path, given: str) -> None:
    """A module that makes its own loaders gets ready first, as older and newer versions have it."""
    methods = (
        f"    def setup({given}):\n"
        "        self.images = datasets.MNIST('.', transform=transforms.ToTensor())\n"
        "    def train_dataloader(self):\n"
        "        return torch.utils.data.DataLoader(self.images, batch_size=40)\n"
    )
    fit = "pl.Trainer(max_epochs=2).fit(Lit())\n"
    found = described_here(script(tmp_path, net(), LIGHTNING + methods, fit))
    assert (found.epochs, found.batch_size, found.level) == (2, 40, "rebuilt")


@pytest.mark.parametrize(("tail", "lr"), [("", 0.02), ("lit = Lit(0.3)", 0.3)])
def test_lightning_that_is_never_fitted(tmp_path: Path, tail: str, lr: float) -> None:
    """Of such a file come the network, loss and optimiser, and nothing that it does not say."""
    found = described_here(script(tmp_path, net(), net("Other"), LIGHTNING, tail))
    assert found.model.class_name == "Lit"
    assert learning_rate(found) == lr
    assert {*told(found)} == {"optimizer", "loss"}
    assert (found.epochs, found.batch_size, found.level) == (None, None, "rebuilt")


@pytest.mark.parametrize(
    ("head", "word"),
    [("from tensorflow import keras\nmodel = keras.Sequential([keras.layers.Dense(10)])", "Keras"),
     ("from keras.models import Sequential\nmodel = Sequential()", "Keras"),
     ("import fastai\nprint(fastai.__version__)\nfrom fastai.vision.all import *", "fastai"),
     ("from fastai.vision.all import *\nlearn = cnn_learner(dls, resnet18)", "fastai"),
     ("import flax.linen as nn\nclass Net(nn.Module):\n    pass", "Flax")],
)  # fmt: skip
def test_other_frameworks_are_named(tmp_path: Path, head: str, word: str) -> None:
    """A submission for another framework is told that this assignment asks for PyTorch."""
    message = refusal(write(tmp_path, "work.py", head)).message
    assert "asks for PyTorch" in message
    assert word in message or "TensorFlow" in message


def test_hydra(tmp_path: Path) -> None:
    """Settings are put together of the files that their defaults name, and made by `_target_`."""
    write(tmp_path, "conf/main.yaml",
          "defaults:\n  - _self_\n  - model: small\n  - tuner: null\n"
          "  - override hydra/launcher: joblib\nrate: 0.03\nepochs: 3\n"
          "data: {root: '${hydra:runtime.cwd}/data', size: 32}\n")  # fmt: skip
    write(tmp_path, "conf/model/base.yaml", "_target_: parts.net.Net\nwidth: 4\n")
    write(tmp_path, "conf/model/small.yaml", "defaults: [base]\nwidth: ${data.size}\n")
    write(tmp_path, "parts/net.py", HEAD + net())
    write(tmp_path, "train.py", HEAD + TRAIN + """\
import hydra
from omegaconf import DictConfig, OmegaConf
@hydra.main(version_base=None, config_path="../conf", config_name="main")
def main(cfg: DictConfig):
    print(OmegaConf.to_yaml(cfg))
    data = datasets.MNIST(cfg.data.root, transform=transforms.ToTensor())
    loader = torch.utils.data.DataLoader(data, batch_size=cfg.data["size"])
    model = hydra.utils.instantiate(cfg.model)
    optimizer = optim.SGD(model.parameters(), lr=cfg.get("rate"))
    for epoch in range(cfg.epochs):
        train(model, "cpu", loader, optimizer, epoch)
if __name__ == "__main__":
    main()
""")  # fmt: skip
    found = described_here(read_program(tmp_path))
    assert (found.epochs, found.batch_size, learning_rate(found)) == (3, 32, 0.03)
    assert found.model.tensors[0].shape[0] == 32


COMPOSED = {
    "compose": (
        "from hydra import compose, initialize\n"
        "with initialize(version_base='1.2', config_path='.'):\n"
        "    cfg = compose(config_name='main', overrides=['data.size=48'])\n"
    ),
    "a path of a file": (
        "import hydra\n@hydra.main(config_path='./main.yaml')\n"
        "def read(cfg):\n    global given\n    given = cfg\nread()\n"
        "cfg = given\ncfg.data.size = 48\n"
    ),
    "stored classes": (
        "from dataclasses import dataclass, field\nimport hydra\n"
        "from hydra.core.config_store import ConfigStore\n"
        "@dataclass\nclass Data:\n    size: int = 48\n    root: str = 'data'\n"
        "@dataclass\nclass Config:\n    data: Data\n    rate: float = 1e-3\n    epochs: int = 3\n"
        "ConfigStore.instance().store(name='other', node=Config)\n"
        "@hydra.main(version_base=None, config_name='other')\n"
        "def read(cfg):\n    global given\n    given = cfg\nread()\ncfg = given\n"
    ),
}


@pytest.mark.parametrize("way", COMPOSED)
def test_hydra_by_any_way(way: str, tmp_path: Path) -> None:
    """However settings are reached, they are what files or classes say; `1e-3` is a number."""
    write(tmp_path, "conf/main.yaml", "rate: 1e-3\nepochs: 3\ndata:\n  size: 32\n  root: data\n")
    write(tmp_path, "conf/__init__.py", "")
    write(tmp_path, "conf/settings.py", COMPOSED[way])
    write(tmp_path, "task/train.py", HEAD + net() + TRAIN + """\
from sklearn.model_selection import train_test_split
from conf.settings import cfg
whole = datasets.MNIST(cfg.data.root, transform=transforms.ToTensor())
half, rest = train_test_split(whole, test_size=0.25)
loader = torch.utils.data.DataLoader(half, batch_size=cfg.data.size)
model = Net()
optimizer = optim.SGD(model.parameters(), lr=cfg.rate)
for epoch in range(cfg.epochs):
    train(model, "cpu", loader, optimizer, epoch)
""")  # fmt: skip
    found = described_here(read_program(tmp_path))
    assert (found.epochs, found.batch_size, learning_rate(found)) == (3, 48, 0.001)
    assert "45,000 images" in " ".join(found.notes)
