"""A training by the submission's own loop: what is counted, what is tested, what is refused."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from grader.checks.sandboxed import suspicions
from grader.errors import SubmissionError
from grader.events import AnyEvent, EpochDone, Metered, Replaced
from grader.plan import schema
from grader.supervise import Own
from grader.training import loop, metered
from grader.training.loop import Result, Run
from grader.training.metered import restated_errors
from grader.training.returned import read_weights, room
from tests.capturing import model_of
from tests.describing import described_here
from tests.plans import patterns, plan_of
from tests.reading import script
from tests.test_training_knowledge import elsewhere

NET = """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 4, stride=4)
        self.bn = nn.BatchNorm2d(4)
        self.out = nn.Linear(196, 10)
    def forward(self, x):
        return self.out(F.relu(self.bn(self.conv(x))).flatten(1))
MODEL = Net()
"""
ONE_PASS = """\
def train(model, train_loader, optimizer, epoch):
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y) + 1e-5 * sum(p.abs().sum() for p in model.parameters())
        loss.backward()
        optimizer.step()
"""

OWN = schema.OwnTraining(model=0, loaders=[0], first=0)


class Net(nn.Module):
    """The network of the scripts here."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 4, stride=4)
        self.bn = nn.BatchNorm2d(4)
        self.out = nn.Linear(196, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Score images [B, 1, 28, 28]."""
        scores: torch.Tensor = self.out(F.relu(self.bn(self.conv(x))).flatten(1))
        return scores


class Trained:
    """A training that is over: its result and what it said."""

    def __init__(self, result: Result, events: list[AnyEvent]) -> None:
        self.result, self.events = result, events

    @property
    def meter(self) -> Metered:
        """What was measured."""
        return next(e for e in self.events if isinstance(e, Metered))

    @property
    def errors(self) -> list[int]:
        """Wrong answers after each epoch."""
        return [e.test_errors for e in self.result.epochs]


Train = Callable[..., Trained]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Give a function that trains a script on 300 images and tests it on 100."""

    def run(text: str, *, epochs: int = 2, most: int = 19) -> Trained:
        program = msgspec.structs.replace(script(tmp_path, NET, text), own=OWN)
        plan = msgspec.structs.replace(plan_of(Net(), epochs=epochs), level="sandboxed")
        own = Own("", {"name": "SGD", "options": {"lr": 0.1}}, 60, 3_000)
        events: list[AnyEvent] = []
        result = metered.train(plan, program, own, 1, patterns(), events.append, max_epochs=most)
        return Trained(result, events)

    return run


def refused(train: Train, text: str, **options: int) -> SubmissionError:
    """Train what must be refused, and return the error."""
    with pytest.raises(SubmissionError) as error:
        train(text, **options)
    return error.value


def test_a_training_is_told_apart_by_when_things_are_made(tmp_path: Path) -> None:
    """The description says which module, loaders and pass the run on real images begins with."""
    found = described_here(script(tmp_path, NET, ONE_PASS))
    assert found.level == "sandboxed"
    assert found.own == OWN


@pytest.mark.slow
def test_a_loop_of_its_own_learns_and_is_counted(train: Train) -> None:
    """Every epoch is drawn from the meter and tested here, and nothing speaks against it."""
    trained = train(ONE_PASS, epochs=9)
    assert [e.samples for e in trained.result.epochs] == list(range(300, 3000, 300))
    assert trained.errors[-1] < 30
    assert trained.meter.untrained_errors > 60
    assert not trained.meter.past_budget
    assert trained.meter.cpu_seconds > 0
    assert trained.meter.plain_cpu_seconds > 0
    assert [e.epoch for e in trained.events if isinstance(e, EpochDone)] == list(range(1, 10))
    assert trained.meter.replaced == []
    assert trained.meter.canary_errors is not None
    assert trained.meter.canary_errors > 60


@pytest.mark.slow
@pytest.mark.parametrize(
    "after",
    [
        "next(iter(train_loader))\n    for x, y in train_loader:\n        model(x)",
        "1 / (len([0 for _ in train_loader]) // 5)",
    ],
    ids=["three passes an epoch", "an error with few batches"],
)
def test_loops_that_go_no_further_with_few_batches_are_tried_all_the_same(
    train: Train, after: str
) -> None:
    """What they learned of shuffled labels in their first pass is nothing."""
    meter = train(f"{ONE_PASS}    {after}\n").meter
    assert meter.canary_errors is not None
    assert meter.canary_errors > 60


@pytest.mark.slow
def test_more_than_the_budget_is_not_handed_out(train: Train) -> None:
    """A loop that goes on is ended at the budget, with the weights of the last whole epoch."""
    text = ONE_PASS.replace("epoch):\n", "epochs):\n  for _ in range(99):\n").replace(
        "    for x", "   for x"
    )
    trained = train(textwrap.dedent(text), most=2)
    assert trained.meter.past_budget
    assert trained.result.samples == 600
    assert len(trained.result.epochs) == 2


@pytest.mark.slow
def test_a_model_that_is_returned_counts(train: Train) -> None:
    """A training of a copy is judged by the copy it returns."""
    own = ONE_PASS.replace(
        "    for x", "    import copy; model = copy.deepcopy(model)\n    for x", 1
    )
    own = own.replace("epoch):", "epochs):").replace("train_loader:", "9 * [*train_loader]:")
    own = own.replace(
        "    for x", "    optimizer = optim.SGD(model.parameters(), 0.1)\n    for x", 1
    )
    trained = train(own + "    return model, 0\n", epochs=1)
    assert trained.meter.untrained_errors > 60
    assert trained.errors[-1] < 30


@pytest.mark.slow
def test_a_scheduler_that_waits_for_a_plateau_is_moved(train: Train) -> None:
    """What a file does after each call of its training is done for it, by a loss of its own."""
    text = ONE_PASS + (
        "    if epoch == 3 and optimizer.param_groups[0]['lr'] > 0.02: raise ValueError('still')\n"
        "def scheduler(optimizer):\n    return optim.lr_scheduler.ReduceLROnPlateau("
        "optimizer, factor=0.1, patience=0, threshold=10.0)\n"
    )
    assert train(text, epochs=3).result.samples == 900
    assert "still" in str(refused(train, text.replace("factor=0.1", "factor=0.99"), epochs=3))


@pytest.mark.slow
def test_trained_weights_from_elsewhere_show(train: Train) -> None:
    """Weights put in before the first step are forgotten; after the last they leave evidence."""
    learned = loop.train(plan_of(Net(), epochs=9), 5, patterns(), lambda _: None).state
    known = {name: tensor.tolist() for name, tensor in learned.items()}
    head = f"KNOWN = {known}\ndef know(model):\n    model.load_state_dict("
    head += "{name: torch.tensor(values) for name, values in KNOWN.items()})\n"
    early = ONE_PASS.replace("    for x", "    know(model)\n    for x", 1)
    late = ONE_PASS.replace("optimizer.step()", "pass") + "    know(model)\n"
    assert train(head + early, epochs=1).meter.untrained_errors > 60  # they are forgotten
    exchanged = train(head + late, epochs=1).meter
    assert exchanged.untrained_errors > 60
    assert exchanged.replaced[0].after < 30 < exchanged.replaced[0].before
    assert exchanged.canary_errors is not None
    assert exchanged.canary_errors < 30


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return", "did not begin"),
        ("import os; os._exit(0)", "status 0"),
        ("raise SystemExit(0)", "SystemExit"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_training_that_does_not_end_well(train: Train, body: str, said: str) -> None:
    """Whatever ends it early is a verdict in words."""
    error = refused(train, f"def train(model, train_loader):\n    {body}\n")
    assert said in str(error)


FORGED = """\
def train(model, train_loader):
    import os
    for fd in range(3, 20):
        try:
            os.write(fd, FRAME)
        except OSError:
            pass
    for x, y in train_loader:
        pass
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ("b'z' + bytes(8)", "unknown kind"),
        ("b'd' + (1 << 60).to_bytes(8, 'big')", "bytes where at most"),
        ("b'n' + bytes(8)", "outside a pass"),
        ("b'd' + bytes(8)", "cannot be read"),
        ("b'x' + (2).to_bytes(8, 'big') + b'{}'", "an invalid explanation"),
        ("b'x' + (4).to_bytes(8, 'big') + bytes([34, 242, 242, 34])", "an invalid explanation"),
    ],
)
def test_forged_messages_are_refused(train: Train, frame: str, said: str) -> None:
    """Who writes to the channel itself gets a verdict, and nothing else."""
    assert said in str(refused(train, FORGED.replace("FRAME", frame)))


@pytest.mark.slow
def test_weights_that_are_not_finite_are_refused(train: Train) -> None:
    """NaN in a parameter ends the training with its name."""
    text = ONE_PASS + "    model.out.weight.data.fill_(float('nan'))\n"
    assert "out.weight" in str(refused(train, text))


@pytest.mark.slow
def test_a_flood_is_stopped(train: Train) -> None:
    """A loop that begins pass after pass without end reaches a bound."""
    text = "def train(model, train_loader):\n    while True:\n        next(iter(train_loader))\n"
    assert "400 passes" in str(refused(train, text, most=10**6))


MODEL = model_of(Net())
GOOD = {t.name: torch.zeros(t.shape, dtype=getattr(torch, t.dtype[6:])) for t in MODEL.tensors}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"more": torch.zeros(1)}, "not the model's"),
        ({"out.bias": torch.zeros(9)}, "shape [9]"),
        ({"out.bias": torch.zeros(10, dtype=torch.float64)}, "float64"),
        ({"out.bias": torch.full((10,), torch.inf)}, "infinity"),
    ],
)
def test_weights_that_are_not_as_agreed(change: dict[str, torch.Tensor], said: str) -> None:
    """Names, shapes, types and finiteness of what comes back are checked one by one."""
    with pytest.raises(SubmissionError, match=r"not valid|finite") as error:
        read_weights(MODEL, save(GOOD | change))
    assert said in str(error.value)


def test_weights_as_agreed_are_read() -> None:
    """What keeps to the agreement is taken, and fits into the room there is for it."""
    content = save(GOOD)
    assert read_weights(MODEL, content).keys() == GOOD.keys()
    assert len(content) <= room(MODEL)
    missing = save({name: tensor for name, tensor in GOOD.items() if name != "out.bias"})
    with pytest.raises(SubmissionError, match="not valid"):
        read_weights(MODEL, missing)


@given(st.data())
def test_damaged_weights_are_refused_or_whole(data: st.DataObject) -> None:
    """Bytes changed anywhere, the header above all, never end in another exception."""
    content = bytearray(save(GOOD))
    header = 8 + int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        end = data.draw(st.sampled_from([8, header, len(content)]))
        content[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    kept = data.draw(st.sampled_from([len(content), header, 8, 3]))
    try:
        found = read_weights(MODEL, bytes(content[:kept]))
    except SubmissionError:
        return
    assert {name: tensor.shape for name, tensor in found.items()} == {
        name: tensor.shape for name, tensor in GOOD.items()
    }


@pytest.mark.parametrize(
    "change",
    [
        {"data_offsets": [0, 4]}, {"data_offsets": [0, 2**63]}, {"shape": [2**62, 4]},
        {"shape": [-1]}, {"dtype": "F8_E4M3"}, {"dtype": "C64"}, {"dtype": "X"},
    ],
    ids=str,
)  # fmt: skip
def test_headers_made_to_break_a_reader(change: dict[str, object]) -> None:
    """Overlapping or endless offsets, huge and negative shapes, odd types are refused in words."""
    content = save(GOOD)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["out.bias"] |= change
    new = json.dumps(header).encode()
    with pytest.raises(SubmissionError, match="not valid"):
        read_weights(MODEL, len(new).to_bytes(8, "little") + new + content[8 + length :])


HONEST = Metered(
    samples=60_000, batches=469, past_budget=False, cpu_seconds=2e-3, plain_cpu_seconds=1e-3,
    untrained_errors=9_000, tested=10_000,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"cpu_seconds": 9e-3}, "9.0 times the computing time"),
        ({"untrained_errors": 300}, "before its first step"),
        ({"replaced": [Replaced(3, 5_000, 50)]}, "weights were exchanged"),
        ({"replaced": [Replaced(3, 300, 60)]}, None),  # an average of weights
        ({"canary_errors": 8_900}, None),
        ({"canary_errors": 100}, "shuffled labels"),
        ({"final_errors": 60, "restated_errors": 9_000}, "are no statistics"),
        ({"final_errors": 60, "restated_errors": 250}, "are no statistics"),
        ({"final_errors": 60, "restated_errors": 90}, None),
        ({"final_errors": 300, "restated_errors": 480}, None),
    ],
)
def test_what_the_meter_says_is_judged(change: dict[str, object], said: str | None) -> None:
    """Each measurement that no honest training gives is named, with its numbers."""
    found = list(suspicions(msgspec.structs.replace(HONEST, **change)))
    assert len(found) == (said is not None)
    assert (said or "") in "".join(found)


class Stored(nn.Module):
    """Its weights are the running mean of a norm, whose input differs from image to image."""

    def __init__(self) -> None:
        super().__init__()
        self.store = nn.BatchNorm1d(490, affine=False)
        self.bias = nn.Parameter(torch.zeros(10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Score images [B, 1, 28, 28]."""
        same = x.mean((1, 2, 3))[:, None].expand(-1, 490) * 1e-3
        weights = self.store(same).view(-1, 10, 49)
        scores: torch.Tensor = (weights * F.avg_pool2d(x, 4).flatten(1)[:, None]).sum(2)
        return scores + self.bias


def test_running_statistics_that_are_none_show() -> None:
    """A norm that serves as a store is empty where the grader works its statistics out."""
    run = Run(plan_of(Stored()), 1, patterns(), lambda event: None)
    initial = {name: tensor.detach().clone() for name, tensor in run.network.state.items()}
    run.network.state["store.running_mean"].copy_(-elsewhere().flatten())

    given = run.test().errors
    assert given < 10
    assert restated_errors(run, initial) > 60
    seen = {"final_errors": given, "restated_errors": 60, "tested": 100}
    assert "are no statistics" in "".join(suspicions(msgspec.structs.replace(HONEST, **seen)))


def test_running_statistics_of_an_honest_training_are_found_again() -> None:
    """Those of the grader serve as well as those that came out of the training."""
    plan = plan_of(Net(), epochs=9)
    trained = loop.train(plan, 5, patterns(), lambda event: None).state
    run = Run(plan, 5, patterns(), lambda event: None)
    initial = {name: tensor.detach().clone() for name, tensor in run.network.state.items()}
    run.network.load(trained)

    assert restated_errors(run, initial) <= run.test().errors + 5


def test_statistics_that_never_moved_are_left_alone() -> None:
    """A norm that is frozen has the statistics it began with."""
    run = Run(plan_of(Net()), 5, patterns(), lambda event: None)
    initial = {name: tensor.detach().clone() for name, tensor in run.network.state.items()}

    assert restated_errors(run, initial) == run.test().errors
    assert torch.equal(run.network.state["bn.running_var"], initial["bn.running_var"])


@pytest.mark.slow
def test_batches_used_over_and_over_show(train: Train) -> None:
    """A loop that keeps its batches and goes over them again takes too much computing time."""
    again = "    kept = list(train_loader)\n    for x, y in 400 * kept:"
    trained = train(ONE_PASS.replace("    for x, y in train_loader:", again), epochs=1)
    assert trained.result.samples == 300
    assert "computing time" in "".join(suspicions(trained.meter))


@pytest.mark.slow
def test_what_a_training_prints_and_starts_is_no_matter(train: Train) -> None:
    """Standard output is not the channel, and a process it leaves behind is ended with it."""
    busy = """\
    import os, sys, time
    os.write(1, b'p' + bytes(8)); print('{"event": "finished"}'); sys.stdout.flush()
    if os.fork() == 0:
        time.sleep(600)
"""
    before = set(psutil.Process().children(recursive=True))
    trained = train(ONE_PASS.replace("    for x", busy + "    for x", 1), epochs=1)
    assert trained.result.samples == 300
    assert set(psutil.Process().children(recursive=True)) <= before
