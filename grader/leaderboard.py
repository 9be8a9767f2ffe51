"""The leaderboard of a class: what noise cannot tell apart shares a rank."""

from __future__ import annotations

import hashlib
import math
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from grader.record import Accuracy, Record
from grader.statistics import likely_spread

_APART = NormalDist().inv_cdf(0.975)
"""How many standard deviations two accuracies differ by, for one of them to be the better one."""


@dataclass(frozen=True)
class Place:
    """A submission's place. `front`: no other is at least as good in all four, and better in one.

    The four are accuracy (per cent), parameters, epochs and multiply-adds for an image.
    """

    record: Record
    rank: int
    front: bool
    accuracy: float
    parameters: int
    epochs: int
    macs: int

    @property
    def name(self) -> str:
        """What the submission is called."""
        return self.record.submission.called


def pseudonyms(records: Sequence[Record]) -> Iterator[str]:
    """Return a name for each submission that its author can work out, and nobody without its files.

    All are different. Without a hash of its files a submission gets one by chance: what is known of
    it to everybody could be guessed.
    """
    whole = [_digest(record) for record in records]
    short = next(n for n in range(6, 65) if len({each[:n] for each in whole}) == len({*whole}))
    made: Counter[str] = Counter()
    for each in whole:
        made[each] += 1
        yield each[:short] if made[each] == 1 else f"{each[:short]}-{made[each]}"


def _digest(record: Record) -> str:
    submission = record.submission
    if not submission.sha256:
        return secrets.token_hex(32)
    content = f"{submission.sha256} {submission.called}"
    return hashlib.sha256(content.encode()).hexdigest()


def leaderboard(records: Sequence[Record]) -> list[Place]:
    """Return the places of those that passed every check but that of accuracy, best first.

    A rank is one more than the number of submissions that are better for certain: by more than
    1.96 standard deviations of the difference, with the spread between seeds that is likely.
    """
    found = [record for record in records if _counts(record)]
    places = [
        Place(
            record, 1 + sum(_better(other, record) for other in found), False,
            _accuracy(record).judged, *_costs(record),
        )
        for record in found
    ]  # fmt: skip
    marked = [
        replace(place, front=not any(_dominates(other, place) for other in places))
        for place in places
    ]
    return sorted(marked, key=lambda place: (place.rank, -place.accuracy, place.parameters))


def _counts(record: Record) -> bool:
    others = [check for check in record.checks if check.id != "test_accuracy"]
    trained = record.accuracy is not None and any(run.finished for run in record.accuracy.runs)
    known = record.model is not None and record.recipe is not None and record.status == "complete"
    return trained and known and all(check.outcome == "passed" for check in others)


def _accuracy(record: Record) -> Accuracy:
    assert record.accuracy is not None  # it counts
    return record.accuracy


def _costs(record: Record) -> tuple[int, int, int]:
    assert record.model is not None
    assert record.recipe is not None
    return record.model.parameters, record.recipe.epochs, record.model.macs


def _better(one: Record, other: Record) -> bool:
    """Tell whether a submission is the better one for certain."""
    (mean, error), (least, noise) = _mean(one), _mean(other)
    return least - mean > _APART * math.hypot(error, noise)


def _mean(record: Record) -> tuple[float, float]:
    """Return mean errors in 10,000 images, and their standard error."""
    accuracy = _accuracy(record)
    runs = [run for run in accuracy.runs if run.finished and run.errors is not None]
    errors = [run.errors for run in runs if run.errors is not None]
    scale = 10_000 / runs[0].tested
    mean = sum(errors) / len(errors)
    deviation, _ = likely_spread(errors, mean)
    return scale * mean, scale * deviation / math.sqrt(len(errors))


def _dominates(one: Place, other: Place) -> bool:
    left, right = (
        (-place.accuracy, place.parameters, place.epochs, place.macs) for place in (one, other)
    )
    return left != right and all(a <= b for a, b in zip(left, right, strict=True))
