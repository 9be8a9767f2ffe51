"""The rubric file: read strictly, refused with line and reason."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import msgspec
import pytest

from grader import cli, rubric
from grader.checks import CHECKS, judge
from grader.errors import UsageFault
from tests import schemas
from tests.grading import REPO
from tests.making import record


def changed(tmp_path: Path, old: str, new: str) -> Path:
    """Write the default rubric with one piece replaced."""
    text = rubric.DEFAULT.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "rubric.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def test_default_rubric_holds_the_assignments_limits() -> None:
    """The default rubric asks for 99.40 % in fewer than 20,000 parameters and 20 epochs."""
    limits = rubric.load().limits

    assert (limits.accuracy, limits.parameters, limits.epochs) == (99.40, 20_000, 20)


def test_one_line_names_another_data_set(tmp_path: Path) -> None:
    """MNIST if there is none; a name that nobody knows is refused with those that there are."""
    line = 'dataset = "fashion-mnist"\n[limits]'

    assert rubric.load().data.name == "mnist"
    assert rubric.load(changed(tmp_path, "[limits]", line)).data.title == "Fashion-MNIST"
    with pytest.raises(UsageFault, match="refused") as caught:
        rubric.load(changed(tmp_path, "[limits]", line.replace("fashion", "passion")))
    assert "dataset: there is no data set" in caught.value.found
    assert "line 5" in caught.value.where
    assert '"fashion-mnist"' in caught.value.expected


def test_every_rubric_that_comes_with_the_grader_can_be_read() -> None:
    """The examples are held to what the default is."""
    paths = [*rubric.DEFAULT.parent.glob("*.toml")]

    assert {rubric.load(path).data.name for path in paths} == {"mnist", "fashion-mnist"}


def test_points_sum_to_a_hundred() -> None:
    """The default rubric gives 100 points in all."""
    assert rubric.load().max_score == 100


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("epochs = 20 ", 'epochs = "ten" ', "limits.epochs: Expected `int`, got `str`"),
        ("accuracy = 99.40", "accuracy = 994", "<= 100"),
        ("loads = 5", "loads = -5", ">= 0"),
        ("describe = 60 ", "describe = 0 ", "> 0"),
        ('judged_on = "last"', 'judged_on = "luckiest"', "luckiest"),
        ('judged_by = "mean"', 'judged_by = "median"', "median"),
        ("runs = 1 ", "runs = 0 ", ">= 1"),
        ("dropout = 10", "droput = 10", "points.droput: there is no such check"),
        ("epochs = 20 ", "epochs = 1 ", "limits.epochs: Expected `int` >= 2"),
        ("accuracy = 99.40", "accuracy = 0.994", "limits.accuracy: 0.994 per cent"),
        ("accuracy = 99.40", "accuracy = nan", "limits.accuracy: Expected `float` >= 0"),
        ("loads = 5", "loads = inf", "points.loads: "),
        ("loads = 5", "loads = true", "points.loads: Expected `float`, got `bool`"),
        ("train = 6_000", "train = 6_000.5", "megabytes.train: Expected `int`"),
    ],
)
def test_wrong_value_is_refused_with_its_line_and_reason(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    """A wrong value is named with the line it stands on, or its table's."""
    path = changed(tmp_path, old, new)
    with pytest.raises(UsageFault) as caught:
        rubric.load(path)

    assert reason in caught.value.found
    assert f"{path}, line " in caught.value.where


def test_default_rubric_gives_points_for_every_check() -> None:
    """The checks and the points of the default rubric have the same names."""
    assert set(rubric.load().points) == set(CHECKS)


@pytest.mark.parametrize("line", ["", "# dropout = 10", "dropout = 0", "dropout = 0.0"])
def test_a_check_without_points_is_switched_off(tmp_path: Path, line: str) -> None:
    """A line that is deleted, or says 0, leaves the check out of the judgement and the sum."""
    found = rubric.load(changed(tmp_path, "dropout = 10", line))

    assert "dropout" not in found.points
    assert found.max_score == 90
    assert {check.id for check in judge(record(), found)} == set(CHECKS) - {"dropout"}


def test_a_rubric_without_any_points_is_refused(tmp_path: Path) -> None:
    """Nothing could fail by it."""
    text = rubric.DEFAULT.read_text(encoding="utf-8")
    head, _, rest = text.partition("[points]")
    path = tmp_path / "rubric.toml"
    path.write_text(f"{head}[points]\nloads = 0\n{rest[rest.index('[seconds]') :]}")
    with pytest.raises(UsageFault, match="points: no check is worth any points"):
        rubric.load(path)


