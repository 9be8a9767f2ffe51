"""Pages: what stands in them, and that nothing in a record can break out of them."""

import base64
import io
import re
from collections import Counter
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import Mock

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from grader import rubric as rubrics
from grader.answers import images_of_test
from grader.errors import UsageFault
from grader.plan.schema import Fact
from grader.record import Problem, RecipeSummary, Record, SetAside, Submission
from grader.reporting import Wanted
from grader.reports.given import Graded
from grader.reports.html import anonymous, dashboard, plots, report
from grader.reports.html.diagram import diagram
from grader.reports.html.pictures import picture
from grader.rubric import Late
from grader.similarity.findings import Findings, Group, Pair
from tests.making import check, facts, record
from tests.pages import LAYERS, answers, graded, layer, results

RUBRIC = rubrics.load()
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>\u202e{{ 7 * 7 }}\x1b[2J'


class Tags(HTMLParser):
    """Gathers tags with their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += f"{data} "


def shown(one: Record, folder: Path) -> str:
    """Render the report of a record that has nothing beside it."""
    made = Graded(one, folder)
    return report.files(made, results(folder, made))["report.html"].decode()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Render a report of a submission that was trained."""
    folder = tmp_path_factory.mktemp("one")
    made = graded(
        folder,
        "ada",
        answers((7, 3, 5), (9, 4, 9)),
        set_aside=[SetAside("!pip", "cell 1", "shell")],
    )
    return report.files(made, results(folder, made))["report.html"].decode()


def test_a_report_says_what_to_change_and_what_was_found(page: str) -> None:
    """Verdict, checks, figures against limits, epochs, recipe with places, what was set aside."""
    text = " ".join(Tags(page).text.split())

    for words in (
        "60 of 100", "Not passed yet", "1 of 3 checks failed: Test accuracy.",
        "90 wrong of 10,000; at most 60 for 99.40%", "18,962", "fewer than 20,000",
        "99.10%, 95% interval", "net.py, line 3", "!pip", "2 of 10,000 test images",
    ):  # fmt: skip
        assert words in text


def test_wrong_answers_are_shown_surest_first_with_their_images(page: str) -> None:
    """Each image is in the page, with what it shows, the answer, and how sure it was."""
    text = " ".join(Tags(page).text.split())
    images = [a for tag, a in Tags(page).tags if tag == "img"]

    assert [image["alt"] for image in images] == ["test image 7", "test image 9"]
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in images)
    assert "3 , said 5 99.0% sure 4 , said 9 98.0% sure" in text


