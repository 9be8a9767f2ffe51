"""Stands for pandas and scikit-learn, as far as a training on a table of digits needs them.

Runs in the sandbox. A table is an array of made-up images with names for its columns: a label and
the pixels, as Kaggle's "Digit Recognizer" and the common conversions of MNIST have them.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
from data import asked, made_up
from folders import pictures
from placeholders import Quiet
from torch.utils import data

_KAGGLE = {"train.csv": 42_000, "test.csv": 28_000}


class Column(np.ndarray):
    """One column of a table."""

    @property
    def values(self) -> Any:
        """The numbers alone."""
        return np.asarray(self)

    @property
    def iloc(self) -> Any:
        """The numbers by position."""
        return self

    loc = iat = at = iloc

    def __getattr__(self, name: str) -> Any:
        """Give what looks at a column without changing it as something that does nothing."""
        if name.startswith("__"):
            raise AttributeError(name)
        return Quiet(f"pandas.Series.{name}")

    def to_numpy(self, *args: Any, **options: Any) -> Any:
        """Return the numbers alone."""
        return np.asarray(self)

    def unique(self) -> Any:
        """Return the numbers that occur."""
        return np.unique(self)

    def nunique(self) -> int:
        """Return how many different numbers occur."""
        return len(np.unique(self))

    def reset_index(self, *args: Any, **options: Any) -> Any:
        """Return it as it is: an array has no other index."""
        return self

    map = apply = lambda self, function: np.vectorize(function)(np.asarray(self)).view(Column)


class Frame(Column):
    """A table: an array [rows, columns] with `columns`, their names."""

    columns: Any = ()

    def __array_finalize__(self, other: Any) -> None:
        """Keep the names of the columns."""
        self.columns = getattr(other, "columns", ())

    def __getitem__(self, key: Any) -> Any:
        """Return a column, columns, or rows."""
        if isinstance(key, str) or (key in self.columns if isinstance(key, int) else False):
            return self._column(self.columns.index(key))
        if isinstance(key, list) and key and all(name in self.columns for name in key):
            return self._only([self.columns.index(name) for name in key])
        return super().__getitem__(key)

    def _column(self, at: int) -> Any:
        return np.asarray(self)[:, at].view(Column)

    def _only(self, kept: list[int]) -> Any:
        side_by_side = kept == list(range(kept[0], kept[0] + len(kept))) if kept else False
        chosen = slice(kept[0], kept[-1] + 1) if side_by_side else kept  # which copies nothing
        table = np.asarray(self)[:, chosen].view(Frame)
        table.columns = [self.columns[at] for at in kept]
        return table

    def __getattr__(self, name: str) -> Any:
        """Give a column as an attribute."""
        return self[name] if name in self.columns else super().__getattr__(name)

    @property
    def iloc(self) -> Any:
        """Rows and columns by position."""
        return _Located(self)

    loc = iat = at = iloc

    @property
    def index(self) -> Any:
        """The numbers of the rows."""
        return np.arange(len(self)).view(Column)

    def drop(self, labels: Any = None, axis: Any = 0, columns: Any = None, **options: Any) -> Any:
        """Return it without some columns; rows stay."""
        names = columns if columns is not None else labels
        gone = list(names) if isinstance(names, (list, tuple)) else [names]
        return self._only([at for at, name in enumerate(self.columns) if name not in gone])

    def pop(self, name: str) -> Any:
        """Return a column; the table keeps it, for an array cannot lose one."""
        return self[name]

    def sample(self, n: Any = None, frac: float = 1.0, **options: Any) -> Any:
        """Return some of the rows."""
        return self[: n or int(len(self) * frac)]

    def head(self, n: int = 5) -> Any:
        """Return the first rows."""
        return self[:n]

    def iterrows(self) -> Iterator[tuple[int, Any]]:
        """Yield the rows with their numbers."""
        return enumerate(self)


class _Located:
    """What stands behind `table.iloc` and `table.loc`."""

    def __init__(self, table: Frame) -> None:
        self._table = table

    def __getitem__(self, key: Any) -> Any:
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        table = self._table[rows]
        if isinstance(columns, str):
            columns = self._table.columns.index(columns)
        if columns == slice(None):
            return table
        if isinstance(columns, slice):
            ends = (columns.start, columns.stop)
            names = self._table.columns
            start, stop = (names.index(e) if isinstance(e, str) else e for e in ends)
            if isinstance(columns.stop, str):
                stop += 1  # a name at the end belongs to the range
            columns = slice(start, stop, columns.step)
        if table.ndim == 1:
            return np.asarray(table)[columns]
        if isinstance(columns, int):
            return table._column(columns)
        kept = list(range(len(table.columns)))
        chosen = kept[columns] if isinstance(columns, slice) else list(columns)
        return table._only([c if isinstance(c, int) else table.columns.index(c) for c in chosen])


def is_table(path: Any) -> bool:
    """Tell whether the name of a file speaks of a table of digits."""
    speaks = r"(train|test|val|mnist|digit|label)[^\\/]*\.csv$"
    return bool(re.search(speaks, str(path), re.I))


def table(path: Any, *, named: bool = True) -> Any:
    """Make the table that a file of this name holds; None if it speaks of no digits."""
    if not is_table(path):
        return None
    name = re.split(r"[\\/]", str(path).lower())[-1]
    if re.search(r"label|annot|list|file", name):
        return _listing(name)
    test = bool(re.search(r"test|val", name))
    count = _KAGGLE.get(name) or (asked.kind.test if test else asked.kind.train)
    labelled = name != "test.csv"
    images, labels = made_up(asked.kind)
    rows = images.flatten(1).numpy()
    if labelled:
        rows = np.concatenate([labels.numpy()[:, None], rows], axis=1)
    made = np.resize(rows.astype(np.int64), (count, rows.shape[1])).view(Frame)
    pixels: list[Any] = [f"pixel{number}" for number in range(images[0].numel())]
    made.columns = (["label"] * labelled + pixels) if named else list(range(rows.shape[1]))
    return made


def _listing(name: str) -> Any:
    """Make the table of a folder's images: a name and a label in each row."""
    rows = [(each, int(each.partition("_")[0])) for each in pictures(name)]
    made = np.array(rows, dtype=object).view(Frame)
    made.columns = ["filename", "label"]
    return made


