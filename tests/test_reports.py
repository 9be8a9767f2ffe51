"""What a person sees: the summary, and the progress of a training."""

import contextlib
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from grader import rubric
from grader.events import AnyEvent, Diverged, Failed, Finished, Progress, Started, Taken
from grader.record import SetAside, accuracy_of
from grader.reports import class_table, progress, terminal
from tests.making import accuracy, check, epoch, facts, record, run

RUBRIC = rubric.load()


def summary(*errors: int, **more: object) -> str:
    """Render a record."""
    return terminal.render(record(*errors, **more), RUBRIC, width=120, verbosity=1)


def test_summary_shows_each_check_with_outcome_points_and_what_was_found() -> None:
    """A line of the summary says all of it in words; one that passed says what was expected."""
    text = summary(checks=[check(), check("failed", found="none")])

    assert "  passed       10/10  Dropout acts: Dropout drop; expected dropout" in text
    assert "  failed        0/10  Dropout acts: none\n" in text


def test_a_verdict_within_the_noise_says_so() -> None:
    """When the limit lies inside the interval of the accuracy, the summary says that."""
    assert "within this noise" in summary(62)
    assert "within this noise" not in summary(200)


def test_remarks_to_the_instructor_are_shown_as_such() -> None:
    """The summary is of whoever runs the grader."""
    assert "for the instructor: look at it" in summary(60, remarks=["look at it"])
    of_class = class_table.render([record(remarks=["look at it"])])
    assert "for the instructor: net.py: look at it" in of_class


def test_several_runs_are_summed_up() -> None:
    """Mean, deviation, interval, each run's errors and seed, passes, chance and p-value."""
    text = summary(50, accuracy=accuracy([90, 44], [80, 48], [70, 52]))

    assert "mean of 3 runs 99.520%, standard deviation 0.040, 95% interval 99.42 to 99.62%" in text
    assert "errors of each run (seed): 44 (1), 48 (2), 52 (3)" in text
    assert "passes: 3 of 3; the chance that one run passes is 97%" in text
    assert "if the true mean is 99.40%, a mean this high has p = 0.018" in text
    assert "errors of each run" not in summary(50)


def test_a_run_without_an_end_is_shown_as_one() -> None:
    """A run that was not finished stands in the list with what is known of it."""
    runs = [run(44), run(90, seed=2, finished=False), run(seed=3, finished=False)]
    text = summary(50, accuracy=accuracy_of(runs, "last", 99.4))

    assert "44 (1), 90, not finished (2), none known, not finished (3)" in text


def test_the_layers_and_the_recipe_are_shown_on_demand() -> None:
    """With -v they stand above the results, with -q not even notes do."""
    texts = [
        terminal.render(record(50, notes=["a note"]), RUBRIC, verbosity=verbosity)
        for verbosity in (-1, 0, 1)
    ]

    words = ("a note", "The network", "The recipe")

    assert [[word in text for word in words] for text in texts] == [
        [False, False, False], [True, False, False], [True, True, True],
    ]  # fmt: skip


def test_a_summary_fits_a_screen_of_80_columns() -> None:
    """Eight checks, one failure, the accuracy and the score: on one screen, no line too long."""
    checks = [check() for _ in range(7)]
    checks.append(check("failed", message="short", where="epoch 5", help="train for longer"))
    lines = terminal.render(record(62, checks=checks), RUBRIC, width=80).splitlines()

    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


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
        show(Started("cpu", 2, 2, 469, 7, {}), "")
        show(Progress(1, 10, 1280, 0.5, 0.1), "")
        show(epoch(1, 100), "")
        show(epoch(2, 60), "")
    return stream


def test_without_a_terminal_an_epoch_is_a_plain_line(lines: io.StringIO) -> None:
    """Redirected output gets one line an epoch with loss, rate, accuracy and time left."""
    text = lines.getvalue()

    assert "epoch  1/2  loss 0.1000  lr 0.01000  train 98.00%  test 99.00% (100 errors)" in text
    assert text.count("s left") == 2
    assert "\x1b" not in text


