"""The systems whose downloads are recognised: one module each, which reads their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from grader.intake.listing import Item
from grader.intake.systems import blackboard, brightspace, canvas, gradescope, moodle
from grader.intake.systems.label import Label

Labels = Callable[[Sequence[Item]], Mapping[str, Label]]
"""Returns what the names of a folder tell, by name, as far as they are the system's."""

SYSTEMS: Mapping[str, Labels] = {
    module.NAME: module.labels for module in (gradescope, moodle, blackboard, brightspace, canvas)
}


def recognise(items: Sequence[Item]) -> tuple[str, Mapping[str, Label]]:
    """Return the system whose names most of a folder has, and what they tell; or two empty ones.

    A folder decides as a whole: the end of a name is the student's, who could write anything
    there that another system writes at the beginning.
    """
    told = {name: labels(items) for name, labels in SYSTEMS.items()}
    name = max(told, key=lambda system: len(told[system]))
    return (name, told[name]) if 2 * len(told[name]) > len(items) else ("", {})
