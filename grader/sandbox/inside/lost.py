"""Stands for files that are not there: the data set in any form, and weights saved elsewhere.

Runs in the sandbox. A file is known by its name. One of a common form is made when it is first
opened; of one whose form only its author knows, what is asked for is made: see `Lost`.
"""

from __future__ import annotations

import builtins
import contextlib
import copy
import csv
import gzip
import io
import os
import pickle
import re
import shutil
import sys
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Self

import folders
import numpy as np
import torch
import torchvision.io
from data import STANDS, asked, in_training, made_up
from frames import is_table, table
from PIL import Image
from placeholders import Placeholder, Quiet, unpacked
from torchvision import transforms

_IDX = re.compile(r"(train|t10k|test).*(image|label|idx3|idx1)", re.I)
_HALF = re.compile(r"train|test|val(?!ue)|t10k", re.I)
_LABELS = re.compile(r"label|target|lbl|(^|_|train|test|val)y($|_|tr|te|val)", re.I)
_IMAGES = re.compile(
    r"image|img|pixel|digit|^data$|(train|test|val)_?data$|(^|_|train|test|val)x($|_|tr|te|val)",
    re.I,
)
_OTHER = re.compile(
    r"loss|acc|epoch|optim|model|config|hist|state|log|net|weight|result|best|pred|save|check", re.I
)
_ALONE = re.compile(
    r"((train|test|val|mnist|corrupt\w*)[_-]?)*(x|y|images?|labels?|targets?)"
    r"([_-]?(train|test|val|tr|te|\d+))*\.(pt|pth|tensor)",
    re.I,
)
_HELD = re.compile(r"\.(npz|npy|pkl|pickle|p|pk|pkl\.gz|mat|h5|hdf5)$")
_READERS = re.compile(r"scipy\.io(\..*)?\.loadmat|h5py\.File|joblib\.load")
_COMMON = re.compile(r"(fashion[-_]?)?mnist(\.npz|\.pkl(\.gz)?)$", re.I)
_CSV_ROWS = 1_000  # of a table that is read as text
_DRAWN = 100  # images that are files; others are one of these
_MADE: dict[str, str] = {}
LOST: list[str] = []
"""Files of weights that were to be loaded."""


def install() -> None:
    """Let files of the data set be found, and weights that are not there be none."""
    np.load = _arrays(np.load)
    np.fromfile = _known(np.fromfile)
    for name in ("save", "savez", "savez_compressed", "savetxt"):
        setattr(np, name, _saved(getattr(np, name)))
    np.loadtxt, np.genfromtxt = _table(np.loadtxt), _table(np.genfromtxt)
    gzip.open = _known(gzip.open)
    pickle.load = _unpickled(pickle.load)
    csv.DictReader.__init__ = _named_by_line(csv.DictReader.__init__)  # type: ignore[method-assign]
    torch.load = _load(torch.load)
    torch.save = _save(torch.save)
    torch.hub.download_url_to_file = lambda *_, **__: None  # weights of others: they are lost
    Image.open = _copied(Image.open)
    torchvision.io.read_image = _known(torchvision.io.read_image)
    Placeholder.known = staticmethod(_of_packages)
    urllib.request.urlopen = _sent(urllib.request.urlopen)
    urllib.request.urlretrieve = _kept(urllib.request.urlretrieve)
    folders.install(_is_there)