ONE, TWO = "run 1/2", "run 2/2"
EVENTS: list[tuple[AnyEvent, str]] = [
    (Started("cpu", 1, 2, 469, 7, {}), ONE), (Started("cpu", 1, 2, 469, 8, {}), TWO),
    (Progress(1, 10, 1280, 0.5, 0.1), TWO), (epoch(1, 100), TWO), (epoch(1, 90), ONE),
    (epoch(2, 60), ONE), (Diverged(2, 3, "nan"), TWO),
]  # fmt: skip


def test_the_lines_of_several_runs_say_whose_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal each line begins with its run, and a run that fails is told as well."""
    with progress.shown(2) as show:
        for event, number in EVENTS:
            show(event, number)
    lines = capsys.readouterr().out.splitlines()

    assert "run 2/2  training on cpu: 2 epochs of 469 steps, seed 8" in lines
    assert [line[:19] for line in lines[3:6]] == [f"run {n}/2  epoch  {e}/2" for n, e in
                                                  ((2, 1), (1, 1), (1, 2))]  # fmt: skip
    assert lines[-1] == "run 2/2  the training failed: the loss became nan"


def test_at_a_terminal_each_run_has_its_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars of both runs stand below the epochs that are finished; a run that fails loses its."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(progress, "Console", lambda **_: console)
    monkeypatch.setattr(progress, "_can_redraw", lambda _: True)
    with progress.shown(2) as show:
        for event, number in EVENTS[:3]:
            show(event, number)
        bars = show.progress.tasks  # type: ignore[attr-defined] # of the bars alone
        assert [bar.description[:10] for bar in bars] == ["run 1/2  t", "run 2/2  e"]
        assert [bar.completed for bar in bars] == [0, 10]
        for event, number in EVENTS[3:]:
            show(event, number)
        assert show.progress.tasks == []  # type: ignore[attr-defined]

    assert "run 1/2  epoch  2/2" in screen.getvalue()
    assert "run 2/2  the training failed: the loss became nan" in screen.getvalue()


CLASS: list[tuple[AnyEvent, str]] = [
    (Taken("today"), "kept"), (Started("cpu", 1, 2, 100, 7, {}), "kept"),
    (epoch(2, 70), "kept"), (Finished(1, 1.0, 1, "00"), "kept"),
    (Started("cpu", 1, 2, 100, 7, {}), "ada"),
    (Started("cpu", 1, 2, 100, 7, {}), "bob"), (Progress(1, 10, 1000, 0.5, 0.1), "ada"),
    (epoch(1, 100), "ada"), (Failed("it \x1b[2J crashed"), "bob"), (Failed("it crashed"), "bob"),
]  # fmt: skip


def test_a_class_has_a_line_for_each_training_that_is_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a terminal it tells how it ended, how many are in which state, and what is left."""
    with progress.shown(9, brief=True) as show:
        for event, name in CLASS:
            show(event, name)
    kept, bob = capsys.readouterr().out.strip().splitlines()

    assert kept == "[1/9] kept  99.30%  0 training, 8 waiting, 1 done"
    assert bob.startswith(r"[2/9] bob  the training failed: it \x1b[2J crashed  1 training, ")
    assert "6 waiting, 1 done, 1 failed  about 0 s left" in bob


