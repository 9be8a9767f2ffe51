"""What says that a network knows more than it learned from the training images here."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

from grader.record import Blank, Record, TrainingRun
from grader.rubric import Rubric

_FEWER = 0.5  # of the share of errors on training images
_DEVIATIONS = 5.0

ADVICE = (
    "let the network learn from the training images here: keep what it knows in parameters, "
    "compute encodings and masks in forward (torch.arange, torch.sin), and start weights from "
    "PyTorch's own initialisations"
)


def knowledge(record: Record, rubric: Rubric) -> Iterator[str]:
    """Say, with the numbers, what a network that learned only here would not have."""
    if fixed := _fixed(record, rubric.limits.fixed_values):
        yield fixed
    yield from from_answers(record, rubric)


def from_answers(record: Record, rubric: Rubric) -> Iterator[str]:
    """Say what the answers of the network show, for which no accuracy is believed."""
    if record.blank is not None:
        yield from _from_the_start(record.blank, rubric.data.guessed)
    for number, run in enumerate(record.accuracy.runs if record.accuracy else [], start=1):
        if told := _better_on_the_test(run):
            yield f"in run {number} {told}" if number > 1 else told


def places(record: Record, known: list[str]) -> list[str]:
    """Return the lines that bring the most fixed values, where something is known."""
    found = [each.where for each in record.fixed[:3] if each.where] if known else []
    return list(dict.fromkeys(found))


def _fixed(record: Record, most: int) -> str:
    count = sum(each.count for each in record.fixed)
    if count <= most:
        return ""
    first = sorted(record.fixed, key=lambda each: -each.count)[:3]
    largest = ", ".join(
        f"{each.count:,} in {f'{each.what} {each.name}'.strip()}"
        + (f" ({each.where})" if each.where else "")
        for each in first
    )
    return (
        f"it brings along {count:,} fixed values, which no training changes (at most "
        f"{most:,}): {largest}"
    )


def _from_the_start(blank: Blank, most: float) -> Iterator[str]:
    """Say where more than a share `most` is known; chance is one in so many as there are classes.

    Random weights tell some classes apart (docs/what-counts.md).
    """
    for count, when in (
        (blank.untrained, "before its first step"),
        (blank.still, "after a few steps with a learning rate of zero"),
        (blank.shuffled, "after a short training on shuffled labels"),
    ):
        if count > most * blank.asked:
            yield (
                f"{when} it already tells the classes of {count:,} of {blank.asked:,} test images: "
                "it was trained elsewhere"
            )


def _better_on_the_test(run: TrainingRun) -> str:
    """Say where far more test images are answered than training images.

    The training images are tested just as the test images are, without augmentation and dropout.
    """
    recalled = run.recalled
    if recalled is None or not recalled.asked or not run.curve or not run.tested:
        return ""
    known, tested = recalled.errors / recalled.asked, run.curve[-1] / run.tested
    noise = sqrt(known * (1 - known) / recalled.asked + tested * (1 - tested) / run.tested)
    if tested >= _FEWER * known or known - tested <= _DEVIATIONS * noise:
        return ""
    return (
        f"it answers {100 * (1 - tested):.2f}% of the test images and only "
        f"{100 * (1 - known):.2f}% of the images it was trained on"
    )
