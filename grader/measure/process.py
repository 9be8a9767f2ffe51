"""The measuring process: `python -I -m grader.measure.process DATASET [DATA_DIR]`.

It loads PyTorch and some images of the data set, which is named by a `Dataset` as JSON, and then
answers one plan after another: a JSON line for each JSON line on standard input, until that is
closed. Whatever else would print there goes to standard error. It runs rebuilt graphs and nothing
of a submission, so what it says can be trusted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from grader.datasets import files
from grader.datasets.known import Dataset
from grader.errors import SubmissionError
from grader.measure.asking import Answer, Asked
from grader.process import private_stdout

if TYPE_CHECKING:
    from grader.datasets.files import Images


def main(arguments: list[str]) -> int:
    """Serve until there is nothing more to answer."""
    stream = private_stdout()
    from grader.measure.warming import small_plan
    from grader.training.tuning import tune

    tune()
    dataset = msgspec.json.decode(arguments[0], type=Dataset)
    data = files.some(dataset, Path(arguments[1]) if len(arguments) > 1 else None)
    _answer(Asked(small_plan(), step=True), data)
    for line in sys.stdin.buffer:
        asked = msgspec.json.decode(line, type=Asked)
        stream.write(msgspec.json.encode(_answer(asked, data)) + b"\n")
        stream.flush()
    return 0


def _answer(asked: Asked, data: Images) -> Answer:
    """Measure a plan and, where that is asked, take a step of its training."""
    from grader.measure.facts import measure
    from grader.measure.step import take_step

    facts = measure(asked.plan, data.train_images, asked.seed, data.dataset.train)
    try:
        if asked.step:
            take_step(asked.plan, data, facts.seed)
    except SubmissionError as error:
        return Answer(facts, error.message, error.expected, error.found, error.where, error.help)
    return Answer(facts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
