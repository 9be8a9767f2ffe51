"""Pages in a browser: they load nothing, fit every screen, sort, print, and can be read by all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import pytest

from grader import rubric as rubrics
from grader.plan.schema import Fact
from grader.record import RecipeSummary, SetAside
from grader.reporting import Wanted
from tests.making import check, facts
from tests.pages import answers, graded, layer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe-core-python is missing")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
NAMES = ["index.html", "anonymous.html", "ada/reports/report.html", "eve/reports/report.html"]
Scheme = Literal["light", "dark"]
LONG = "W" * 400
WIDTHS = (360, 800, 1600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the pages of a class, as a run does; names and texts are long."""
    out = tmp_path_factory.mktemp("class")
    class_ = [
        graded(out, "ada", answers(*((n, n % 10, (n + 1) % 10) for n in range(60)))),
        graded(out, "bob", answers((7, 3, 5), (9, 4, 9)), score=20.0, notes=["long" * 300]),
        graded(
            out, "eve", score=None, accuracy=None, training=None, notes=[LONG],
            model=facts(class_name=LONG, layers=[layer(LONG, "convolution", where=LONG)]),
            recipe=RecipeSummary(1, 1, [Fact(LONG, LONG, LONG)]), environment={LONG: LONG},
            set_aside=[SetAside(LONG, LONG, LONG)],
            checks=[check("failed", title=LONG[:60], found=LONG, where=LONG, help=LONG)],
        ),
    ]  # fmt: skip
    assert [*Wanted(("dashboard", "anonymous"), rubrics.load(), out).write(class_)]
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start one browser for all tests."""
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@contextmanager
def opened(
    browser: Browser, path: Path, scheme: Scheme = "light", *, scripts: bool = True
) -> Iterator[tuple[Page, list[str]]]:
    """Open a page; the list holds what the browser complained of, and what it asked others for."""
    context = browser.new_context(color_scheme=scheme, java_script_enabled=scripts)
    page, told = context.new_page(), list[str]()

    def asked(request: Request) -> None:
        if request.url != path.as_uri() and not request.url.startswith("data:"):
            told.append(request.url)

    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", asked)
    page.goto(path.as_uri())
    yield page, told
    context.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_page_fits_every_screen_and_asks_for_nothing(
    browser: Browser, folder: Path, name: str
) -> None:
    """No complaint, no request, nothing beside the edge from a phone to a wide screen."""
    with opened(browser, folder / name) as (page, told):
        beside = []
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            beside.append(page.evaluate("document.documentElement.scrollWidth"))

        assert told == []
        assert beside == list(WIDTHS)


@pytest.mark.parametrize("name", NAMES[::2])
def test_a_page_can_be_read_by_all(browser: Browser, folder: Path, name: str) -> None:
    """Of labels, order, keyboards and contrast, in both schemes, axe finds nothing amiss."""
    for scheme in get_args(Scheme):
        with opened(browser, folder / name, scheme) as (page, _):
            only = {"runOnly": ["color-contrast"]} if scheme == "dark" else None
            found = axe.Axe().run(page, options=only)["violations"]

            assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found] == []


def test_the_table_sorts_and_filters(browser: Browser, folder: Path) -> None:
    """By a click or a key on a heading, unknown values last; by words, and by outcome."""
    with opened(browser, folder / "index.html") as (page, told):
        names = page.locator("#class tbody tr:visible th a")
        heading = page.get_by_role("columnheader", name="Score")
        heading.get_by_role("button").click()
        most = names.all_inner_texts()
        heading.get_by_role("button").press("Enter")
        fewest = names.all_inner_texts()
        page.get_by_label("Find").fill("bob")
        found = names.all_inner_texts()
        page.get_by_label("Find").fill("")
        page.get_by_label("Show").select_option("none")

        assert (most, fewest) == (["ada", "bob", "eve"], ["bob", "ada", "eve"])
        assert heading.get_attribute("aria-sort") == "ascending"
        assert found == ["bob"]
        assert names.all_inner_texts() == ["eve"]
        assert page.get_by_role("status").inner_text() == "1 of 3 shown"
        assert told == []


def test_without_scripts_the_table_is_there(browser: Browser, folder: Path) -> None:
    """Whoever runs no scripts sees all submissions, and no tools that do nothing."""
    with opened(browser, folder / "index.html", scripts=False) as (page, _):
        assert page.locator("#class tbody tr").count() == 3
        assert not page.get_by_label("Find").is_visible()
        assert page.locator("#class button").count() == 0


def test_a_page_prints(browser: Browser, folder: Path) -> None:
    """As a PDF of a few pages, in light colours whatever the screen has."""
    with opened(browser, folder / NAMES[2], "dark") as (page, _):
        pdf = page.pdf(format="A4")
        page.emulate_media(media="print", color_scheme="dark")
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")

        assert pdf.startswith(b"%PDF")
        assert 2 <= pdf.count(b"/Type /Page\n") <= 12
        assert paper == "rgb(255, 255, 255)"