def test_a_page_refers_to_nothing_outside_it(page: str) -> None:
    """Its policy forbids it, and there is nothing to load: only places in it, and images in it."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    places = [a.get(key) or "" for _, a in Tags(page).tags for key in ("src", "href") if key in a]

    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in page.replace(
        "&#39;", "'"
    )
    assert all(place.startswith(("#", "data:image/png;base64,")) for place in places)
    assert not re.search(r"url\((?!#)|@import|://", page)


def test_no_two_elements_have_one_id(page: str) -> None:
    """Also those of plots, which refer to their own parts by them."""
    ids = Counter(a["id"] for _, a in Tags(page).tags if "id" in a)

    assert [name for name, count in ids.items() if count > 1] == []


def test_a_page_is_made_of_whatever_a_record_has(tmp_path: Path) -> None:
    """A record that is only begun, and one of a submission that could not be read, have pages."""
    begun = Record(Submission("net.py", "net.py", ""), "MNIST", "", 100.0)
    problem = Problem("read", "error", "syntax error", where="net.py, line 1")
    failed = record(model=None, recipe=None, problem=problem, checks=[check("failed")])

    assert "the run has not ended" in shown(begun, tmp_path)
    assert "syntax error" in shown(failed, tmp_path)


def test_why_there_are_no_answers_is_told(tmp_path: Path) -> None:
    """Without weights the page says so, and shows no images."""
    made = graded(tmp_path, "ada")
    text = report.files(made, results(tmp_path, made))["report.html"].decode()

    assert "Not known: plan.json is no longer beside the record." in text


def test_a_verdict_is_told_by_its_kind(tmp_path: Path) -> None:
    """All passed, some failed, some not judged, none without a score: each has its own words."""
    for words, outcomes, more in (
        ("Passed Every check passed.", ["passed"], {}),
        ("Not passed yet 1 of 2 checks failed: Dropout acts.", ["failed", "not_judged"], {}),
        ("Not judged in full Not judged: Dropout acts.", ["passed", "not_judged"], {}),
        ("10 of 10 Not a whole verdict", ["passed"], {"status": "partial", "score": 10.0}),
        ("No score: the grader failed", ["not_judged"], {"score": None}),
    ):
        one = record(checks=[check(each) for each in outcomes], **({"status": "complete"} | more))

        assert words in " ".join(Tags(shown(one, tmp_path)).text.split())


def test_what_lateness_costs_is_told(tmp_path: Path) -> None:
    """The grade that is handed on stands beside the score where the rubric takes points off."""
    handed_in = Submission("net.py", "net.py", "", submitted="2026-01-02T12:00:00")
    one = record(submission=handed_in, checks=[check()], status="complete", score=90.0)
    late = Late(points_a_day=5, deadline=datetime(2026, 1, 1))
    made = Graded(one, tmp_path)
    class_ = replace(results(tmp_path, made), rubric=msgspec.structs.replace(RUBRIC, late=late))
    text = " ".join(Tags(report.render(made, class_).decode()).text.split())

    assert "Grade: 80 of 100 points; 2 days late: 10 points taken off." in text
    unknown = msgspec.structs.replace(handed_in, submitted="")
    made = Graded(msgspec.structs.replace(one, submission=unknown), tmp_path)
    assert b"Grade:" not in report.render(made, class_)  # that nobody knows when is the staff's


def hostile(text: str) -> Record:
    """Make a record in which a text stands wherever a submission has a say."""
    layers = [layer(text, "convolution", where=text, receptive_field=None)]
    return record(
        submission=Submission(text, text, "", key=text), notes=[text],
        set_aside=[SetAside(text, text, text)], model=facts(class_name=text, layers=layers),
        recipe=RecipeSummary(1, 1, [Fact("epochs", text, text)]), environment={text: text},
        checks=[check("failed", found=text, where=text, message=text, help=text)],
        problem=Problem("describe", "error", text, found=text),
    )  # fmt: skip


def test_text_of_a_submission_is_shown_and_never_obeyed(tmp_path: Path) -> None:
    """No tag, attribute, template or direction of writing comes out of a record."""
    page = shown(hostile(HOSTILE), tmp_path)
    tags = Tags(page)

    assert "<script>alert(1)</script>" in tags.text
    assert "{{ 7 * 7 }}" in tags.text
    assert not {"script", "img"} & {tag for tag, _ in tags.tags}
    assert not [name for _, a in tags.tags for name in a if name.startswith("on")]
    assert not {"\u202e", "\x1b"} & set(page)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(min_size=1))
def test_any_text_leaves_the_page_whole(text: str, tmp_path: Path) -> None:
    """Whatever stands in a record, the page has the same elements."""
    plain, page = (Tags(shown(hostile(each), tmp_path)) for each in ("plain", text))

    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]


def test_names_in_a_plot_are_words_alone() -> None:
    """What is no letter, digit or dot is not drawn, so that no name can look like markup."""
    drawn = plots.fields(['" onload="x', "$x^2$", "font-family: a", "块1"], [3, 5, 7, 9], 20, 28)

    assert not {"svg", "g", "path", "text", "use", "rect", "defs"} ^ {
        tag for tag, _ in Tags(drawn).tags if tag.lower() != "clippath"
    }
    assert "__onload__x" in Tags(drawn).text


def test_texts_without_end_are_cut(tmp_path: Path) -> None:
    """A page stays of a size that can be opened, whatever the submission holds."""
    page = shown(hostile("x" * 100_000), tmp_path)

    assert len(page) < 200_000
    assert "more characters" in page


def test_what_follows_a_layer_is_drawn_in_its_block() -> None:
    """Norm and activation belong to their convolution; where branches meet a block begins."""
    drawn = diagram(facts(layers=LAYERS), (1, 28, 28))

    assert [[la.name for la in block.layers] for block in drawn.blocks] == [
        ["stem", "norm", "relu"], ["conv"], ["sum"], ["lost"], ["pool"],
    ]  # fmt: skip
    assert [block.sources for block in drawn.blocks] == [[], [0], [0, 1], [2], [2]]
    assert [words for _, _, words in drawn.blocks[0].chips] == ["batch norm", "relu"]
    assert [edge.on_path for edge in drawn.edges].count(False) == 1


def test_a_network_of_thousands_of_layers_is_drawn_in_part() -> None:
    """The drawing ends after some, and says how many are left out."""
    layers = [layer("0", "convolution"), *(layer("n", "linear", n) for n in range(3000))]

    assert diagram(facts(layers=layers), (1, 28, 28)).left_out > 2000


@pytest.mark.parametrize("shape", [(28, 28), (3, 5, 7)])
def test_a_picture_holds_the_pixels(shape: tuple[int, ...]) -> None:
    """A PNG reader gets back what went in, grey or in colours."""
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    head, _, encoded = picture(pixels).partition(",")
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))

    assert head == "data:image/png;base64"
    assert (read == (pixels if pixels.ndim == 2 else pixels.transpose(1, 2, 0))).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the results of the class lie."""
    return tmp_path_factory.mktemp("class")


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[str, str]:
    """Render the pages of a class of three, with and without names."""
    class_ = [
        graded(folder, "ada", answers((7, 3, 5), (9, 4, 9))),
        graded(folder, "bob", answers((7, 3, 5), (8, 1, 2)), content_sha256="ada"),
        graded(folder, "eve", score=None, accuracy=None, training=None),
    ]
    made = Wanted(("dashboard", "anonymous"), RUBRIC, folder).write(class_)
    return {page.relative_to(folder).as_posix(): page.read_text(encoding="utf-8") for page in made}


