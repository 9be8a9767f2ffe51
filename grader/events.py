"""What a training says while it runs: one JSON object a line on the worker's standard output."""

from __future__ import annotations

import msgspec

from grader.errors import Fault


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="event"):
    """Base of all events."""


class Started(Event, frozen=True, tag="started"):
    """Data and network are ready; the first step comes next.

    `remarks` are for the record: what was found out before.
    """

    device: str
    threads: int
    epochs: int
    steps_per_epoch: int
    seed: int
    versions: dict[str, str]
    remarks: list[str] = []


class Taken(Event, frozen=True, tag="taken"):
    """What follows was told by a training that is over already, and was kept.

    `trained` is when it ended (ISO 8601, UTC).
    """

    trained: str


class Progress(Event, frozen=True, tag="progress"):
    """Somewhere inside an epoch, at most a few times a second."""

    epoch: int  # counted from 1
    step: int  # steps done in this epoch
    samples: int  # samples drawn since the start of the run
    loss: float | None  # mean over this epoch so far
    lr: float | None  # of the first parameter group


class EpochDone(Event, frozen=True, tag="epoch_done"):
    """An epoch and its test pass are over.

    `train_accuracy` is a fraction, measured on the augmented samples as they were trained on;
    `test_errors` counts wrong answers in the whole test set; `seconds` holds training and test.
    Where the submission's own loop trains, loss and accuracy are measured after the epoch, on
    some training images, and `lr` is not known.
    """

    epoch: int
    samples: int
    train_loss: float
    train_accuracy: float
    test_loss: float | None  # None when it is not a finite number
    test_errors: int
    test_samples: int
    lr: float | None
    seconds: float


class Blank(Event, frozen=True, tag="blank"):
    """What the network knew before it was trained: right answers to `asked` test images.

    An answer is right if most images that get it show the same digit as this one, whatever the
    network calls it; one in ten is chance. `untrained` is as initialised, `still` after a few steps
    with a learning rate of zero, `shuffled` after a short training on labels that mean nothing.
    """

    asked: int
    untrained: int
    still: int
    shuffled: int


class Recalled(Event, frozen=True, tag="recalled"):
    """Wrong answers to `asked` training images, prepared as in testing, after the last epoch."""

    asked: int
    errors: int


class Replaced(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Weights that changed after the last step of an epoch: test errors before and after."""

    epoch: int
    before: int
    after: int


class Metered(Event, frozen=True, tag="metered"):
    """What was measured while the submission's own loop trained, for the checks to judge.

    `samples` were handed out, in `batches`. `past_budget` says that it asked for more images than
    the budget holds, and was ended there. `cpu_seconds` are those of its box for one image,
    `plain_cpu_seconds` those of a plain loop on the same graph. Errors are of `tested` test
    images: `untrained_errors` of the weights before the first step, `canary_errors` of a short
    training on shuffled labels (None if no pass of it was finished), `final_errors` of the
    weights at the end, `restated_errors` of these with running statistics that the grader worked
    out from training images.
    """

    samples: int
    batches: int
    past_budget: bool
    cpu_seconds: float
    plain_cpu_seconds: float
    untrained_errors: int
    tested: int
    replaced: list[Replaced] = []
    canary_errors: int | None = None
    final_errors: int = 0
    restated_errors: int | None = None


class Finished(Event, frozen=True, tag="finished"):
    """The run is over and its weights are on disk."""

    samples: int
    seconds: float
    peak_memory: int  # bytes, of the whole process
    weights_sha256: str


class Diverged(Event, frozen=True, tag="diverged"):
    """The loss was not a finite number; the run stopped there."""

    epoch: int
    step: int
    loss: str


class Failed(Event, frozen=True, tag="failed"):
    """The network or its recipe cannot be trained: the submission's fault, in words."""

    message: str
    where: str = ""
    expected: str = ""
    found: str = ""
    help: str = ""
    fault: Fault = "error"


AnyEvent = (
    Taken
    | Blank
    | Started
    | Progress
    | EpochDone
    | Recalled
    | Metered
    | Finished
    | Diverged
    | Failed
)


class Wrong(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A wrong answer to the test image `number`, counted from 0: its label, and the class given.

    `sure` and `right` are the probabilities of the answer and of the label, from 0 to 1. The answer
    is -1 where a score is no finite number, and may be no class where a network has more outputs.
    """

    number: int
    label: int
    answer: int
    sure: float
    right: float


class Answers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the weights of a training answer to all test images.

    `confusion` has a row for each label and a column for each answer; its last column counts
    answers that are no class.
    """

    tested: int
    confusion: list[list[int]]
    wrong: list[Wrong]


# Made here, by one thread: msgspec 0.22 crashes where two look at a type for the first time.
EVENT = msgspec.json.Decoder(AnyEvent)
"""Reads an event, or several, from JSON; raises msgspec.MsgspecError."""
