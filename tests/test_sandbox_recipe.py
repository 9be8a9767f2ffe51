"""A recipe becomes numbers; a part of it that is wrong spoils that part alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from grader.plan.schema import Description, Exponential, Tail
from grader.submission.program import ENTRY, Module, Part, Program, Statement
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
"""
BINDINGS = {"m": "model", "o": "optimizer", "loader": "train_loader", "data": "train_set"}


def described(declared: bool = False, extra: str = "", **parts: Any) -> Description:
    """Describe a network with the parts of a recipe; `extra` is for the recipe alone."""
    statements = [Statement(MODEL, "net.py", 1), Statement(extra, "net.py", 20, optional=True)]
    recipe = {
        key: Part(source, "net.py, line 30", bindings=BINDINGS, declared=declared)
        for key, source in parts.items()
    }
    model = Part("Net()", "net.py, line 4")
    return described_here(Program([Module(ENTRY, statements)], model, "Net", recipe))


@pytest.mark.parametrize(
    ("key", "source", "message"),
    [
        ("epochs", "float('inf')", "epochs is inf"),
        ("epochs", "2_000_000", "from 1 to 1,000,000"),
        ("batch_size", "100_000", "from 1 to 60,000"),
        ("batch_size", "-7", "batch_size is -7"),
        ("ema_decay", "1.0", "ema_decay is 1.0; expected from 0 to below 1"),
        ("ema_decay", "float('nan')", "ema_decay is nan"),
        ("ema_decay", "'much'", "ema_decay is 'much'"),
        ("averaged_epochs", "0", "from 1 to 1,000,000"),
        ("plain_epochs", "-1", "from 0 to 1,000,000"),
        ("loss", "lambda output: 0", "cannot be called as loss(output, target)"),
        ("loss", "0.5", "loss is a float"),
        ("loss", "lambda output, target: target / 0 + nobody", "nobody"),
        ("loss", "nn.CrossEntropyLoss(reduction='none')", "one number"),
        ("scheduler", "3", "scheduler gives a int"),
        ("scheduler", "optim.lr_scheduler.Unknown(o)", "Unknown"),
        ("optimizer", "optim.LBFGS(m.parameters())", "optimiser LBFGS is not one"),
        ("optimizer", "Mine(m.parameters(), lr=1)", "optimiser Mine is not one"),
        ("optimizer", "optim.SGD(Net().parameters(), lr=1)", "no parameter of the model"),
        ("train_transform", "1 / 0", "ZeroDivisionError"),
        ("optimizer", "optim.SGD(m.parameters(), lr=1e9)", "holds the number 1000000000.0"),
        ("optimizer", "optim.SGD(m.parameters(), lr=float('inf'))", "holds the number inf"),
    ],
)
def test_a_wrong_part_spoils_that_part_alone(key: str, source: str, message: str) -> None:
    """Declared, it is a flaw with its line; inferred, a note, and the default takes its place."""
    part: dict[str, Any] = {key: source}
    declared, inferred = described(True, **part), described(**part)

    assert [(f.about, f.where) for f in declared.flaws] == [(key, "net.py, line 30")]
    assert message in declared.flaws[0].message
    assert inferred.flaws == []
    assert message in inferred.notes[0]
    assert "net.py, line 30" in inferred.notes[0]
    assert not getattr(inferred, key, None)


def test_a_statement_for_the_recipe_alone_may_fail() -> None:
    """The model loads, and the part that needed it tells what really happened, and where."""
    found = described(True, extra="rate = 1 / 0", optimizer="optim.SGD(m.parameters(), lr=rate)")

    assert found.model.class_name == "Net"
    assert "division by zero" in found.flaws[0].message
    assert found.flaws[0].where == "net.py, line 20"


def test_a_scheduler_goes_with_its_optimiser() -> None:
    """Without the optimiser it was made for, a scheduler is left out too."""
    found = described(optimizer="nobody", scheduler="optim.lr_scheduler.StepLR(o, 1)")

    assert (found.optimizer, found.schedule) == (None, None)
    assert "together with its optimiser" in found.notes[1]


def test_a_recipe_may_ask_how_much_data_there_is() -> None:
    """Loaders and datasets are stand-ins of the right length."""
    sizes = "len(loader) + len(loader.dataset) + len(data)"
    found = described(batch_size="128", epochs=f"1 if {sizes} == 469 + 120_000 else 2")

    assert found.epochs == 1


@pytest.mark.parametrize("every", ["batch", "epoch"])
def test_a_plateau_is_described_for_the_trainer_to_replay(every: Any) -> None:
    """ReduceLROnPlateau keeps its options, and a note says what it follows."""
    scheduler = "optim.lr_scheduler.ReduceLROnPlateau(o, 'max', factor=0.5, patience=2)"
    recipe = {
        "optimizer": Part("optim.SGD(m.parameters(), lr=0.4)", "net.py, line 9", bindings=BINDINGS),
        "scheduler": Part(scheduler, "net.py, line 10", bindings=BINDINGS),
    }
    model = Part("Net()", "net.py, line 4")
    modules = [Module(ENTRY, [Statement(MODEL, "net.py", 1)])]
    found = described_here(Program(modules, model, "Net", recipe, scheduler_steps=every))

    assert found.schedule is not None
    assert found.schedule.lr == [[0.4]]
    assert found.schedule.plateau is not None
    assert (found.schedule.plateau.every, found.schedule.plateau.patience) == (every, 2)
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
    described_loss = described(loss=source).loss
    assert described_loss is not None
    ours = CompiledGraph(described_loss, {}, torch.device("cpu"))
    output, target = torch.randn(4, 10), torch.arange(4)

    assert ours(output, target) == pytest.approx(float(theirs(output, target)))
    assert ours(output, target) != pytest.approx(float(nn.CrossEntropyLoss()(output, target)))


def test_averages_of_the_weights() -> None:
    """AVERAGED_EPOCHS asks for the plain mean over the last epochs, EMA_DECAY for a running one."""
    assert described(averaged_epochs="3").averaging == Tail(3)
    assert described(ema_decay="0.99").averaging == Exponential(0.99)
    assert described(plain_epochs="0").plain_epochs == 0


def test_two_averages_at_once_are_a_flaw() -> None:
    """They contradict each other; the second one is left."""
    both = described(True, ema_decay="0.9", averaged_epochs="2")

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
