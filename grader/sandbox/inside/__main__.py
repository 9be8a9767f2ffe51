"""Runs in the box: executes a Program, and answers with a Description or an error.

Run as `python -I .../inside`, or with the word `train` to train, for which see `metered`. The job
comes as JSON on standard input, which PyTorch is loaded ahead of, and which is empty for the
submission. The answer is a frame on what was standard output: eight bytes of length, then JSON.
Whatever the submission prints goes to standard error instead. Nothing of the grader is imported
here: an answer is a claim, which the grader checks.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import warnings
from typing import Any, BinaryIO, NoReturn, TypeVar

from explain import explain, places

Json = dict[str, Any]
_LOADED_BY_A_CAPTURE = (
    "torch.onnx", "torch._dynamo.utils", "torch._dynamo.source", "torch.fx.experimental.validator",
    "torch._subclasses.schema_check_mode", "sympy.tensor.tensor",
)  # fmt: skip
Stream = TypeVar("Stream", bound=BinaryIO)


def main() -> None:
    """Get ready, wait for a job and do it; without one, end."""
    channel = _of_this_process(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    load()
    if sys.argv[1:] == ["train"]:
        _be_trained(channel)
    given = sys.stdin.buffer.read()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if not given:
        return
    job = json.loads(given.decode("utf-8", "surrogatepass"))
    answer = _answer(job)
    channel.write(len(answer).to_bytes(8, "big") + answer)
    channel.close()
    sys.stdout.flush()
    os._exit(0)  # threads and exit handlers of the submission have nothing more to say


def _of_this_process(stream: Stream) -> Stream:
    """Let nobody forked from here hear or say anything on a stream: it would be taken for ours."""

    def leave() -> None:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)

    os.register_at_fork(after_in_child=leave)
    return stream


def _be_trained(writing: BinaryIO) -> NoReturn:
    import metered

    reading = _of_this_process(os.fdopen(os.dup(0), "rb"))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    metered.main(metered.Channel(reading, writing))


def load() -> None:
    """Import what every job needs, before there is one; nothing is left to do another time."""
    warnings.simplefilter("ignore")
    gc.disable()  # most of what is made here stays: looking through it again and again is in vain
    import torch  # noqa: F401 - the parent of some that packages stands in for
    from packages import stand_in_for_the_unneeded

    stand_in_for_the_unneeded()
    for name in ("description", "patches", *_LOADED_BY_A_CAPTURE):
        importlib.import_module(name)
    gc.freeze()
    gc.enable()


def _answer(job: Json) -> bytes:
    """Describe a Program; return JSON that says what it is, or what went wrong."""
    files = places(job["program"])
    try:
        return json.dumps({"description": _describe(job, files)}).encode()
    except BaseException as error:  # even SystemExit has to become an answer
        return json.dumps({"error": explain(error, files)}).encode()


def _describe(job: Json, files: set[str]) -> Json:
    import description
    import patches
    from modules import hide

    hide()
    patches.apply()
    return description.describe(job["program"], job["defaults"], files)


if __name__ == "__main__":
    main()
