"""A Program goes into the box and a Description comes out, or words that say why not."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from grader.datasets.known import MNIST
from grader.errors import LimitReached, SubmissionError
from grader.plan.assemble import assemble, request_defaults
from grader.plan.schema import Affine, Description, Normalize, ToFloat
from grader.plan.validate import validate
from grader.sandbox.describe import Box, describe
from grader.submission.program import ENTRY, Module, Program, Statement

pytestmark = pytest.mark.slow

MODEL = """
import torch, torch.nn.functional as F
from torch import nn, optim
from torchvision import transforms
class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3)
        self.head = nn.Linear(width, 10)
    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))
"""


def program(
    source: str = MODEL, model: str = "Net()", modules: list[Module] | None = None
) -> Program:
    """Make a program of one file that says its model."""
    statements = [Statement(source, "model.py", 1)]
    statements.append(Statement(f"MODEL = {model}", "model.py", 100))
    return Program([*(modules or []), Module(ENTRY, statements)])


def described(*, seconds: float = 120, megabytes: int = 3000, **parts: Any) -> Description:
    """Describe a program with the default bounds."""
    return describe(program(**parts), request_defaults(19), seconds=seconds, megabytes=megabytes)


def test_a_model_alone_leaves_the_recipe_open() -> None:
    """Without a recipe in the file, every part of it is absent from the description."""
    found = described()

    assert found.model.class_name == "Net"
    assert (found.epochs, found.optimizer, found.schedule, found.loss) == (None, None, None, None)


def test_a_whole_recipe_becomes_numbers() -> None:
    """Epochs, batch size, optimiser, one-cycle schedule, transforms and loss are all described."""
    source = (
        MODEL
        + """
EPOCHS, BATCH_SIZE, loss = 1 + 1, 600, F.cross_entropy
def optimizer(model): return optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
def scheduler(optimizer, steps_per_epoch, epochs):
    return optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, epochs=epochs, steps_per_epoch=steps_per_epoch)
train_transform = transforms.Compose([transforms.RandomRotation(7), transforms.ToTensor(),
    transforms.Normalize((0.1307,), (0.3081,))])
"""
    )
    found = described(source=source)

    assert (found.epochs, found.batch_size) == (2, 600)
    assert found.optimizer is not None
    assert found.optimizer.groups[0].options["lr"] == 0.01
    assert found.schedule is not None
    assert len(found.schedule.lr[0]) == 2 * MNIST.train / 600
    assert max(found.schedule.lr[0]) == pytest.approx(0.1, rel=1e-3)
    assert found.train_transform == [
        Affine(degrees=(-7.0, 7.0)), ToFloat(), Normalize([0.1307], [0.3081]),
    ]  # fmt: skip
    assert {fact.about for fact in found.provenance} == {
        "epochs", "batch_size", "optimizer", "scheduler", "loss", "train_transform",
    }  # fmt: skip


STEPPED = (
    MODEL
    + """
EPOCHS, BATCH_SIZE = EPOCHS_SAID, 30_000
def optimizer(model): return optim.SGD(model.parameters(), lr=1.0)
def scheduler(optimizer): return optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
"""
)


def test_a_schedule_stepped_by_epoch_stays_flat_inside_one() -> None:
    """StepLR moves between epochs: the rates of one epoch's steps are all the same."""
    found = described(source=STEPPED.replace("EPOCHS_SAID", "3"))

    assert found.schedule is not None
    assert found.schedule.lr == [[1.0, 1.0, 0.5, 0.5, 0.25, 0.25]]


@pytest.mark.parametrize("name", ["json", "transforms", "helper", "test"])
def test_modules_of_the_submission_are_found_before_installed_ones(name: str) -> None:
    """`import json` of a submission that has a json.py gets its own, without harm to others."""
    own = Module(name, [Statement("width = 5", f"{name}.py", 1)])
    source = f"from {name} import width" + MODEL
    found = described(source=source, model="Net(width)", modules=[own])

    assert next(t.shape for t in found.model.tensors if t.name == "conv.weight") == [5, 1, 3, 3]


