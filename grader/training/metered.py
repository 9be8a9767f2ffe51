"""A training by the submission's own loop: it draws from our meter, and we test what it sends.

The loop runs in the box (`grader.sandbox.trainee`). Here batches are drawn, augmented and counted,
and the weights that come back are loaded into the network rebuilt from the Plan: whatever is
tested is tested by our code, on a graph the submission has no more say in.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import torch
from safetensors.torch import save

from grader import events
from grader.datasets.files import Images
from grader.errors import SubmissionError
from grader.files import UNREADABLE
from grader.plan import schema
from grader.plan.arguments import name_of, number, reference
from grader.plan.assemble import request_defaults
from grader.sandbox.trainee import Frame, Trainee, junk
from grader.submission.program import Program
from grader.supervise import Own
from grader.training.loop import OnEvent, Result, Run, Tally
from grader.training.returned import State, read_weights, room
from grader.training.yardstick import Yardstick

_PROGRESS_SECONDS = 0.25
_TRAIN_IMAGES = 5_000  # of the training set, for the curve
_CANARY_STEPS = 4  # batches of each pass with shuffled labels
_RESTATED = 10_240  # images that running statistics are worked out from
_RESTATED_BATCH = 256
_TICKS = 0.03  # seconds: less than the clock of CPU time can tell from nothing
_IDLE = 0.25  # of an epoch's work: less than this between two states is no training

Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]


def train(
    plan: schema.Plan, program: Program, own: Own, seed: int, data: Images, on_event: OnEvent, *,
    max_epochs: int,
) -> Result:  # fmt: skip
    """Let the submission train the Plan's network; at most `max_epochs` epochs are handed out.

    Events are those of `grader.training.loop.train`, and Metered at the end. Raises
    SubmissionError for whatever the box does against what is agreed.
    """
    torch.set_num_threads(1)  # the box has the other core
    run = Run(plan, seed, data, on_event)
    initial = _copied(run.network.state)
    run.start(min(plan.recipe.epochs, max_epochs))
    lesson = _Lesson(run, max_epochs)
    with _start(run, program, own, initial) as box:
        _converse(box, run, lesson)
    state = _copied(run.network.state)
    restated = restated_errors(run, initial)
    run.network.load(state)
    if lesson.samples:
        on_event(run.recalled())
    canary = _canary(run, program, own, initial)
    on_event(lesson.evidence(canary, restated))
    return Result(run.done, lesson.samples, time.perf_counter() - run.began, state, None)


def restated_errors(run: Run, initial: State) -> int:
    """Test the network with running statistics that the grader works out itself.

    The box may put into them what it likes. Those that are as they were at the start stay so: a
    norm may be frozen. Changes the network's state.
    """
    state, rates = run.network.state, _rates(run.plan.model)
    moved = [name for name in rates if not torch.equal(state[name].cpu(), initial[name])]
    for name in moved:
        state[name].copy_(initial[name])
    run.network.train()
    order = run.order.permutation(len(run.images))[:_RESTATED]
    chosen = torch.split(order, _RESTATED_BATCH)
    with torch.no_grad():
        for some in chosen:
            transform = run.plan.recipe.train_transform
            run.network(run.prepared(run.images[some], transform))
    for name, rate in rates.items():
        left = (1 - rate) ** len(chosen)  # of the initial value
        first = initial[name].to(run.device)
        is_free = name in moved and left < 1
        state[name].copy_((state[name] - left * first) / (1 - left) if is_free else first)
    return run.test().errors


def _rates(model: schema.Model) -> dict[str, float]:
    """Return the running statistics of norms, with how far each step moves them."""
    return {
        name: number(node, "momentum", 0.1)
        for node in model.train.nodes
        if name_of(node) in ("batch_norm", "instance_norm")
        for key in ("running_mean", "running_var")
        if (name := reference(node, key)) is not None
    }


def _copied(state: State) -> State:
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}


def _canary(run: Run, program: Program, own: Own, initial: State) -> int | None:
    """Return the test errors after a short training on shuffled labels.

    Where the loop goes no further with so few batches, its last whole pass counts: None without.
    """
    listener = _Canary(run)
    with (
        contextlib.suppress(SubmissionError),
        _start(run, program, own, initial) as box,
    ):
        _converse(box, run, listener)
    return listener.errors()


def _start(run: Run, program: Program, own: Own, initial: State) -> Trainee:
    recipe, model = run.plan.recipe, run.plan.model
    job = {
        "program": msgspec.to_builtins(program),
        "defaults": request_defaults(recipe.epochs, run.data.dataset), "seed": run.seed,
    }  # fmt: skip
    weights = save({name: tensor.contiguous() for name, tensor in initial.items()})
    return Trainee(
        job, weights, official=own.official, seconds=own.seconds, megabytes=own.megabytes,
        weights=room(model),
    )  # fmt: skip


class _Listener(Protocol):
    """Is told what happens; `state` are weights that keep to the Plan."""

    def batches(self) -> Batches:
        """Give the batches of one pass."""

    def draws(self, samples: int) -> bool:
        """Count samples that are asked for; False ends the training before they are drawn."""

    def begins(self, state: State, cpu: float) -> None:
        """Note that a pass begins, after so many CPU seconds."""

    def finishes(self, state: State, cpu: float) -> None:
        """Note that a pass is finished."""

    def is_done(self, state: State, cpu: float) -> None:
        """Note that the training is done."""


def _converse(box: Trainee, run: Run, listener: _Listener) -> None:
    """Answer what the box asks until it is done, or asks for more than it may have."""
    batches: Batches | None = None
    ahead: tuple[int, bytes] | None = None
    tell = {b"p": listener.begins, b"f": listener.finishes, b"d": listener.is_done}
    for frame in box.frames():
        if frame.kind == b"x":
            raise _raised(frame)
        if frame.kind == b"n":
            if batches is None:
                raise junk("a batch was asked for outside a pass")
            if ahead is None:
                box.say(b"e")
                continue
            if not listener.draws(ahead[0]):
                return
            box.say(b"b", ahead[1])
        else:
            tell[frame.kind](read_weights(run.plan.model, frame.content), box.cpu_seconds)
            if frame.kind == b"d":
                box.finish()
                return
            batches = listener.batches() if frame.kind == b"p" else None
        ahead = _packed(batches)  # while the box is at work


def _packed(batches: Batches | None) -> tuple[int, bytes] | None:
    """Return the next batch as a message, with its number of images."""
    batch = next(batches, None) if batches is not None else None
    if batch is None:
        return None
    images, labels = (tensor.cpu().contiguous() for tensor in batch)
    return len(labels), save({"images": images, "labels": labels})


class _Explained(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: str
    message: str
    where: str
    help: str


def _raised(frame: Frame) -> SubmissionError:
    try:
        told = msgspec.json.decode(frame.content, type=_Explained)
    except UNREADABLE as error:
        return junk(f"an invalid explanation: {error}"[:300])
    return SubmissionError(
        told.message[:2000], expected="a train() that runs to its end", found=told.kind[:300],
        where=told.where[:300],
        help=told.help[:2000] or "run a few training steps of your own at this batch size",
    )  # fmt: skip


@dataclass
class _Lesson:
    """The training that counts: meters it, tests what it gives, and gathers evidence."""

    run: Run
    max_epochs: int
    samples: int = 0
    drawn: int = 0  # batches
    past_budget: bool = False
    untrained_errors: int | None = None
    replaced: list[events.Replaced] = field(default_factory=list)

    def __post_init__(self) -> None:
        whole = self.run.steps_per_epoch * self.run.plan.recipe.batch_size
        self.per_epoch = min(whole, len(self.run.images))
        self.yardstick = Yardstick(self.run)
        self.began = self.reported = time.perf_counter()
        self._finished: tuple[State, float] | None = None
        self._cpu = (0.0, 0.0)  # when the first pass began, and latest

    def batches(self) -> Batches:
        return self.run.batches(self.run.plan.recipe.epochs - 1 - self.samples // self.per_epoch)

    def draws(self, samples: int) -> bool:
        if self.samples + samples > self.max_epochs * self.per_epoch:
            self.past_budget = True
            return False
        self.samples += samples
        self.drawn += 1
        self._report()
        return True

    def begins(self, state: State, cpu: float) -> None:
        if self.untrained_errors is None:
            self.untrained_errors = self._test(state).errors
            self.yardstick.measure()
            self.began = time.perf_counter()
            self._cpu = (cpu, cpu)
        elif self.samples // self.per_epoch > len(self.run.done):
            self._epoch(state, cpu)

    def finishes(self, state: State, cpu: float) -> None:
        self._finished = (state, cpu)

    def is_done(self, state: State, cpu: float) -> None:
        if self.samples == 0:
            raise SubmissionError(
                "the training draws no images", expected="a loop over its loader",
                found="no batch was asked for", where="train",
                help="let train go through train_loader once an epoch",
            )  # fmt: skip
        self._epoch(state, cpu)

    def evidence(self, canary: int | None, restated: int) -> events.Metered:
        first, last = self._cpu
        return events.Metered(
            samples=self.samples, batches=self.drawn, past_budget=self.past_budget,
            cpu_seconds=(last - first) / self.samples,
            plain_cpu_seconds=self.yardstick.seconds,
            untrained_errors=self.untrained_errors or 0, tested=len(self.run.test_images),
            replaced=self.replaced, canary_errors=canary,
            final_errors=self.run.done[-1].test_errors if self.run.done else 0,
            restated_errors=restated,
        )  # fmt: skip

    def _epoch(self, state: State, cpu: float) -> None:
        """Test the weights of an epoch that is over; what was said of it before is replaced."""
        self._cpu = (self._cpu[0], cpu)
        self.yardstick.measure()
        number = max(1, self.samples // self.per_epoch)
        before = self._before(state, cpu)
        tested = self._test(state)
        if before is not None:
            self.replaced.append(events.Replaced(number, before, tested.errors))
        trained = self._on_training_images()
        done = events.EpochDone(
            epoch=number, samples=self.samples, train_loss=trained.mean_loss,
            train_accuracy=trained.correct / trained.samples, test_loss=tested.finite_loss,
            test_errors=tested.errors, test_samples=tested.samples, lr=None,
            seconds=time.perf_counter() - self.began,
        )  # fmt: skip
        self.began = time.perf_counter()
        self.run.done[:] = [e for e in self.run.done if e.epoch != number] + [done]
        self.run.on_event(done)

    def _before(self, state: State, cpu: float) -> int | None:
        """Return the errors of the finished pass, if its weights were changed without work."""
        if self._finished is None:
            return None
        earlier, then = self._finished
        same = all(torch.equal(earlier[name], state[name]) for name in state)
        if same or cpu - then > max(_TICKS, _IDLE * self.yardstick.seconds * self.per_epoch):
            return None
        return self._test(earlier).errors

    def _test(self, state: State) -> Tally:
        self.run.network.load(self.run.network.state | state)
        return self.run.test()

    def _on_training_images(self) -> Tally:
        run = self.run
        chosen = slice(_TRAIN_IMAGES)
        return run.score(run.images[chosen], run.labels[chosen], run.plan.recipe.train_transform)

    def _report(self) -> None:
        now = time.perf_counter()
        if now - self.reported < _PROGRESS_SECONDS:
            return
        self.reported = now
        epoch, rest = divmod(self.samples, self.per_epoch)
        step = rest // self.run.plan.recipe.batch_size
        self.run.on_event(
            events.Progress(epoch=epoch + 1, step=step, samples=self.samples, loss=None, lr=None)
        )


@dataclass
class _Canary:
    """A training on a few images with shuffled labels: what it learns is nothing."""

    run: Run
    passes: int = 0
    learned: State | None = None

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.run.seed)

    def batches(self) -> Batches:
        self.passes += 1
        batches = self.run.batches(self.run.plan.recipe.epochs)
        for images, labels in itertools.islice(batches, _CANARY_STEPS):
            shuffled = torch.randint(self.run.classes, labels.shape, generator=self.generator)
            yield images, shuffled

    def draws(self, samples: int) -> bool:
        return self.passes <= 2 * self.run.plan.recipe.epochs

    def begins(self, state: State, cpu: float) -> None: ...

    def finishes(self, state: State, cpu: float) -> None:
        self.learned = state

    def is_done(self, state: State, cpu: float) -> None:
        self.learned = state

    def errors(self) -> int | None:
        if self.learned is None:
            return None
        self.run.network.load(self.run.network.state | self.learned)
        return self.run.test().errors
