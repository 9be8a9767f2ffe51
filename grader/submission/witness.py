"""What the saved output of a notebook tells of its training: a witness, and never a judge.

Output is text that anybody can write. It is compared with the plan, and a difference becomes a
note: no verdict and no plan depends on it. What is unclear tells nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from grader.plan.assemble import steps_per_epoch
from grader.plan.schema import Recipe
from grader.submission.program import Program, Witness

MAX_TEXT, MAX_LINES = 4 * 2**20, 100_000  # of all outputs; of more, nothing is said
_MOST_STEPS, _LEAST_IMAGES = 100_000, 20_000  # of an epoch
_LONGEST = 600  # characters of a line that are looked at
_MOST_BARS = 50  # of different lengths in a cell

# All repetitions are bounded: a line costs no more than its length times a constant.
_ESCAPES = re.compile(r"\x1b\[[0-9;]{0,8}[A-Za-z]|\x08")
_BAR = re.compile(r"(?<![\d/])(\d{1,6})/(\d{1,6}) ?\[(?=[\d=>.])")
_WIDGET = re.compile(r"Progress\(value=[^)]{0,80}?\bmax=(\d{1,6})(?:\.0)?\b")
_LINE = re.compile(r"\[ {0,6}(\d{1,6})/(\d{1,6}) \( {0,3}(\d{1,3})(?:\.\d{0,4})?%\)\]")
_EPOCH = re.compile(
    r"\bepoch {0,3}[:#=-]? {0,8}\[? {0,3}(\d{1,4})(?!\.?\d)"
    r"(?: {0,2}(?:/|of) {0,2}(\d{1,4})(?!\d))?",
    re.I,
)
_NOT_ITS_TURN = re.compile(r"best|highest|max|stop|reduc|adjust|\b(?:at|from|since|in) epoch", re.I)
_TESTS = re.compile(r"test|\bval|eval", re.I)
_LEARNS = re.compile(r"loss|batch.?id|train", re.I)
_LIGHTNING = re.compile(r"\bv_num=")  # its bars count the batches of the validation as well
_RIGHT = re.compile(r"(?:acc|correct)[^\n]{0,40}?(?<!\d)(\d{3,5}) ?/ ?10000(?!\d)", re.I)
_ACCURACY = re.compile(
    r"(?:test|val)(?:(?!train)[^\n]){0,60}?acc(?:uracy)?[a-z ()_%]{0,30}(?:10,?000[a-z ]{0,16})?"
    r"[ :=|-]{0,4}(\d{1,3}(?:\.\d{1,10})?)(?![\d/])",
    re.I,
)


@dataclass(frozen=True)
class Output:
    """The texts that a code cell left; `failed` if an error ended it."""

    label: str
    texts: list[str]
    failed: bool = False


@dataclass
class _Told:
    """What the output of one cell tells; `epochs` has a number for each training of it."""

    label: str
    failed: bool
    turns: list[tuple[int, int | None]] = field(default_factory=list)
    passes: dict[int, int] = field(default_factory=dict)
    learning: set[int] = field(default_factory=set)
    places: set[int] = field(default_factory=set)
    accuracies: list[float] = field(default_factory=list)
    _reached: dict[int, int] = field(default_factory=dict)

    def read(self, line: str) -> None:
        """Note what one line shows, as it stood when it was last written."""
        self._bars(line)
        if found := _LINE.search(line):
            self._within_epoch(*map(int, found.groups()))
        if not _NOT_ITS_TURN.search(line):
            for found in _EPOCH.finditer(line):
                self.turns.append((int(found[1]), int(found[2]) if found[2] else None))
            if (accuracy := _accuracy(line)) is not None:
                self.accuracies.append(accuracy)

    def _bars(self, line: str) -> None:
        for found in _WIDGET.finditer(line):
            self._bar(0, int(found[1]), "")
        if not _LIGHTNING.search(line):
            for found in _BAR.finditer(line):
                # What is said around a bar is said of it; a test's own bar may speak of a loss.
                said = line[: found.start()]
                self._bar(int(found[1]), int(found[2]), said if said.strip() else line)

    def _bar(self, value: int, total: int, said: str) -> None:
        if not 1 < total <= _MOST_STEPS or value > total:
            return
        if len(self.passes) > _MOST_BARS and total not in self.passes:
            return
        if value <= self._reached.get(total, total):  # it began anew
            self.passes[total] = self.passes.get(total, 0) + 1
        self._reached[total] = value
        if _LEARNS.search(said) and not _TESTS.search(said):
            self.learning.add(total)

    def _within_epoch(self, value: int, total: int, percent: int) -> None:
        """Note a line like `[6400/60000 (11%)]`; the last batch of an epoch may be smaller."""
        said_truly = total and abs(100 * value / total - percent) <= 1.5
        if said_truly and 0 < value < total and percent < 100 and total >= _LEAST_IMAGES:
            self.places.add(value)

    @property
    def steps(self) -> int | None:
        """Steps an epoch, where only one kind of bar can be that of the training."""
        again = {total for total, passes in self.passes.items() if passes > 1}
        again = again & self.learning or again
        return again.pop() if len(again) == 1 else None

    @property
    def apart(self) -> int:
        """A multiple of the batch size: how far lines within an epoch are apart; 0 if unknown."""
        return math.gcd(*self.places) if len(self.places) > 2 else 0

    @property
    def trains(self) -> bool:
        """Whether it looks like the output of a training."""
        again = any(self.passes[total] > 1 for total in self.learning)
        return again or len({number for number, _ in self.turns}) > 1

    @property
    def epochs(self) -> list[int] | None:
        """Return the epochs of each whole training; None where that is unclear."""
        found = [_length(run) for run in _runs(self.turns)]
        known = [count for count in found if count is not None]
        if self.failed or len(known) < len(found) or len(set(known)) > 1:
            return None
        return known


def _accuracy(line: str) -> float | None:
    """Return the accuracy on the test images, in per cent, that a line shows last."""
    if right := _RIGHT.search(line):
        found = [int(right[1]) / 100]
    else:
        texts = [match[1] for match in _ACCURACY.finditer(line)]
        values = [(float(text), "." in text) for text in texts]
        found = [100 * v if v <= 1 and is_fraction else v for v, is_fraction in values]
    plausible = [value for value in found if 10 < value <= 100]
    return plausible[-1] if plausible else None


def _runs(turns: list[tuple[int, int | None]]) -> Iterator[list[tuple[int, int | None]]]:
    """Yield the turns of each training: a number that is lower than the last begins another."""
    run: list[tuple[int, int | None]] = []
    for turn in turns:
        if run and turn[0] < run[-1][0]:
            yield run
            run = []
        run.append(turn)
    if run:
        yield run


def _length(run: list[tuple[int, int | None]]) -> int | None:
    """Return how many epochs a training has: all that it says it has, if it says so."""
    first, last, total = run[0][0], run[-1][0], run[-1][1]
    numbers = {number for number, _ in run}
    if first > 1 or len(numbers) < 2 or len(numbers) != last - first + 1:
        return None
    if total is None or (first == 0 and total == last):  # it counts 0/19 … 19/19
        return last - first + 1
    reached = first == 1 or total == last + 1
    return total if reached and total >= last else None


def witness_of(outputs: Sequence[Output]) -> Witness | None:
    """Return what outputs, in the order in which their cells ran, tell of the last training.

    None where there is too much of them, or no training among them.
    """
    texts = [text for output in outputs for text in output.texts]
    if sum(map(len, texts)) > MAX_TEXT or sum(text.count("\n") for text in texts) > MAX_LINES:
        return None
    told = [_told(output) for output in outputs]
    at = max((at for at, cell in enumerate(told) if cell.trains), default=None)
    if at is None:
        return None
    last, after = told[at], [cell.accuracies for cell in told[at:]]
    counts = [cell.epochs for cell in told if cell.trains]
    clear = [count for count in counts if count]
    accuracies = next(filter(None, after), [])
    return Witness(
        where=last.label,
        epochs=[n for count in clear for n in count] if len(clear) == len(counts) else [],
        steps=last.steps, bars=sorted(last.passes), apart=last.apart,
        accuracies=[accuracies[-1], max(accuracies)] if accuracies else [],
    )  # fmt: skip


def _told(output: Output) -> _Told:
    told = _Told(output.label, output.failed)
    for text in output.texts:
        for line in _lines(text):
            told.read(line)
    return told


def _lines(text: str) -> Iterator[str]:
    """Yield lines as a terminal leaves them: what a carriage return began anew is gone."""
    for line in text.split("\n"):
        written = line.rstrip("\r \t").rpartition("\r")[2]
        if written:
            yield _ESCAPES.sub("", written[:_LONGEST])


def notes_on(program: Program, recipe: Recipe, samples: int) -> list[str]:
    """Say where a plan's recipe differs from what the notebook shows, and which accuracy it shows.

    An epoch of the plan has so many `samples`. Nothing is said where somebody chose another network
    or recipe than the notebook trains.
    """
    seen = program.witness
    if seen is None or program.model is not None or program.recipe == "default":
        return []
    return [*_differences(seen, recipe, samples), *_shown_accuracy(seen)]


def _differences(seen: Witness, recipe: Recipe, samples: int) -> Iterator[str]:
    steps = steps_per_epoch(recipe.batch_size, samples, drop_last=recipe.drop_last)
    shown, planned = [], []
    if seen.steps is not None and steps not in seen.bars:
        shown, planned = [f"{seen.steps:,} steps an epoch"], [f"{steps:,}"]
    # Trainings that go on with one network are one in the plan.
    sums = list(accumulate(reversed(seen.epochs)))
    if sums and recipe.epochs not in sums:
        shown.append(_counted(sums[0], "epoch"))
        planned.append(f"{recipe.epochs:,}")
    if shown:
        yield (
            f"your notebook shows {' and '.join(shown)} ({seen.where}), this plan has "
            f"{' and '.join(planned)}"
        )
    if seen.steps is None and seen.apart % recipe.batch_size:
        yield (
            f"your notebook shows lines {seen.apart:,} images apart ({seen.where}), which this "
            f"plan's batches of {recipe.batch_size:,} do not divide"
        )


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'s' * (count != 1)}"


def _shown_accuracy(seen: Witness) -> Iterator[str]:
    if seen.accuracies:
        last, best = seen.accuracies
        highest = f", and {best:.4g} % at its best" if best > last else ""
        yield f"your notebook shows {last:.4g} % after its last epoch{highest} ({seen.where})"