def test_modules_in_packages_import_each_other() -> None:
    """Dotted, relative and starred imports between the submission's own modules work."""
    modules = [
        Module("models", [Statement("from .sizes import *", "models/__init__.py", 1)], True),
        Module("models.sizes", [Statement("width = 6", "models/sizes.py", 1)]),
        Module("blocks.wide", [Statement("from models import sizes", "blocks/wide.py", 1)]),
    ]
    source = "import models.sizes as s\nimport blocks.wide\nfrom models import *" + MODEL
    model = "Net(width + s.width + blocks.wide.sizes.width)"
    found = described(source=source, model=model, modules=modules)

    assert next(t.shape[0] for t in found.model.tensors if t.name == "conv.weight") == 18


def test_a_missing_package_that_is_not_used_does_not_matter() -> None:
    """A placeholder stands in for a package nobody installed, as long as nobody uses it."""
    source = "from torchsummary import summary\nimport a.b.c as abc\n" + MODEL
    found = described(source=source)

    assert found.model.class_name == "Net"


def test_a_missing_package_that_is_used_is_named() -> None:
    """A model that needs a package nobody installed says which, and where."""
    source = "import kornia as K\n" + MODEL.replace("nn.Conv2d(1, width, 3)", "K.Conv(width)")
    with pytest.raises(SubmissionError, match="'kornia' was not handed in") as caught:
        described(source=source)

    assert caught.value.where == "model.py, line 9"


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("raise ValueError('no')", "ValueError: no"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("open('/no/such/file')", "No such file"),
    ],
)
def test_a_statement_that_fails_ends_alone(ending: str, message: str) -> None:
    """Exceptions and exits are told in a note, with their line, and the rest runs on."""
    found = described(source=f"{MODEL}\n{ending}\n")

    assert found.model.class_name == "Net"
    assert message in found.notes[0]
    assert "(model.py, line 13)" in found.notes[0]


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("import os; os._exit(0)", "ended the process"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended the process"),
        ("import os; os.write(3, b'forged'); os.close(3); os._exit(0)", "ended the process"),
        ("Net = lambda: 3", "int"),
    ],
)
def test_whatever_ends_the_code_early_is_the_submissions_error(ending: str, message: str) -> None:
    """Crashes and forged answers are told apart from a description."""
    with pytest.raises(SubmissionError, match=message):
        described(source=f"{MODEL}\n{ending}\n")


def test_a_loop_without_end_is_ended_and_told() -> None:
    """A statement that never ends is interrupted, and what was seen until then counts."""
    found = described(source=f"MODEL = None\n{MODEL}\nMODEL = Net()\nwhile True: pass\n")

    assert found.model.class_name == "Net"
    assert "was ended after" in found.notes[0]


@pytest.mark.parametrize(
    ("ending", "bounds", "word"),
    [
        ("while True:\n  try:\n    while True: sum(range(99))\n  except BaseException: pass",
         {"seconds": 30}, "too long"),
        ("x = [b' ' * 100_000_000 for _ in range(40)]\nclass Net(nn.Module): x = x[9999]",
         {"megabytes": 1500}, "memory"),
    ],
)  # fmt: skip
def test_a_bound_that_is_reached_is_named(ending: str, bounds: Any, word: str) -> None:
    """An endless loop and a memory hog are stopped, each with its own words."""
    with pytest.raises(LimitReached, match=word):
        described(source=f"{MODEL}\n{ending}\n", **bounds)


def test_prints_do_not_disturb_the_answer() -> None:
    """A submission that floods its standard output is described all the same."""
    found = described(source=MODEL + "\nfor i in range(20000): print('x' * 100)\n")

    assert found.model.class_name == "Net"


