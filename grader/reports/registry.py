"""The formats in which results are handed on: one module each, behind one small registry.

The module of a format has one function, `files`. It makes files of what is on disk, and runs
nothing of a submission:

    def files(graded: Graded, results: Results) -> Files    # where `per` is "submission"
    def files(results: Results) -> Files                    # where `per` is "class"

`grader.reports.given` says what it gets. Names in `Files` are relative, with `/` between folders.
Those of a submission are written below `graded.folder / "reports"`, which a new run of the
submission removes with its other results; those of a class below `results.folder`, where no key of
a submission has a dot in it. Each is written whole or not at all. No files at all means that there
is nothing that could honestly be said.

Records hold what students wrote: escape it for the format (HTML, Markdown, CSV). A format that is
given what it cannot use raises UsageFault; one of a class is also called before anything is graded,
with no submissions, so that nobody waits hours to be told.

This module imports nothing of the grader, because the command line's options are made of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Files = Mapping[str, bytes]
"""What a format makes: contents by relative names."""

FOLDER = "reports"
"""Where the files of a submission's formats lie, beside its record."""


@dataclass(frozen=True)
class Format:
    """A format: whether it is of each submission or of the class, its module, and what it is.

    `leads_to` names another one that it needs: its files have links to that one's.

    Modules are imported when they are asked for: some need packages that take long to load.
    """

    per: Literal["submission", "class"]
    module: str
    about: str
    leads_to: str = ""

    @property
    def files(self) -> Callable[..., Files]:
        """The function that makes the files, with the arguments that `per` says."""
        files: Callable[..., Files] = importlib.import_module(self.module).files
        return files


def _class(name: str, about: str, leads_to: str = "") -> Format:
    return Format("class", f"grader.reports.{name}", about, leads_to)


def _submission(name: str, about: str) -> Format:
    return Format("submission", f"grader.reports.{name}", about)


FORMATS: Mapping[str, Format] = {
    "html": _submission("html.report", "a page with all there is to know, for a browser"),
    "dashboard": _class("html.dashboard", "a page of the class, and the page of each", "html"),
    "anonymous": _class("html.anonymous", "the page of the class, without names"),
    "canvas": _class("canvas", "grades and feedback for Canvas; --roster is its gradebook"),
    "moodle": _class("moodle", "grades and feedback for Moodle; --roster is its worksheet"),
    "brightspace": _class("brightspace", "grades for Brightspace; --roster is its export"),
    "blackboard": _class("blackboard", "grades for Blackboard; --roster is its download"),
    "gradescope": _submission("gradescope", "results.json of a Gradescope autograder"),
    "prairielearn": _submission("prairielearn", "results.json of an external grader"),
    "classroom50": _submission("classroom50", "result.json of an autograder of Classroom 50"),
    "github": _submission("github", "a step summary and annotations for GitHub Actions"),
}
