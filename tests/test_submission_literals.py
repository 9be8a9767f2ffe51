"""What the code of a training brings along is counted, whatever it is written as."""

from __future__ import annotations

import base64
import math
from pathlib import Path

import pytest

from grader.submission.literals import fixed_in_code
from tests.reading import script

NET = "class Net(nn.Module):\n    def forward(self, x):\n        return x\nMODEL = Net()\n"
LOOP = '''
def train(model, train_loader, optimizer, epoch):
    """Train for one pass, with an L1 penalty.

    Args:
        model: the network.
        train_loader: its batches.
    """
    for i, (x, y) in enumerate(train_loader):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y) + 1e-5 * sum(p.abs().sum() for p in model.parameters())
        loss.backward()
        optimizer.step()
        if i % 100 == 0:
            print(f"Train Epoch: {epoch} [{i * len(x)}/60000] Loss: {loss.item():.6f}")
'''


def numbers(count: int) -> list[float]:
    """Make numbers that no rule tells."""
    return [round(math.sin(i * i * 0.013), 6) for i in range(count)]


def test_an_ordinary_loop_has_a_few_numbers(tmp_path: Path) -> None:
    """Docstrings, messages and rates are next to nothing."""
    assert fixed_in_code(script(tmp_path, NET, LOOP)).count < 10


@pytest.mark.parametrize(
    "table",
    [
        f"TABLE = {numbers(1_000)}",
        f"TABLE = {[int(8 * n) for n in numbers(9_000)]}",
        f"TABLE = {base64.b85encode(bytes(int(127 * n) + 128 for n in numbers(4_000)))!r}",
        f"TABLE = {' '.join(map(str, numbers(1_000)))!r}",
        f"TABLE = 0x{bytes(int(127 * n) + 128 for n in numbers(4_000)).hex()}",
    ],
    ids=["numbers", "the order of a few", "bytes", "words", "one long number"],
)
def test_a_table_of_weights_is_counted(tmp_path: Path, table: str) -> None:
    """In any notation."""
    text = LOOP.replace("    for i,", "    model.known = TABLE\n    for i,")

    assert fixed_in_code(script(tmp_path, NET, f"{table}\n{text}")).count > 256
