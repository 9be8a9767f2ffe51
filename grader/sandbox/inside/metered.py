"""Runs in the box: a submission's own training, with images that somebody else hands out.

Frames go both ways: one letter, eight bytes of length, content. The grader says `j` (the job, as
JSON), `w` (weights to begin with, as safetensors), `b` (a batch) and `e` (the pass is over). The
box says `p` (a pass begins; its weights), `n` (the next batch, please), `f` (the pass is
finished; its weights), `d` (done; its weights) and `x` (what went wrong, as JSON).
"""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NoReturn

from explain import explain, places

Json = dict[str, Any]

_RECENT = 5_000  # images that are shown again where nothing is learned


class Channel:
    """Frames to and from the grader."""

    def __init__(self, reading: BinaryIO, writing: BinaryIO) -> None:
        """Speak on two streams that nobody else uses."""
        self._reading, self._writing = reading, writing

    def say(self, kind: bytes, content: bytes = b"") -> None:
        """Send a frame."""
        self._writing.write(kind + len(content).to_bytes(8, "big") + content)
        self._writing.flush()

    def hear(self) -> tuple[bytes, bytes]:
        """Wait for a frame; where there is none any more, end."""
        head = self._reading.read(9)
        content = self._reading.read(int.from_bytes(head[1:], "big"))
        if len(head) < 9:
            os._exit(0)
        return head[:1], content


def main(channel: Channel) -> NoReturn:
    """Hear the job, do it, and end the process."""
    job = json.loads(channel.hear()[1].decode("utf-8", "surrogatepass"))
    weights = channel.hear()[1]
    files = places(job["program"])
    try:
        _train(channel, job, weights, files)
    except BaseException as error:  # whatever the submission raises
        channel.say(b"x", json.dumps(explain(error, files)).encode())
    sys.stdout.flush()
    os._exit(0)  # threads and exit handlers of the submission have nothing more to say


def _train(channel: Channel, job: Json, weights: bytes, files: set[str]) -> None:
    """Run the submission once more, with real images for the passes that count."""
    import description
    import patches
    import torch
    from modules import hide
    from tensors import CannotCapture, put, weights_of

    hide()
    patches.apply()
    torch.manual_seed(job["seed"])
    meter = Meter(channel, job["program"]["own"], weights, weights_of, put)
    submission, watch, _ = description.run(
        job["program"], files, job["defaults"], source=meter.source
    )
    for loop in meter.around:
        if (failure := description.broken(loop, submission.failures, watch)) is not None:
            raise failure.error
    if meter.model is None:
        errors = [failure.error for failure in submission.failures]
        raise errors[-1] if errors else CannotCapture("the training did not begin")
    channel.say(b"d", meter.content())


class Meter:
    """Hands out the images of the passes that count, and sends the weights around them."""

    def __init__(
        self, channel: Channel, own: Json, weights: bytes, weights_of: Callable[[Any], Any],
        put: Callable[[Any, Any], None],
    ) -> None:  # fmt: skip
        self._weights_of, self._put = weights_of, put  # nothing of ours can be imported later
        self.model: Any = None
        self.around: list[Any] = []  # the loops around the passes
        self._channel, self._own, self._weights = channel, own, weights
        self._recent: deque[Any] = deque()

    def source(self, watch: Any, this: Any) -> Iterator[Any] | None:
        """Return the batches of a pass; None where those that are made up will do.

        What learns nothing gets images that were handed out before: a scheduler or an early stop
        that waits for progress goes by them.
        """
        made = [loader for loader, _ in watch.loaders]
        number = next(i for i, loader in enumerate(made) if loader is this.loader)
        begun = len(watch.passes) > self._own["first"]
        if begun and number in self._own["loaders"]:
            return self._batches(watch, this)
        return iter([list(batch) for batch in self._recent]) if self._recent else None

    def content(self) -> bytes:
        """Write the weights as safetensors."""
        from safetensors.torch import save

        return save(self._weights_of(self.model))

    def _batches(self, watch: Any, this: Any) -> Iterator[Any]:
        from safetensors.torch import load

        if self.model is None:
            self.model = watch.modules[self._own["model"]][0]
            self.around = [*this.around, this.at]
            self._put(self.model, load(self._weights))
        self._channel.say(b"p", self.content())
        while True:
            self._channel.say(b"n")
            kind, batch = self._channel.hear()
            if kind != b"b":
                break
            tensors = load(batch)
            self._remember((tensors["images"], tensors["labels"]))
            yield [tensors["images"], tensors["labels"]]
        self._channel.say(b"f", self.content())

    def _remember(self, batch: Any) -> None:
        self._recent.append(batch)
        while sum(len(labels) for _, labels in self._recent) > _RECENT:
            self._recent.popleft()
