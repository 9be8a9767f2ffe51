"""What other systems read: held to schemas, with whatever a student wrote in it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from grader import rubric as rubrics
from grader.errors import GraderFault, UsageFault
from grader.options import OPTIONS
from grader.record import Check, Problem, Record, Submission, save
from grader.reporting import Wanted, found
from grader.reports import markdown
from grader.reports.given import Graded, Results
from grader.reports.junit import properties
from grader.reports.registry import FORMATS, Files
from tests import schemas
from tests.grading import EXAMPLES, grade
from tests.making import check, record

NOT_JUDGED = {"score": None, "status": "complete", "problem": Problem("train", "grader", "no disk")}
RUNNER = {
    "CLASSROOM": "dl", "ASSIGNMENT": "mnist", "SUBMISSION_TAG": "submit/2026-12-01T10-00-00Z-abc",
    "COMMIT_URL": "https://example.org/c", "RELEASE_URL": "https://example.org/r",
    "OWNER": "ada", "ASSIGNMENT_TYPE": "team",
}  # fmt: skip


def graded(**more: Any) -> Record:
    """Return the record of a finished run: 60 errors, 90 points, dropout missing."""
    failed = check(
        "failed", message="no dropout", where="forward of class Net (net.py, line 9)",
        help="add nn.Dropout", found="none",
    )  # fmt: skip
    values = {"status": "complete", "score": 90.0, "checks": [check(), failed]}
    return record(60, **(values | more))


def made(name: str, of: Record) -> Files:
    """Return the files of a format of one submission."""
    one = Graded(of, Path("grades/net.py"))
    return FORMATS[name].files(one, Results((one,), rubrics.load(), Path("grades")))


def decoded(name: str, of: Record) -> Any:
    """Return the JSON of a format."""
    (data,) = [data for path, data in made(name, of).items() if path.endswith(".json")]
    return msgspec.json.decode(data)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the environment of Classroom 50's runner."""
    for name, value in RUNNER.items():
        monkeypatch.setenv(name, value)


# Gradescope


def test_gradescope_gets_score_tests_and_leaderboard() -> None:
    """Each check is a test with its points, its status, and what to do."""
    result = decoded("gradescope", graded())

    schemas.check(result, schemas.GRADESCOPE)
    assert result["score"] == 90
    assert [test["status"] for test in result["tests"]] == ["passed", "failed"]
    assert "try: add nn.Dropout" in result["tests"][1]["output"]
    assert {row["name"]: row["value"] for row in result["leaderboard"]} == {
        "Accuracy": 99.4, "Parameters": 18_962,
    }  # fmt: skip


@pytest.mark.parametrize("status", ["running", "interrupted"])
def test_a_run_that_did_not_end_is_no_file_for_gradescope(status: str) -> None:
    """The score so far is a zero that nobody has earned."""
    assert made("gradescope", graded(status=status)) == {}


@pytest.mark.parametrize("name", ["gradescope", "prairielearn", "classroom50", "github", "html"])
@pytest.mark.usefixtures("runner")
def test_remarks_to_the_instructor_are_not_told_to_students(name: str) -> None:
    """A note is, so that the test would see it."""
    told = b"".join(made(name, graded(notes=["a-note"], remarks=["a-remark"])).values())

    assert re.search(rb"a\W*note", told)
    assert not re.search(rb"a\W*remark", told)


def test_a_fault_of_the_grader_is_no_file_for_gradescope() -> None:
    """So that Gradescope shows a failed autograder, and no zero."""
    assert made("gradescope", graded(**NOT_JUDGED)) == {}


# PrairieLearn


def test_prairielearn_gets_a_share_of_the_points() -> None:
    """A score from 0 to 1."""
    result = decoded("prairielearn", graded())

    schemas.check(result, schemas.PRAIRIELEARN)
    assert result["score"] == 0.9


@pytest.mark.parametrize("more", [NOT_JUDGED, {"status": "partial"}], ids=["fault", "partial"])
def test_what_was_not_judged_is_not_gradable(more: dict[str, Any]) -> None:
    """And costs no attempt; the file says why."""
    result = decoded("prairielearn", graded(**more))

    schemas.check(result, schemas.PRAIRIELEARN)
    assert result["gradable"] is False
    assert "not graded" in result["format_errors"][0]


# Classroom 50


