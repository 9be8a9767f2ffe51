"""Stands for files that are not there: the archives of the data set, and weights saved elsewhere.

Runs in the sandbox. An archive is known by its name, and made when it is first opened.
"""

from __future__ import annotations

import builtins
import gzip
import io
import os
import pickle
import re
import shutil
import tempfile
import urllib.request
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from data import asked, made_up
from frames import table
from modules import Placeholder, Quiet

_IDX = re.compile(r"(train|t10k|test).*(image|label|idx3|idx1)", re.I)
_CSV_ROWS = 1_000  # of a table that is read as text
_MADE: dict[str, str] = {}
LOST: list[str] = []
"""Files of weights that were to be loaded."""


def install() -> None:
    """Let files of the data set be found, and weights that are not there be none."""
    np.load = _known(np.load)
    np.fromfile = _known(np.fromfile)
    np.loadtxt, np.genfromtxt = _known(np.loadtxt), _known(np.genfromtxt)
    gzip.open = _known(gzip.open)
    torch.load = _load(torch.load)
    Placeholder.known = staticmethod(_of_packages)
    urllib.request.urlopen = _sent(urllib.request.urlopen)
    urllib.request.urlretrieve = _kept(urllib.request.urlretrieve)
    for name in ("exists", "isfile"):
        setattr(os.path, name, _there(getattr(os.path, name)))


def opened(path: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
    """Do what `open` does, also for a file of the data set that is not there."""
    reads = isinstance(path, str | os.PathLike) and "r" in mode and "+" not in mode
    return builtins.open(_place(path) if reads else path, mode, *args, **options)  # noqa: PTH123


def _known(function: Callable[..., Any]) -> Callable[..., Any]:
    def known(path: Any, *args: Any, **options: Any) -> Any:
        named = isinstance(path, str | os.PathLike) and "w" not in "".join(map(str, args[:1]))
        return function(_place(path) if named else path, *args, **options)

    return known


def _of_packages(name: str) -> Any:
    """Give the data set as Keras and python-mnist hand it to whoever trains with PyTorch."""
    if re.search(r"keras\.datasets\.\w*mnist\.load_data$", name):
        return _half("train"), _half("test")
    if half := re.fullmatch(r"mnist\.MNIST\.load_(train|test)ing", name):
        images, labels = _half(half[1])
        return images.reshape(len(images), -1), labels
    return None


def _sent(urlopen: Callable[..., Any]) -> Callable[..., Any]:
    def sent(url: Any, *args: Any, **options: Any) -> Any:
        known = _maker(url) is not None
        return open(_place(url), "rb") if known else urlopen(url, *args, **options)  # noqa: PTH123

    return sent


def _kept(urlretrieve: Callable[..., Any]) -> Callable[..., Any]:
    def kept(url: Any, name: Any = None, *args: Any, **options: Any) -> Any:
        if _maker(url) is None:
            return urlretrieve(url, name, *args, **options)
        return (_place(url) if name is None else shutil.copy(_place(url), name)), None

    return kept


def fetched(url: Any, *args: object, **options: object) -> Quiet:
    """Stand for `requests.get`, which is answered where an archive of the data set is asked for."""
    answer = Quiet("requests.get")
    if _maker(url) is not None:
        with builtins.open(_place(url), "rb") as file:  # noqa: PTH123
            content = file.read()
        parts = {"content": content, "iter_content": lambda *_, **__: iter([content])}
        vars(answer).update(parts, status_code=200, ok=True)
    return answer


def _there(function: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda path: function(path) or _maker(path) is not None


def _place(path: Any) -> Any:
    """Return where a file is: at its place, or where it is made up."""
    maker = _maker(path)
    if maker is None or os.access(path, os.F_OK):
        return path
    name = _named(path)
    if name not in _MADE:
        place = os.path.join(tempfile.mkdtemp(), name)  # noqa: PTH118
        with builtins.open(place, "wb") as file:  # noqa: PTH123
            file.write(maker(name))
        _MADE[name] = place
    return _MADE[name]


def _named(path: Any) -> str:
    """Return the name of a file, with a path or an address of any machine."""
    return re.split(r"[\\/]", os.fspath(path))[-1]


def _maker(path: Any) -> Callable[[str], bytes] | None:
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        return None
    name = _named(path).lower()
    if name.endswith(".csv"):
        return _csv if table(name) is not None else None
    if re.match(r"(fashion[-_]?)?mnist", name) and name.endswith((".npz", ".pkl.gz", ".pkl")):
        return _npz if name.endswith(".npz") else _pickle
    idx = _IDX.match(name) and re.search(r"ubyte|idx", name)
    return _idx if idx and not name.endswith((".pt", ".py")) else None


def _half(name: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Make the images and labels of the half that a name speaks of."""
    kind = asked.kind
    count = kind.train if "train" in name.lower() else kind.test
    images, labels = made_up(kind)
    return np.resize(images.numpy(), (count, *images.shape[1:])), np.resize(labels.numpy(), count)


def _idx(name: str) -> bytes:
    images, labels = _half(name)
    if re.search(r"image|idx3", name, re.I):
        head = [0x803, *images.shape]
        content = images.tobytes()
    else:
        head, content = [0x801, len(labels)], labels.astype(np.uint8).tobytes()
    made = np.array(head, ">i4").tobytes() + content
    return gzip.compress(made, 1) if name.lower().endswith(".gz") else made


def _csv(name: str) -> bytes:
    made = table(name)
    lines = [",".join(map(str, made.columns))]
    lines += [",".join(map(str, row)) for row in made[:_CSV_ROWS].tolist()]
    return "\n".join(lines).encode()


def _npz(name: str) -> bytes:
    file = io.BytesIO()
    (x, y), (u, v) = _half("train"), _half("test")
    np.savez(file, x_train=x, y_train=y, x_test=u, y_test=v)
    return file.getvalue()


def _pickle(name: str) -> bytes:
    def flat(half: str, count: int) -> Any:
        images, labels = _half(half)
        return images.reshape(len(images), -1)[:count].astype(np.float32) / 256, labels[:count]

    made = pickle.dumps((flat("train", 50_000), flat("test", 10_000), flat("test", 10_000)))
    return gzip.compress(made, 1) if name.endswith(".gz") else made


# Weights


class Lost(dict[Any, Any]):
    """Stands for what a file of weights held: whatever is asked of it is as lost as it is."""

    def __missing__(self, key: object) -> Any:
        """Give more of it."""
        return Lost()

    def get(self, key: object, default: Any = None) -> Any:
        """Give more of it, or what is to be used instead."""
        return Lost() if default is None else default


def _load(load: Callable[..., Any]) -> Callable[..., Any]:
    def loaded(path: Any, *args: Any, **options: Any) -> Any:
        try:
            return load(path, *args, **options)
        except FileNotFoundError:
            LOST.append(_named(path))
            return Lost()

    loaded.__wrapped__ = load  # type: ignore[attr-defined]
    return loaded


def without_the_lost(load_state_dict: Callable[..., Any]) -> Callable[..., Any]:
    """Let `load_state_dict` of a module or an optimiser change nothing for what is lost."""

    def loaded(self: Any, state: Any, *args: Any, **options: Any) -> Any:
        return None if isinstance(state, Lost) else load_state_dict(self, state, *args, **options)

    return loaded