def test_code_for_a_gpu_is_described_without_one() -> None:
    """`.cuda()`, `.to('cuda')`, DataParallel and torch.compile are harmless here."""
    model = "torch.compile(nn.DataParallel(Net().cuda()).to('cuda'), mode='max-autotune')"
    found = described(model=model)

    assert next(t.name for t in found.model.tensors) == "conv.weight"


@pytest.mark.parametrize("device", ["'cuda'", "torch.device('cuda:1')", "0", "'mps'"])
def test_whatever_is_made_on_another_device_is_made_on_the_cpu(device: str) -> None:
    """Every function of PyTorch that takes a device works here, also inside `forward`."""
    makers = (
        "torch.linspace(0, 1, 3, device=D)", "torch.randint(0, 5, (2,), device=D)",
        "torch.randperm(3, device=D)", "torch.as_tensor([1.0], device=D)",
        "torch.zeros_like(torch.ones(2), device=D)", "torch.ones(2).new_full((2,), 1, device=D)",
        "torch.ones(2).to(D, non_blocking=True)", "nn.Linear(2, 2, device=D).weight",
    )  # fmt: skip
    made = "\n".join(f"assert {maker}.device.type == 'cpu'" for maker in makers)
    found = described(
        source=f"{MODEL}\nD = {device}\n{made}\n",
        model="nn.Sequential(Net().to(D), nn.Flatten(0).to(device=D), nn.Unflatten(0, (-1, 10)))",
    )

    assert found.model.tensors[0].name == "0.conv.weight"


def test_a_transform_without_an_equal_is_named_in_the_notes() -> None:
    """A transform the grader cannot reproduce is left out and said so."""
    steps = "[transforms.RandomPosterize(4), transforms.ToTensor()]"
    found = described(source=f"{MODEL}\ntrain_transform = transforms.Compose({steps})\n")

    assert found.train_transform == [ToFloat()]
    assert "RandomPosterize" in found.notes[0]


def test_a_schedule_of_more_epochs_than_the_budget_is_kept_up_to_the_budget() -> None:
    """Twenty declared epochs, the most common number, give a plan that trains nineteen of them."""
    plan = assemble(described(source=STEPPED.replace("EPOCHS_SAID", "20")), 19)
    validate(plan, 19)

    assert plan.recipe.epochs == 20
    assert len(plan.recipe.schedule.lr[0]) == 19 * 2


def test_a_future_import_holds_for_the_statements_behind_it() -> None:
    """Annotations that cannot be evaluated do not matter under `from __future__ import`."""
    statements = [
        Statement("from __future__ import annotations", "model.py", 1),
        Statement("def helper(x: Missing) -> Missing: return x", "model.py", 2),
        Statement(MODEL, "model.py", 3),
    ]
    whole = Program([Module(ENTRY, statements)])
    found = describe(whole, request_defaults(19), seconds=120, megabytes=3000)

    assert found.model.class_name == "Net"
    assert found.notes == []


def test_a_submission_that_parses_its_command_line_gets_its_defaults() -> None:
    """Argument parsing in the code of a submission sees no arguments of ours."""
    source = MODEL + "\nimport argparse\nargs = argparse.ArgumentParser().parse_args()\n"

    assert described(source=source).model.class_name == "Net"


def test_a_model_that_needs_arguments_is_refused_with_their_names() -> None:
    """A class that cannot be built without arguments is named with what it needs."""
    source = MODEL.replace("width=8", "width, depth")
    with pytest.raises(SubmissionError, match="needs width, depth to be built"):
        described(source=source, model="Net")


def test_an_error_of_the_tracer_itself_asks_to_be_reported() -> None:
    """What comes out of the box cannot be made a fault of the grader, but says who to tell."""
    broken = request_defaults(19) | {"input_shape": 3}
    with pytest.raises(SubmissionError, match="could not be traced") as caught:
        describe(program(), broken, seconds=120, megabytes=3000)

    assert "report this" in caught.value.help


