"""The documentation as a site: the Markdown that is there, its start page the README.

`python -m sphinx -W -c docs . site` builds it.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# Who reads what. Readers of Markdown elsewhere see nothing of it: it is added when a site is built.
CONTENTS = {
    "README": {
        "Students": ["docs/students", "submissions/README"],
        "Instructors": ["docs/instructors", "docs/class", "docs/gradescope", "docs/cluster"],
        "Reference": [
            "docs/rubric", "docs/reports", "docs/record", "docs/supported", "docs/what-counts",
        ],
        "How it works": [
            "docs/how-it-works", "docs/reading-submissions", "docs/sandboxed", "docs/threat-model",
            "docs/performance",
        ],
        "The project": ["docs/decisions/README", "docs/experiments", "CONTRIBUTING", "CHANGELOG"],
    },
    "docs/decisions/README": {"Decisions": ["docs/decisions/0*"]},
}  # fmt: skip

project = "MNIST grader"
html_title = project
root_doc = "README"
extensions = ["myst_parser"]
include_patterns = ["*.md", "docs/**.md", "submissions/README.md"]
exclude_patterns = [".*"]  # a virtual environment, say
myst_heading_anchors = 3
highlight_language = "text"
html_theme = "furo"  # light and dark, for phones too, and loads nothing from elsewhere
html_copy_source = False
html_show_copyright = False
html_use_index = False
html_show_search_summary = False  # which asks for pages, and browsers refuse that without a server


def with_contents(_app: Sphinx, page: str, source: list[str]) -> None:
    """Append its tables of contents to a page, which the theme shows beside every page."""
    for caption, pages in CONTENTS.get(page, {}).items():
        entries = "\n".join(f"/{each}" for each in pages)
        options = f":hidden:\n:glob:\n:caption: {caption}"
        source[0] += f"\n\n```{{toctree}}\n{options}\n\n{entries}\n```\n"


def with_index(app: Sphinx, error: Exception | None) -> None:
    """Let a server, and whoever opens the folder, find the start page."""
    if not error and app.builder.name == "html":
        shutil.copyfile(app.outdir / "README.html", app.outdir / "index.html")


def setup(app: Sphinx) -> None:
    """Connect what is added to the Markdown."""
    app.connect("source-read", with_contents)
    app.connect("build-finished", with_index)
