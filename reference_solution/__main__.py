"""`python -m reference_solution`: train the reference network alone, on the grader's engine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from grader import pipeline
from grader import rubric as rubrics
from grader.errors import GradingError
from grader.events import AnyEvent, EpochDone, Started
from grader.events import Progress as Step
from grader.request import Request
from grader.run import Run

HERE = Path(__file__).resolve().parent


class Log:
    """Prints a training as the project's first script did, with a bar for the epoch that runs."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task = progress.add_task("", total=1)
        self.steps = 0

    def __call__(self, event: AnyEvent, run: int = 1) -> None:
        """Show one event; there is one run alone."""
        if isinstance(event, Started):
            self.steps = event.steps_per_epoch
            self._say(f"Using device: {event.device}")
        elif isinstance(event, Step):
            line = f"Epoch={event.epoch} Loss={event.loss:.4f} LR={event.lr:.6f}"
            self.progress.update(
                self.task, description=line, completed=event.step, total=self.steps
            )
        elif isinstance(event, EpochDone):
            self._say(
                f"\nEpoch: {event.epoch}\n"
                f"Epoch={event.epoch} Loss={event.train_loss:.4f} Batch_id={self.steps - 1} "
                f"LR={event.lr:.6f} Accuracy={100 * event.train_accuracy:.2f}%\n\n"
                f"Test set: Average loss: {event.test_loss:.4f}, Accuracy: {_share(event)}"
            )

    def _say(self, text: str) -> None:
        self.progress.console.print(text, highlight=False, soft_wrap=True)


def _share(event: EpochDone) -> str:
    right = event.test_samples - event.test_errors
    return f"{right}/{event.test_samples} ({100 * right / event.test_samples:.2f}%)"


def main() -> int:
    """Train; return 0 when the target is reached at the last epoch."""
    parser = argparse.ArgumentParser(prog="python -m reference_solution", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("grades"), help="folder for results")
    parser.add_argument("--seed", type=int, help="seed of the training")
    options = parser.parse_args()
    rubric = rubrics.load()
    try:
        run = Run(Request(HERE, options.out, rubric, seed=options.seed, runs=1))
        pipeline.describe([run], 1, lambda run: None)
        if run.record.model is not None:
            print(f"Total trainable parameters: {run.record.model.parameters:,}", flush=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeRemainingColumn(), transient=True) as progress:
            log = Log(progress)
            pipeline.train([run], pipeline.Place(), lambda event, run, number: log(event))
    except GradingError as error:
        print(error, file=sys.stderr)
        return 1
    if run.fault is not None:
        print(run.fault, file=sys.stderr)
        return 1
    record = run.record
    if record.problem is not None or record.accuracy is None or record.model is None:
        print(record.problem, file=sys.stderr)
        return 1
    reached = record.accuracy.final >= rubric.limits.accuracy
    target = f"{rubric.limits.accuracy:.1f}%"
    epochs = len(record.training.epochs) if record.training else 0
    print(f"\nTarget accuracy of {target} {'achieved!' if reached else 'not achieved.'}")
    print(f"Final accuracy: {record.accuracy.final:.2f}%")
    print(f"Parameters used: {record.model.parameters:,} (< {rubric.limits.parameters:,})")
    print(f"Epochs used: {epochs} (< {rubric.limits.epochs})")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
