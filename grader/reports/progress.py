"""What a person sees while a network trains: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Generator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from grader.training.events import AnyEvent, EpochDone, Started
from grader.training.events import Progress as Step


@contextlib.contextmanager
def shown() -> Generator[Callable[[AnyEvent], None]]:
    """Give a function that shows each event, for as long as the block lasts."""
    console = Console(file=sys.stdout, highlight=False)
    if console.is_terminal:
        with _Bar(console) as bar:
            yield bar
    else:
        yield _Lines(console)


def epoch_line(event: EpochDone, epochs: int) -> str:
    """Return one epoch in one line."""
    accuracy = 100 * (1 - event.test_errors / event.test_samples)
    return (
        f"epoch {event.epoch:>2}/{epochs}  {_rates(event.train_loss, event.lr)}"
        f"train {100 * event.train_accuracy:.2f}%  test {accuracy:.2f}% "
        f"({event.test_errors} errors)  {event.seconds:.1f} s"
    )


def _rates(loss: float | None, lr: float | None) -> str:
    """Return what is known of both: a loop of the submission's own tells neither."""
    known = ("" if loss is None else f"loss {loss:.4f}  ", "" if lr is None else f"lr {lr:.5f}  ")
    return "".join(known)


class _Lines:
    """One line an epoch, with the time that is left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.epochs = 0
        self.started = 0.0

    def __call__(self, event: AnyEvent) -> None:
        if isinstance(event, Started):
            self.epochs = event.epochs
            self.started = time.monotonic()
            self._print(
                f"\ntraining on {event.device}: {event.epochs} epochs of "
                f"{event.steps_per_epoch} steps, seed {event.seed}"
            )
        elif isinstance(event, EpochDone):
            each = (time.monotonic() - self.started) / event.epoch
            left = each * (self.epochs - event.epoch)
            self._print(f"{epoch_line(event, self.epochs)}  {left:.0f} s left")

    def _print(self, text: str) -> None:
        print(text, file=self.console.file, flush=True)


class _Bar:
    """A bar for the whole run; finished epochs stay above it."""

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(), console=console, transient=True,
        )  # fmt: skip
        self.task = TaskID(0)
        self.steps = 1
        self.epochs = 0
        self.accuracy = "   —  "

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def __call__(self, event: AnyEvent) -> None:
        if isinstance(event, Started):
            self.progress.console.print()  # pytest's line of dots ends here
            self.progress.start()
            self.steps, self.epochs = event.steps_per_epoch, event.epochs
            self.task = self.progress.add_task("training", total=self.steps * self.epochs)
        elif isinstance(event, Step):
            rates = _rates(event.loss, event.lr)
            text = f"epoch {event.epoch}/{self.epochs}  {rates}accuracy {self.accuracy}"
            done = (event.epoch - 1) * self.steps + event.step
            self.progress.update(self.task, completed=done, description=text)
        elif isinstance(event, EpochDone):
            self.accuracy = f"{100 * (1 - event.test_errors / event.test_samples):.2f}%"
            self.progress.console.print(epoch_line(event, self.epochs))
