"""What trained networks answer to the test images, for reports: found out once, and kept. No torch.

A process of our own runs the network rebuilt from `plan.json` with `weights.safetensors`; nothing
of a submission runs. What it finds is kept beside the record, in `answers.json`.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from grader import process, scratch
from grader.datasets.files import images_of_test, verify
from grader.events import Answers
from grader.files import UNREADABLE, write_atomically
from grader.record import Record
from grader.results import ANSWERS
from grader.rubric import Rubric
from grader.training.answers import Question, Reply

__all__ = ["answers_of", "images_of_test"]

_WEIGHTS = "weights.safetensors"
_OUTPUT = 200 << 20  # bytes of all answers together
_failed: dict[str, str] = {}  # by the weights' hash: what is too slow is not waited for again

Network = tuple[Record, Path]
"""A record, and the folder that it lies in with the plan and the weights."""


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answers, with the hashes of what they depend on."""

    plan_sha256: str
    weights_sha256: str
    answers: Answers


def answers_of(
    network: Network, others: Sequence[Network], rubric: Rubric, data_dir: Path | None = None
) -> Answers | str:
    """Return what the weights of a network's first training answer, or why nothing, in words.

    If that is not kept, the network is asked, and in the same process all `others` that have to
    be, each within the bounds that the rubric sets for an epoch. Raises UsageFault where the data
    set cannot be read, and GraderFault where answers cannot be kept.
    """
    known = _known(*network, rubric)
    if known is None:
        each = {folder: record for record, folder in (*others, network)}
        asked = [(record, at) for at, record in each.items() if _known(record, at, rubric) is None]
        _ask(asked, rubric, data_dir)
        known = _known(*network, rubric)
    assert known is not None  # there are answers now, or a reason for none
    return known


def _ask(networks: Sequence[Network], rubric: Rubric, data_dir: Path | None) -> None:
    """Ask networks, and keep what they answer."""
    verify(rubric.data, data_dir)  # raises what the process would die of
    questions = [_question(record, folder) for record, folder in networks]
    for (record, folder), reply in zip(
        networks, _replies(questions, rubric, data_dir), strict=True
    ):
        if reply.answers is not None:
            kept = _Kept(record.plan_sha256, _weights_of(record), reply.answers)
            write_atomically(folder / ANSWERS, msgspec.json.encode(kept))
        else:
            _failed[_weights_of(record)] = reply.why


def _weights_of(record: Record) -> str:
    return record.training.weights_sha256 if record.training else ""


def _known(record: Record, folder: Path, rubric: Rubric) -> Answers | str | None:
    """Return what is kept, or why there can be none; None if the network has to be asked."""
    if why := _untrained(record):
        return why
    with contextlib.suppress(*UNREADABLE):
        kept = msgspec.json.decode((folder / ANSWERS).read_bytes(), type=_Kept)
        if (kept.plan_sha256, kept.weights_sha256) == (record.plan_sha256, _weights_of(record)):
            return kept.answers
    if record.data.sha256 != rubric.data.digest:
        return f"it was trained on {record.data.title}, and the rubric is for {rubric.data.title}"
    return _damaged(record, folder) or _failed.get(_weights_of(record))


def _untrained(record: Record) -> str:
    if record.training is None:
        return "nothing was trained in this run"
    if not record.training.finished or record.model is None:
        return "the training did not get to its end, and left no weights"
    return ""


def _damaged(record: Record, folder: Path) -> str:
    """Say which file is not the one that the record is about."""
    for name, digest in (("plan.json", record.plan_sha256), (_WEIGHTS, _weights_of(record))):
        try:
            content = (folder / name).read_bytes()
        except OSError:
            return f"{name} is no longer beside the record"
        if hashlib.sha256(content).hexdigest() != digest:
            return f"{name} is not the one that this run wrote"
    return ""


def _question(record: Record, folder: Path) -> Question:
    assert record.training is not None  # else it is not asked
    assert record.model is not None
    place = folder.resolve()
    return Question(
        str(place / "plan.json"), str(place / _WEIGHTS), record.training.seed,
        record.model.output == "probabilities",
        record.accuracy.runs[0].mask if record.accuracy and record.accuracy.runs else None,
    )  # fmt: skip


def _replies(
    questions: Sequence[Question], rubric: Rubric, data_dir: Path | None
) -> Iterator[Reply]:
    """Ask one after another; a network that takes too much ends the process, and a new one goes on.

    All are answered in the order in which they are asked.
    """
    left = list(questions)
    while left:
        for reply in _in_one_process(tuple(left), rubric, data_dir):
            left.pop(0)
            yield reply


def _in_one_process(
    questions: Sequence[Question], rubric: Rubric, data_dir: Path | None
) -> Iterator[Reply]:
    """Yield one reply at least; the last is why there is none, where there are fewer than asked."""
    arguments = [msgspec.json.encode(rubric.data).decode()]
    arguments += [str(data_dir.resolve())] if data_dir else []
    command = process.python("-m", "grader.training.answers", *arguments)
    with (
        scratch.folder("grader-answers-") as home,
        process.child(
            command, env=process.clean_environment(Path(home)), cwd=Path(home),
            memory=rubric.megabytes.train * 1_000_000, output=_OUTPUT, fed=True,
        ) as child,
    ):  # fmt: skip
        child.feed(b"".join(msgspec.json.encode(question) + b"\n" for question in questions))
        buffer, replied, last = b"", 0, time.monotonic()
        until = lambda: last + rubric.seconds.epoch  # noqa: E731 - as it stands when it is asked
        try:
            for chunk in child.chunks(until):
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    yield msgspec.json.decode(line, type=Reply)
                    replied, last = replied + 1, time.monotonic()
        except process.Stopped as stopped:
            yield Reply(why=f"its network took too much: {stopped}")
            return
        if replied < len(questions):
            said = (child.stderr.strip().splitlines() or ["nothing was printed"])[-1]
            yield Reply(
                why=f"the process that asked it ended with {child.returncode}: {said[:300]}"
            )
