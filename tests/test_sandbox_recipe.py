"""A recipe becomes numbers; a part of it that is wrong spoils that part alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from grader.plan.schema import Description, Exponential, Tail
from grader.submission.program import ENTRY, Module, Program, Statement
from grader.training.network import CompiledGraph
from tests.boxed import boxed
from tests.describing import described_here

MODEL = """
import torch, torch.nn.functional as F
from torch import nn, optim
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 10, 3)
    def forward(self, x):
        return self.conv(x).mean((2, 3))
class Mine(optim.SGD): pass
class Fake: pass
MODEL = Net()
"""
SGD = "def optimizer(m): return optim.SGD(m.parameters(), lr=0.4)"


def described(*statements: str) -> Description:
    """Describe a network and what a file says of its recipe, on lines 30, 31 and on."""
    said = [Statement(text, "net.py", 30 + line) for line, text in enumerate(statements)]
    whole = [Statement(MODEL, "net.py", 1), *said]
    return described_here(Program([Module(ENTRY, whole)]))


def optimizer(made: str) -> str:
    """Write a hook that makes an optimiser."""
    return f"def optimizer(m): return {made}"


def scheduler(made: str) -> str:
    """Write a hook that makes a scheduler."""
    return f"def scheduler(o): return {made}"


@pytest.mark.parametrize(
    ("key", "source", "message"),
    [
        ("epochs", "EPOCHS = float('inf')", "epochs is inf"),
        ("epochs", "EPOCHS = 2_000_000", "from 1 to 1,000,000"),
        ("batch_size", "BATCH_SIZE = 100_000", "from 1 to 60,000"),
        ("batch_size", "BATCH_SIZE = -7", "batch_size is -7"),
        ("ema_decay", "EMA_DECAY = 1.0", "ema_decay is 1.0; expected from 0 to below 1"),
        ("ema_decay", "EMA_DECAY = float('nan')", "ema_decay is nan"),
        ("ema_decay", "EMA_DECAY = 'much'", "ema_decay is 'much'"),
        ("averaged_epochs", "AVERAGED_EPOCHS = 0", "from 1 to 1,000,000"),
        ("plain_epochs", "PLAIN_EPOCHS = -1", "from 0 to 1,000,000"),
        ("loss", "loss = lambda output: 0", "cannot be called as loss(output, target)"),
        ("loss", "loss = 0.5", "loss is a float"),
        ("loss", "loss = lambda output, target: target / 0 + nobody", "nobody"),
        ("loss", "loss = nn.CrossEntropyLoss(reduction='none')", "one number"),
        ("scheduler", scheduler("3"), "scheduler gives a int"),
        ("scheduler", scheduler("optim.lr_scheduler.Unknown(o)"), "Unknown"),
        ("optimizer", optimizer("optim.LBFGS(m.parameters())"), "optimiser LBFGS is not one"),
        ("optimizer", optimizer("Mine(m.parameters(), lr=1)"), "optimiser Mine is not one"),
        ("optimizer", optimizer("optim.SGD(Net().parameters(), lr=1)"), "no parameter of the"),
        ("optimizer", optimizer("optim.SGD(m.parameters(), lr=1e9)"), "number 1000000000.0"),
        ("optimizer", optimizer("optim.SGD(m.parameters(), lr=float('inf'))"), "the number inf"),
        ("optimizer", optimizer("optim.Adam(m.parameters(), maximize=Fake())"), "maximize is a"),
    ],
)
def test_a_wrong_part_spoils_that_part_alone(key: str, source: str, message: str) -> None:
    """It is a flaw with its line, and the default takes its place."""
    found = described(source)

    assert [(f.about, f.where) for f in found.flaws] == [(key, "net.py, line 30")]
    assert message in found.flaws[0].message
    assert found.model.class_name == "Net"
    assert not getattr(found, key, None)


def test_a_hook_that_fails_tells_what_happened_and_where() -> None:
    """The part that needed what failed is a flaw, and the model loads."""
    found = described("rate = 1 / 0", optimizer("optim.SGD(m.parameters(), lr=rate)"))

    assert found.model.class_name == "Net"
    assert "rate" in found.flaws[0].message
    assert found.flaws[0].where == "net.py, line 31"
    assert "division by zero (net.py, line 30)" in found.notes[0]


def test_a_scheduler_goes_with_its_optimiser() -> None:
    """Without the optimiser it was made for, a scheduler is left out too."""
    found = described(optimizer("nobody"), scheduler("optim.lr_scheduler.StepLR(o, 1)"))

    assert (found.optimizer, found.schedule) == (None, None)
    assert "together with its optimiser" in "".join(
        [*found.notes, *(f.message for f in found.flaws)]
    )


def test_a_recipe_may_ask_how_much_data_there_is() -> None:
    """Data sets and loaders are stand-ins of the right length."""
    found = described(
        "from torchvision import datasets",
        "data = datasets.MNIST('.', download=True)",
        "loader = torch.utils.data.DataLoader(data, batch_size=128)",
        "EPOCHS = 1 if len(loader) + len(loader.dataset) + len(data) == 469 + 120_000 else 2",
    )

    assert found.epochs == 1


def test_a_plateau_is_described_for_the_trainer_to_replay() -> None:
    """ReduceLROnPlateau keeps its options, and a note says what it follows."""
    made = "optim.lr_scheduler.ReduceLROnPlateau(o, 'max', factor=0.5, patience=2)"
    found = described(SGD, scheduler(made))

    assert found.schedule is not None
    assert found.schedule.lr == [[0.4]]
    assert found.schedule.plateau is not None
    assert (found.schedule.plateau.every, found.schedule.plateau.patience) == ("epoch", 2)
    assert "training accuracy" in found.notes[0]


@pytest.mark.parametrize(
    "source",
    [
        "nn.CrossEntropyLoss(label_smoothing=0.1)",
        "nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2] * 5), label_smoothing=0.1)",
    ],
)
def test_a_loss_may_smooth_labels_and_weigh_classes(source: str) -> None:
    """Both become part of the loss's graph, which gives what PyTorch's loss gives."""
    theirs = eval(source, {"nn": nn, "torch": torch})
    described_loss = described(f"loss = {source}").loss
    assert described_loss is not None
    ours = CompiledGraph(described_loss, {}, torch.device("cpu"))
    output, target = torch.randn(4, 10), torch.arange(4)

    assert ours(output, target) == pytest.approx(float(theirs(output, target)))
    assert ours(output, target) != pytest.approx(float(nn.CrossEntropyLoss()(output, target)))


def test_averages_of_the_weights() -> None:
    """AVERAGED_EPOCHS asks for the plain mean over the last epochs, EMA_DECAY for a running one."""
    assert described("AVERAGED_EPOCHS = 3").averaging == Tail(3)
    assert described("EMA_DECAY = 0.99").averaging == Exponential(0.99)
    assert described("PLAIN_EPOCHS = 0").plain_epochs == 0


def test_two_averages_at_once_are_a_flaw() -> None:
    """They contradict each other; the second one is left."""
    both = described("EMA_DECAY = 0.9", "AVERAGED_EPOCHS = 2")

    assert "both AVERAGED_EPOCHS and EMA_DECAY" in both.flaws[0].message


@pytest.mark.filterwarnings("ignore:Seems like")  # the box, too, has no ear for warnings
def test_groups_keep_their_own_learning_rates() -> None:
    """Every parameter group has its own options, and its own rate at every step."""
    weight, bias = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    own = {"params": [bias], "lr": 0.5, "weight_decay": 0.0}
    groups: list[dict[str, Any]] = [{"params": [weight]}, own]
    optimizer = torch.optim.SGD(groups, lr=0.1, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.1)
    schedules = boxed("schedules")
    found = schedules.optimizer_json(optimizer, {id(weight): "weight", id(bias): "bias"})
    steps = schedules.Simulation(optimizer, scheduler, by_batch=False).run(2, 1)

    assert [group["parameters"] for group in found["groups"]] == [["weight"], ["bias"]]
    assert [group["options"]["weight_decay"] for group in found["groups"]] == [0.01, 0.0]
    assert steps["lr"] == [[0.1, pytest.approx(0.01)], [0.5, pytest.approx(0.05)]]


def test_rates_that_numpy_works_out() -> None:
    """A number of any library is a number."""
    rate = "__import__('numpy').float32(0.25)"
    found = described(optimizer(f"optim.SGD(m.parameters(), lr={rate})"))
    assert found.optimizer is not None
    assert found.optimizer.groups[0].options["lr"] == 0.25
