"""What a person sees while a network trains: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Generator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from grader.escape import escaped, safe
from grader.events import AnyEvent, Diverged, EpochDone, Failed, Finished, Started
from grader.events import Progress as Step

_DESCRIBING = "reading the submission and describing its network ..."


OnEvent = Callable[[AnyEvent, str], None]
"""Takes an event, and what its training is called; a single one has no name."""


@contextlib.contextmanager
def shown(trainings: int = 1, *, brief: bool = False, quiet: bool = False) -> Generator[OnEvent]:
    """Give a function that shows each event of so many trainings, for as long as the block lasts.

    In `brief` a training is told of when it is over, not epoch by epoch; `quiet` shows nothing.
    """
    console = Console(file=sys.stdout, highlight=False)
    if quiet:
        yield lambda event, name: None
    elif _can_redraw(console):
        with _Bars(console, trainings, brief=brief) as bars:
            yield bars
    elif brief:
        yield _Ends(console, trainings)
    else:
        yield _Lines(console)


@contextlib.contextmanager
def describing(count: int = 1, *, quiet: bool = False) -> Generator[Callable[[str], None]]:
    """Show that something happens, for as long as the block lasts.

    The function it gives is told the name of each submission that is described, of so many.
    """
    console = Console(file=sys.stdout, highlight=False)
    if quiet:
        yield lambda name: None
        return
    console.print()  # pytest's line of dots ends here
    if count > 1:
        columns = (TextColumn("reading and describing"), BarColumn(), MofNCompleteColumn(),
                   TimeRemainingColumn())  # fmt: skip
        with Progress(*columns, console=console, disable=not _can_redraw(console)) as bar:
            task = bar.add_task("", total=count)
            if not _can_redraw(console):
                print(f"reading and describing {count} submissions ...", flush=True)
            yield lambda name: bar.advance(task)
    elif _can_redraw(console):
        with console.status(_DESCRIBING):
            yield lambda name: None
    else:
        print(_DESCRIBING, file=console.file, flush=True)
        yield lambda name: None


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


def _before(name: str) -> str:
    """Return what stands before the news of one training of several."""
    return f"{safe(name)}  " if name else ""


class _Lines:
    """One line an epoch, with the time that is left to its run."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.begun: dict[str, tuple[float, int]] = {}  # when, and for how many epochs

    def __call__(self, event: AnyEvent, run: str) -> None:
        event, name = escaped(event), _before(run)
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


class _Ends:
    """One line a training, when it is over, with the time that is left to all."""

    def __init__(self, console: Console, trainings: int) -> None:
        self.console, self.trainings = console, trainings
        self.began = time.monotonic()
        self.last: dict[str, str] = {}
        self.over: set[str] = set()

    def __call__(self, event: AnyEvent, run: str) -> None:
        event = escaped(event)
        if isinstance(event, EpochDone):
            self.last[run] = f"{100 * (1 - event.test_errors / event.test_samples):.2f}%"
        elif isinstance(event, Finished):
            self._print(run, self.last.get(run, ""))
        elif isinstance(event, Diverged | Failed):
            self._print(run, _failure(event))

    def _print(self, run: str, text: str) -> None:
        if run in self.over:
            return
        if not self.over:
            print(file=self.console.file)  # pytest's line of dots ends here
        self.over.add(run)
        done = len(self.over)
        left = (time.monotonic() - self.began) / done * (self.trainings - done)
        print(
            f"[{done}/{self.trainings}] {_before(run)}{text}  about {left / 60:.0f} min left",
            file=self.console.file, flush=True,
        )  # fmt: skip


class _Bars:
    """A bar for each run under way; finished epochs stay above them."""

    def __init__(self, console: Console, trainings: int, *, brief: bool) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(), console=console, transient=True,
        )  # fmt: skip
        self.trainings, self.brief = trainings, brief
        self.begun: dict[str, tuple[TaskID, int, int]] = {}  # with steps an epoch, and epochs
        self.accuracy: dict[str, str] = {}
        self.all: TaskID | None = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def __call__(self, event: AnyEvent, run: str) -> None:
        event, name = escaped(event), _before(run)
        if isinstance(event, Started):
            if not self.begun:
                self.progress.console.print()  # pytest's line of dots ends here
                self.progress.start()
                if self.brief:
                    self.all = self.progress.add_task("all trainings", total=self.trainings)
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
            last = event.epoch == epochs
            if last or not self.brief:
                self.progress.console.print(f"{name}{epoch_line(event, epochs)}")
            if last and self.trainings > 1:
                self._remove(task)
        elif isinstance(event, Diverged | Failed):
            self.progress.console.print(f"{name}{_failure(event)}", markup=False)
            if run in self.begun:
                self._remove(self.begun[run][0])

    def _remove(self, task: TaskID) -> None:
        """Take a bar away; a run may fail, or say its last epoch again, when it is gone."""
        with contextlib.suppress(KeyError):
            self.progress.remove_task(task)
            if self.all is not None:
                self.progress.advance(self.all)
