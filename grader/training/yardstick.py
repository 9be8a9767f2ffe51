"""What one image costs a plain loop: the measure for how much work a submission's own loop does."""

from __future__ import annotations

import time
from statistics import fmean

import torch

from grader.training.loop import Run
from grader.training.network import CompiledGraph

_STEPS = 4


class Yardstick:
    """Times training steps on a copy of the network, unfused, as any PyTorch program runs them."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._times: list[float] = []

    @property
    def seconds(self) -> float:
        """CPU seconds an image, averaged over all measurements."""
        return fmean(self._times)

    def measure(self) -> None:
        """Make a few steps; called again and again, since a machine is not always as fast."""
        run = self._run
        state = {
            name: tensor.detach().clone().requires_grad_(tensor.requires_grad)
            for name, tensor in run.network.state.items()
        }
        graph = CompiledGraph(run.plan.model.train, state, run.device)
        learned = [tensor for tensor in state.values() if tensor.requires_grad]
        optimizer = torch.optim.Adam(learned, lr=0.0)  # one of the costlier
        images, labels = next(run.batches(run.plan.recipe.epochs))
        for step in range(_STEPS + 1):
            if step == 1:  # the first makes the optimiser's state
                began = time.process_time()
            optimizer.zero_grad()
            run.loss(graph(images), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        self._times.append((time.process_time() - began) / (_STEPS * len(labels)))