def read_csv(path: Any, *args: Any, **options: Any) -> Any:
    """Stand for `pandas.read_csv`."""
    found = table(path, named=options.get("header", 0) is not None)
    return Quiet("pandas.read_csv")(path) if found is None else found


def data_frame(data: Any = None, *args: Any, **options: Any) -> Any:
    """Stand for `pandas.DataFrame`."""
    if isinstance(data, np.ndarray) and data.ndim == 2:
        made = np.asarray(data).view(Frame)
        made.columns = list(options.get("columns") or range(data.shape[1]))
        return made
    return Quiet("pandas.DataFrame")(data)


def _series(data: Any = (), *args: Any, **options: Any) -> Any:
    return np.asarray(data).view(Column)


def _concat(tables: Any, *args: Any, axis: int = 0, **options: Any) -> Any:
    joined = [each for each in tables if isinstance(each, np.ndarray)]
    return np.concatenate(joined, axis=axis) if joined else Quiet("pandas.concat")()


def _dummies(labels: Any, *args: Any, **options: Any) -> Any:
    return np.eye(asked.kind.classes, dtype=np.uint8)[np.asarray(labels)].view(Frame)


def split(*arrays: Any, test_size: Any = None, train_size: Any = None, **options: Any) -> list[Any]:
    """Stand for `train_test_split`: the first rows of each, and the rest."""
    count = len(arrays[0])
    if test_size is None:  # the rest of what is asked for, or a quarter
        whole = count if train_size and train_size >= 1 else 1
        test_size = whole - train_size if train_size else 0.25
    rest = int(test_size) if test_size >= 1 else round(count * test_size)
    halves: list[Any] = []
    for array in arrays:
        parts = slice(count - rest), slice(count - rest, None)
        if isinstance(array, data.Dataset):  # of which scikit-learn takes one item after the other
            halves += [data.Subset(array, range(count)[part]) for part in parts]
        else:
            halves += [array[part] for part in parts]
    return halves


class Folds:
    """Stands for `KFold` and its relatives."""

    def __init__(self, n_splits: int = 5, *args: Any, **options: Any) -> None:
        self.n_splits = n_splits

    def split(self, rows: Any, *args: Any, **options: Any) -> Iterator[tuple[Any, Any]]:
        """Yield the numbers of the rows of each fold: to train on, and to test on."""
        every = np.arange(len(rows))
        for fold in range(self.n_splits):
            held = every % self.n_splits == fold
            yield every[~held], every[held]


def fill(module: types.ModuleType) -> None:
    """Give a stand-in module what a submission imports from it."""
    if module.__name__ == "pandas":
        known = {"read_csv": read_csv, "DataFrame": data_frame, "Series": _series}
        vars(module).update(known | {"concat": _concat, "get_dummies": _dummies})
    elif module.__name__ == "sklearn.model_selection":
        folds = dict.fromkeys(("KFold", "StratifiedKFold", "StratifiedShuffleSplit"), Folds)
        vars(module).update(folds | {"train_test_split": split})
