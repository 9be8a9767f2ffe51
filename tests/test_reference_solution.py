"""The reference solution: the seed's network, and the log it prints when it is trained alone."""

from pathlib import Path

import pytest
import torch
from rich.console import Console
from rich.progress import Progress

from grader import pipeline
from grader.events import Progress as Step
from grader.events import Started
from grader.record import update
from grader.run import Run
from reference_solution import __main__ as program
from reference_solution.model import EPOCHS, Net, optimizer, scheduler
from tests.making import epoch, facts, trained


def test_network_is_the_seeds() -> None:
    """Six 3×3 convolutions 1→10→18→18→28→28→10 without bias, 18,962 parameters in all."""
    convolutions = [m for m in Net().modules() if isinstance(m, torch.nn.Conv2d)]
    widths = [(c.in_channels, c.out_channels) for c in convolutions]

    assert widths == [(1, 10), (10, 18), (18, 18), (18, 28), (28, 28), (28, 10)]
    assert all(c.kernel_size == (3, 3) and c.bias is None for c in convolutions)
    assert sum(p.numel() for p in Net().parameters()) == 18_962


def test_schedule_is_as_long_as_the_training() -> None:
    """The one-cycle schedule ends with the last step of the last epoch, near zero."""
    steps = 469
    sgd = optimizer(Net())
    cycle = scheduler(sgd, steps_per_epoch=steps, epochs=EPOCHS)
    rates = []
    for _ in range(steps * EPOCHS):
        rates += cycle.get_last_lr()
        sgd.step()
        cycle.step()

    assert rates[-1] < 1e-4
    assert rates.index(max(rates)) < len(rates) / 4


def log(capsys: pytest.CaptureFixture[str]) -> str:
    """Show a short training on a log."""
    with Progress(console=Console(width=100)) as progress:
        show = program.Log(progress)
        show(Started("cpu", 2, 2, 118, 7, {}))
        show(Step(1, 50, 25_600, 0.5, 0.1))
        show(epoch(1, 922))
    return capsys.readouterr().out


def test_log_lines_are_those_of_the_first_script(capsys: pytest.CaptureFixture[str]) -> None:
    """An epoch is logged with loss, batch, rate and accuracy, then the test set's result."""
    text = log(capsys)

    assert "Epoch=1 Loss=0.1000 Batch_id=117 LR=0.010000 Accuracy=98.00%" in text
    assert "Test set: Average loss: 0.0200, Accuracy: 9078/10000 (90.78%)" in text


@pytest.mark.parametrize(
    ("errors", "status", "line"),
    [
        (58, 0, "Target accuracy of 99.4% achieved!"),
        (61, 1, "Target accuracy of 99.4% not achieved."),
    ],
)
def test_the_target_is_announced_and_is_the_exit_status(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    errors: int,
    status: int,
    line: str,
) -> None:
    """58 errors at the last epoch achieve the target, 61 do not."""

    def describe(runs: list[Run], *_: object) -> None:
        runs[0].record = update(runs[0].record, model=facts())

    def train(runs: list[Run], *_: object) -> None:
        training, accuracy = trained(90, errors)
        runs[0].record = update(runs[0].record, training=training, accuracy=accuracy)

    monkeypatch.setattr(pipeline, "describe", describe)
    monkeypatch.setattr(pipeline, "train", train)
    monkeypatch.setattr("sys.argv", ["reference_solution", "--out", str(tmp_path)])
    result = program.main()
    text = capsys.readouterr().out

    assert result == status
    assert line in text
    assert "Total trainable parameters: 18,962" in text
    assert "Epochs used: 2 (< 20)" in text
