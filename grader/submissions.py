"""Which submissions a command line names, each where it can be read."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from grader import scratch
from grader.errors import GraderFault
from grader.intake import Entry, Intake, Unpacker, gather
from grader.submission.files import check_path

INTAKE = pytest.StashKey[Intake]()
"""The submissions to grade; the key of a single one is empty."""


def named(config: pytest.Config) -> Intake:
    """Return the submissions that the options name; UsageError where nothing lies there."""
    single, many = config.getoption("submission") or [], config.getoption("submissions")
    roster = config.getoption("roster")
    try:
        if len(single) == 1 and many is None and roster is None:
            path = single[0].absolute()
            check_path(path)
            return Intake((Entry("", path),))
        return gather(single, many, roster)
    except GraderFault as fault:
        raise pytest.UsageError(str(fault)) from None


def unpacker(config: pytest.Config) -> Callable[[Entry], Path]:
    """Return what copies submissions out of archives, to a folder that is removed at the end."""
    opened = contextlib.ExitStack()
    config.add_cleanup(opened.close)
    below = Path(opened.enter_context(scratch.folder("grader-class-")))
    unpack, one_at_a_time = opened.enter_context(Unpacker(below)), threading.Lock()

    def unpacked(entry: Entry) -> Path:
        with one_at_a_time:
            return unpack(entry)

    return unpacked
