"""What a person sees: the summary, and the progress of a training."""

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader import rubric
from grader.record import SetAside
from grader.reports import progress, terminal
from grader.training.events import Progress, Started
from tests.making import check, epoch, facts, record

RUBRIC = rubric.load()


def summary(*errors: int, **more: object) -> str:
    """Render a record."""
    return terminal.render(record(*errors, **more), RUBRIC, width=120)


def test_summary_shows_each_check_with_found_expected_and_points() -> None:
    """A row of the summary holds the mark, the title, both values and the points."""
    text = summary(checks=[check(), check("failed", found="none")])

    assert "✓ Dropout acts" in text
    assert "✗ Dropout acts" in text
    assert "0/10" in text


def test_a_verdict_within_the_noise_says_so() -> None:
    """When the limit lies inside the interval of the accuracy, the summary says that."""
    assert "within this noise" in summary(62)
    assert "within this noise" not in summary(200)


def test_what_was_not_run_is_counted_and_named() -> None:
    """The summary names some statements that were set aside, with their places."""
    aside = [SetAside("!pip install torchsummary", "cell 2, line 1", "a shell command")]

    assert "not run: 1 statement" in summary(set_aside=aside)
    assert "`!pip install torchsummary` (cell 2, line 1)" in summary(set_aside=aside)


@given(st.text(min_size=1))
def test_text_of_a_submission_cannot_steer_the_terminal(text: str) -> None:
    """Control characters of a submission are shown, not obeyed."""
    shown = summary(notes=[text], checks=[check(found=text)])

    assert all(c.isprintable() or c == "\n" for c in shown)


def test_colour_is_used_only_where_asked_for() -> None:
    """Without colour the summary holds no escape sequences; with it, it does."""
    with_checks = record(checks=[check()])

    assert "\x1b" not in terminal.render(with_checks, RUBRIC)
    assert "\x1b" in terminal.render(with_checks, RUBRIC, color=True)


@pytest.fixture
def lines() -> io.StringIO:
    """Give a stream that is no terminal, with a training shown on it."""
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream), progress.shown() as show:
        show(Started("cpu", 2, 2, 469, 7, {}))
        show(Progress(1, 10, 1280, 0.5, 0.1))
        show(epoch(1, 100))
        show(epoch(2, 60))
    return stream


def test_without_a_terminal_an_epoch_is_a_plain_line(lines: io.StringIO) -> None:
    """Redirected output gets one line an epoch with loss, rate, accuracy and time left."""
    text = lines.getvalue()

    assert "epoch  1/2  loss 0.1000  lr 0.01000  train 98.00%  test 99.00% (100 errors)" in text
    assert text.count("s left") == 2
    assert "\x1b" not in text


def test_no_training_means_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing is trained, nothing is printed."""
    with progress.shown():
        pass

    assert capsys.readouterr().out == ""


def test_a_check_that_was_not_judged_says_why() -> None:
    """The summary gives the reason in place of what was found."""
    text = summary(checks=[check("not_judged", message="the process died", found="status 1")])

    assert "– Dropout acts" in text
    assert "the process died: status 1" in text


def test_a_difference_between_training_and_evaluation_is_shown_as_a_diff() -> None:
    """Each line that only one of the two graphs has stands on a line of its own, with its place."""
    lines = ["- relu(·) → 8×14×14  (net.py, line 9)", "+ tanh(·) → 8×14×14  (net.py, line 11)"]
    text = summary(model=facts(same_network=False, difference=lines))

    assert "(- only in training, + only in evaluation)" in text
    assert "\n  - relu(·) → 8×14×14  (net.py, line 9)\n  + tanh(·)" in text
    assert "only in training" not in summary()