def test_a_dashboard_links_to_reports_that_are_there(pages: dict[str, str]) -> None:
    """Every link of the table is a file beside it."""
    places = [a["href"] or "" for tag, a in Tags(pages["index.html"]).tags if tag == "a"]
    links = {place for place in places if not place.startswith("#")}

    assert links == {f"{key}/reports/report.html" for key in ("ada", "bob", "eve")}
    assert links == pages.keys() - {"index.html", "anonymous.html"}


def test_a_dashboard_tells_of_the_class(pages: dict[str, str]) -> None:
    """How many passed, what failed how often, which images are hard, whose work is alike."""
    text = " ".join(Tags(pages["index.html"]).text.split())

    for words in (
        "2 not passed yet", "1 without a score", "Test accuracy 3 failed",
        "3 , said 5 2 of 2", "The same network and recipe ada bob",
    ):  # fmt: skip
        assert words in text
    assert "4 , said 9" not in text


def test_nothing_tells_a_name_in_the_anonymous_dashboard(
    pages: dict[str, str], folder: Path
) -> None:
    """Neither names nor paths nor links, and no order of names; the figures are the same."""
    page = pages["anonymous.html"]
    names = re.findall(r'<th scope="row" data-value="(\w+)"', page)

    assert not re.search(r"\b(ada|bob|eve)(1|\b)|person|/home|\.py\b", page, re.I)
    assert str(folder) not in page
    assert all(re.fullmatch("[0-9a-f]{6}", name) for name in names)
    assert names == sorted(names)
    assert "99.10%" in page


