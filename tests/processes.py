"""Finds a grader's processes by what they run, whether they were started anew or forked."""

from __future__ import annotations

import contextlib

import psutil

from grader.forks import title


def runs(process: psutil.Process, module: str) -> bool:
    """Tell whether a process runs a module of the grader's; not if it has ended."""
    with contextlib.suppress(psutil.Error):
        return module in process.cmdline() or process.name() == title(module)
    return False


def running(process: psutil.Process, module: str) -> list[psutil.Process]:
    """Return the descendants of a process that run a module."""
    return [child for child in process.children(recursive=True) if runs(child, module)]
