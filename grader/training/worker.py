"""One training as a process of its own: `python -I -m grader.training.worker JOB.json PID`.

It reads a Plan, trains it, writes the weights, and says how it goes as one JSON event a line
(`grader.events`) on standard output. Whatever else would print there goes to standard
error instead. It ends when its parent does.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec
import psutil

from grader import events
from grader.datasets import files
from grader.errors import GradingError, SubmissionError
from grader.files import write_atomically
from grader.plan import schema
from grader.process import private_stdout
from grader.submission.program import Program
from grader.supervise import Job
from grader.training.tuning import tune

if TYPE_CHECKING:
    import torch

    from grader.training.checkpoint import Checkpoint
    from grader.training.loop import OnEvent, Result

_PARENT_CHECK_SECONDS = 0.5


def main(arguments: list[str]) -> int:
    """Do the job the file `arguments[0]` describes, for the process of the number `arguments[1]`.

    Returns 0 when the last event tells how it ended, 2 when the grader itself is at fault (words
    on standard error).
    """
    _watch_parent(int(arguments[1]))
    stream = private_stdout()
    try:
        job = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=Job)
        _work(job, stream)
    except SubmissionError as error:
        _say(stream, _failed(error))
    except GradingError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _work(job: Job, stream: BinaryIO) -> None:
    """Train, save, and say so; a run that diverged leaves no weights."""
    tune()
    with ThreadPoolExecutor(1) as meanwhile:
        loading = meanwhile.submit(
            files.load, job.dataset, None if job.data_dir is None else Path(job.data_dir)
        )
        import torch

        from grader.training.checkpoint import Checkpoint
        from grader.training.knowledge import blank

        data = loading.result().masked(job.mask)

    if job.threads:
        torch.set_num_threads(job.threads)
    plan = msgspec.json.decode(Path(job.plan).read_bytes(), type=schema.Plan)
    kept = Checkpoint.at(Path(job.checkpoint)) if job.checkpoint else None
    known = kept.blank if kept else None
    with contextlib.suppress(*([SubmissionError] if job.own is not None else [])):
        # By the recipe alone a network with a loop of its own may not train at all.
        known = known or blank(plan, job.seed, data)
        _say(stream, known)
    if kept is not None:
        kept = replace(kept, blank=known)
    result = _trained(job, plan, data, lambda event: _say(stream, event), kept)
    if result.diverged:
        return
    digest = _save(result.state, Path(job.weights))
    _say(
        stream,
        events.Finished(
            samples=result.samples,
            seconds=result.seconds,
            peak_memory=_peak_memory(),
            weights_sha256=digest,
        ),
    )


def _trained(
    job: Job, plan: schema.Plan, data: files.Images, on_event: OnEvent, kept: Checkpoint | None
) -> Result:
    """Train by our loop, or let the submission train by its own."""
    from grader.training import loop, metered

    if job.own is None:
        return loop.train(
            plan, job.seed, data, on_event, max_epochs=job.max_epochs, checkpoint=kept
        )
    program = msgspec.json.decode(Path(job.own.program).read_bytes(), type=Program)
    budget = job.max_epochs or plan.recipe.epochs
    return metered.train(plan, program, job.own, job.seed, data, on_event, max_epochs=budget)


def _failed(error: SubmissionError) -> events.Failed:
    return events.Failed(
        error.message, error.where, error.expected, error.found, error.help, error.fault
    )


def _save(state: dict[str, torch.Tensor], path: Path) -> str:
    """Write safetensors, whole or not at all; return their SHA-256."""
    from safetensors.torch import save

    content = save({name: tensor.contiguous() for name, tensor in state.items()})
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def _say(stream: BinaryIO, event: events.AnyEvent) -> None:
    stream.write(msgspec.json.encode(event) + b"\n")
    stream.flush()


def _watch_parent(grader: int) -> None:
    """End this process when the `grader` that started it is gone, however and whenever it ended.

    Its number tells what ended while this process still began. Not by Linux's PR_SET_PDEATHSIG: it
    fires when the parent's *thread* ends.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent and psutil.pid_exists(grader):  # Windows: getppid stays
            time.sleep(_PARENT_CHECK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _peak_memory() -> int:
    """Return the most memory this process held at once, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
