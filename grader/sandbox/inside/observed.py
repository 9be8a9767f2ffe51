"""The recipe of a training that was watched, as the JSON of `grader.plan.schema`. In the sandbox.

A part that a Plan cannot hold is left to the default recipe, with a note.
"""

from __future__ import annotations

import contextlib
import copy
import linecache
from collections.abc import Callable
from typing import Any

import torch
from capture import loss_json
from data import Loader, asked, made_up, unwrapped
from explain import explain
from modules import Failure
from noted import NOWHERE, Call, Made, Place
from recipe import Part, left_out, within_bounds
from replay import Loss, Penalty, images_of, known_loss, loss_of, not_plain
from schedules import (
    BY_BATCH,
    MOST_STEPS,
    Simulation,
    constant,
    optimizer_json,
    plateau_json,
    plateau_note,
    shortest,
    summary,
)
from slices import Sliced
from tensors import CannotCapture
from torch.optim import lr_scheduler
from torch.utils import data
from trained import Training, broken
from transforms import applied_by, transforms_json
from watch import Watch

Json = dict[str, Any]


class Observed:
    """Works out the parts of a recipe, one after the other."""

    def __init__(
        self, training: Training, watch: Watch, failures: list[Failure], defaults: Json,
        files: set[str],
    ) -> None:  # fmt: skip
        self.failures = failures
        self.training, self.watch, self.defaults, self.files = training, watch, defaults, files
        self.found: Json = {}
        self.facts: list[Json] = []
        self.notes: list[str] = []
        self.rebuilt_notes: list[str] = []  # that hold only where the grader's loop trains
        self.loader = training.passes[-1].loader if training.passes else None
        self.loss: Loss | None = None
        self.by_hand = ""  # what no schedule says of the learning rates

    def describe(self, names: dict[int, str], classes: int, epochs: Part | None) -> Json:
        """Return the parts that were seen; `epochs` is what the file says of their number."""
        if self.loader is not None and not self.loader.lent:
            self._passes(self.loader, epochs)
        self._losses(classes)
        if self.training.optimizers:
            self._optimizer(names)
        return self.found

    def _passes(self, loader: Loader, epochs: Part | None) -> None:
        loop = self._loop(loader)
        self._take("epochs", lambda: self._epochs(loop, epochs), loop)
        self._take("batch_size", lambda: self._batch_size(loader), self._place_of(loader))
        self.found["drop_last"] = bool(getattr(_batches(loader), "drop_last", False))
        self._transform("train_transform", loader)
        if (test := self._test_loader(loader)) is not None:
            self._transform("test_transform", test)

    def level(self) -> tuple[str, str]:
        """Return the level at which it has to be graded, and why it is no plain loop."""
        loss = self.loss if "loss" in self.found else None
        reason = not_plain(self.training, loss) if self.training.passes else ""
        reason = reason or self.by_hand
        if reason and isinstance(self.loader, Sliced):  # which no images can be handed to
            self.notes.append(f"its own loop is left out, and trained is its recipe: {reason}")
            reason = ""
        return ("sandboxed" if reason else "rebuilt"), reason

    def _take(self, key: str, read: Callable[[], Any], place: Place, shown: str = "") -> None:
        try:
            self.found[key] = within_bounds(key, read())
        except Exception as error:  # of the submission's code
            self._leave_out(key, error, place)
        else:
            text = shown or str(self.found[key])
            self.facts.append({"about": key, "value": text[:2000], "where": str(place)})

    def _leave_out(self, key: str, error: Exception, place: Place) -> None:
        told = explain(error, self.files)
        text = place.text or linecache.getline(place.file, place.line).strip()
        self.notes.append(left_out(key, text, told["message"], told["where"] or str(place)))

    def _epochs(self, loop: Place, said: Part | None) -> Any:
        """Count the passes; where their loop ended early, what it says, or the file, counts."""
        count = sum(each.epochs for each in self.training.passes)
        declared = self.watch.turns.get(loop, 0)
        failure = broken(loop, self.failures, self.watch)
        error = failure.error if failure is not None and not declared else None
        passes = self.training.passes
        single = len(passes) > 1 and not any(p.finished or p.counted for p in passes)
        if single or (failure is not None and isinstance(failure.error, StopIteration)):
            error = CannotCapture(
                "it draws single batches, so that its epochs cannot be counted",
                "go over the loader with `for`",
            )
        if loop in self.watch.uncounted:
            error = CannotCapture("how long it trains depends on what it has learned")
        if error is not None:
            if said is None:
                raise error
            return said.thing
        if loop in self.watch.kept_on:
            self.notes.append(f"its loop may end before {count} epochs, by what it learns ({loop})")
        if count < declared:
            self.notes.append(
                f"its loop of {declared} epochs was left after {count} of them here; all are taken "
                f"over ({loop})"
            )
            return declared
        return count

    def _loop(self, loader: Loader) -> Place:
        """Return the loop over the epochs: the innermost that all passes stand in."""
        common = list(self.training.passes[0].around)
        for each in self.training.passes[1:]:
            common = [place for place in common if place in each.around]
        return common[-1] if common else self._place_of(loader)

    def _place_of(self, loader: Loader) -> Place:
        if isinstance(loader, Sliced):
            return loader.place
        return next((place for made, place in self.watch.loaders if made is loader), NOWHERE)

    def _batch_size(self, loader: Loader) -> int:
        size = getattr(_batches(loader), "batch_size", None)
        if not isinstance(size, int):
            raise CannotCapture("the loader does not say how many images a batch has")
        return min(size, asked.kind.train)

    # Transforms

    def _test_loader(self, loader: Loader) -> Loader | None:
        """Return the last loader that was gone over without learning, of another data set."""
        own = {id(d) for d in unwrapped(loader.dataset)}
        for each in reversed(self.watch.passes):
            last = list(unwrapped(each.loader.dataset))
            if not each.trains and each.loader is not loader and not own & {id(d) for d in last}:
                return each.loader
        return None

    def _transform(self, key: str, loader: Loader) -> None:
        held = _transforms_of(loader.dataset)
        applied = applied_by(loader.dataset) if not held else []
        if not held and not applied:
            if key == "train_transform" and (steps := self._scaled(loader)):
                self._in_colours(steps, loader)
                self._take(key, lambda: steps, self._place_of(loader))
                self.facts[-1]["value"] = " → ".join(step["type"] for step in steps)
            return
        place = self._dataset_place(loader)
        notes: list[str] = []

        def read() -> list[Json]:
            if applied:
                return self._among(applied, loader, notes)
            return _chained(held, notes)

        self._take(key, read, place)
        self.notes += notes
        if key in self.found:
            self._as_seen(self.found[key], loader)
            self._in_colours(self.found[key], loader)
            self.facts[-1]["value"] = " → ".join(step["type"] for step in self.found[key])

    def _among(
        self, applied: list[tuple[Any, bool]], loader: Loader, notes: list[str]
    ) -> list[Json]:
        """Map transforms that a data set calls: those of floats come after what scales pixels."""
        steps = transforms_json([step for step, _ in applied], [])
        scaled = self._scaled(loader)
        if not scaled or any(step["type"] == "normalize" for step in steps):
            return transforms_json([step for step, _ in applied], notes)
        ahead, after = (
            transforms_json([step for step, floats in applied if floats == late], notes)
            for late in (False, True)
        )
        ahead, after = ([s for s in each if s["type"] != "to_float"] for each in (ahead, after))
        return [*ahead, *scaled, *after]

    def _as_seen(self, steps: list[Json], loader: Loader) -> None:
        """Take the range that pixels were seen in, where steps that only scale give another one.

        `ToTensor` leaves numbers in an array as they are, and a data set may scale by itself.
        """
        seen = self._scaled(loader)
        if not seen or any(step["type"] not in ("to_float", "normalize") for step in steps):
            return
        wanted, given = _range(seen), _range(steps)
        if any(abs(w - g) > 0.02 * max(1, abs(w)) for w, g in zip(wanted, given, strict=True)):
            steps[:] = seen

    def _in_colours(self, steps: list[Json], loader: Loader) -> None:
        """Let grey images have the channels that they were seen with, if no step gives them."""
        images, grey = self._images(loader), asked.kind.channels
        if images is None or images.dim() != 4 or grey == 3 or images.shape[1] not in (1, 3):
            return
        given = [step["count"] for step in steps if step["type"] == "channels"]
        count = images.shape[1]
        if count != [grey, *given][-1]:
            steps.insert(len(steps) if given else 0, {"type": "channels", "count": count})

    def _images(self, loader: Loader) -> torch.Tensor | None:
        """Return the images of the first batch that was seen of a loader."""
        batches = (b for p in self.watch.passes if p.loader is loader for b in p.batches)
        with contextlib.suppress(StopIteration):  # of a batch without images
            return images_of(next(batches).content)
        return None

    def _scaled(self, loader: Loader) -> list[Json]:
        """Return the steps that scale pixels as those of a loader are; none, if it does more."""
        kind, images = asked.kind, self._images(loader)
        if images is None:
            return []
        least, most = float(images.min()), float(images.max())
        between = torch.minimum(images - least, most - images).max()
        if images.shape[-1] % kind.size or not float(between) <= 0.02 * (most - least):
            return []  # made-up pixels are either dark or bright
        slope = (most - least) * 255 / float(made_up(kind)[0].max())
        if not slope > 0:
            return []
        if abs(slope - 1) < 0.02 and abs(least) < 0.01:
            return [{"type": "to_float"}]
        mean, std = round(-least / slope, 4) + 0.0, round(1 / slope, 6)
        return [{"type": "to_float"}, {"type": "normalize", "mean": [mean], "std": [std]}]

    def _dataset_place(self, loader: Loader) -> Place:
        for dataset in unwrapped(loader.dataset):
            if id(dataset) in self.watch.datasets:
                return self.watch.datasets[id(dataset)]
        return self._place_of(loader)

    # Loss

    def _losses(self, classes: int) -> None:
        batch = next((b for b in self.training.batches if b.loss is not None), None)
        if batch is None:
            return
        place = batch.place
        try:
            self.loss, named = loss_of(batch)
            place = named.place if named is not None else place
            self._loss(loss_json(self.loss, classes, self.files), place, place.text)
        except Exception as error:  # of what a graph cannot hold, or of the submission's code
            if (known := known_loss(self.training)) is not None:
                name, self.loss = known
                self._loss(loss_json(self.loss, classes, self.files), place, name)
            elif isinstance(error, Penalty):
                self._partial(batch.calls, place, classes)
            else:
                self._leave_out("loss", error, place)

    def _loss(self, described: Json, place: Place, shown: str) -> None:
        self._take("loss", lambda: described, place, shown)

    def _partial(self, calls: list[Call], place: Place, classes: int) -> None:
        """Take over the part of a loss that has a name, without the penalties added to it."""
        names = [
            c for c in calls if "loss" in c.function.__name__ or "entropy" in c.function.__name__
        ]
        if not names:
            return
        call = names[-1]

        def alone(output: torch.Tensor, target: torch.Tensor) -> Any:
            return call.function(output, target, *call.args[2:], **_rest(call.options))

        self._take(
            "loss", lambda: loss_json(alone, classes, self.files), call.place, call.place.text
        )
        self.rebuilt_notes.append(
            f"what is added to the loss is not part of the recipe: only `{call.place.text}` is "
            f"taken over ({call.place})"
        )

    # Optimiser and rates

    def _optimizer(self, names: dict[int, str]) -> None:
        optimizer = self.training.optimizers[-1]
        made = next((m for m in self.watch.optimizers if m.thing is optimizer), None)
        place = made.place if made else NOWHERE
        first = _as_made(optimizer, made)
        self._take("optimizer", lambda: optimizer_json(first, names), place)
        if "optimizer" not in self.found:
            return
        self.facts[-1]["value"] = summary(self.found["optimizer"])
        self.found["schedule"] = constant(first)
        self._schedule(optimizer, first)

    def _schedule(self, optimizer: Any, first: Any) -> None:
        made = [m for m in self.watch.schedulers if _optimizer_of(m) is optimizer]
        moved = [m for m in made if m.moves]
        if made and not self.training.passes:
            moved = made
        if moved:
            chosen = moved[-1]
            shown = type(chosen.thing).__name__
            self._take("scheduler", lambda: self._rates(chosen, first), chosen.place, shown)
            if "scheduler" in self.found:
                self.found["schedule"] = self.found.pop("scheduler")
        elif made:
            self.notes.append(f"scheduler: never stepped ({made[-1].place})")
        plateau = self.found.get("schedule", {}).get("plateau")
        if plateau and len(self.training.optimizers) > 1:
            self.by_hand = "it steps several optimisers"
        if "schedule" in self.found and not plateau:
            by_batch = bool(moved) and _by_batch(moved[-1])
            self._compare_rates(by_batch=by_batch)
            if by_batch:
                self._stretch()

    def _stretch(self) -> None:
        """Give epochs of a plan, which go over all images, the rates that epochs of a part had."""
        own, steps = self._own_steps(), self._steps()
        schedule = self.found["schedule"]
        if steps * self.defaults["max_epochs"] > MOST_STEPS:
            return  # a plan holds no more
        for kind in ("lr", "momentum") if own != steps else ():
            for at, rates in enumerate(schedule[kind] or ()):
                begins = range(0, len(rates) if len(rates) > 1 else 0, own)
                turns = [b + step * own // steps for b in begins for step in range(steps)]
                schedule[kind][at] = [rates[turn] for turn in turns] or rates

    def _own_steps(self) -> int:
        """Return how many batches a pass of the file's own loader has."""
        loader = None if isinstance(self.loader, Sliced) else self.loader
        with contextlib.suppress(Exception):  # of what has no length, or one of its own
            return max(1, len(loader)) if loader is not None else self._steps()
        return self._steps()

    def _rates(self, made: Made, first: Any) -> Json:
        """Return the learning rate of every step, as the scheduler gives them."""
        by_batch = _by_batch(made)
        if isinstance(made.thing, lr_scheduler.ReduceLROnPlateau):
            self.rebuilt_notes.append(plateau_note(made.thing))
            return {**constant(first), "plateau": plateau_json(made.thing, by_batch)}
        optimizer = copy.copy(first)
        optimizer.param_groups = [dict(group) for group in first.param_groups]
        for group, seen in zip(optimizer.param_groups, made.groups, strict=True):
            group.update(seen)
        scheduler = self._again(made, optimizer)
        epochs = self.found.get("epochs") or self.defaults["epochs"]
        trained = min(epochs, self.defaults["max_epochs"])
        early = made.moves[:1] == ["early"]
        return Simulation(optimizer, scheduler, by_batch, early).run(
            trained, self._own_steps() if by_batch else self._steps()
        )

    def _again(self, made: Made, optimizer: Any) -> Any:
        """Make a scheduler once more, for another optimiser."""

        def twin(value: Any) -> Any:
            inner = next((m for m in self.watch.schedulers if m.thing is value), None)
            if inner is not None:
                return self._again(inner, optimizer)
            if isinstance(value, (list, tuple)):
                return type(value)([twin(v) for v in value])
            return optimizer if isinstance(value, torch.optim.Optimizer) else value

        args = [twin(value) for value in made.args]
        return type(made.thing)(*args, **{k: twin(v) for k, v in made.options.items()})

    def _steps(self) -> int:
        size, samples = self.found.get("batch_size"), asked.kind.train
        size = size or self.defaults["batch_size"]
        return int(samples // size if self.found.get("drop_last") else -(-samples // size))

    def _compare_rates(self, *, by_batch: bool) -> None:
        """Where the rates that were seen are not the scheduler's, take those that were seen."""
        steps, most = self._steps(), self.defaults["max_epochs"]
        passes = self.training.passes[:most]
        rates = self.found["schedule"]["lr"]
        index, seen, right = 0, [], True
        for turn, each in enumerate(passes):
            own = [[float(g["lr"]) for g in groups] for b in each.batches for _, groups in b.steps]
            for rate in own:
                at = index if by_batch else turn * steps
                right &= rate == [values[min(at, len(values) - 1)] for values in rates]
                index += 1
            seen.append(own)
        if right or not all(seen):
            return
        if by_batch:
            self.by_hand = "its scheduler does more than move on once after every batch"
        elif all(rate == own[0] for own in seen for rate in own):
            by_epoch = [own[0] for own in seen]
            lr = [[e[g] for e in by_epoch for _ in range(steps)] for g in range(len(rates))]
            self.found["schedule"] = {"lr": [shortest(v) for v in lr], "momentum": None}
        else:
            self.by_hand = "it sets the learning rate by hand, from batch to batch"


def _batches(loader: Loader) -> Any:
    """Return what makes the batches: the sampler of batches, or the loader itself."""
    return loader.batch_sampler if loader.batch_sampler is not None else loader


def _range(steps: list[Json]) -> tuple[float, float]:
    """Return what steps that only scale make of the darkest and the brightest pixel."""
    low, high = 0.0, 1.0
    for step in steps:
        if step["type"] == "normalize":
            mean, std = step["mean"][0], step["std"][0]
            low, high = (low - mean) / std, (high - mean) / std
    return low, high


def _rest(options: Json) -> Json:
    return {k: v for k, v in options.items() if k not in ("input", "target")}


def _optimizer_of(made: Made) -> Any:
    return getattr(made.thing, "optimizer", None)


def _by_batch(made: Made) -> bool:
    return isinstance(made.thing, BY_BATCH) if not made.moves else made.moves[0] != "pass"


def _as_made(optimizer: Any, made: Made | None) -> Any:
    """Return an optimiser as it was before its first step."""
    twin = copy.copy(optimizer)
    twin.param_groups = [dict(group) for group in optimizer.param_groups]
    for group, first in zip(twin.param_groups, made.groups if made else [], strict=False):
        group.update(first)
        group.pop("initial_lr", None)
    return twin


def _transforms_of(dataset: Any) -> list[Any]:
    """Return the transforms of a data set and of those it is made of, from the outside in.

    Of data sets that stand side by side the first counts.
    """
    sets = list(unwrapped(dataset))
    found = [getattr(d, "transform", None) or getattr(d, "transforms", None) for d in sets]
    held = list({id(each): each for each in found if each is not None}.values())
    return held[:1] if any(isinstance(d, data.ConcatDataset) for d in sets) else held


def _chained(held: list[Any], notes: list[str]) -> list[Json]:
    """Map the transforms of nested data sets, which are applied from the inside out.

    Where bytes would become floats twice, the outermost passes the others by.
    """
    told: list[str] = []
    steps = transforms_json(held[::-1], told)
    if sum(step["type"] == "to_float" for step in steps) > 1:
        steps = transforms_json(held[0], told := [])
    notes += told
    return steps