def test_an_accuracy_that_is_a_fraction_is_told_what_to_write(tmp_path: Path) -> None:
    """0.994 is surely meant as 99.4 per cent, and is not taken as less than one."""
    with pytest.raises(UsageFault, match=r"write accuracy = 99\.4$"):
        rubric.load(changed(tmp_path, "accuracy = 99.40", "accuracy = 0.994"))


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    """Windows editors write one in front of UTF-8."""
    path = tmp_path / "rubric.toml"
    path.write_bytes(b"\xef\xbb\xbf" + rubric.DEFAULT.read_bytes().replace(b"\n", b"\r\n"))

    assert rubric.load(path) == rubric.load()


def test_syntax_error_is_refused_with_its_line(tmp_path: Path) -> None:
    """TOML that cannot be parsed is refused with the line the parser gives."""
    with pytest.raises(UsageFault, match="line 7"):
        rubric.load(changed(tmp_path, "epochs = 20 ", "epochs 20 "))


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """A rubric that does not exist is a usage fault that names the path."""
    with pytest.raises(UsageFault, match=r"nowhere\.toml"):
        rubric.load(tmp_path / "nowhere.toml")


def test_a_field_left_out_is_named(tmp_path: Path) -> None:
    """A rubric without a bound is refused with the bound's name."""
    with pytest.raises(UsageFault, match=r"seconds\.run: is missing"):
        rubric.load(changed(tmp_path, "run = 7_200", "# run"))


def test_the_command_line_overrides_the_number_of_runs() -> None:
    """Without `--runs` the rubric says how often the network is trained."""
    limits = msgspec.structs.replace(rubric.load().limits, runs=3)

    assert (limits.runs_asked_for(None), limits.runs_asked_for(5)) == (3, 5)


def test_more_passes_than_runs_are_refused() -> None:
    """A rubric that asks for 4 of 5 runs cannot be judged on one, and the message says so."""
    limits = msgspec.structs.replace(rubric.load().limits, judged_by="passes", passes=4, runs=5)
    with pytest.raises(UsageFault, match="give --runs 4"):
        limits.runs_asked_for(1)

    assert limits.runs_asked_for(None) == 5


# Schemas and commands


def test_the_schema_for_editors_takes_what_the_grader_takes(tmp_path: Path) -> None:
    """Every rubric that comes with it, also with late rules; and refuses a check that is none."""
    late = "[late]\npoints_a_day = 10\ndeadline = 2026-12-01 18:00:00\nmost = 50\n"
    rubrics = [
        *rubric.DEFAULT.parent.glob("*.toml"),
        changed(tmp_path, "[points]", late + "[points]"),
    ]
    values = [tomllib.loads(path.read_text(encoding="utf-8")) for path in rubrics]
    for value in values:
        schemas.check(json.loads(json.dumps(value, default=str)), rubric.schema())
    values[0]["points"]["beauty"] = 10

    with pytest.raises(jsonschema.ValidationError):
        schemas.check(values[0], rubric.schema())


def test_late_rules_change_no_verdict(tmp_path: Path) -> None:
    """Records of both rubrics are of the same rules: nothing is graded again."""
    path = changed(tmp_path, "[points]", "[late]\npoints_a_day = 10\n[points]")

    assert rubric.load(path).late is not None
    assert rubric.sha256_of(rubric.load(path)) == rubric.sha256_of(rubric.load())


def test_a_new_rubric_is_the_default_one_with_a_schema(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`grade init` writes both, and never over what is there."""
    file = tmp_path / "mine.toml"
    assert cli.run(["init", str(file)]) == 0
    (schema,) = re.findall(r"^#:schema \./(\S+)$", file.read_text(encoding="utf-8"), re.M)

    assert rubric.load(file) == rubric.load()
    assert json.loads((tmp_path / schema).read_bytes()) == rubric.schema()
    assert cli.run(["init", str(file)]) == 4
    assert "is there already" in capsys.readouterr().err


def test_a_rubric_that_is_refused_is_not_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`grade check-rubric` says the line; exit status 4."""
    path = changed(tmp_path, "loads = 5", "loads = -5")

    assert cli.run(["check-rubric", str(path)]) == 4
    assert "points.loads" in capsys.readouterr().err


@pytest.mark.slow
def test_the_reference_solution_is_held_to_a_rubric(tmp_path: Path) -> None:
    """`grade check-rubric` says where it does not meet it, as the exit status does."""
    path = changed(tmp_path, "parameters = 20_000 ", "parameters = 10_000 ")
    ended = subprocess.run(
        [sys.executable, "-m", "grader.cli", "check-rubric", str(path)], cwd=REPO,
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "the reference solution does not meet this rubric of 100 points" in ended.stdout
