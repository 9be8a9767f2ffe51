"""Writes small submissions and reads them; runs what came out as the box does."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from grader.errors import SubmissionError
from grader.submission import read_program
from grader.submission.program import ENTRY, Part, Program
from tests.boxed import boxed

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
    """Read something that must be refused, and return the error."""
    try:
        program = read_program(path, model=model)
    except SubmissionError as error:
        return error
    raise AssertionError(f"{path.name} was read as {program.class_name}")


def sources(program: Program, module: str = ENTRY) -> str:
    """Join what one module of the program runs."""
    found = next(m for m in program.modules if m.name == module)
    return "\n".join(statement.source for statement in found.statements)


@contextmanager
def _importable(program: Program) -> Iterator[dict[str, Any]]:
    """Run a program as the box does, and give the names of its entry."""
    box, described = boxed("modules"), msgspec.to_builtins(program)
    before = dict(sys.modules)
    sys.meta_path.append(box.PlaceholderFinder(described["placeholders"]))
    try:
        yield vars(box.Submission(described["modules"]).load(ENTRY))
    finally:
        sys.meta_path.pop()
        for name in {m.name for m in program.modules} - set(before):
            sys.modules.pop(name, None)


def value(program: Program, part: Part, **given: Any) -> Any:
    """Run the program and evaluate one of its parts."""
    with _importable(program) as names:
        return boxed("modules").evaluate(msgspec.to_builtins(part), names, given)


def parameters(program: Program) -> int:
    """Count the parameters of the program's model."""
    model = value(program, program.model)
    model = model() if isinstance(model, type) else model
    return sum(p.numel() for p in model.parameters())
