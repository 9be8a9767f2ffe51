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
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

from explain import explain

Json = dict[str, Any]


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
    statements = [s for m in job["program"]["train"]["modules"] for s in m["statements"]]
    files = {s["file"] for s in statements}
    try:
        _train(channel, job, weights)
    except BaseException as error:  # whatever the submission raises
        channel.say(b"x", json.dumps(explain(error, files)).encode())
    sys.stdout.flush()
    os._exit(0)  # threads and exit handlers of the submission have nothing more to say


def _train(channel: Channel, job: Json, weights: bytes) -> None:
    import patches
    import torch
    from building import build_model
    from calling import Training, load, state_of
    from safetensors.torch import load as read
    from safetensors.torch import save
    from standins import Batch, Loader, be_quiet

    sys.path.pop(0)  # from here on nothing of ours is importable by name
    sys.argv[1:] = []
    patches.apply()
    be_quiet()
    program, sizes = job["program"], job["sizes"]
    torch.manual_seed(job["seed"])
    namespace = load(program)
    model = build_model(program, namespace)
    shape = job["input_shape"]
    noise = torch.randn(8, *shape)
    _take_shapes(model, noise)
    given = read(weights)
    with torch.no_grad():
        for name, tensor in model.state_dict(keep_vars=True).items():
            if name in given:
                tensor.copy_(given[name])

    def content() -> bytes:
        return save(state_of(model))

    def batches() -> Iterator[Batch]:
        channel.say(b"p", content())
        while True:
            channel.say(b"n")
            kind, batch = channel.hear()
            if kind != b"b":
                break
            tensors = read(batch)
            yield tensors["images"], tensors["labels"]
        channel.say(b"f", content())

    loader = Loader(batches, job["samples"], sizes["batch_size"], job["drop_last"])
    labels = torch.randint(10, (len(noise),))
    test = Loader(lambda: [(noise.clone(), labels.clone())], 10_000, sizes["batch_size"])
    Training(program, namespace, model, sizes, loader, test).run()
    channel.say(b"d", content())


def _take_shapes(model: Any, images: Any) -> None:
    """Let lazy layers take their shapes."""
    import torch

    with torch.no_grad():
        try:
            model.train()(images)
        except RuntimeError:  # as in capture: rows of 784 numbers
            model.train()(images.flatten(1))
