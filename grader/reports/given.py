"""What a format is given: see `grader.reports.registry`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from grader.answers import images_of_test
from grader.record import Person, Record
from grader.reports.gradebook import Gradebook, Remark
from grader.rubric import Rubric

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Graded:
    """A submission: its record, and the folder in which it, `plan.json` and the weights lie.

    Beyond the record nothing need be there: a submission may have failed before.
    """

    record: Record
    folder: Path

    @property
    def key(self) -> str:
        """What names it: its key in the class, or its own name."""
        return self.record.submission.called


@dataclass(frozen=True)
class Results:
    """A class, or one submission alone; `folder` is what `--out` named.

    `data_dir` is where the data set lies, None for its usual place. `gradebook` is the list of the
    class as a system exported it, None without `--roster`; its rows know whose submission is whose.
    `remarks` are on what of the results, or of the times, could not be used.
    """

    graded: tuple[Graded, ...]
    rubric: Rubric
    folder: Path
    data_dir: Path | None = None
    gradebook: Gradebook | None = None
    remarks: Sequence[Remark] = ()

    @cached_property
    def test_images(self) -> npt.NDArray[np.uint8]:
        """The images of the data set's test, [N, H, W] or [N, C, H, W], read once for all pages.

        Raises UsageFault where they cannot be read.
        """
        return images_of_test(self.rubric.data, self.data_dir)

    @property
    def missing(self) -> tuple[Person, ...]:
        """People on the list of the class of whom there is certainly no submission."""
        rows = self.gradebook.people if self.gradebook else ()
        return tuple(row.person for row in rows if not (row.graded or row.unsure))
