"""The answering process: `python -I -m grader.training.answers DATASET [DATA_DIR]`.

It loads the data set, which is named by a `Dataset` as JSON, and then answers one question after
another: a JSON line for each JSON line on standard input, until that is closed. It runs rebuilt
graphs with the weights that a training of ours left, and nothing of a submission.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from grader import events
from grader.datasets import files
from grader.datasets.known import Dataset
from grader.datasets.mask import Mask
from grader.errors import SubmissionError
from grader.plan import schema
from grader.process import private_stdout
from grader.training.tuning import tune

if TYPE_CHECKING:
    import torch

_SOME = 512  # training images, for the comparison that every training begins with


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Paths of a plan and of weights for it, and the seed of the training that left them.

    `probabilities` says that the network's outputs are some; else they are logits, or logarithms.
    Under the `mask`, if there is one, it was trained, and is asked.
    """

    plan: str
    weights: str
    seed: int
    probabilities: bool
    mask: Mask | None = None


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answers, or why there are none."""

    answers: events.Answers | None = None
    why: str = ""


def main(arguments: list[str]) -> int:
    """Serve until there is nothing more to answer."""
    stream = private_stdout()
    tune()
    dataset = msgspec.json.decode(arguments[0], type=Dataset)
    data = files.load(dataset, Path(arguments[1]) if len(arguments) > 1 else None)
    for line in sys.stdin.buffer:
        reply = _reply(msgspec.json.decode(line, type=Question), data)
        stream.write(msgspec.json.encode(reply) + b"\n")
        stream.flush()
    return 0


def _reply(question: Question, data: files.Images) -> Reply:
    from safetensors.torch import load

    plan = msgspec.json.decode(Path(question.plan).read_bytes(), type=schema.Plan)
    state = load(Path(question.weights).read_bytes())
    try:
        found = answers(plan, state, data, question)
    except SubmissionError as error:
        return Reply(why=f"{error.message}: {error.found}")
    return Reply(found)


def answers(
    plan: schema.Plan, state: Mapping[str, torch.Tensor], data: files.Images, question: Question
) -> events.Answers:
    """Run all test images through the evaluation graph with the weights `state`, by their names.

    Wrong answers come in the order of how sure the network was of them, the surest first. Raises
    SubmissionError where the network cannot be run.
    """
    import torch

    scores, classes = _scores(plan, state, data, question), len(data.dataset.classes)
    known = scores.isfinite().all(1)
    scores = scores.nan_to_num()
    sure = scores if question.probabilities else torch.softmax(scores, 1)
    given = torch.where(known, scores.argmax(1), -1)
    labels = torch.from_numpy(data.test_labels.astype("int64"))
    columns = torch.where((given < 0) | (given >= classes), classes, given)
    counts = torch.bincount(labels * (classes + 1) + columns, minlength=classes * (classes + 1))
    wrong = []
    for number in torch.nonzero(given != labels).flatten().tolist():
        label, answer = int(labels[number]), int(given[number])
        chances = [round(float(sure[number, each]), 4) for each in (max(answer, 0), label)]
        wrong.append(events.Wrong(number, label, answer, *chances))
    wrong.sort(key=lambda each: (-each.sure, each.number))
    return events.Answers(len(labels), counts.view(classes, classes + 1).tolist(), wrong)


def _scores(
    plan: schema.Plan, state: Mapping[str, torch.Tensor], data: files.Images, question: Question
) -> torch.Tensor:
    """Return the scores [N, outputs] of all test images, classes in their usual order."""
    import torch

    from grader.training.loop import TEST_BATCH, Run

    images, labels = data.train_images[:_SOME], data.train_labels[:_SOME]
    few = replace(data, train_images=images, train_labels=labels).masked(question.mask)
    run = Run(plan, question.seed, few, lambda event: None)
    run.network.load(state)
    run.start(0)  # it settles by what the network is computed, as the training did
    run.network.eval()
    transforms = plan.recipe.test_transform
    with torch.no_grad():
        scores = torch.cat([
            run.network(run.prepared(some, transforms)).float().cpu()
            for some in torch.split(run.test_images, TEST_BATCH)
        ])  # fmt: skip
    if question.mask is None:
        return scores
    masked = question.mask.classes  # the column of class k is `masked[k]`
    return scores[:, [*masked, *range(len(masked), scores.shape[1])]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
