"""How much CPU time honest training loops take in the box, against a plain loop's.

    python benchmarks/own_loops.py [IMAGES]

trains the reference network for one epoch of IMAGES images (6,000) by loops that students write,
each by the meter of the level `sandboxed`, and prints the ratio that the check `integrity` holds
against its limit; then the same for a loop that uses every batch several times.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import tempfile
from pathlib import Path

import msgspec

from grader.checks.sandboxed import MOST_WORK
from grader.datasets import files
from grader.events import AnyEvent, Metered
from grader.plan.assemble import assemble, request_defaults
from grader.plan.schema import Plan
from grader.sandbox.describe import describe
from grader.submission.program import Program
from grader.submission.reader import read_program
from grader.supervise import Own
from grader.training import metered

ROOT = Path(__file__).resolve().parent.parent
LOOP = """
def train(model, train_loader, optimizer, epoch):
    seen, right = 0, 0
    for index, (x, y) in enumerate(train_loader):
        BODY
        seen += len(x)
        right += output.argmax(1).eq(y).sum().item()
"""
BODY = """optimizer.zero_grad()
        output = model(x)
        loss = F.nll_loss(output, y)
        loss.backward()
        optimizer.step()"""
MIXUP = """x = 0.7 * x + 0.3 * x[torch.randperm(len(x))]
        """
SAM = """
        old = [p.detach().clone() for p in model.parameters()]
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.05 * p.grad / (p.grad.norm() + 1e-12))
        optimizer.zero_grad()
        F.nll_loss(model(x), y).backward()
        with torch.no_grad():
            for p, q in zip(model.parameters(), old):
                p.copy_(q)
        optimizer.step()"""
L1 = " + 1e-5 * sum(p.abs().sum() for p in model.parameters())"
AVERAGE = """
        if index == 0:
            ema = [p.detach().clone() for p in model.parameters()]
        for e, p in zip(ema, model.parameters()):
            e.mul_(0.99).add_(p.detach(), alpha=0.01)"""


def repeated(times: int) -> str:
    """Use every batch so many times."""
    inner = "\n".join("    " + line for line in BODY.splitlines())
    return f"for _ in range({times}):\n        {inner}"


LOOPS = {
    "plain": BODY,
    "L1 penalty": BODY.replace("(output, y)", "(output, y)" + L1),
    "gradient clipping": BODY.replace(
        "optimizer.step", "nn.utils.clip_grad_norm_(model.parameters(), 1.0); optimizer.step"
    ),
    "accumulation over 4 batches": BODY.replace("optimizer.zero_grad()", "pass").replace(
        "optimizer.step()",
        "\n        if index % 4 == 3: optimizer.step(); optimizer.zero_grad()",
    ),
    "mixup": MIXUP + BODY,
    "average of weights": BODY + AVERAGE,
    "two forward passes (R-drop)": BODY.replace(
        "(output, y)", "(output, y) + F.nll_loss(model(x), y)"
    ),
    "sharpness-aware (SAM)": BODY.replace("optimizer.step()", SAM),
    "every batch 2 times": repeated(2),
    "every batch 5 times": repeated(5),
    "every batch 10 times": repeated(10),
}


def submitted(folder: Path, body: str) -> tuple[Program, Plan]:
    """Write the reference with a loop of its own, and let it describe itself."""
    path = folder / "submission.py"
    source = (ROOT / "reference_solution" / "model.py").read_text(encoding="utf-8")
    path.write_text(source + LOOP.replace("BODY", body), encoding="utf-8")
    program = read_program(path)
    found = describe(program, request_defaults(19), seconds=120, megabytes=3_000)
    plan = assemble(found, 19)
    recipe = msgspec.structs.replace(plan.recipe, epochs=1)
    return program, msgspec.structs.replace(plan, recipe=recipe)


def measured(program: Program, plan: Plan, data: files.Images) -> Metered:
    """Train for one epoch and return what the meter says."""
    own = Own("", request_defaults(19)["optimizer"], 3_600, 6_000)
    events: list[AnyEvent] = []
    metered.train(plan, program, own, 1, data, events.append, max_epochs=1)
    return next(e for e in events if isinstance(e, Metered))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="?", type=int, default=6_000)
    count = parser.parse_args().images
    whole = files.load()
    data = files.Images(
        whole.train_images[:count], whole.train_labels[:count],
        whole.test_images[:1_000], whole.test_labels[:1_000],
    )  # fmt: skip
    versions = f"Python {platform.python_version()}, torch {importlib.metadata.version('torch')}"
    print(f"{versions}, {os.cpu_count()} cores, {count:,} images, n = 1; limit {MOST_WORK:g}")
    with tempfile.TemporaryDirectory(prefix="grader-loops-") as folder:
        for name, body in LOOPS.items():
            program, plan = submitted(Path(folder), body)
            meter = measured(program, plan, data)
            ratio = meter.cpu_seconds / meter.plain_cpu_seconds
            print(
                f"{name:30} {plan.level:10} {1e3 * meter.cpu_seconds:6.2f} ms an image, "
                f"{ratio:5.2f} × plain",
                flush=True,
            )


if __name__ == "__main__":
    main()
