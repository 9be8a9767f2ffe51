"""What a notebook's saved output shows is compared with the plan; what is unclear says nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.plan.schema import Graph, Optimizer, Recipe, Schedule
from grader.submission import read_program
from grader.submission.program import Program, Witness
from grader.submission.witness import MAX_LINES, MAX_TEXT, Output, notes_on, witness_of
from tests.reading import write

BAR = "100%|██████████| 469/469 [00:17<00:00, 26.92it/s]"
TEST = "\nTest set: Average loss: 0.0267, Accuracy: {}/10000 (99%)\n\n"


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    """Make an output of a stream, in lines as Jupyter saves them."""
    return {"output_type": "stream", "name": name, "text": text.splitlines(keepends=True)}


def bars(steps: int, said: str = "") -> dict[str, Any]:
    """Make what tqdm writes in one pass, each state over the last."""
    states = [
        f"\r{said}{n}/{steps} [00:0{n % 9}<00:09, 26.9it/s]" for n in (0, 1, steps // 2, steps)
    ]
    return stream("".join(states) + "\n", "stderr")


def colab(steps: int, epochs: int, right: Sequence[int] = ()) -> list[dict[str, Any]]:
    """Make the outputs of a training whose epochs count from 0, with a bar for each."""
    found = []
    for epoch in range(epochs):
        found += [stream(f"EPOCH: {epoch}\n"), bars(steps, "Loss=0.03 Batch_id=1 Accuracy=98.9 ")]
        found += [stream(TEST.format(right[epoch]))] if right else []
    return found


def shown(folder: Path, *cells: list[dict[str, Any]], counts: Sequence[int] = ()) -> Program:
    """Read a notebook of which each cell left such outputs."""
    numbers = counts or range(1, len(cells) + 1)
    body = [
        {"cell_type": "code", "source": ["x = 1"], "outputs": outputs, "metadata": {},
         "execution_count": number}
        for outputs, number in zip(cells, numbers, strict=True)
    ]  # fmt: skip
    content = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": body}
    return read_program(write(folder, "net.ipynb", json.dumps(content)))


def planned(epochs: int, batch_size: int) -> Recipe:
    """Make a recipe of so many epochs."""
    sgd, loss = Optimizer("SGD", []), Graph([], [], "loss")
    return Recipe(epochs, batch_size, sgd, Schedule([[0.1]]), [], [], loss, drop_last=False)


def said(*lines: str) -> Witness | None:
    """Return what the lines of one cell tell."""
    return witness_of([Output("net.ipynb, cell 1", ["\n".join(lines)])])


def test_a_difference_from_the_plan_is_a_note(tmp_path: Path) -> None:
    """Steps and epochs of the notebook's bars stand beside the plan's, with the cell."""
    program = shown(tmp_path, [], colab(391, 14))
    assert notes_on(program, planned(20, 128), 60_000) == [
        "your notebook shows 391 steps an epoch and 14 epochs (net.ipynb, cell 2), "
        "this plan has 469 and 20"
    ]
    assert notes_on(program, planned(14, 128), 60_000) == [
        "your notebook shows 391 steps an epoch (net.ipynb, cell 2), this plan has 469"
    ]


def test_what_agrees_is_no_note_but_for_the_accuracy(tmp_path: Path) -> None:
    """The accuracy that it shows is told next to the one that is measured here."""
    program = shown(tmp_path, colab(469, 3, [9812, 9945, 9943]))
    assert notes_on(program, planned(3, 128), 60_000) == [
        "your notebook shows 99.43 % after its last epoch, and 99.45 % at its best "
        "(net.ipynb, cell 1)"
    ]


def test_a_chosen_network_or_recipe_is_not_the_notebooks(tmp_path: Path) -> None:
    """Nothing is said where a person asks for something else than the notebook trains."""
    program = shown(tmp_path, colab(469, 14))
    for chosen in ({"model": "Net1"}, {"recipe": "default"}):
        assert notes_on(msgspec.structs.replace(program, **chosen), planned(20, 128), 60_000) == []
    assert notes_on(msgspec.structs.replace(program, witness=None), planned(20, 128), 60_000) == []


EPOCHS = {
    "from 0": [f"EPOCH: {n}" for n in range(15)],
    "from 1": [f"Epoch {n} loss: 0.1 (12.5s per epoch)" for n in range(1, 16)],
    "of a total": [f"Epoch: {n}/15..\n" for n in range(1, 16)],
    "of a total, from 0": [f"Epoch {n}/14\n----------" for n in range(15)],
    "of a total that was not reached": [f"Epoch [{n}/15], Loss: 0.1" for n in range(1, 9)],
    "of three lines each": [
        f"Epoch {n}: {BAR}\nTraining Epoch {n}: loss 1\nTesting Epoch {n}: loss 1"
        for n in range(1, 16)
    ],
    "in lines within an epoch": [
        f"Train Epoch: {n} [{at}/60000 ({at // 600}%)]\tLoss: 0.1"
        for n in range(1, 16) for at in range(0, 60_000, 6_400)
    ],
    "with the best of them": [*(f"epoch={n}" for n in range(1, 16)), "Best accuracy at epoch 9"],
    "with a scheduler's own": [
        f"Epoch     {n + 1}: reducing learning rate of group 0 to 1.0e-02.\nEPOCH: {n}"
        for n in range(15)
    ],
    "of two trainings": [f"Epoch: {n:03d}" for n in [*range(1, 16), *range(1, 16)]],
}  # fmt: skip


@pytest.mark.parametrize("kind", EPOCHS)
def test_epochs_are_counted_however_they_are_written(kind: str) -> None:
    """All of these show trainings of 15 epochs."""
    told = said(*EPOCHS[kind])
    assert told is not None
    assert set(told.epochs) == {15}


UNCLEAR = {
    "every fifth": [f"Epoch {n}" for n in range(0, 20, 5)],
    "a later part": [f"Epoch {n}" for n in range(11, 21)],
    "trainings of several lengths": [f"Epoch {n}" for n in [*range(1, 5), *range(1, 9)]],
    "an end too soon": [f"Epoch {n}/19" for n in range(9)],
}


@pytest.mark.parametrize("kind", UNCLEAR)
def test_unclear_epochs_are_not_counted(kind: str) -> None:
    """What may be a part of a training tells no number of epochs."""
    told = said(*UNCLEAR[kind])
    assert told is not None
    assert told.epochs == []


def test_no_training_is_no_witness() -> None:
    """Downloads, a bar over files and a mention of an epoch are no training."""
    assert said("100%|████| 9912422/9912422 [00:00<00:00, 9.9B/s]", "0/469 [00:00<?, ?it/s]",
                "loaded the weights of epoch: 12", "Test accuracy: 99.1") is None  # fmt: skip
    assert said() is None


STEPS = {
    "tqdm": [f"loss=0.1 batch_id=468: {BAR}"] * 3,
    "tqdm with tests": [f"loss=0.1 batch_id=468: {BAR}", "test: 79/79 [00:01<00:00, 9it/s]"] * 3,
    "a bar that is begun again": ["0/469 [00:00<?, ?it/s]EPOCH: 1", f"loss=0.1: {BAR}"] * 3,
    "a bar of epochs around it": [
        line for n in range(1, 4) for line in (f"loss=0.1: {BAR}", f"\x1b[A {n}/3 [00:09<00:09]")
    ],
    "Keras": ["469/469 [==============================] - 12s 26ms/step - loss: 0.19"] * 3,
    "widgets": ["HBox(children=(FloatProgress(value=0.0, max=469.0), HTML(value='')))"] * 3,
}


@pytest.mark.parametrize("kind", STEPS)
def test_steps_are_those_of_the_training_s_bars(kind: str) -> None:
    """Bars of tests and of epochs are not taken for them."""
    told = said(*(f"{line}\nEpoch {n}" for n, line in enumerate(STEPS[kind])), "Epoch 99")
    assert told is not None
    assert told.steps == 469


def test_bars_that_cannot_be_told_apart_tell_no_steps() -> None:
    """Two kinds of bars, one of the tests, and nothing says which: no note."""
    told = said(*["469/469 [00:17<00:00]", "79/79 [00:01<00:00]", "Epoch 1", "Epoch 2"] * 2)
    assert told is not None
    assert (told.steps, told.bars) == (None, [79, 469])


def test_lightning_s_bars_are_not_taken_for_steps() -> None:
    """They count the batches of the validation as well."""
    told = said(*(f"Epoch {n}: 548/548 [00:09<00:00, loss=0.1, v_num=0]" for n in range(4)))
    assert told is not None
    assert (told.epochs, told.steps, told.bars) == ([4], None, [])


def test_lines_within_an_epoch_tell_what_the_batches_divide(tmp_path: Path) -> None:
    """Lines 640 images apart are of batches of 64, and of none of 100."""
    lines = [f"Train Epoch: {n} [{at}/60000 ({at // 600}%)]\tLoss: 0.1\n"
             for n in (1, 2) for at in range(0, 60_000, 640)]  # fmt: skip
    program = shown(tmp_path, [stream("".join(lines))])
    assert notes_on(program, planned(2, 64), 60_000) == []
    assert notes_on(program, planned(2, 100), 60_000) == [
        "your notebook shows lines 640 images apart (net.ipynb, cell 1), which this plan's "
        "batches of 100 do not divide"
    ]


ACCURACIES = {
    "Test set: Average loss: 0.0267, Accuracy: 9943/10000 (99%)": [99.43],
    "Train Accuracy: 59031/60000 (98.39%)": [],
    "Loss=0.03 Batch_id=468 Accuracy=98.92": [],
    "test_acc=99.41": [99.41],
    "train acc 98.1 | val loss 0.02 | val acc 99.2": [99.2],
    "Test accuracy: 0.9941": [99.41],
    "Test Accuracy of the model on the 10000 test images: 99.41 %": [99.41],
    "test loss 0.1, train acc 97.0": [],
    "Test Accuracy of     3: 99% (1001/1010)": [],
    "Test Accuracy (Overall): 99% (9901/10000)": [99.01],
    "Best test accuracy: 99.57": [],
}


@pytest.mark.parametrize("line", ACCURACIES)
def test_accuracies_on_test_images_are_read(line: str) -> None:
    """Those on training images, of one class or of another epoch are left alone."""
    told = said("Epoch 1", "Epoch 2", line)
    assert told is not None
    assert told.accuracies[:1] == pytest.approx(ACCURACIES[line])


def test_the_accuracy_may_stand_below_the_training(tmp_path: Path) -> None:
    """A cell after the training tests its network."""
    program = shown(tmp_path, colab(469, 3), [stream("Test accuracy: 99.1\n")])
    assert program.witness is not None
    assert program.witness.accuracies == [99.1, 99.1]


def test_the_last_training_counts(tmp_path: Path) -> None:
    """Of several in different cells it is the one that ran last, or it and those before it."""
    program = shown(tmp_path, colab(938, 5), colab(469, 4), colab(235, 3), counts=[3, 1, 2])
    assert program.witness is not None
    assert (program.witness.where, program.witness.steps) == ("net.ipynb, cell 1", 938)
    assert [notes_on(program, planned(n, 64), 60_000) for n in (5, 8, 12)] == [[], [], []]
    (note,) = notes_on(program, planned(4, 64), 60_000)
    assert "shows 5 epochs" in note


def test_a_training_that_an_error_ended_tells_no_epochs(tmp_path: Path) -> None:
    """Ctrl-C leaves fewer epochs than the file has, in that cell or an earlier one."""
    stopped = [*colab(469, 3), {"output_type": "error", "ename": "KeyboardInterrupt"}]
    assert notes_on(shown(tmp_path, stopped), planned(20, 128), 60_000) == []
    assert notes_on(shown(tmp_path, stopped, colab(469, 4)), planned(20, 128), 60_000) == []


def test_notebooks_of_format_3_are_witnesses_too(tmp_path: Path) -> None:
    """They keep all texts of outputs in one place."""
    outputs = [{"output_type": "stream", "text": f"Epoch {n}\n"} for n in (1, 2)]
    cell = {"cell_type": "code", "input": "x = 1", "prompt_number": 1, "outputs": outputs}
    content = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {},
        "worksheets": [{"cells": [cell]}],
    }
    witness = read_program(write(tmp_path, "net.ipynb", json.dumps(content))).witness
    assert witness is not None
    assert witness.epochs == [2]


@pytest.mark.parametrize("text", ["Epoch 1\nEpoch 2\n" + "x" * MAX_TEXT, "Epoch 1\n" * MAX_LINES])
def test_of_too_much_output_nothing_is_said(text: str) -> None:
    """Nobody reads a book of output."""
    assert witness_of([Output("net.ipynb, cell 1", [text, "Epoch 2\n"])]) is None


PIECE = st.sampled_from(
    ["Epoch ", "epoch: ", "1", "2/3", "469/469 [", "[640/60000 (1%)]", "test ", "acc", "=0.9", "\r",
     "\n", "\x1b[A", "loss=", "max=469", "%", " ", "9943/10000", "9" * 30, "\ud800", "best"]
)  # fmt: skip


TEXT = st.lists(st.one_of(PIECE, st.text(max_size=5)), max_size=60).map("".join)


@given(st.lists(TEXT, max_size=4))
def test_any_output_is_read(texts: list[str]) -> None:
    """Whatever stands there, what is told of it is short and fits into a record."""
    told = witness_of([Output("net.ipynb, cell 1", [text]) for text in texts])
    program = Program([], witness=told)
    notes = notes_on(program, planned(3, 128), 60_000)
    assert sum(map(len, notes)) < 1_000
    assert msgspec.json.decode(msgspec.json.encode(program), type=Program) == program
