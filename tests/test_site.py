"""The documentation as a site: every page has its place, and none loads anything from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.grading import REPO
from tests.test_docs import PAGES

pytestmark = pytest.mark.slow
LOADED = re.compile(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//")  # by a style


class Loads(HTMLParser):
    """Collects what a page makes a browser load; links that a reader may follow are none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {"src", "srcset", "poster", "data", *(("href",) if tag == "link" else ())}
        self.addresses += [value for name, value in attrs if name in names and value]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as CONTRIBUTING.md says, into another folder: a warning is an error."""
    command = "python -m sphinx -W -c docs . site"
    assert f".venv/bin/{command} " in (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
    out = tmp_path_factory.mktemp("site")
    words = [sys.executable, *command.split()[1:-1], str(out)]
    ended = subprocess.run(words, cwd=REPO, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return out


def test_every_page_of_the_documentation_is_in_the_site(site: Path) -> None:
    """And so in its table of contents, which Sphinx would warn of; it starts with the README."""
    expected = [page.relative_to(REPO).with_suffix(".html") for page in PAGES]

    assert [str(page) for page in expected if not (site / page).exists()] == []
    assert (site / "index.html").read_bytes() == (site / "README.html").read_bytes()


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    """No script, style, font or image has an address on another machine."""
    loads = Loads()
    for page in site.rglob("*.html"):
        loads.feed(page.read_text(encoding="utf-8"))
    styles = [style for style in site.rglob("*.css") if LOADED.search(style.read_text("utf-8"))]

    assert any("furo.css" in address for address in loads.addresses)
    assert [each for each in loads.addresses if re.match(r"(?:https?:)?//", each)] == []
    assert styles == []
