"""`pytest grader` behaves as users of pytest expect."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from grader import record as records
from grader import rubric as rubrics
from grader.checks import CHECKS, REQUIREMENTS
from grader.request import Request
from grader.run import Run
from grader.session import Graded, longest_check
from tests.grading import EXAMPLES, grade
from tests.making import facts
from tests.reading import write

pytestmark = pytest.mark.slow

LAYERS = ("batch_normalization", "dropout", "global_average_pooling")
WITHOUT_TRAINING = "not test_accuracy"
GOOD = EXAMPLES / "too_short.py"  # all but the accuracy
BAD = EXAMPLES / "decorative.py"


def rubric(folder: Path, **changes: str) -> Path:
    """Write a rubric with some values changed."""
    text = (EXAMPLES.parent / "grader" / "rubrics" / "mnist.toml").read_text(encoding="utf-8")
    for key, value in changes.items():
        text, count = re.subn(rf"(?m)^{key} = [^\s#]+", f"{key} = {value}", text)
        assert count
    path = folder / "rubric.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_run_that_the_grader_failed_has_no_score(tmp_path: Path) -> None:
    """Points for the checks that were judged before do not stand beside its fault."""
    run = Run(Request(EXAMPLES / "too_short.py", tmp_path, rubrics.load()))
    run.record = replace(run.record, model=facts())
    dropout, count = (r for r in REQUIREMENTS if r.id in ("dropout", "parameter_count"))
    graded = Graded(run, [dropout, count])
    graded.begin()

    assert graded.judge(dropout).outcome == "passed"
    assert run.record.score is None  # until all are judged
    with pytest.raises(ZeroDivisionError), graded.noted(count):
        raise ZeroDivisionError
    graded.end()
    assert run.record.score is None


def test_the_longest_that_a_check_may_take_knows_how_many_train_at_once() -> None:
    """Four runs take as long as one on four cores, twice that with two; on a cluster who knows."""
    usual = rubrics.load()
    times = [longest_check(usual, 4, 3, jobs) / 3 for jobs in (4, 2, 3, 1, None)]
    one = usual.seconds.run

    assert [round((time - times[0]) / one) for time in times] == [0, 1, 1, 3, 3]
    assert longest_check(rubrics.by_evidence(usual), 4, 3, 4) == 3 * times[3]


def test_without_the_accuracy_nothing_is_trained(tmp_path: Path) -> None:
    """If no selected check needs training, nothing is trained, and the record is partial."""
    graded = grade(GOOD, tmp_path, "-k", WITHOUT_TRAINING)

    assert graded.status == 0, graded.output
    assert (graded.record.training, graded.record.status) == (None, "partial")
    assert "test_accuracy" not in graded.outcomes


def test_a_check_without_points_is_not_judged(tmp_path: Path) -> None:
    """What a rubric switches off is not in the table, and a run without it is complete."""
    path = rubric(tmp_path, dropout="0", test_accuracy="0")
    graded = grade(GOOD, tmp_path, f"--rubric={path}")

    assert graded.status == 0, graded.output
    assert set(CHECKS) - set(graded.outcomes) == {"dropout", "test_accuracy"}
    assert (graded.record.status, graded.record.max_score) == ("complete", 50)
    assert graded.record.training is None
    assert "Dropout " not in graded.output.partition("Results for")[2]


@pytest.mark.parametrize("options", [["--quick"], ["-m", "not trains"]], ids=["quick", "mark"])
def test_a_quick_look_judges_all_but_the_training(tmp_path: Path, options: list[str]) -> None:
    """`--quick`, like `-m "not trains"`, leaves out what needs a training and nothing else."""
    graded = grade(GOOD, tmp_path, *options)

    assert graded.status == 0, graded.output
    assert set(CHECKS) - set(graded.outcomes) == {"test_accuracy"}
    assert graded.record.training is None


def test_a_failure_says_expected_found_where_and_what_to_try(tmp_path: Path) -> None:
    """A failed check shows words, no traceback, and exits with 1."""
    graded = grade(BAD, tmp_path, "-k", "dropout or batch")

    assert graded.status == 1
    for word in ("expected:", "found:", "where:", "try:"):
        assert word in graded.output
    assert "Traceback" not in graded.output
    assert "judge(" not in graded.output


def test_x_stops_at_the_first_failure(tmp_path: Path) -> None:
    """`-x` ends the run at the first failed check; the record says that it is partial."""
    graded = grade(BAD, tmp_path, "-x")

    assert list(graded.outcomes.values()) == ["passed", "passed", "failed"]
    assert graded.record.status == "partial"


@pytest.mark.parametrize("plugin", ["cacheprovider", "timeout", "capture"])
def test_plugins_of_pytest_can_be_switched_off(tmp_path: Path, plugin: str) -> None:
    """The grader works without pytest's cache, its capture, or pytest-timeout."""
    graded = grade(write(tmp_path, "empty.py", ""), tmp_path / "out", "-p", f"no:{plugin}")

    assert graded.status == 1
    assert graded.outcomes["loads"] == "failed"


