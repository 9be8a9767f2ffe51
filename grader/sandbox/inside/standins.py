"""What a submission's training is handed instead of datasets, and of packages that only show.

Runs in the box. A loader counts its passes; where its batches come from is not its affair.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import math
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self

import torch
from modules import Placeholder

Batch = tuple[torch.Tensor, torch.Tensor]  # images [B, C, H, W] and labels [B]


_RECENT = 5_000  # images of which a loader remembers that it handed them out


class Images:
    """Stands for a dataset: it has a length and nothing else."""

    def __init__(self, count: int) -> None:
        """Stand for `count` images."""
        self.count = count

    def __len__(self) -> int:
        """Return how many images it has."""
        return self.count


class Loader:
    """Stands for a `DataLoader`; each pass takes its batches from a new `source()`.

    `passes` counts those that were begun, `finished` those that came to their end; `after_batch`
    is called when the next batch is asked for; `recent` are the last batches.
    """

    def __init__(
        self, source: Callable[[], Iterable[Batch]], images: int, batch_size: int,
        drop_last: bool = False,
    ) -> None:  # fmt: skip
        """Seem to hold `images` in batches of `batch_size`."""
        self.dataset = self.sampler = Images(images)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.passes = self.finished = 0
        self.after_batch: Callable[[], None] = _nothing
        self.recent: deque[Batch] = deque(maxlen=1 + _RECENT // batch_size)
        self._source = source

    def __len__(self) -> int:
        """Return how many batches one pass has."""
        return (math.floor if self.drop_last else math.ceil)(len(self.dataset) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Begin a pass."""
        self.passes += 1
        for batch in self._source():
            self.recent.append(batch)
            yield batch
            self.after_batch()
        self.finished += 1


def _nothing() -> None:
    """Do nothing."""


class Bar:
    """Stands for tqdm: gives what it is handed, and shows nothing."""

    def __init__(self, iterable: Iterable[Any] = (), *args: object, **options: object) -> None:
        """Wrap an iterable."""
        self.iterable = iterable
        self.n = 0

    def __iter__(self) -> Iterator[Any]:
        """Go through it."""
        return iter(self.iterable)

    def __len__(self) -> int:
        """Return its length."""
        return len(self.iterable)  # type: ignore[arg-type] # if it has one

    def __enter__(self) -> Self:
        """Do nothing."""
        return self

    def __exit__(self, *error: object) -> None: ...

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Give a method that does nothing: `set_description`, `update`, `close`."""
        return lambda *args, **options: None

    @staticmethod
    def write(*args: object, **options: object) -> None:
        """Do nothing."""


class Quiet(Placeholder):
    """Stands for a package that shows or logs: whatever is called does nothing."""

    def __getattr__(self, name: str) -> Any:
        """Give something else that does nothing."""
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Quiet(f"{self.__name__}.{name}")

    def __call__(self, *args: object, **options: object) -> Any:
        """Do nothing, and give something that does nothing."""
        return self

    def __enter__(self) -> Self:
        """Do nothing."""
        return self

    def __exit__(self, *error: object) -> None: ...


_QUIET = {
    "IPython", "google", "livelossplot", "matplotlib", "mlflow", "plotly", "seaborn",
    "tensorboard", "tensorboardX", "torchinfo", "torchsummary", "tqdm", "visdom", "wandb",
}  # fmt: skip


class QuietFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked before all others: gives packages that only show or log as ones that do nothing."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Answer for those packages and all that is inside them."""
        known = name.partition(".")[0] in _QUIET or name == "torch.utils.tensorboard"
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if known else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Make the stand-in."""
        return Quiet(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Fill tqdm, the one of them that programs need."""
        if module.__name__.partition(".")[0] == "tqdm":
            spans = {"trange": _turns, "tnrange": _turns}
            vars(module).update({"tqdm": Bar, "tqdm_notebook": Bar, **spans})


def _turns(*bounds: int, **options: object) -> Bar:
    return Bar(range(*bounds))


def be_quiet() -> None:
    """Let packages that only show or log do nothing, and lost checkpoints be no error."""
    for name in [n for n, module in sys.modules.items() if isinstance(module, Placeholder)]:
        del sys.modules[name]
    sys.meta_path.insert(0, QuietFinder())
    torch.save = _save(torch.save)


def _save(save: Callable[..., None]) -> Callable[..., None]:
    def saved(*args: Any, **options: Any) -> None:
        try:
            save(*args, **options)
        except (OSError, RuntimeError):
            return  # a folder of another machine, such as a mounted drive

    return saved