@pytest.mark.usefixtures("runner")
@pytest.mark.parametrize(
    ("points", "score", "most"), [(10.0, 10, 20), (2.505, 250, 1250), (4.35, 435, 1435)], ids=str
)
def test_classroom50_gets_whole_numbers(points: float, score: int, most: int) -> None:
    """In hundredths where points are not; never more than the most."""
    checks = [check(points=points, max_points=points or 10), check("failed", max_points=10)]
    result = decoded("classroom50", graded(checks=checks))

    schemas.check(result, schemas.CLASSROOM50)
    assert (result["score"], result["max-score"]) == (score, most)
    assert result["submission"] == RUNNER["SUBMISSION_TAG"]


@pytest.mark.usefixtures("runner")
def test_a_release_of_classroom50_has_a_short_text() -> None:
    """The runner would cut it at 2,000 characters."""
    text = made("classroom50", graded(notes=["x" * 500] * 9))["classroom50/release-body.md"]

    assert len(text.decode()) <= 2_000
    assert "no dropout" in text.decode()


@pytest.mark.usefixtures("runner")
def test_a_fault_of_the_grader_is_no_file_for_classroom50() -> None:
    """Its runner then tells of an error of the infrastructure."""
    assert made("classroom50", graded(**NOT_JUDGED)) == {}


