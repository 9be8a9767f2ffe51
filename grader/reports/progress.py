"""What a person sees while networks train: bars or a table on a terminal, elsewhere plain lines."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from grader.escape import escaped, safe
from grader.events import AnyEvent, Diverged, EpochDone, Failed, Finished, Started, Taken
from grader.events import Progress as Step

_DESCRIBING = "reading the submission and describing its network ..."


OnEvent = Callable[[AnyEvent, str], None]
"""Takes an event, and what its training is called; a single one has no name."""


@contextlib.contextmanager
def shown(trainings: int = 1, *, brief: bool = False, quiet: bool = False) -> Generator[OnEvent]:
    """Give a function that shows each event of so many trainings, for as long as the block lasts.

    In `brief`, for a class, a training is told of when it is over, not epoch by epoch, and a
    terminal shows a table of those under way; `quiet` shows nothing.
    """
    console = Console(file=sys.stdout, highlight=False)
    if quiet:
        yield lambda event, name: None
    elif _can_redraw(console):
        with _Table(console, trainings) if brief else _Bars(console, trainings) as view:
            yield view
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


@dataclass
class _Training:
    """How far one training of a class has come, in steps."""

    epochs: int
    steps: int
    seen: float | None = None  # when the first step was told of
    first: int = 0  # and which that was: not the first of all where a training goes on
    done: int = 0
    accuracy: str = ""

    def come_to(self, done: int) -> None:
        """Note steps that are done."""
        if self.seen is None:
            self.seen, self.first = time.monotonic(), done
        self.done = done

    @property
    def share(self) -> float:
        """How much of it is done."""
        return self.done / max(1, self.steps * self.epochs)

    @property
    def left(self) -> float | None:
        """Seconds until its end; None while nothing tells."""
        if self.seen is None or self.done == self.first:
            return None
        pace = (time.monotonic() - self.seen) / (self.done - self.first)
        return pace * (self.steps * self.epochs - self.done)


class _Class:
    """The trainings of a class: those under way, how many are over, and what is left."""

    def __init__(self, trainings: int) -> None:
        self.trainings = trainings
        self.running: dict[str, _Training] = {}
        self.done: set[str] = set()
        self.failed: set[str] = set()
        self._taken: set[str] = set()
        self._began: float | None = None

    def note(self, event: AnyEvent, name: str) -> str:
        """Note an event; return a line that tells of the end of a training, if it is one."""
        if isinstance(event, Taken):
            self._taken.add(name)
        elif isinstance(event, Started):
            self._began = self._began or time.monotonic()
            self.running[name] = _Training(event.epochs, event.steps_per_epoch)
        elif isinstance(event, Diverged | Failed):
            return self._end(name, self.failed, _failure(event))
        elif isinstance(event, Finished):
            return self._end(name, self.done, self._accuracy(name))
        elif (training := self.running.get(name)) is not None:
            if isinstance(event, Step):
                training.come_to((event.epoch - 1) * training.steps + event.step)
            elif isinstance(event, EpochDone):
                training.come_to(event.epoch * training.steps)
                training.accuracy = f"{100 * (1 - event.test_errors / event.test_samples):.2f}%"
        return ""

    def _accuracy(self, name: str) -> str:
        return self.running[name].accuracy if name in self.running else ""

    def _end(self, name: str, ended: set[str], text: str) -> str:
        if name in self.done | self.failed:
            return ""
        ended.add(name)
        self.running.pop(name, None)
        over = len(self.done) + len(self.failed)
        return f"[{over}/{self.trainings}] {_before(name)}{text}"

    @property
    def counts(self) -> str:
        """How many are in which state."""
        over = len(self.done) + len(self.failed)
        waiting = self.trainings - over - len(self.running)
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"{len(self.running)} training, {waiting} waiting, {len(self.done)} done{failed}"

    @property
    def left(self) -> str:
        """The time until all are over, in words: as long as those so far took, one by one."""
        over = self.done | self.failed
        trained = len(over - self._taken)
        trained_share = trained + sum(training.share for training in [*self.running.values()])
        if self._began is None or trained_share == 0:
            return ""
        remaining = self.trainings - len(over) + trained - trained_share
        return f"about {_words((time.monotonic() - self._began) / trained_share * remaining)} left"


def _words(seconds: float) -> str:
    """Return a duration as a person says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Ends:
    """One line a training, when it is over, with the time that is left to all."""

    def __init__(self, console: Console, trainings: int) -> None:
        self.console, self.all = console, _Class(trainings)
        self.begun = False

    def __call__(self, event: AnyEvent, run: str) -> None:
        if line := self.all.note(escaped(event), run):
            if not self.begun:
                print(file=self.console.file)  # pytest's line of dots ends here
                self.begun = True
            parts = (line, self.all.counts, self.all.left)
            print("  ".join(filter(None, parts)), file=self.console.file, flush=True)


class _Table:
    """A line for each training under way, below their counts; what is over stands above."""

    def __init__(self, console: Console, trainings: int) -> None:
        self.all = _Class(trainings)
        self.live = Live(
            get_renderable=self._shown, console=console, refresh_per_second=2, transient=True
        )

    def __enter__(self) -> _Table:
        self.live.console.print()  # pytest's line of dots ends here
        self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.live.stop()

    def __call__(self, event: AnyEvent, run: str) -> None:
        if line := self.all.note(escaped(event), run):
            self.live.console.print(line, markup=False)

    def _shown(self) -> Group:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, expand=True)
        table.add_column("Submission", no_wrap=True, overflow="ellipsis", ratio=1)
        for title in ("Epoch", "Accuracy"):
            table.add_column(title, justify="right", no_wrap=True)
        table.add_column("")
        table.add_column("Left", justify="right", no_wrap=True)
        for name, training in [*self.all.running.items()]:  # while another thread notes events
            epoch = min(training.epochs, training.done // max(1, training.steps) + 1)
            table.add_row(
                Text(safe(name)), f"{epoch}/{training.epochs}", training.accuracy or "–",
                ProgressBar(completed=100 * training.share, width=20),
                "" if training.left is None else _words(training.left),
            )  # fmt: skip
        counts = "  ".join(filter(None, (self.all.counts, self.all.left)))
        return Group(Text(), Text(counts), table if self.all.running else Text())


class _Bars:
    """A bar for each run under way; finished epochs stay above them."""

    def __init__(self, console: Console, trainings: int) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(), console=console, transient=True,
        )  # fmt: skip
        self.trainings = trainings
        self.begun: dict[str, tuple[TaskID, int, int]] = {}  # with steps an epoch, and epochs
        self.accuracy: dict[str, str] = {}

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
            if event.epoch == epochs and self.trainings > 1:
                self._remove(task)
        elif isinstance(event, Diverged | Failed):
            self.progress.console.print(f"{name}{_failure(event)}", markup=False)
            if run in self.begun:
                self._remove(self.begun[run][0])

    def _remove(self, task: TaskID) -> None:
        """Take a bar away; a run may fail, or say its last epoch again, when it is gone."""
        with contextlib.suppress(KeyError):
            self.progress.remove_task(task)