def test_junitxml_has_a_case_for_each_check(tmp_path: Path) -> None:
    """`--junitxml` writes pytest's own report."""
    graded = grade(GOOD, tmp_path, "-k", WITHOUT_TRAINING, f"--junitxml={tmp_path / 'j.xml'}")
    names = re.findall(r'<testcase [^>]*name="test_(\w+)"', (tmp_path / "j.xml").read_text())

    assert set(names) == set(graded.outcomes)


def test_collect_only_lists_the_checks_and_touches_nothing(tmp_path: Path) -> None:
    """`--collect-only` names all eight checks without reading the submission."""
    graded = grade(GOOD, tmp_path / "out", "--collect-only", "-q")

    assert graded.status == 0, graded.output
    assert len(re.findall(r"::test_\w+", graded.output)) == 8
    assert not (tmp_path / "out").exists()


def test_help_explains_the_options(tmp_path: Path) -> None:
    """`pytest grader --help` lists every option of the grader."""
    graded = grade(GOOD, tmp_path / "out", "--help")
    options = ("--submission", "--rubric", "--out", "--data-dir", "--model", "--recipe", "--quick")

    assert all(option in graded.output for option in options)


def test_verbose_and_quiet_change_only_what_is_shown(tmp_path: Path) -> None:
    """`-v` names each check, `-q` does not, and both give the same verdicts."""
    loud = grade(GOOD, tmp_path / "v", "-v", "-k", WITHOUT_TRAINING)
    quiet = grade(GOOD, tmp_path / "q", "-q", "-k", WITHOUT_TRAINING)

    assert "test_dropout PASSED" in loud.output
    assert "test_dropout" not in quiet.output
    assert loud.outcomes == quiet.outcomes


@pytest.mark.parametrize("kind", ["nothing", "empty", "link", "pipe"])
def test_a_path_that_leads_to_no_submission_is_a_usage_error(tmp_path: Path, kind: str) -> None:
    """A wrong path is nobody's failure: no check is judged and no record is written."""
    path = tmp_path / "mine.py"
    if kind == "link":
        path.symlink_to(GOOD)
    elif kind == "pipe":
        os.mkfifo(path)
    options = ("--submission=",) if kind == "empty" else ()
    graded = grade(path, tmp_path / "out", *options)

    assert graded.status == 4
    assert "Traceback" not in graded.output
    assert not (tmp_path / "out").exists()


def test_a_submission_without_code_fails_at_loads(tmp_path: Path) -> None:
    """An empty file is a failed check with words, and all others are not judged."""
    graded = grade(write(tmp_path, "empty.py", ""), tmp_path / "out")

    outcomes = graded.outcomes

    assert graded.status == 1
    assert outcomes.pop("loads") == "failed"
    assert set(outcomes.values()) == {"not_judged"}


def test_a_check_that_cannot_be_judged_is_no_pass(tmp_path: Path) -> None:
    """A run in which the only selected check is not judged does not exit with 0."""
    graded = grade(write(tmp_path, "empty.py", ""), tmp_path / "out", "-k", "dropout")

    assert graded.outcomes == {"dropout": "not_judged"}
    assert graded.status == 1


def test_a_wrong_rubric_is_a_usage_error(tmp_path: Path) -> None:
    """A refused rubric ends the run before anything happens, with line and reason."""
    path = rubric(tmp_path, epochs='"ten"')
    graded = grade(GOOD, tmp_path / "out", f"--rubric={path}")

    assert graded.status == 4
    assert "rubric.toml, line 7" in graded.output
    assert not (tmp_path / "out").exists()


