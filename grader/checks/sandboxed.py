"""What the meter says against a training by the submission's own loop."""

from __future__ import annotations

from collections.abc import Iterator

from grader.record import Metered

MOST_WORK = 3.5
"""CPU time a training may take, as a multiple of a plain loop's: see docs/sandboxed.md."""
_BATCH = 0.003  # CPU seconds, for what a loop does with every batch, however small the network
_CHANCE = 0.6
"""Weights that know nothing make at least so large a share of errors; nine in ten are usual."""
_MANY = 0.1  # a share of errors so large that no exchange of weights by averaging explains it
_FEWER = 10  # times
_WORSE, _WITHIN = 1.5, 0.005
"""How many more errors other running statistics may make: times, and a share of all images."""


def suspicions(metered: Metered) -> Iterator[str]:
    """Say, with the numbers, what an honest training would not do."""
    handling = _BATCH * metered.batches / metered.samples if metered.samples else 0.0
    if metered.cpu_seconds > MOST_WORK * metered.plain_cpu_seconds + handling:
        yield (
            f"its training took {metered.cpu_seconds / metered.plain_cpu_seconds:.1f} times the "
            f"computing time of a plain loop ({1e3 * metered.cpu_seconds:.2f} ms an image instead "
            f"of {1e3 * metered.plain_cpu_seconds:.2f} ms; up to {MOST_WORK:g} times is usual): "
            "images may have been used more often than they were drawn"
        )
    if metered.untrained_errors < _CHANCE * metered.tested:
        yield (
            f"before its first step it made only {metered.untrained_errors:,} errors in "
            f"{metered.tested:,} test images: its weights were trained elsewhere"
        )
    for each in metered.replaced:
        if each.before > max(_MANY * metered.tested, _FEWER * each.after):
            yield (
                f"after the last step of epoch {each.epoch} its weights were exchanged: "
                f"{each.before:,} errors before, {each.after:,} after"
            )
    canary = metered.canary_errors
    if canary is not None and canary < _CHANCE * metered.tested:
        yield (
            f"trained on a few images with shuffled labels it made only {canary:,} errors in "
            f"{metered.tested:,} test images: what it knows was not learned from its images"
        )
    restated = metered.restated_errors
    given = metered.final_errors
    if restated is not None and restated > _WORSE * given + _WITHIN * metered.tested:
        yield (
            f"with running statistics worked out from training images it makes {restated:,} "
            f"errors in {metered.tested:,} test images, with those it sent {given:,}: what it sent "
            "are no statistics"
        )