def test_remarks_to_the_instructor_stand_in_the_dashboard(tmp_path: Path) -> None:
    """And not in the one that the class sees."""
    of = results(tmp_path, graded(tmp_path, "ada", remarks=["too good"]))

    assert b"too good" in dashboard.render(of)
    assert b"too good" not in dashboard.render(of, anonymous=True)


def test_a_dashboard_shows_what_was_compared(tmp_path: Path) -> None:
    """What `grade similar` wrote among the results is shown, with or without names; or refused."""
    pair = Pair("ada", "bob", 40, 0.75, 0.5)
    found = Findings([], [], [["ada", "bob", "gone"]], [Group(["ada", "bob"], [pair])], [])
    (tmp_path / "similar.json").write_bytes(msgspec.json.encode(found))
    class_ = results(tmp_path, graded(tmp_path, "ada"), graded(tmp_path, "bob"))
    text = " ".join(Tags(dashboard.render(class_).decode()).text.split())
    hidden = " ".join(Tags(dashboard.render(class_, anonymous=True).decode()).text.split())

    assert "The same network, with different recipes ada bob" in text
    assert "Code in common ada bob ada and bob: 75% and 50% of their own code" in text
    assert re.search(r"Code in common (\w{6} ){2}\w{6} and \w{6}: 75% and 50%", hidden)
    (tmp_path / "similar.json").write_text("{}")
    with pytest.raises(UsageFault, match="what the class shares"):
        dashboard.render(class_)


def test_two_submissions_of_one_name_have_a_pseudonym_each(tmp_path: Path) -> None:
    """As those that are graded without a class have."""
    one = Submission("net.py", "a/net.py", "1" * 64)
    class_ = results(
        tmp_path, graded(tmp_path, "a", submission=one),
        graded(tmp_path, "b", submission=msgspec.structs.replace(one, sha256="2" * 64)),
    )  # fmt: skip
    page = dashboard.render(class_, anonymous=True).decode()

    assert len({*re.findall(r'<th scope="row" data-value="(\w+)"', page)}) == 2


def test_a_folder_of_results_may_be_a_link(tmp_path: Path) -> None:
    """To anywhere: its page is written where it lies."""
    made = graded(tmp_path / "elsewhere", "ada")
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "ada").symlink_to(made.folder)
    linked = replace(made, folder=tmp_path / "class" / "ada")
    wanted = Wanted(("html", "dashboard"), RUBRIC, tmp_path / "class")
    written = [path.resolve() for path in wanted.write([linked])]

    page = tmp_path / "elsewhere" / "ada" / "reports" / "report.html"
    assert written.count(page) == 1
    assert page.exists()


def test_test_images_are_read_once_for_a_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many of its pages show them; a copy of the data set is some megabytes."""
    read = Mock(wraps=images_of_test)
    monkeypatch.setattr("grader.reports.given.images_of_test", read)
    class_ = [graded(tmp_path, key, answers((7, 3, 5))) for key in ("ada", "bob")]
    pages = [*Wanted(("dashboard",), RUBRIC, tmp_path).write(class_)]

    assert len(pages) == 3
    assert all("test image 7" in page.read_text(encoding="utf-8") for page in pages)
    assert read.call_count == 1


def test_a_script_runs_only_if_it_is_ours(pages: dict[str, str]) -> None:
    """The policy allows one script, by the hash of what stands in the page."""
    import hashlib

    (code,) = re.findall(r"<script>(.*?)</script>", pages["index.html"], re.S)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()

    assert f"script-src &#39;sha256-{digest}&#39;" in pages["index.html"]


def test_before_anything_is_graded_there_is_no_dashboard(tmp_path: Path) -> None:
    """With no submissions there are no files, and no fault."""
    assert dashboard.files(results(tmp_path)) == anonymous.files(results(tmp_path)) == {}