def opened(path: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
    """Do what `open` does, also for a file of the data set that is not there."""
    if isinstance(path, str | os.PathLike):
        path = _place(path) if "r" in mode and "+" not in mode else _writable(path)
    return builtins.open(path, mode, *args, **options)  # noqa: PTH123


_MOVED: dict[str, str] = {}
"""Files that could not be written where they were to be, and where they are."""


def _writable(path: Any) -> Any:
    """Return where a file can be written: at its place, whose folders are made, or elsewhere."""
    text = os.fspath(path)
    folder = os.path.dirname(text)  # noqa: PTH120 - of any machine
    with contextlib.suppress(OSError):
        os.makedirs(folder or ".", exist_ok=True)  # noqa: PTH103
        if os.access(folder or ".", os.W_OK):
            return path
    return _MOVED.setdefault(text, os.path.join(tempfile.mkdtemp(), "file"))  # noqa: PTH118


def _known(function: Callable[..., Any]) -> Callable[..., Any]:
    def known(path: Any, *args: Any, **options: Any) -> Any:
        named = isinstance(path, str | os.PathLike) and "w" not in "".join(map(str, args[:1]))
        return function(_place(path) if named else path, *args, **options)

    return known


def _saved(function: Callable[..., Any]) -> Callable[..., Any]:
    def saved(path: Any, *args: Any, **options: Any) -> None:
        named = isinstance(path, str | os.PathLike)
        function(_writable(path) if named else path, *args, **options)

    return saved


def _table(load: Callable[..., Any]) -> Callable[..., Any]:
    """Let NumPy read a table without its text, which would take too long for all rows."""

    def loaded(path: Any, *args: Any, **options: Any) -> Any:
        if (
            not isinstance(path, str | os.PathLike)
            or os.access(path, os.F_OK)
            or not is_table(path)
        ):
            return load(path, *args, **options)
        made = table(path).rows.astype(options.get("dtype") or float)
        return made[: options.get("max_rows"), options.get("usecols") or slice(None)]

    return loaded


def _copied(open_image: Callable[..., Any]) -> Callable[..., Any]:
    """Let Pillow open made-up images: each is read once, and handed out as a copy."""
    read: dict[str, Any] = {}

    def opened_image(path: Any, *args: Any, **options: Any) -> Any:
        place = _place(path) if isinstance(path, str | os.PathLike) else path
        if place is path:
            return open_image(path, *args, **options)
        if place not in read:
            read[place] = open_image(place)
        return read[place].copy()

    return opened_image


def _of_packages(name: str, /, *args: Any, **options: Any) -> Any:
    """Give what packages that are missing read of the data set, for whoever trains with PyTorch."""
    if re.search(r"keras\.datasets\.\w*mnist\.load_data$", name):
        return _half("train"), _half("test")
    if half := re.fullmatch(r"mnist\.MNIST\.load_(train|test)ing", name):
        images, labels = _half(half[1])
        return images.reshape(len(images), -1), labels
    if name == "sklearn.datasets.fetch_openml":
        return _of_openml(**options)
    return _read_by(name, *args, **options) if args else None


def _of_openml(*, return_X_y: bool = False, as_frame: Any = True, **options: Any) -> Any:  # noqa: N803 - scikit-learn's name
    """Stand for `fetch_openml`: both halves, with labels that are texts."""
    images, labels = _half("train", "test")
    rows = images.reshape(len(images), -1).astype(np.int64)
    data: Any = rows
    target: Any = labels.astype(str).astype(object)
    if as_frame:
        import pandas

        data, target = pandas.DataFrame(rows), pandas.Series(target)
    return (data, target) if return_X_y else _Bunch(data=data, target=target)


def _read_by(name: str, first: Any, /, *args: Any, **options: Any) -> Any:
    """Do what a function that reads files or images does; None for those that are not known."""
    if _READERS.fullmatch(name):
        return Lost(_named(first)) if _maker(first) is not None else None
    if name.endswith("imread"):
        return _read(name, first, *args, **options)
    return _by_opencv(name, first, *args) if isinstance(first, np.ndarray) else None


class _Bunch(dict[str, Any]):
    """What scikit-learn hands a data set over in."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


def _read(name: str, path: Any, /, *more: Any, **options: Any) -> Any:
    """Read an image as the function of that name does: OpenCV in colours unless told otherwise."""
    pixels = np.asarray(Image.open(path))
    told = " ".join(getattr(each, "__name__", str(each)) for each in (*more, *options.values()))
    if name.startswith("cv2.") and not re.search(r"GRAYSCALE|UNCHANGED|^(0|-1)$", told):
        return pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)
    return pixels.astype(np.float32) / 255 if name.startswith(("matplotlib.", "pylab.")) else pixels


def _by_opencv(name: str, pixels: Any, *more: Any) -> Any:
    """Do what a function of OpenCV does to an image; None for those that are not known."""
    if name == "cv2.cvtColor":
        wanted = getattr(more[0], "__name__", "").rpartition("2")[2]
        if wanted == "GRAY":
            return pixels[..., 0] if pixels.ndim == 3 else pixels
        if wanted in ("BGR", "RGB"):
            return pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)
    if name == "cv2.resize" and pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).resize(tuple(more[0]), Image.Resampling.BILINEAR))
    return 255 - pixels if name == "cv2.bitwise_not" and pixels.dtype == np.uint8 else None


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


def _is_there(path: str) -> bool:
    """Tell whether a file seems to be there: what only its author knows may be made by the file."""
    maker = _maker(path)
    return maker is not None and (maker is not _nothing or bool(_COMMON.match(_named(path))))


def _place(path: Any) -> Any:
    """Return where a file is: at its place, or where it is made up."""
    maker = _maker(path)
    if maker is None or os.access(path, os.F_OK):
        return _MOVED.get(os.fspath(path), path) if _MOVED else path
    name = _named(path)
    if maker is _drawn:
        folders.stood_for(os.path.dirname(os.fspath(path)))  # noqa: PTH120 - of any machine
        name = f"{zlib.crc32(name.encode()) % _DRAWN}.png"
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
        return _csv if is_table(name) else None
    if _HELD.search(name):
        return _nothing if _speaks(name) else None
    if name.endswith(".txt") and re.match(r"(train|test|val)\w*", name):
        return _list
    if folders.is_picture(os.fspath(path)):
        return _drawn
    idx = _IDX.match(name) and re.search(r"ubyte|idx", name)
    return _idx if idx and not name.endswith((".pt", ".py")) else None


def _speaks(name: str) -> bool:
    """Tell whether the name of a file speaks of the data set, and of nothing that is learned."""
    patterns = (_HALF, _LABELS, _IMAGES)
    speaks = "mnist" in name.lower() or any(each.search(name) for each in patterns)
    return speaks and not _OTHER.search(name)


def _half(*names: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Make the images and labels of the halves that names speak of."""
    kind = asked.kind
    count = sum(kind.train if in_training(name) else kind.test for name in names)
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
    STANDS.setdefault(f"{name}, of whose text {_CSV_ROWS:,} rows were made")
    lines = [",".join(map(str, row)) for row in table(name).rows[:_CSV_ROWS].tolist()]
    return "\n".join(lines).encode()  # whoever passes a line with names by misses one image


def _named_by_line(init: Callable[..., None]) -> Callable[..., None]:
    """Let `csv.DictReader` know the columns of a table that was made up."""

    def made(self: Any, lines: Any, fieldnames: Any = None, *args: Any, **options: Any) -> None:
        name = _made_as(lines)
        if fieldnames is None and name is not None:
            fieldnames = table(name).columns
        init(self, lines, fieldnames, *args, **options)

    return made


def _made_as(file: Any) -> str | None:
    """Return the name of the file that was made up and is open, or None."""
    place = getattr(file, "name", None)
    return next((name for name, where in _MADE.items() if where == place), None)


def _list(name: str) -> bytes:
    """Write what many have beside a folder of images: a name and a label in each line."""
    lines = [f"{each} {each.partition('_')[0]}" for each in folders.pictures(name)]
    return "\n".join(lines).encode()


def _drawn(name: str) -> bytes:
    file = io.BytesIO()
    images, _ = made_up(asked.kind)
    Image.fromarray(images[int(name.partition(".")[0])].numpy()).save(file, "png")
    return file.getvalue()


def _nothing(name: str) -> bytes:
    """Write nothing into a file of which only `Lost` is read."""
    return b""


# Files of a form that only their authors know


class Lost(dict[Any, Any]):
    """Stands for what a file held: images and labels by whatever key, index or order is asked for.

    Whatever else is asked of it is as lost as it is, such as the weights of a checkpoint. The
    pickle that began it all, `mnist.pkl`, holds three pairs, with rows of floats below 1.
    """

    def __init__(self, name: str = "", as_made: Callable[[Any], Any] = np.asarray) -> None:
        """Stand for the file of this name; `as_made` turns arrays into what it held."""
        super().__init__()
        self.name, self._as_made = name, as_made

    def __missing__(self, key: object) -> Any:
        """Give images, labels or more of it."""
        if isinstance(key, int) and _speaks(self.name):
            return self._parts(3)[key]
        made = self._array(str(key))
        return Lost(self.name, self._as_made) if made is None else made

    def get(self, key: object, default: Any = None) -> Any:
        """Give images or labels, or what is to be used instead."""
        made = self._array(str(key))
        return self[key] if default is None or made is not None else default

    def __iter__(self) -> Iterator[Any]:
        """Give as many parts as are unpacked: images and labels, or pairs of them."""
        count = unpacked(sys._getframe(1))
        return iter(self._parts(count) if count else self.keys())

    def keys(self) -> Any:
        """Name the arrays as Keras does; weights have no names."""
        return ["x_train", "y_train", "x_test", "y_test"] if _speaks(self.name) else []

    files = property(keys)

    def __enter__(self) -> Self:
        """Do nothing."""
        return self

    def __exit__(self, *error: object) -> None: ...

    def close(self) -> None:
        """Do nothing."""

    def _parts(self, count: int) -> list[Any]:
        if not _speaks(self.name):
            return [Lost(self.name, self._as_made)] * count
        x, y, u, v = (self._array(key) for key in self.keys())
        if _HALF.search(self.name):
            return [x, y] if in_training(self.name) else [u, v]
        if count == 4:
            return [x, y, u, v]
        if count == 3:
            rows, more = (
                self._as_made(np.asarray(a, np.float32).reshape(len(a), -1) / 256) for a in (x, u)
            )
            fewer = len(v)
            return [(rows[:-fewer], y[:-fewer]), (more, v), (more, v)]
        return [(x, y), (u, v)]

    def _array(self, key: str) -> Any:
        """Make the images or labels that a key speaks of, of the half that it or the file names."""
        one = re.fullmatch(r"(train|test)_?(\d+)", key)
        labels = _LABELS.search(key) is not None
        if _OTHER.search(key) or not (one or labels or _IMAGES.search(key)):
            return None
        STANDS.setdefault(self.name)
        if one:  # of one class
            images, classes = _half(one[1])
            return self._as_made(images.reshape(len(images), -1)[classes == int(one[2])])
        LOST[:] = [name for name in LOST if name != self.name]
        named = [text for text in (key, self.name) if _HALF.search(text)]
        matlab = self.name.endswith(".mat")
        halves = _HALVES if matlab and not named else [*named, "train"][:1]
        made = _half(*halves)[labels]
        if matlab:  # which has no arrays of fewer than two dimensions, and here images as columns
            made = made[None] if labels else made.reshape(len(made), -1)
            made = made if labels or named else made.T
        return self._as_made(made[:, None] if asked.form == "channel" and not labels else made)

    def as_dataset(self) -> Any:
        """Return what a loader goes over, to which this is handed as it is."""
        STANDS.setdefault(self.name)
        LOST[:] = [name for name in LOST if name != self.name]
        half = in_training(self.name)
        return asked.images(train=half, transform=transforms.ToTensor())


_HALVES = ("train", "test")


def _arrays(load: Callable[..., Any]) -> Callable[..., Any]:
    """Let `np.load` find images or labels that the name of a file speaks of."""

    def loaded(path: Any, *args: Any, **options: Any) -> Any:
        try:
            return load(path, *args, **options)
        except FileNotFoundError:
            if _maker(path) is None:
                raise
        found = Lost(_named(path))
        if found.name.endswith(".npz"):
            return found
        made = found._array(found.name.rpartition(".")[0])
        return load(path, *args, **options) if made is None else made

    return loaded


def _unpickled(load: Callable[..., Any]) -> Callable[..., Any]:
    def loaded(file: Any, *args: Any, **options: Any) -> Any:
        made = _made_as(file)
        return load(file, *args, **options) if made is None else Lost(made)

    return loaded


def pickled(load: Callable[..., Any]) -> Callable[..., Any]:
    """Let `pandas.read_pickle` find images or labels that the name of a file speaks of."""

    def loaded(path: Any, *args: Any, **options: Any) -> Any:
        known = not os.access(path, os.F_OK) and _maker(path) is not None
        return Lost(_named(path)) if known else load(path, *args, **options)

    return loaded


# Weights


def _load(load: Callable[..., Any]) -> Callable[..., Any]:
    """Let `torch.load` find nothing lost, on the one device that there is.

    As before PyTorch 2.6 it reads whole networks, unless it is told otherwise.
    """

    def loaded(
        path: Any, _: Any = None, *args: Any, map_location: Any = None, **options: Any
    ) -> Any:
        if str(path) in _KEPT:
            return copy.deepcopy(_KEPT[str(path)])
        try:
            return load(path, "cpu", *args, **{"weights_only": False, **options})
        except FileNotFoundError:
            name = _named(path)
        if not _ALONE.fullmatch(name):
            LOST.append(name)
            return Lost(name, torch.as_tensor)
        folder = _named(os.path.dirname(os.fspath(path)))  # noqa: PTH120 - of any machine
        found = Lost(f"{folder}/{name}" if folder else name, torch.as_tensor)
        made = found._array(name.rpartition(".")[0])
        return found if made is None else made / 255 if made.dim() > 1 else made

    loaded.__wrapped__ = load  # type: ignore[attr-defined]
    return loaded


_KEPT: dict[str, Any] = {}
"""What could not be saved, by its path: on a drive that is not there, or of what has no name."""


def _save(save: Callable[..., None]) -> Callable[..., None]:
    def saved(thing: Any, path: Any, *args: Any, **options: Any) -> None:
        _KEPT.pop(str(path), None)
        try:
            save(thing, path, *args, **options)
        except Exception:  # of whatever is in it
            with contextlib.suppress(Exception):
                _KEPT[str(path)] = copy.deepcopy(thing)

    return saved


def without_the_lost(load_state_dict: Callable[..., Any]) -> Callable[..., Any]:
    """Let `load_state_dict` of a module or an optimiser change nothing for what is lost."""

    def loaded(self: Any, state: Any, *args: Any, **options: Any) -> Any:
        return None if isinstance(state, Lost) else load_state_dict(self, state, *args, **options)

    return loaded
