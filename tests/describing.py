"""Describes a Program in this process, as the box does: for facts that need no box of their own."""

from __future__ import annotations

import linecache
import sys
import warnings
from typing import Any

import msgspec

from grader.plan.assemble import request_defaults
from grader.plan.schema import Description
from grader.submission.program import Program
from tests.boxed import boxed


def described_here(program: Program, max_epochs: int = 19) -> Description:
    """Run a program's statements here and describe its model and recipe.

    Nothing of the box's protection holds, nor what it does to code that was written for a GPU.
    """
    job: dict[str, Any] = msgspec.to_builtins(program)
    finders, before, arguments = list(sys.meta_path), set(sys.modules), sys.argv[1:]
    sys.argv[1:] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old ways to write things
            answer = boxed("description").describe(
                job, request_defaults(max_epochs), boxed("explain").places(job)
            )
    finally:
        sys.meta_path[:] = finders
        sys.argv[1:] = arguments
        for name in {module.name for module in program.modules} - before:
            sys.modules.pop(name, None)
        linecache.clearcache()
    return msgspec.json.decode(msgspec.json.encode(answer), type=Description)
