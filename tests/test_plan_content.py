"""What a plan computes does not depend on names, places, remarks, or the order of statements."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grader import rubric as rubrics
from grader.plan.content import content_of, in_order
from grader.plan.schema import Plan
from grader.plan.validate import validate_model
from grader.steps import code_sha256, complete
from grader.submission import read_program
from grader.training.loop import train
from tests.capturing import Net, conv, model_of
from tests.describing import described_here
from tests.grading import grade
from tests.networks import NETWORKS
from tests.plans import patterns, plan_of
from tests.reading import write

FILE = '''
import torch
from torch import nn
import torch.nn.functional as F

EPOCHS = 2
BATCH_SIZE = 30_000


class Net(nn.Module):
    """A network."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 10, 1)

    def forward(self, x):
        x = F.dropout(F.relu(self.norm(self.first(x))), 0.1, self.training)
        return self.last(x).mean((2, 3))


def optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)
'''
SAME: dict[str, Callable[[str], str]] = {
    "comments": lambda text: f"# mine\n{text}\n# end".replace("x = F", "# here\n        x = F"),
    "names": lambda text: (
        text.replace("first", "a").replace("norm", "z").replace("last", "b").replace("Net", "CNN")
    ),
    "blank lines": lambda text: text.replace("\n\n\n", "\n\n\n\n\n"),
    "order of layers": lambda text: text.replace(
        "        self.last = nn.Conv2d(4, 10, 1)\n", ""
    ).replace(
        "        self.first", "        self.last = nn.Conv2d(4, 10, 1)\n        self.first"
    ),
    "order of statements": lambda text: (
        text.replace("EPOCHS = 2\nBATCH_SIZE = 30_000\n", "") + "\nBATCH_SIZE = 30_000\nEPOCHS = 2"
    ),
    "words": lambda text: text.replace("A network.", "My very own network, version 2."),
}  # fmt: skip
OTHER: dict[str, Callable[[str], str]] = {
    "rate": lambda text: text.replace("lr=0.1", "lr=0.11"),
    "epochs": lambda text: text.replace("EPOCHS = 2", "EPOCHS = 3"),
    "share dropped": lambda text: text.replace("0.1, self", "0.2, self"),
    "width": lambda text: text.replace("4", "5"),
    "activation": lambda text: text.replace("F.relu", "F.gelu"),
    "a layer of no use": lambda text: text.replace(
        "        self.last =", "        self.more = nn.Conv2d(1, 1, 1)\n        self.last ="
    ),
}  # fmt: skip


def planned(folder: Path, text: str, name: str = "net.py") -> Plan:
    """Return the plan of a script."""
    program = read_program(write(folder, name, text))
    return complete(described_here(program), program, rubrics.load())


@pytest.mark.parametrize("change", [*SAME, "name of the file"])
def test_the_same_in_other_words_has_the_same_content(change: str, tmp_path: Path) -> None:
    """Comments, names, places and the order of equal statements change nothing."""
    name = "other.py" if change == "name of the file" else "net.py"
    text = SAME.get(change, str)(FILE)
    plan = planned(tmp_path / "b", text, name)

    assert change == "name of the file" or text != FILE
    assert content_of(plan) == content_of(planned(tmp_path / "a", FILE))


OWN = """
def train(model, loader, optimizer):
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
"""


def test_a_training_of_its_own_is_hashed_without_comments_and_places(tmp_path: Path) -> None:
    """What the box runs is compared as code: another line or remark is no other code."""
    texts = [FILE + OWN, "# mine\n" + FILE + OWN.replace("    for", "    # go\n    for")]
    texts.append(FILE + OWN.replace("1.0", "2.0"))
    programs = [read_program(write(tmp_path, f"{n}.py", text)) for n, text in enumerate(texts)]
    first, same, other = (code_sha256(program) for program in programs)

    assert first == same
    assert first != other


@pytest.mark.slow
def test_a_copy_under_other_names_gets_the_same_seed_and_accuracy(tmp_path: Path) -> None:
    """What is written in other words is the same draw: not one answer differs."""
    text = FILE.replace("EPOCHS = 2\nBATCH_SIZE = 30_000", "EPOCHS = 1\nBATCH_SIZE = 500").replace(
        "nn.Conv2d(1, 4, 3)", "nn.Conv2d(1, 4, 3, stride=4)"
    )
    other = text
    for change in ("names", "comments", "order of layers"):
        other = SAME[change](other)
    paths = [write(tmp_path, "net.py", text), write(tmp_path, "copy (1).py", other)]
    one, two = (grade(path, tmp_path / "grades").record for path in paths)

    assert one.training is not None
    assert two.training is not None
    assert one.plan_sha256 != two.plan_sha256
    assert one.content_sha256 == two.content_sha256
    assert one.training.seed == two.training.seed
    assert [e.test_errors for e in one.training.epochs] == [
        e.test_errors for e in two.training.epochs
    ]


@pytest.mark.parametrize("change", OTHER)
def test_another_network_or_recipe_has_another_content(change: str, tmp_path: Path) -> None:
    """Whatever changes what is computed is another draw."""
    text = OTHER[change](FILE)

    assert text != FILE
    assert content_of(planned(tmp_path / "b", text)) != content_of(planned(tmp_path / "a", FILE))


def left_first(s: Any, x: Tensor) -> Tensor:
    """Work out two branches, the left one first."""
    left = F.dropout(s.left(x), 0.5, s.training)
    right = F.dropout(s.right(x), 0.5, s.training)
    return torch.cat([left, right], 1).mean((2, 3))


def right_first(s: Any, x: Tensor) -> Tensor:
    """Work out the same branches, the right one first."""
    right = F.dropout(s.right(x), 0.5, s.training)
    left = F.dropout(s.left(x), 0.5, s.training)
    return torch.cat([left, right], 1).mean((2, 3))


def two_branches(run: Callable[[Any, Tensor], Tensor], *, reverse: bool = False) -> Plan:
    """Return a plan of a network of two branches, its layers made in one order or the other."""
    parts = {"left": conv(1, 6), "right": conv(1, 4, 5, padding=1)}
    ordered = dict(reversed(parts.items())) if reverse else parts
    plan = plan_of(Net(run, **ordered), epochs=2)
    return msgspec.structs.replace(plan, model=in_order(plan.model))


@pytest.mark.slow
def test_branches_in_another_order_are_trained_alike() -> None:
    """Statements that do not depend on each other may be swapped: the weights are the same bits."""
    one, other = two_branches(left_first), two_branches(right_first, reverse=True)
    first, second = (train(plan, 1, patterns(), lambda _: None).state for plan in (one, other))

    assert content_of(one) == content_of(other)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_is_changed_in_place_keeps_its_order() -> None:
    """A result that is written over must not be read too late, or too early."""

    def written(s: Any, x: Tensor) -> Tensor:
        y = s.conv(x)
        total = y.sum((2, 3))
        y.mul_(2)
        return torch.cat([y.mean((2, 3))[:, :5], total[:, 5:]], 1)

    model = model_of(Net(written, conv=conv()))

    assert in_order(model).train == model.train


def test_a_norm_used_twice_keeps_its_order() -> None:
    """Running statistics depend on which batch came last."""

    def twice(s: Any, x: Tensor) -> Tensor:
        first = s.norm(s.conv(x))
        second = s.norm(s.conv(-x))
        total: Tensor = second - first
        return total.mean((2, 3))

    model = model_of(Net(twice, norm=nn.BatchNorm2d(10), conv=conv()))

    assert in_order(model).train == model.train


@pytest.mark.parametrize("name", NETWORKS)
def test_an_ordered_network_is_whole(name: str) -> None:
    """Nothing is lost, everything is there before it is read, and order twice is order once."""
    model = model_of(NETWORKS[name]())
    ordered = in_order(model)

    assert in_order(ordered) == ordered
    assert {t.name for t in ordered.tensors} == {t.name for t in model.tensors}
    for before, after in ((model.train, ordered.train), (model.eval, ordered.eval)):
        assert {node.name for node in before.nodes} == {node.name for node in after.nodes}
    validate_model(ordered)


@pytest.mark.parametrize("order", [(5, 4, 3, 2, 1, 0), (3, 0, 5, 1, 4, 2)])
def test_tensors_are_drawn_in_the_order_of_their_use(order: tuple[int, ...]) -> None:
    """In whatever order layers are made, each gets the same random numbers."""
    shapes, expected = (
        [tensor.shape for tensor in in_order(model_of(layers(each))).tensors]
        for each in (order, range(6))
    )

    assert shapes == expected


def layers(order: Iterable[int]) -> nn.Module:
    """Return a chain of six convolutions that are made in some order."""
    return Net(
        lambda s, x: s.l5(s.l4(s.l3(s.l2(s.l1(s.l0(x)))))).mean((2, 3)),
        **{f"l{i}": conv(i + 1, i + 2 if i < 5 else 10, 1) for i in order},
    )
