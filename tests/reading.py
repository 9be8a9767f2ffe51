"""Writes small submissions, reads them and runs what came out as the box does."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from grader.errors import SubmissionError
from grader.plan.schema import Model
from grader.submission import read_program
from grader.submission.program import ENTRY, Program
from tests.describing import described_here

HEAD = """\
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torchvision import datasets, transforms
"""
NET = """\
class {name}(nn.Module):
    def __init__(self, width=10):
        super({name}, self).__init__()
        self.conv = nn.Conv2d(1, width, 3)
        self.out = nn.Conv2d(width, 10, 1)
    def forward(self, x):
        return F.log_softmax(self.out(self.conv(x)).mean((2, 3)), dim=1)
"""
TRAIN = """\
def train(model, device, train_loader, optimizer, epoch):
    model.train()
    for data, target in train_loader:
        optimizer.zero_grad()
        loss = F.nll_loss(model(data.to(device)), target.to(device))
        loss.backward()
        optimizer.step()
"""


def net(name: str = "Net") -> str:
    """Return the source of a small network; `Net(width)` has 20 · width + 10 parameters."""
    return NET.replace("{name}", name)


def write(folder: Path, name: str, text: str) -> Path:
    """Write a file below a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def notebook(folder: Path, *cells: str, counts: list[int | None] | None = None) -> Path:
    """Write a notebook of code cells, run in order unless `counts` says otherwise."""
    numbers = counts if counts is not None else list(range(1, len(cells) + 1))
    body: list[dict[str, Any]] = [
        {"cell_type": "code", "source": text.splitlines(keepends=True), "outputs": [],
         "metadata": {}, "execution_count": number}
        for text, number in zip(cells, numbers, strict=True)
    ]  # fmt: skip
    content = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": body}
    return write(folder, "work.ipynb", json.dumps(content))


def script(folder: Path, *parts: str) -> Program:
    """Read a script made of the usual imports and some parts."""
    return read_program(write(folder, "work.py", "\n".join([HEAD, *parts])))


def refusal(path: Path, model: str | None = None) -> SubmissionError:
    """Read and run something that must be refused, and return the error."""
    try:
        model_found = found(read_program(path, model=model))
    except SubmissionError as error:
        return error
    raise AssertionError(f"{path.name} was read as {model_found.class_name}")


def sources(program: Program, module: str = ENTRY) -> str:
    """Join what one module of the program runs."""
    found = next(m for m in program.modules if m.name == module)
    return "\n".join(statement.source for statement in found.statements)


def found(program: Program) -> Model:
    """Run the program and return the model that it describes."""
    return described_here(program).model


def parameters(program: Program) -> int:
    """Count the parameters of the program's model."""
    tensors = found(program).tensors
    return sum(math.prod(t.shape) for t in tensors if t.role == "parameter")