def test_outside_its_runner_there_is_nothing_to_say_to_classroom50(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message names what is missing."""
    for name in RUNNER:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageFault, match="which push") as error:
        made("classroom50", graded())

    assert "COMMIT_URL" in error.value.found


# GitHub


def test_annotations_stand_at_lines_of_the_submission(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to the repository, where a submission has another name than its file, too."""
    monkeypatch.setenv("GITHUB_WORKSPACE", "/home/runner/repo")
    folder = Submission("hw", "/home/runner/repo/hw", "")
    file = Submission("net.py", "/home/runner/repo/hw/net.py", "")
    lines = [
        made("github", graded(submission=of))["github/annotations.txt"].decode()
        for of in (folder, file)
    ]

    assert lines[0] == lines[1]
    assert lines[0].startswith("::error file=hw/net.py,line=9,title=Dropout acts::no dropout%0A")
    assert lines[0].count("\n") == 1


@pytest.mark.parametrize(
    ("where", "at"),
    [("forward of class Net (my net (1).py, line 9)", "file=hw/my net (1).py,line=9,"),
     ("my net.ipynb, cell 3, line 4", "file=hw/my net.ipynb,"),
     ("class Net (a/net.ipynb, cell 3, line 4)", "file=hw/a/net.ipynb,"),
     ("v1.2/net.py, line 3; net.py, line 5", "file=hw/v1.2/net.py,line=3,"), ("the model", "")],
    ids=str,
)  # fmt: skip
def test_annotations_name_notebooks_and_names_with_blanks(
    monkeypatch: pytest.MonkeyPatch, where: str, at: str
) -> None:
    """A line of a cell is none of the notebook's file."""
    monkeypatch.setenv("GITHUB_WORKSPACE", "/repo")
    one = graded(submission=Submission("hw", "/repo/hw", ""), checks=[check("failed", where=where)])
    text = made("github", one)["github/annotations.txt"].decode()

    assert text.startswith(f"::error {at}title=Dropout acts::")


def test_a_run_without_a_verdict_is_a_warning() -> None:
    """Not an error of the student's."""
    text = made("github", graded(**NOT_JUDGED | {"checks": []}))["github/annotations.txt"].decode()

    assert text == "::warning title=No verdict::the grader failed\n"


def test_a_summary_is_never_dropped_for_its_size() -> None:
    """It ends at a line below 1,024 KiB, and says so."""
    text = made("github", graded(notes=["—" * 9_000] * 100))["github/summary.md"]

    assert len(text) < 1024 * 1024
    assert "cut here" in text.decode()


@given(st.text())
def test_nothing_a_student_writes_is_a_command(text: str) -> None:
    """A line of annotations is one command of ours, whatever stands in it."""
    failed = check("failed", message=text, where=f"{text}, line 3", title="Dropout")
    lines = made("github", graded(checks=[failed]))["github/annotations.txt"].decode()

    assert lines.count("\n") == 1
    assert len(re.findall(r"::(error|warning)|::", lines)) == 2
    assert re.fullmatch(r"::error [^:]*::[^\r\n]*\n", lines)


@given(st.text(alphabet=st.characters(codec="ascii")))
def test_nothing_a_student_writes_is_markup(text: str) -> None:
    """Every sign that Markdown or HTML could take for its own is escaped, and nobody mentioned."""
    shown = markdown.plain(text)

    signs = re.escape("\\`*_{}[]()<>#+-.!|~&:@$")
    assert re.fullmatch(rf"(?:\\[{signs}]\u200b?|[^{signs}])*", shown)
    assert not re.search(r"@\w", shown)
    assert re.sub(r"\\(.)", r"\1", shown.replace("\u200b", "")) == text


# Of every format


@settings(max_examples=25)
@given(st.text())
def test_every_format_holds_any_text(text: str) -> None:
    """The schemas hold, and nothing is invisible or a second line, whatever a student writes."""
    wild = graded(
        notes=[text], checks=[check("failed", message=text, found=text, help=text, where=text)],
        submission=Submission(text, text, ""), problem=Problem("read", "error", text),
    )  # fmt: skip
    schemas.check(decoded("gradescope", wild), schemas.GRADESCOPE)
    schemas.check(decoded("prairielearn", wild), schemas.PRAIRIELEARN)
    assert "\x1b" not in made("github", wild)["github/summary.md"].decode()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_a_module_that_makes_files(name: str) -> None:
    """And `--help` says what it is."""
    report = next(option for option in OPTIONS if option.name == "--report")

    assert callable(FORMATS[name].files)
    assert f"{name}: {FORMATS[name].about}" in report.arguments["help"]


def test_where_there_are_no_records_there_is_nothing_to_report(tmp_path: Path) -> None:
    """The message names the folder."""
    with pytest.raises(UsageFault, match="there are no results") as error:
        found(tmp_path)
    assert error.value.where == str(tmp_path)


def test_a_damaged_record_does_not_stop_the_report_of_a_class(tmp_path: Path) -> None:
    """It is in the remarks; where none can be read, there is nothing to report."""
    for key in ("ada", "bob"):
        (tmp_path / key).mkdir()
    (tmp_path / "ada" / "record.json").write_bytes(b"{")
    with pytest.raises(GraderFault, match="cannot be read"):
        found(tmp_path)
    save(graded(), tmp_path / "bob")
    made, remarks = found(tmp_path)

    assert [each.folder.name for each in made] == ["bob"]
    assert [(key, why.partition(":")[0]) for _, key, why in remarks] == [
        ("ada", "the record cannot be read")
    ]


def test_reports_of_a_submission_lie_beside_its_record(tmp_path: Path) -> None:
    """Those that say nothing leave no file."""
    one = Graded(graded(), tmp_path / "net.py")
    none = Graded(graded(**NOT_JUDGED), tmp_path / "other.py")
    written = [*Wanted(("gradescope",), rubrics.load(), tmp_path).write([one, none])]

    assert written == [tmp_path / "net.py/reports/gradescope/results.json"]
    assert written[0].exists()


# JUnit


def test_a_case_has_its_points_and_what_it_is_about() -> None:
    """Accuracy, parameters and epochs stand with the checks that judge them."""
    about = {
        name: dict(properties(replace(check(), id=name), graded()))
        for name in ("test_accuracy", "parameter_count", "epoch_budget", "dropout")
    }

    assert about["test_accuracy"] == {"points": 10, "max_points": 10, "accuracy": 99.4}
    assert about["parameter_count"]["parameters"] == 18_962
    assert about["epoch_budget"]["epochs"] == 12
    assert set(about["dropout"]) == {"points", "max_points"}
    assert set(dict(properties(_accuracy(), record()))) == {"points", "max_points"}


def _accuracy() -> Check:
    return replace(check("not_judged"), id="test_accuracy")


@pytest.mark.slow
def test_a_run_writes_reports_and_a_junit_file(tmp_path: Path) -> None:
    """Both in the same command; the XML is as its schema says, and the new record is reported."""
    file = tmp_path / "junit.xml"
    ended = grade(
        EXAMPLES / "too_short.py", tmp_path / "out", "--quick", f"--junitxml={file}",
        "--report=gradescope", "--report=github",
    )  # fmt: skip
    text = file.read_text(encoding="utf-8")
    schemas.check_xml(text, schemas.JUNIT)
    names = {each.get("name") for each in ET.fromstring(text).iter("property")}
    reports = {str(path.relative_to(ended.folder)) for path in ended.folder.rglob("reports/*/*")}

    assert {"points", "max_points", "parameters", "epochs"} <= names
    assert reports == {
        "reports/gradescope/results.json", "reports/github/summary.md",
        "reports/github/annotations.txt",
    }  # fmt: skip
    assert "report: " in ended.output
