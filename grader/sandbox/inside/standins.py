"""Stand-ins for packages that only show or log. Runs in the sandbox."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Self

import clicked
import configured
import engines
import fitting
import frames
import lost
import patches
from modules import Changed, Finder
from placeholders import Placeholder, Quiet


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


_QUIET = {
    "IPython", "addict", "comet_ml", "dotenv", "easydict", "fire", "google",
    "livelossplot", "matplotlib", "mlflow", "neptune", "plotly", "pylab", "requests",
    "seaborn", "sklearn", "tensorboard", "tensorboardX", "torchinfo", "torchmetrics",
    "torchsummary", "torchviz", "tqdm", "visdom", "wandb", *configured.NAMES, *engines.NAMES,
    *fitting.NAMES,
}  # fmt: skip


def _is_quiet(name: str) -> bool:
    return name.partition(".")[0] in _QUIET or name == "torch.utils.tensorboard"


def _fill(module: types.ModuleType) -> None:
    """Fill those that programs need."""
    package = module.__name__.partition(".")[0]
    if package == "tqdm":
        spans = {"trange": _turns, "tnrange": _turns}
        vars(module).update({"tqdm": Bar, "tqdm_notebook": Bar, **spans})
    elif package in fitting.NAMES:
        fitting.fill(module)
    elif package in engines.NAMES:
        engines.fill(module)
    elif package in configured.NAMES:
        configured.fill(module)
    elif package == "fire":
        vars(module)["Fire"] = clicked.fire
    elif package == "sklearn":
        frames.fill(module)
    elif package in ("easydict", "addict"):
        vars(module)["EasyDict" if package == "easydict" else "Dict"] = fitting.Kept
    elif package == "requests":
        vars(module)["get"] = lost.fetched
    elif module.__name__ == "wandb":
        vars(module).update({"config": fitting.Kept(), "init": partial(_configured, module)})


def _configured(wandb: types.ModuleType, *args: object, **options: Any) -> Quiet:
    """Stand for `wandb.init`, whose configuration is read again as `wandb.config`."""
    given = options.get("config")
    vars(wandb)["config"].update(given if isinstance(given, dict) else vars(given) if given else {})
    run = Quiet("wandb.run")
    vars(run)["config"] = vars(wandb)["config"]
    return run


def _turns(*bounds: int, **options: object) -> Bar:
    return Bar(range(*bounds))


def _uncompiled(numba: types.ModuleType) -> None:
    """Let functions run as they stand: no file holds them, which compiled code is kept beside."""
    vars(numba).update(dict.fromkeys(("jit", "njit", "vectorize"), patches.decorator))


def be_quiet() -> None:
    """Let packages that only show or log do nothing."""
    for name in [n for n, module in sys.modules.items() if isinstance(module, Placeholder)]:
        del sys.modules[name]
    changed = Changed({
        "pandas": partial(frames.let_read, pickled=lost.pickled),
        **dict.fromkeys(("click.core", "typer._click.core"), clicked.let_train),
        "numba": _uncompiled,
    })  # fmt: skip
    sys.meta_path[:0] = [Finder(_is_quiet, Quiet, _fill), changed]
