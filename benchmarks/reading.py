"""How long reading takes: a notebook of many cells, and the imports that reading needs.

    python benchmarks/reading.py [CELLS]

writes a notebook of CELLS cells (1,000 if not said) in which many constants, helper functions and
generations of one network lead up to a training, reads it ten times, and prints the median; then
times a fresh Python that imports the reader, against one that imports torch, five times in turn.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from grader.submission import read_program

NET = """\
class Net{i}(nn.Module):
    def __init__(self, width=WIDTH_{i}):
        super().__init__()
        self.conv = make_{i}(1, width)
        self.head = nn.Conv2d(width, 10, 1)

    def forward(self, x):
        return F.log_softmax(self.head(self.conv(x)).mean((2, 3)), dim=1)
"""
LAST = """\
model = Net{i}().to("cuda")
optimizer = optim.SGD(model.parameters(), lr=RATE_{i}, momentum=0.9)
for epoch in range(15):
    for data, target in train_loader:
        optimizer.zero_grad()
        loss = F.nll_loss(model(data), target)
        loss.backward()
        optimizer.step()
"""


def notebook(count: int) -> str:
    """Return the text of a notebook of at least `count` cells."""
    cells = [
        "!pip install torchsummary\nimport torch\nimport torch.nn as nn\n"
        "import torch.nn.functional as F\nimport torch.optim as optim\n"
    ]
    for i in range(count // 4):
        cells += [
            f"WIDTH_{i} = {i % 16 + 1}\nRATE_{i} = 0.01\nlosses_{i} = []",
            f"def make_{i}(a, b):\n    return nn.Sequential(nn.Conv2d(a, b, 3), nn.ReLU())",
            NET.replace("{i}", str(i)),
            f"for k in range(3):\n    losses_{i}.append(k)\nplt.plot(losses_{i})\nplt.show()",
        ]
    cells.append(LAST.replace("{i}", str(count // 4 - 1)))
    body = [{"cell_type": "code", "execution_count": n, "source": c} for n, c in enumerate(cells)]
    return json.dumps({"cells": body, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def seconds(work: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def fresh(code: str) -> float:
    """Return the wall time of a new Python that runs `code`."""
    return seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", nargs="?", type=int, default=1000)
    count = parser.parse_args().cells
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "work.ipynb")
        path.write_text(notebook(count), encoding="utf-8")
        program = read_program(path)
        reading = [seconds(lambda: read_program(path)) for _ in range(10)]
    print(f"Python {platform.python_version()}, {platform.machine()}")
    kept = sum(len(module.statements) for module in program.modules)
    print(f"{count:,} cells, {kept} statements kept: {statistics.median(reading):.3f} s (n = 10)")
    pairs = [(fresh("import grader.submission.reader"), fresh("import torch")) for _ in range(5)]
    for name, times in zip(("the reader", "torch"), zip(*pairs, strict=True), strict=True):
        print(f"import {name}: {statistics.median(times):.2f} s in a fresh Python (n = 5)")


if __name__ == "__main__":
    main()