def test_altered_data_is_a_usage_error(tmp_path: Path) -> None:
    """A data folder with a wrong file ends the run before anything happens."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(b"nothing")
    graded = grade(GOOD, tmp_path / "out", f"--data-dir={tmp_path}")

    assert graded.status == 4
    assert "train-images-idx3-ubyte" in graded.output


def test_a_folder_for_results_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    """`--out` on a file is refused before anything runs."""
    (tmp_path / "file").write_text("")
    graded = grade(GOOD, tmp_path / "file" / "out")

    assert graded.status == 4
    assert "--out" in graded.output


def children_left(folder: Path) -> list[str]:
    """List processes that still work on a plan in `folder`, after a moment to end in."""
    for _ in range(600):
        found = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"])]
        jobs = [" ".join(line) for line in found if line and "grader.training.worker" in line]
        mine = [line for line in jobs if str(folder) in _job(line)]
        if not mine:
            break
        time.sleep(0.1)
    return mine


def _job(command: str) -> str:
    """Read the job a worker was started with, if it is still there."""
    path = Path(command.rpartition(" ")[2])
    return path.read_text(encoding="utf-8") if path.exists() else ""


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_timeout_ends_the_children_and_the_record_is_written(tmp_path: Path, method: str) -> None:
    """When `--timeout` fires while a network trains, its process dies and finished work is kept.

    It is told in words, without stacks; what was not reached is in the table as not judged.
    """
    graded = grade(
        EXAMPLES / "just_within.py", tmp_path, "--timeout=25", f"--timeout-method={method}"
    )

    assert graded.status == pytest.ExitCode.INTERRUPTED
    assert graded.record.problem is not None
    assert graded.record.problem.fault == "stopped"
    assert graded.record.problem.message == "stopped by the time limit of 25 s"
    assert (graded.record.status, graded.record.score) == ("interrupted", None)
    assert graded.outcomes.keys() == set(CHECKS)
    assert graded.outcomes["test_accuracy"] == "not_judged"
    assert "stopped by the time limit of 25 s" in graded.output
    assert "Traceback" not in graded.output
    assert "Stack of" not in graded.output
    assert children_left(tmp_path) == []


@pytest.mark.parametrize(
    ("bounds", "name"),
    [({"epoch": "0.5"}, "epoch"), ({"run": "0.5"}, "run"), ({"train": "1"}, "memory")],
)
def test_a_bound_of_the_rubric_is_a_verdict(
    tmp_path: Path, bounds: dict[str, str], name: str
) -> None:
    """When a bound is reached the accuracy fails, and the message says which bound it was."""
    graded = grade(GOOD, tmp_path, f"--rubric={rubric(tmp_path, **bounds)}")
    check = next(c for c in graded.record.checks if c.id == "test_accuracy")

    assert check.outcome == "failed"
    assert f"the bound on the {name}" in check.message
    assert children_left(tmp_path) == []


def test_a_network_that_is_far_too_large_is_not_trained(tmp_path: Path) -> None:
    """Above `trained_parameters`, the accuracy is not judged and the message says why."""
    path = rubric(tmp_path, trained_parameters="1_000")
    graded = grade(GOOD, tmp_path, f"--rubric={path}")

    assert graded.outcomes["test_accuracy"] == "not_judged"
    assert graded.record.training is None
    assert graded.status == 1


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    """A loss that explodes fails the accuracy at the step it happens."""
    source = GOOD.read_text(encoding="utf-8") + (
        "\ndef loss(output, target):\n    return F.nll_loss(output.exp().exp().exp(), target)\n"
    )
    path = tmp_path / "wild.py"
    path.write_text(source, encoding="utf-8")
    graded = grade(path, tmp_path / "out")
    check = next(c for c in graded.record.checks if c.id == "test_accuracy")

    assert check.outcome == "failed"
    assert "the loss became" in check.message
    assert "epoch 1" in check.where


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM cannot be handled there")
def test_sigterm_ends_a_run_as_well_as_control_c(tmp_path: Path) -> None:
    """What a cluster sends at its time limit leaves a record of what is known, and no process."""
    program = str(Path(sys.executable).parent / "pytest")
    running = subprocess.Popen(
        [program, "grader", f"--submission={EXAMPLES / 'just_within.py'}", f"--out={tmp_path}"],
        cwd=EXAMPLES.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    path = tmp_path / "just_within.py" / "record.json"
    while running.poll() is None and not (path.exists() and records.load(path).blank):
        time.sleep(0.1)
    running.terminate()

    assert running.wait(300) == pytest.ExitCode.INTERRUPTED
    record = records.load(path)
    outcomes = {check.id: check.outcome for check in record.checks}
    assert (record.status, record.score) == ("interrupted", None)
    assert [outcomes.get(check) for check in LAYERS] == ["passed"] * 3
    assert outcomes.get("test_accuracy") != "passed"
    assert children_left(tmp_path) == []
