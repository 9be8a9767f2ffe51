"""Which submissions a command line names."""

from __future__ import annotations

import pytest

from grader.errors import GraderFault
from grader.intake import Entry, gather
from grader.submission.files import check_path

ENTRIES = pytest.StashKey[list[Entry]]()
"""The submissions to grade; the key of a single one is empty."""


def named(config: pytest.Config) -> list[Entry]:
    """Return the submissions that the options name; UsageError where nothing lies there."""
    single, many = config.getoption("submission") or [], config.getoption("submissions")
    try:
        if len(single) == 1 and many is None:
            path = single[0].absolute()
            check_path(path)
            return [Entry("", path)]
        return gather(single, many, config.getoption("roster")).entries
    except GraderFault as fault:
        raise pytest.UsageError(str(fault)) from None
