"""The training itself: a pure function of a Plan, a seed and the data.

The loop is ours: it draws every sample, counts it, sets the learning rate of every step from the
Plan's numbers, and tests after each epoch. Nothing of a submission runs here but tensor
operations.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from grader import events, machine
from grader.datasets.files import Bytes, Images
from grader.errors import SubmissionError
from grader.plan import schema
from grader.training.agreement import settle
from grader.training.augment import augment
from grader.training.averaging import Average
from grader.training.draw import Draw
from grader.training.network import CompiledGraph, Network
from grader.training.optimizer import Optimizer
from grader.training.turned import turned

if TYPE_CHECKING:
    from grader.training.checkpoint import Checkpoint

OnEvent = Callable[[events.AnyEvent], None]

TEST_BATCH = 500
_RECALLED = 10_000
_PROGRESS_SECONDS = 0.25
_COMPARED = 256  # images of the batch that is computed in both ways


@dataclass(frozen=True)
class Result:
    """What a training leaves behind.

    `epochs` are those that were finished, `state` the tensors after the last step by their names
    in the submission, and `diverged` says where a non-finite loss ended the run, if one did.
    """

    epochs: list[events.EpochDone]
    samples: int
    seconds: float
    state: dict[str, torch.Tensor]
    diverged: events.Diverged | None


def train(
    plan: schema.Plan,
    seed: int,
    data: Images,
    on_event: OnEvent,
    *,
    max_epochs: int | None = None,
    checkpoint: Checkpoint | None = None,
) -> Result:
    """Train the Plan's network and test it after every epoch.

    Uses a GPU when there is one. `max_epochs` ends the run earlier than the recipe does. The same
    plan, seed, data, machine, PyTorch version and number of threads give the same weights bit for
    bit on a CPU, also where a `checkpoint` carries the run on from an epoch it got to before. Sets
    PyTorch's global generator, for the random operations a network may hold.

    Events: Started, then Progress and EpochDone, and Recalled at the end, or Diverged if the loss
    stops being finite.
    Raises SubmissionError when the network or its recipe cannot be carried out.
    """
    run = Run(plan, seed, data, on_event)
    epochs = min(plan.recipe.epochs, max_epochs or plan.recipe.epochs)
    run.start(epochs)
    if checkpoint is not None and checkpoint.restore(run):
        for done in run.done:
            on_event(done)
    for epoch in range(len(run.done) + 1, epochs + 1):
        run.epoch(epoch)
        if run.diverged:
            break
        if checkpoint is not None:
            checkpoint.save(run)
    with run.averaged():
        state = {name: tensor.detach().cpu().clone() for name, tensor in run.network.state.items()}
        if not run.diverged:
            on_event(run.recalled())
    return Result(run.done, run.samples, time.perf_counter() - run.began, state, run.diverged)


@dataclass
class Tally:
    """Sums over the samples of an epoch."""

    samples: int = 0
    loss: float = 0.0
    correct: int = 0

    def add(self, loss: float, correct: int, samples: int) -> None:
        """Add a batch, with its mean loss."""
        self.samples += samples
        self.loss += loss * samples
        self.correct += correct

    @property
    def mean_loss(self) -> float:
        """The mean over all samples."""
        return self.loss / max(self.samples, 1)

    @property
    def errors(self) -> int:
        """How many answers are wrong."""
        return self.samples - self.correct

    @property
    def finite_loss(self) -> float | None:
        """The mean loss, or None if it is not a finite number."""
        return self.mean_loss if np.isfinite(self.mean_loss) else None


@dataclass
class Run:
    """A training under way."""

    plan: schema.Plan
    seed: int
    data: Images
    on_event: OnEvent
    samples: int = 0
    done: list[events.EpochDone] = field(default_factory=list)
    diverged: events.Diverged | None = None
    lanes: bool = True

    def __post_init__(self) -> None:
        self.began = time.perf_counter()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        seeds = [int(s) for s in np.random.SeedSequence(self.seed).generate_state(4, np.uint32)]
        torch.default_generator.manual_seed(seeds[0])  # `torch.manual_seed` loads the compiler
        if self.device.type == "cuda":
            torch.cuda.manual_seed_all(seeds[0])
            # As far as CUDA has algorithms that give the same bits each time (pytorch.org,
            # Reproducibility); `tune` asks cuBLAS for the same.
            torch.backends.cudnn.deterministic = True
            torch.use_deterministic_algorithms(True, warn_only=True)
        initialise, augmentation, order = (torch.Generator().manual_seed(s) for s in seeds[1:])
        self.augmentation = Draw(augmentation, self.device)
        self.order = Draw(order, self.device)
        recipe = self.plan.recipe
        self.network = Network(self.plan.model, initialise, self.device, lanes=self.lanes)
        self.loss = CompiledGraph(recipe.loss, {}, self.device, subject="loss")
        self.optimizer = Optimizer(recipe.optimizer, recipe.schedule, self.network.state)
        tensors = self.network.state.values()
        self.average = Average(recipe.averaging, tensors) if recipe.averaging else None
        self.images, self.labels = self._tensors(self.data.train_images, self.data.train_labels)
        self.test_images, self.test_labels = self._tensors(
            self.data.test_images, self.data.test_labels
        )
        full, rest = divmod(len(self.images), recipe.batch_size)
        self.classes = len(self.data.dataset.classes)
        self.steps_per_epoch = full + (1 if rest and not recipe.drop_last else 0)

    def _tensors(self, images: Bytes, labels: Bytes) -> tuple[torch.Tensor, torch.Tensor]:
        """Put images as [N, C, H, W] bytes and labels as [N] int64 on the device."""
        pixels = as_maps(images.copy())
        return pixels.to(self.device), torch.from_numpy(labels.astype(np.int64)).to(self.device)

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Let the network hold the mean of its weights, where the Plan asks for one."""
        return self.average.applied() if self.average else contextlib.nullcontext()

    def start(self, epochs: int) -> None:
        """Say that everything is ready for so many epochs."""
        remarks = self._settle()
        self.on_event(
            events.Started(
                device=str(self.device),
                threads=torch.get_num_threads(),
                epochs=epochs,
                steps_per_epoch=self.steps_per_epoch,
                seed=self.seed,
                versions=self._versions(),
                remarks=remarks,
            )
        )

    def _versions(self) -> dict[str, str]:
        """Return all that decides the last bits here, but the number of threads."""
        named = {
            "torch": str(torch.__version__), "numpy": np.__version__,
            "numba": importlib.metadata.version("numba"),
            "instructions": machine.instruction_set(),
        }  # fmt: skip
        cuda = self.device.type == "cuda"
        return named | ({"gpu": torch.cuda.get_device_name()} if cuda else {})

    def _settle(self) -> list[str]:
        """Compute the first images in both ways there are; return remarks if one is not used."""
        chosen = slice(min(self.plan.recipe.batch_size, _COMPARED))
        try:
            transforms = self.plan.recipe.test_transform
            images = self.prepared(self.images[chosen], transforms)
        except SubmissionError:  # which the training says in its place
            return []
        return settle(self.network, self.plan.model, self._loss, images, self.labels[chosen])

    def epoch(self, epoch: int) -> None:
        """Train on every sample once, then test; stops early when the loss is not finite."""
        began, reported = time.perf_counter(), -math.inf  # the first step shows at once
        tally = Tally()
        self.network.train()
        left = self.plan.recipe.epochs - epoch
        for step, (images, target) in enumerate(self.batches(left), start=1):
            loss = self.step(images, target, tally)
            if not np.isfinite(loss):
                self.diverged = events.Diverged(epoch=epoch, step=step, loss=str(loss))
                self.on_event(self.diverged)
                return
            if self.average:
                self.average.add(left)
            if (now := time.perf_counter()) - reported >= _PROGRESS_SECONDS:
                reported = now
                self._report_progress(epoch, step, tally)
        self._finish_epoch(epoch, tally, began)

    def batches(self, left: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the epoch's batches in a new random order, augmented, float32 [B, C, H, W].

        `left` epochs are planned after this one.
        """
        recipe = self.plan.recipe
        transforms = recipe.test_transform if left < recipe.plain_epochs else recipe.train_transform
        order = self.order.permutation(len(self.images))
        for chosen in torch.split(order, recipe.batch_size)[: self.steps_per_epoch]:
            yield self.prepared(self.images[chosen], transforms), self.labels[chosen]

    def prepared(self, images: torch.Tensor, transforms: list[schema.Transform]) -> torch.Tensor:
        """Return bytes [B, C, H, W] as the network gets them: transformed, turned, float32."""
        return turned(augment(images, transforms, self.augmentation), self.data.turn)

    def step(self, images: torch.Tensor, target: torch.Tensor, tally: Tally) -> float:
        """Train on a batch, add it to the tally, and return its loss, finite or not."""
        self.samples += len(target)
        output = _scores(self.network(images), len(target), self.classes)
        correct = _correct(output, target)
        loss = self._loss(output, target)
        value = float(loss.detach())
        if np.isfinite(value):
            tally.add(value, correct, len(target))
            self.optimizer.step(loss)
            self.optimizer.follow("batch", value, correct / len(target))
        return value

    def _loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the Plan's loss, worked out on copies.

        It may write into what it is given: into labels, or by way of an output that is a view of
        a buffer, labels into the network.
        """
        loss = self.loss(output.clone(), target.clone())
        if loss.numel() != 1:
            raise SubmissionError(
                "the loss is not one number", expected="one number", found=str(list(loss.shape))
            )
        return loss

    def _report_progress(self, epoch: int, step: int, tally: Tally) -> None:
        self.on_event(
            events.Progress(
                epoch=epoch,
                step=step,
                samples=self.samples,
                loss=tally.mean_loss,
                lr=self.optimizer.lr,
            )
        )

    def _finish_epoch(self, epoch: int, tally: Tally, began: float) -> None:
        self.optimizer.follow("epoch", tally.mean_loss, tally.correct / max(tally.samples, 1))
        with self.averaged():
            tested = self.test()
        done = events.EpochDone(
            epoch=epoch,
            samples=self.samples,
            train_loss=tally.mean_loss,
            train_accuracy=tally.correct / max(tally.samples, 1),
            test_loss=tested.finite_loss,
            test_errors=tested.errors,
            test_samples=tested.samples,
            lr=self.optimizer.lr,
            seconds=time.perf_counter() - began,
        )
        self.done.append(done)
        self.on_event(done)

    def test(self) -> Tally:
        """Run the whole test set through the evaluation graph."""
        transforms = self.plan.recipe.test_transform
        return self.score(self.test_images, self.test_labels, transforms)

    def recalled(self) -> events.Recalled:
        """Run some training images through the evaluation graph, prepared as in testing.

        A network that answers the test knows them as well: it learned from nothing else.
        """
        every = max(1, len(self.images) // _RECALLED)
        images, labels = self.images[::every], self.labels[::every]
        tally = self.score(images, labels, self.plan.recipe.test_transform)
        return events.Recalled(asked=tally.samples, errors=tally.errors)

    def score(
        self, images: torch.Tensor, labels: torch.Tensor, transforms: list[schema.Transform]
    ) -> Tally:
        """Run images [N, C, H, W] through the evaluation graph."""
        tally = Tally()
        self.network.eval()
        with torch.no_grad():
            for start in range(0, len(images), TEST_BATCH):
                batch = slice(start, start + TEST_BATCH)
                target = labels[batch]
                seen = self.prepared(images[batch], transforms)
                output = _scores(self.network(seen), len(target), self.classes)
                correct = _correct(output, target)
                tally.add(float(self._loss(output, target)), correct, len(target))
        return tally


def as_maps(images: Bytes) -> torch.Tensor:
    """Return images [N, H, W], or [N, C, H, W], as a tensor [N, C, H, W] of the same memory."""
    pixels = torch.from_numpy(images)
    return pixels.unsqueeze(1) if pixels.dim() == 3 else pixels


def _scores(output: torch.Tensor, count: int, classes: int) -> torch.Tensor:
    """Return the output if it has a row of scores for each of `count` images."""
    if output.dim() != 2 or len(output) != count or output.shape[1] < classes:
        raise SubmissionError(
            "the network's output is not a row of class scores for each image",
            expected=f"[{count}, {classes}] for a batch of {count}",
            found=str(list(output.shape)),
        )
    return output


def _correct(output: torch.Tensor, target: torch.Tensor) -> int:
    """Count the images whose largest score is their label's; no score may be NaN or infinite."""
    right = (output.argmax(1) == target) & output.isfinite().all(1)
    return int(right.sum())
