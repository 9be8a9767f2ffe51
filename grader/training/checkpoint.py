"""A training's whole state after an epoch: one that was ended goes on as if it had not been.

Bit for bit: weights, running statistics, what the optimiser, the average and a plateau remember,
and every source of random numbers. Tensors are safetensors, all else is JSON beside them.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from grader import events
from grader.errors import GraderFault
from grader.files import write_atomically
from grader.training.loop import Run

_UNREADABLE = (OSError, SafetensorError, KeyError, TypeError, ValueError, IndexError, RuntimeError)


@dataclass(frozen=True)
class Checkpoint:
    """Where a training's state is kept, and what was said before its first epoch."""

    path: Path
    blank: events.Blank | None = None

    @classmethod
    def at(cls, path: Path) -> Checkpoint:
        """Return the checkpoint of a path, with what can be read there; nothing is fine too."""
        with contextlib.suppress(*_UNREADABLE):
            _, rest = _read(path)
            return cls(path, msgspec.convert(rest["blank"], events.Blank | None))
        return cls(path)

    def save(self, run: Run) -> None:
        """Keep the state of a run, between two epochs. It matters to nobody if that fails."""
        tensors, optimizer = run.optimizer.remembered()
        rest = {
            "blank": msgspec.to_builtins(self.blank),
            "epochs": msgspec.to_builtins(run.done),
            "samples": run.samples,
            "seconds": time.perf_counter() - run.began,
            "optimizer": optimizer,
            "averaged": run.average.steps if run.average else 0,
            "keys": run.network.keys.state,
        }
        tensors |= {f"network.{n}": t for n, t in enumerate(run.network.state.values())}
        tensors |= {
            f"average.{n}": t for n, t in enumerate(run.average.means if run.average else ())
        }
        tensors |= {f"random.{name}": g.get_state() for name, g in _generators(run).items()}
        whole = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
        with contextlib.suppress(GraderFault):
            write_atomically(self.path, save(whole, {"rest": json.dumps(rest)}))

    def restore(self, run: Run) -> bool:
        """Put a run that has just started into the state that was kept; False if there is none."""
        try:
            tensors, rest = _read(self.path)
            done = msgspec.convert(rest["epochs"], list[events.EpochDone])
            states = {name: tensors[f"random.{name}"] for name in _generators(run)}
        except _UNREADABLE:
            return False
        with torch.no_grad():
            for number, tensor in enumerate(run.network.state.values()):
                tensor.copy_(tensors[f"network.{number}"])
            if run.average:
                run.average.steps = rest["averaged"]
                for number, mean in enumerate(run.average.means):
                    mean.copy_(tensors[f"average.{number}"])
        run.optimizer.recall(tensors, rest["optimizer"])
        run.network.keys.state = rest["keys"]
        for name, generator in _generators(run).items():
            generator.set_state(states[name])
        run.done, run.samples = done, rest["samples"]
        run.began = time.perf_counter() - rest["seconds"]
        return True


def _generators(run: Run) -> dict[str, torch.Generator]:
    """Every source of random numbers that an epoch draws from, but the keys of the lanes."""
    found = {
        "default": torch.default_generator,
        "augmentation": run.augmentation.generator,
        "order": run.order.generator,
    }
    if run.device.type == "cuda":
        found["cuda"] = torch.cuda.default_generators[torch.cuda.current_device()]
    return found


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        return tensors, json.loads(file.metadata()["rest"])