def test_at_a_terminal_a_class_is_a_table_of_those_that_train(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A line for each within 80 columns, however long its name is; what is over stands above."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(progress, "Console", lambda **_: console)
    monkeypatch.setattr(progress, "_can_redraw", lambda _: True)
    with progress.shown(9, brief=True) as show:
        for event, name in [*CLASS, (Started("cpu", 1, 2, 100, 7, {}), "c" * 200)]:
            show(event, name)
        console.print(show._shown())  # type: ignore[attr-defined] # of the table alone
    lines = screen.getvalue().splitlines()

    assert "2 training, 5 waiting, 1 done, 1 failed" in screen.getvalue()
    assert max(len(line) for line in lines if "ccc" in line) == 80
    assert any(re.match(r"ada +2/2 +99.00% +━+", line) for line in lines)
    assert "[1/9] kept  99.30%" in screen.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"), [(7.4, "7 s"), (89.9, "90 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_what_is_left_is_said_in_words(seconds: float, words: str) -> None:
    """Seconds, minutes or hours, as many as one cares for."""
    assert progress._words(seconds) == words


def test_what_ends_a_training_cannot_steer_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Words of a submission's own loop are shown, not obeyed."""
    with progress.shown() as show:
        show(Failed("it raised \x1b[2J"), "")

    assert "\x1b" not in capsys.readouterr().out


def test_no_training_means_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing is trained, nothing is printed."""
    with progress.shown():
        pass

    assert capsys.readouterr().out == ""


def test_a_check_that_was_not_judged_says_why() -> None:
    """The summary gives the reason in place of what was found."""
    text = summary(checks=[check("not_judged", message="the process died", found="status 1")])

    assert "not judged    0/10  Dropout acts: the process died: status 1" in text


def test_a_difference_between_training_and_evaluation_is_shown_as_a_diff() -> None:
    """Each line that only one of the two graphs has stands on a line of its own, with its place."""
    lines = ["- relu(·) → 8×14×14  (net.py, line 9)", "+ tanh(·) → 8×14×14  (net.py, line 11)"]
    text = summary(model=facts(same_network=False, difference=lines))

    assert "(- only in training, + only in evaluation)" in text
    assert "\n  - relu(·) → 8×14×14  (net.py, line 9)\n  + tanh(·)" in text
    assert "only in training" not in summary()


def test_what_failed_and_the_score_stand_last() -> None:
    """Below the table stand what failed and what to try, then the accuracy, then the score."""
    failed = check("failed", found="none", message="forward uses no dropout", help="add nn.Dropout")
    shown = summary(50, checks=[failed], notes=["a note"], status="complete").splitlines()
    order = ["note: a note", "failed: Dropout acts: forward uses no dropout", "  expected: dropout"]
    order += ["  found:    none", "  try:      add nn.Dropout"]
    places = [shown.index(line) for line in order]

    assert places == sorted(places)
    assert shown[-3].startswith("accuracy: 99.50%")
    assert shown[-2].startswith("another seed: would pass with a chance of 91%")
    assert shown[-1].startswith("score: 0 of 100 points")


def test_points_are_told_of_what_was_judged() -> None:
    """Without all checks the score is of the points judged; the rest is not shown as lost."""
    checks = [check(), check("failed"), check("not_judged")]

    assert summary(checks=checks, status="partial", score=10.0).endswith(
        "score: 10 of 20 points judged; 80 not judged"
    )
    assert summary(checks=checks, status="complete", score=10.0).endswith(
        "score: 10 of 100 points; 80 of them could not be judged"
    )


def test_what_a_message_says_is_not_said_again() -> None:
    """Where message and finding are the same words, they are told once below the table."""
    same = check("failed", found="ValueError: x", message="ValueError: x")

    assert "  found:" not in summary(checks=[same])


def test_a_quick_look_does_not_claim_a_training() -> None:
    """At level sandboxed the loop has trained the network only where there was a training."""
    assert "loop trained the network" in summary(50, level="sandboxed")
    assert "this run did not train it" in summary(level="sandboxed")


@pytest.mark.parametrize("width", [40, 80, 100])
def test_details_are_broken_between_words(width: int) -> None:
    """Every word of a detail stands whole in a line, and no line is wider than the terminal."""
    told = "dropout (8×2×2): its result is not used for the output, nothing reads it " * 3
    text = terminal.render(
        record(checks=[check("failed", found="none", help=told)]), RUBRIC, width=width
    )

    assert all(len(line) <= width for line in text.splitlines())
    assert told.split() == text[text.index("try:") + 4 : text.index("score:")].split()


@pytest.mark.parametrize("environment", [{"FORCE_COLOR": "1"}, {"TERM": "dumb"}])
def test_nothing_moves_where_there_is_no_terminal(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Colours may be forced on a file, cursor movements may not; a dumb terminal has none."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    stream.isatty = lambda: "TERM" in environment  # type: ignore[method-assign]
    with contextlib.redirect_stdout(stream), progress.describing(), progress.shown() as show:
        for event, number in EVENTS[:2]:
            show(event, number)

    assert "\x1b" not in stream.getvalue()
    assert "describing" in stream.getvalue()
    assert "training on cpu" in stream.getvalue()
