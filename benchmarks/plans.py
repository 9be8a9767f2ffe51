"""Plans of plain networks, for benchmarks: captured as a submission's are, recipe given here."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path

import msgspec
import torch
import torch.nn.functional as F
from torch import nn

from grader import sandbox
from grader.plan import schema

# What captures a network runs in a box and is imported by its folder.
sys.path.append(str(Path(sandbox.__file__).parent / "inside"))
capture = importlib.import_module("capture")

NORMALIZE = schema.Normalize(mean=[0.1307], std=[0.3081])
SEED_TRANSFORM: list[schema.Transform] = [
    schema.Affine(degrees=(-7.0, 7.0)),
    schema.Affine(translate=(0.1, 0.1)),
    schema.ToFloat(),
    NORMALIZE,
]


def one_cycle(peak: float, steps: int) -> tuple[list[float], list[float]]:
    """Return learning rate and momentum of every step of the seed's OneCycleLR."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.01, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=peak, total_steps=steps, pct_start=0.2, anneal_strategy="cos"
    )
    rates, momenta = [], []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        momenta.append(float(optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        scheduler.step()
    return rates, momenta


def seed_plan(network: nn.Module, batch: int, epochs: int, images: int = 60_000) -> schema.Plan:
    """Return `network` with the seed's recipe: SGD, OneCycle to 0.1, rotation and shift."""
    model = msgspec.convert(capture.capture(network, "Net", "", set()).json, schema.Model)
    loss = msgspec.convert(capture.loss_json(F.nll_loss, 10, set()), schema.Graph)
    rates, momenta = one_cycle(0.1, epochs * math.ceil(images / batch))
    names = [tensor.name for tensor in model.tensors if tensor.trainable]
    options: dict[str, schema.Option] = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}
    recipe = schema.Recipe(
        epochs=epochs,
        batch_size=batch,
        optimizer=schema.Optimizer("SGD", [schema.Group(names, options)]),
        schedule=schema.Schedule([rates], [momenta]),
        train_transform=SEED_TRANSFORM,
        test_transform=[schema.ToFloat(), NORMALIZE],
        loss=loss,
        drop_last=False,
    )
    return schema.Plan(model, recipe, provenance=[])
