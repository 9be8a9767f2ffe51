"""The worker process: events on its standard output, weights on disk, and its end."""

import hashlib
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest
from safetensors.torch import load_file
from torch import nn

from grader import events, process, supervise
from grader.plan import schema
from grader.supervise import Job
from tests.capturing import Net, conv
from tests.idx import tiny as tiny_dataset
from tests.plans import plan_of

pytestmark = pytest.mark.slow

WORKER = [sys.executable, "-I", "-m", "grader.training.worker"]
PARENT = str(os.getpid())


def tiny() -> nn.Module:
    """Make a linear network, quick enough to run through all of MNIST in a test."""
    return Net(lambda s, x: s.line(x.flatten(1)), line=nn.Linear(784, 10))


def job(folder: Path, plan: schema.Plan, **more: object) -> Path:
    """Write a plan and the job that trains it."""
    (folder / "plan.json").write_bytes(msgspec.json.encode(plan))
    values: dict[str, object] = {
        "plan": str(folder / "plan.json"),
        "weights": str(folder / "weights.safetensors"),
        "seed": 1,
        "threads": 1,
    }
    path = folder / "job.json"
    path.write_bytes(msgspec.json.encode(msgspec.convert(values | more, Job)))
    return path


def said(output: bytes) -> list[events.AnyEvent]:
    """Read the events, one a line."""
    return [msgspec.json.decode(line, type=events.AnyEvent) for line in output.splitlines()]


def test_a_training_speaks_events_and_leaves_weights(tmp_path: Path) -> None:
    """Standard output holds events alone; the weights are those that were announced."""
    path = job(tmp_path, plan_of(tiny(), epochs=2, batch=1000), max_epochs=1)
    done = subprocess.run([*WORKER, str(path), PARENT], capture_output=True, check=True)
    spoken = said(done.stdout)
    blank, started, *_, last = spoken
    assert isinstance(blank, events.Blank)
    assert isinstance(started, events.Started)
    assert started.threads == 1
    assert isinstance(last, events.Finished)
    assert last.samples == 60_000
    assert last.peak_memory > 50_000_000
    weights = tmp_path / "weights.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == last.weights_sha256
    assert load_file(weights)["line.weight"].shape == (10, 784)
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_it_trains_on_the_data_set_of_its_job(tmp_path: Path) -> None:
    """All of it is learned from, and all of it tested."""
    network = Net(lambda m, x: m.conv(x).mean((2, 3)), conv=conv())
    path = job(tmp_path, plan_of(network, batch=10), dataset=tiny_dataset(tmp_path / "data"))
    done = subprocess.run([*WORKER, str(path), PARENT], capture_output=True, check=True)
    epoch = next(each for each in said(done.stdout) if isinstance(each, events.EpochDone))

    assert (epoch.samples, epoch.test_samples) == (30, 12)


def test_a_network_that_cannot_run_is_told_as_an_event(tmp_path: Path) -> None:
    """The submission's fault ends in a Failed event, exit status 0 and no weights."""
    plan = plan_of(tiny(), transform=[schema.Pad((2, 2, 2, 2)), schema.ToFloat()])
    done = subprocess.run(
        [*WORKER, str(job(tmp_path, plan)), PARENT], capture_output=True, check=True
    )
    last = said(done.stdout)[-1]
    assert isinstance(last, events.Failed)
    assert "linear" in last.message
    assert not (tmp_path / "weights.safetensors").exists()


def test_a_data_folder_without_mnist_is_the_graders_fault(tmp_path: Path) -> None:
    """Status 2 and words on standard error, no event that blames the submission."""
    path = job(tmp_path, plan_of(tiny()), data_dir=str(tmp_path))
    done = subprocess.run([*WORKER, str(path), PARENT], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"MNIST" in done.stderr
    assert b"Traceback" not in done.stderr
    assert not done.stdout


@pytest.mark.skipif(os.name != "posix", reason="kills a parent process")
def test_the_worker_ends_when_its_parent_does(tmp_path: Path) -> None:
    """A parent that is killed takes its worker along within seconds."""
    path = job(tmp_path, plan_of(tiny(), epochs=1000))
    code = (
        "import os, subprocess, sys, time\n"
        f"worker = {[*WORKER, str(path)]!r} + [str(os.getpid())]\n"
        "child = subprocess.Popen(worker, stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    time.sleep(1.5)
    assert worker.is_running()
    parent.kill()
    parent.communicate()
    gone, _ = psutil.wait_procs([worker], timeout=300)
    assert gone or worker.status() == psutil.STATUS_ZOMBIE


def test_a_worker_whose_parent_ended_before_it_began_ends_too(tmp_path: Path) -> None:
    """It is told whose it is, and does not wait for that to end once more."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    path = job(tmp_path, plan_of(tiny(), epochs=1000))
    done = subprocess.run([*WORKER, str(path), str(gone.pid)], check=False, timeout=300)

    assert done.returncode == 1


def test_a_training_that_is_over_is_no_matter_of_how_its_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said that all is there, and then did not go: the bound on the run ends it, no error."""
    last = {"event": "finished", "samples": 1, "seconds": 1, "peak_memory": 1, "weights_sha256": ""}
    code = f"import time; print({json.dumps(last)!r}, flush=True); time.sleep(600)"
    monkeypatch.setattr(process, "python", lambda *_: [sys.executable, "-c", code])
    told: list[events.AnyEvent] = []
    # Not a bound in seconds: how long the process takes to begin is the machine's affair.
    monkeypatch.setattr(supervise._Clock, "deadline", lambda _: -math.inf if told else math.inf)

    supervise.train(Job("", "", 1), supervise.Bounds(1, 1, 3_000), tmp_path, told.append)

    assert [type(event) for event in told] == [events.Finished]


def test_a_training_never_imports_the_compiler() -> None:
    """PyTorch's compiler takes as long to import as PyTorch; optimisers would import it."""
    code = (
        "import sys, torch\n"
        "from grader.plan import schema\n"
        "from grader.training.optimizer import Optimizer\n"
        "weight = torch.ones(2, requires_grad=True)\n"
        "plan = schema.Optimizer(NAME, [schema.Group(['w'], {'lr': 0.1})])\n"
        "Optimizer(plan, schema.Schedule([[0.1]]), {'w': weight}).step(weight.sum())\n"
        "assert weight[0] != 1\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    for name in ("SGD", "AdamW"):
        subprocess.run([sys.executable, "-c", code.replace("NAME", repr(name))], check=True)