def test_a_name_of_a_tensor_may_be_that_of_an_operation() -> None:
    """A buffer called `mean` beside a call of `mean` is an ordinary model."""
    source = MODEL.replace(
        "        self.head", "        self.mean = nn.Parameter(torch.ones(1))\n        self.head"
    )
    plan = assemble(described(source=source), 19)

    validate(plan, 19)


def test_len_of_a_batch_keeps_the_batch_size_open() -> None:
    """`x.view(len(x), -1)` works for batches of any size."""
    source = MODEL.replace(
        "(self.conv(x).mean((2, 3)))", "(self.conv(x).mean((2, 3)).view(len(x), -1))"
    )

    assert described(source=source).model.train.nodes[-1].shape == ["B", 10]


def test_memory_that_is_written_before_it_is_read_is_allowed() -> None:
    """Drop-path, written with `new_empty(...).bernoulli_()`, is described."""
    mask = "x = x * x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(0.9)"
    source = MODEL.replace("        return self.head", f"        {mask}\n        return self.head")
    plan = assemble(described(source=source), 19)

    validate(plan, 19)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x = x * 2 if x.mean() > 0 else x", "number inside a tensor"),
        ("x = x.view(4, 1, 28, 28)", "a batch of 4 and no other"),
    ],
)
def test_a_forward_that_is_no_graph_is_told_with_its_line(line: str, message: str) -> None:
    """What stands in the way of recording a forward is found on its line of the file."""
    source = MODEL.replace("        return", f"        {line}\n        return")
    with pytest.raises(SubmissionError, match=message) as caught:
        described(source=source)

    assert caught.value.where == "model.py, line 11"


def test_packages_that_load_late_are_whole_once_asked() -> None:
    """Models, datasets and version of torchvision are there, though its start was put off."""
    source = (
        MODEL
        + "import torchvision\nfrom torchvision import datasets, models\n"
        + "from torchvision.transforms import v2\nimport torch._dynamo\n"
        + "assert torchvision.__version__ and torchvision.ops.nms and models.resnet18\n"
        + "assert datasets.MNIST and torchvision.io.decode_image and v2.Compose\n"
        + "assert callable(torch._dynamo.reset)\n"
    )

    assert described(source=source).model.class_name == "Net"


def test_checkpoints_are_called_through() -> None:
    """A checkpointed block, reentrant or not, is recorded as the block itself."""
    source = MODEL.replace(
        "self.conv(x)", "checkpoint(self.conv, x.requires_grad_(), use_reentrant=True)"
    ).replace("class Net", "from torch.utils.checkpoint import checkpoint\nclass Net")
    nodes = described(source=source).model.train.nodes

    assert [n.op for n in nodes][-3:] == [
        "aten.conv2d.default", "aten.mean.dim", "aten.linear.default",
    ]  # fmt: skip


def test_standard_input_is_empty_for_the_submission() -> None:
    """The job came on standard input; nothing of it, and no pipe, is left to read."""
    ending = "import sys, os\nassert sys.stdin.read() == os.read(0, 9).decode() == ''\n"

    assert described(source=MODEL + ending).model.class_name == "Net"


def test_a_box_that_is_not_used_ends_when_it_is_closed() -> None:
    """Closing a box ends its process, whatever it is doing; a second time is harmless."""
    before = set(psutil.Process().children())
    box = Box(seconds=60, megabytes=3000)
    started = set(psutil.Process().children()) - before
    box.close()
    box.close()

    assert len(started) == 1
    assert not any(process.is_running() for process in started)


def test_a_box_does_not_outlive_a_grader_that_is_killed(tmp_path: Path) -> None:
    """Without a job, a box ends as soon as nobody is left to give it one."""
    code = (
        "import os, psutil; from grader.sandbox.describe import Box\n"
        "box = Box(seconds=60, megabytes=3000)\n"
        "print(psutil.Process().children()[0].pid, flush=True); os._exit(1)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(ended.stdout)).wait(60)
