"""One step of the training, as it will be: what would fail at once is known before it begins."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from grader.datasets.files import Images
from grader.errors import SubmissionError
from grader.plan import schema
from grader.training.loop import Run, Tally

_TESTED = 64


def take_step(plan: schema.Plan, data: Images, seed: int) -> None:
    """Train on one batch of real images, and test on it.

    Raises SubmissionError when that cannot be done, or the loss is not a finite number.
    """
    with torch.random.fork_rng(devices=[]):
        few = replace(
            data, test_images=data.test_images[:_TESTED], test_labels=data.test_labels[:_TESTED]
        )
        run = Run(plan, seed, few, lambda _: None, lanes=False)
        images, target = next(run.batches(plan.recipe.epochs - 1))
        loss = run.step(images, target, Tally())
        if not math.isfinite(loss):
            raise SubmissionError(
                f"the loss is {loss} in the first step", expected="a finite loss at every step",
                found=str(loss), where="epoch 1, step 1",
                help="look at what goes into the loss: logarithms of zero, divisions by zero",
            )  # fmt: skip
        run.test()
