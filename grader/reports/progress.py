"""What a person sees while a network trains: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Generator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from grader.escape import escaped
from grader.events import AnyEvent, Diverged, EpochDone, Failed, Started
from grader.events import Progress as Step

_DESCRIBING = "reading the submission and describing its network ..."


@contextlib.contextmanager
def shown(runs: int = 1) -> Generator[Callable[[AnyEvent, int], None]]:
    """Give a function that shows each event, for as long as the block lasts.

    It takes an event and the number of its run, from 1; with `runs` above 1 the number is shown.
    """
    console = Console(file=sys.stdout, highlight=False)
    if _can_redraw(console):
        with _Bars(console, runs) as bars:
            yield bars
    else:
        yield _Lines(console, runs)


@contextlib.contextmanager
def describing() -> Generator[None]:
    """Show that something happens for as long as the block lasts."""
    console = Console(file=sys.stdout, highlight=False)
    console.print()  # pytest's line of dots ends here
    if _can_redraw(console):
        with console.status(_DESCRIBING):
            yield
    else:
        print(_DESCRIBING, file=console.file, flush=True)
        yield


def _can_redraw(console: Console) -> bool:
    """Tell whether the cursor may be moved; FORCE_COLOR asks rich for colours, not for that."""
    return sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal


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


def _failure(event: Diverged | Failed) -> str:
    why = f"the loss became {event.loss}" if isinstance(event, Diverged) else event.message
    return f"the training failed: {why}"


def _named(run: int, runs: int) -> str:
    """Return what stands before the news of one run of several."""
    return f"run {run}/{runs}  " if runs > 1 else ""


class _Lines:
    """One line an epoch, with the time that is left to its run."""

    def __init__(self, console: Console, runs: int) -> None:
        self.console = console
        self.runs = runs
        self.begun: dict[int, tuple[float, int]] = {}  # when, and for how many epochs

    def __call__(self, event: AnyEvent, run: int) -> None:
        event, name = escaped(event), _named(run, self.runs)
        if isinstance(event, Started):
            if not self.begun:
                print(file=self.console.file)  # pytest's line of dots ends here
            self.begun[run] = (time.monotonic(), event.epochs)
            self._print(
                f"{name}training on {event.device}: {event.epochs} epochs of "
                f"{event.steps_per_epoch} steps, seed {event.seed}"
            )
        elif isinstance(event, EpochDone):
            began, epochs = self.begun[run]
            left = (time.monotonic() - began) / event.epoch * (epochs - event.epoch)
            self._print(f"{name}{epoch_line(event, epochs)}  {left:.0f} s left")
        elif isinstance(event, Diverged | Failed):
            self._print(f"{name}{_failure(event)}")

    def _print(self, text: str) -> None:
        print(text, file=self.console.file, flush=True)


class _Bars:
    """A bar for each run under way; finished epochs stay above them."""

    def __init__(self, console: Console, runs: int) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(), console=console, transient=True,
        )  # fmt: skip
        self.runs = runs
        self.begun: dict[int, tuple[TaskID, int, int]] = {}  # with steps an epoch, and epochs
        self.accuracy: dict[int, str] = {}

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def __call__(self, event: AnyEvent, run: int) -> None:
        event, name = escaped(event), _named(run, self.runs)
        if isinstance(event, Started):
            if not self.begun:
                self.progress.console.print()  # pytest's line of dots ends here
                self.progress.start()
            task = self.progress.add_task(
                f"{name}training", total=event.steps_per_epoch * event.epochs
            )
            self.begun[run] = (task, event.steps_per_epoch, event.epochs)
        elif isinstance(event, Step):
            task, steps, epochs = self.begun[run]
            accuracy = self.accuracy.get(run, "   —  ")
            rates = _rates(event.loss, event.lr)
            text = f"{name}epoch {event.epoch}/{epochs}  {rates}accuracy {accuracy}"
            done = (event.epoch - 1) * steps + event.step
            self.progress.update(task, completed=done, description=text)
        elif isinstance(event, EpochDone):
            task, _, epochs = self.begun[run]
            self.accuracy[run] = f"{100 * (1 - event.test_errors / event.test_samples):.2f}%"
            self.progress.console.print(f"{name}{epoch_line(event, epochs)}")
            if event.epoch == epochs and self.runs > 1:
                self._remove(task)
        elif isinstance(event, Diverged | Failed):
            self.progress.console.print(f"{name}{_failure(event)}", markup=False)
            if run in self.begun:
                self._remove(self.begun[run][0])

    def _remove(self, task: TaskID) -> None:
        """Take a bar away; a run may fail, or say its last epoch again, when it is gone."""
        with contextlib.suppress(KeyError):
            self.progress.remove_task(task)
