"""Mini-batch loops over slices of tensors: their passes are short and noted, as a loader's are.

Runs in the sandbox. Every `for` of a submission asks `Slices` what to go over. The innermost loop
in whose turns a model is called, outside any pass over a loader, is one over mini-batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from data import FIRST, LATER, Batches, Loader, asked
from noted import Batch, Pass, Place
from torch.utils import data

if TYPE_CHECKING:
    from watch import Watch

_FEWEST = 6_000  # images of a loop that is a pass over a data set, and no trial of a few
_MANY = 1_000  # turns that ask about few images are as good as one about a mini-batch
_SMALLEST, LARGEST = 2, 9_999  # images of a mini-batch


@dataclass(eq=False)
class Loop:
    """A loop that is under way; `turns` is how many it has, if that is known.

    `holds` says that a pass was begun in it, and `looked` in how many turns a model was only
    asked.
    """

    place: Place
    things: Iterable[Any]
    turns: int | None = None
    batch: Batch | None = None
    began: Pass | None = None
    holds: bool = False
    looked: float = 0
    enough: bool = False


class Sliced(Loader):
    """Stands for the loader that a loop over slices does without."""

    def __init__(self, loop: Loop, rows: int) -> None:
        """Take the loop, and how many images its first batch has."""
        self.place, turns, most = loop.place, loop.turns, asked.kind.train
        whole = most if turns is None else turns * rows
        if isinstance(loop.things, range) and loop.things.step == rows:
            whole = loop.things.stop - loop.things.start
        self.epochs = max(1, round(whole / most))  # batches may be drawn without end
        images = most if abs(whole - most) < rows or self.epochs > 1 else whole
        cut = images == most and turns == images // rows < images / rows
        held = data.TensorDataset(torch.empty(images, 0))
        data.DataLoader.__init__(self, held, batch_size=rows, drop_last=cut)


class Slices:
    """The loops that are under way."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._under_way: list[Loop] = []
        self._owner: Loop | None = None  # the loop that the current batch is of
        self._loaders: dict[Place, Sliced] = {}
        self._looked_through: set[Place] = set()  # loops that only ask a model

    @property
    def in_a_loop(self) -> bool:
        """Whether a loop is under way."""
        return bool(self._under_way)

    def turns(self, things: Any, place: Place) -> Any:
        """Return what a loop goes over: all of it, until enough was seen of its mini-batches."""
        return things if isinstance(things, Loader | Batches) else self._turns(things, place)

    def _turns(self, things: Any, place: Place) -> Iterator[Any]:
        loop = Loop(place, things)
        with contextlib.suppress(Exception):  # of what has no length
            loop.turns = len(things)
        self._under_way.append(loop)
        try:
            for thing in things:
                yield thing
                self._turned(loop)
                if loop.enough:
                    return
        finally:
            self._turned(loop)
            self._under_way.remove(loop)

    def held(self) -> None:
        """Note that a pass begins: no loop around it is one over mini-batches."""
        for loop in self._under_way:
            loop.holds = True

    def called(self, images: Any, *others: Any) -> None:
        """Note a call of a model, which may begin a batch; `others` may be its labels."""
        loop = self._under_way[-1] if self._under_way else None
        free = self._watch.now is None or self._owner not in (None, loop)
        if loop is None or loop.holds or not free or not isinstance(images, torch.Tensor):
            return
        rows = images.shape[0] if images.dim() else 0
        if rows > LARGEST:
            return
        if rows < _SMALLEST or not torch.is_grad_enabled():
            loop.looked += 1 if rows > 30 else 1 / _MANY  # of few, somebody wants to see all
        elif rows * (loop.turns or _FEWEST) >= _FEWEST:
            self._end()
            own = images.detach().clone()  # or it would hold all that it is a slice of
            self._owner, loop.batch = loop, self._watch.begin([own, *others])

    def _turned(self, loop: Loop) -> None:
        """End a turn, and with it its batch."""
        if self._owner is loop:
            self._end()
        few = LATER if loop.place in self._looked_through else FIRST
        if loop.looked >= few and not loop.holds:
            self._looked_through.add(loop.place)
            loop.enough = True

    def _end(self) -> None:
        loop, self._owner = self._owner, None
        if loop is None or loop.batch is None:
            return
        batch, loop.batch = loop.batch, None
        images, *given = batch.content
        batch.content = [images, *_labels(batch, given, len(images))]
        self._watch.end(batch)
        if not batch.backwards:
            return
        if loop.began is None:
            loader = self._loaders.setdefault(loop.place, Sliced(loop, len(images)))
            loop.began = self._watch.pass_begun(loader, loader.epochs)
            loop.holds = False
        loop.began.batches.append(batch)
        loop.enough = len(loop.began.batches) >= (FIRST if loop.began.number < 2 else LATER)
        loop.began.finished = loop.enough


def _labels(batch: Batch, given: list[Any], rows: int) -> list[torch.Tensor]:
    """Return the labels of a batch: whole numbers, or rows, its loss, or its model, is given.

    What is made of the model's scores is none of them; what is put beside such comes first.
    """
    read = [(*call.args, *call.options.values()) for call in batch.calls]
    read.sort(key=lambda things: not any(id(thing) in batch.derived for thing in things))
    everything = (thing for things in (given, *read) for thing in things)
    tensors = [t for t in everything if isinstance(t, torch.Tensor) and id(t) not in batch.derived]
    found = [t for t in tensors if t.shape == (rows,) and not t.is_floating_point()]
    coded = [t for t in tensors if t.shape == (rows, asked.kind.classes) and not t.requires_grad]
    return [*found, *coded][:1]
