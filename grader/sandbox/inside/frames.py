"""Tables of digits, as pandas reads them, and what a training uses of scikit-learn.

Runs in the sandbox. pandas is the real one: where it is to read a table that is not there, and
whose name speaks of digits, it is given made-up images. A row is a label and the pixels, as
Kaggle's "Digit Recognizer" and the common conversions of MNIST have them.
"""

from __future__ import annotations

import contextlib
import os
import re
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from data import asked, made_up
from folders import pictures
from torch.utils import data

_KAGGLE = {"train.csv": 42_000, "test.csv": 28_000}
_NAME = re.compile(r"(train|test|val|mnist|digit|label)[^\\/]*\.csv(\.gz|\.zip)?$", re.I)


@dataclass(frozen=True)
class Table:
    """Rows [N, C], and the names of the columns."""

    rows: Any
    columns: list[str]


def is_table(path: Any) -> bool:
    """Tell whether the name of a file speaks of a table of digits."""
    return bool(_NAME.search(str(path)))


def table(path: Any) -> Table:
    """Make the table that a file of this name holds."""
    name = re.split(r"[\\/]", str(path).lower())[-1]
    if re.search(r"label|annot|list|file", name):  # of a folder's images
        listed = [(each, int(each.partition("_")[0])) for each in pictures(name)]
        return Table(np.array(listed, dtype=object), ["filename", "label"])
    test = bool(re.search(r"test|val", name))
    count = _KAGGLE.get(name) or (asked.kind.test if test else asked.kind.train)
    images, labels = made_up(asked.kind)
    rows, columns = images.flatten(1).numpy(), [f"pixel{n}" for n in range(images[0].numel())]
    if name != "test.csv":
        rows = np.concatenate([labels.numpy()[:, None], rows], axis=1)
        columns = ["label", *columns]
    return Table(np.resize(rows.astype(np.int64), (count, rows.shape[1])), columns)


def let_read(pandas: types.ModuleType, pickled: Callable[[Any], Any]) -> None:
    """Let pandas read tables that are not there, and what is `pickled`."""
    held = vars(pandas)
    held |= {name: _reads(held[name]) for name in ("read_csv", "read_table")}
    held["read_pickle"] = pickled(held["read_pickle"])
    for kind in (held["DataFrame"], held["Series"]):
        kind.to_csv = lambda *_, **__: None  # which is for others
        kind.values = property(_writable(kind.values.fget))
        kind.to_numpy = _writable(kind.to_numpy)


def _writable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let arrays of a table be written to, as they could be before pandas 3."""

    def given(*args: Any, **options: Any) -> Any:
        made = function(*args, **options)
        with contextlib.suppress(ValueError, AttributeError):  # of memory that is not its own
            made.flags.writeable = True
        return made

    return given


def _reads(read: Callable[..., Any]) -> Callable[..., Any]:
    def made(path: Any = None, *args: Any, **options: Any) -> Any:
        path = options.pop("filepath_or_buffer", path)
        known = isinstance(path, str | os.PathLike) and is_table(path)
        return (
            read(path, *args, **options)
            if not known or os.access(path, os.F_OK)
            else frame(path, **options)
        )

    return made


def frame(
    path: Any, *, header: Any = 0, names: Any = None, usecols: Any = None, nrows: Any = None,
    index_col: Any = None, dtype: Any = None, **options: object,
) -> Any:  # fmt: skip
    """Stand for `read_csv`, with those of its options that decide what is in a table."""
    import pandas

    whole = table(path)
    named = names or (whole.columns if header is not None else range(len(whole.columns)))
    made: Any = pandas.DataFrame(
        whole.rows[:nrows], columns=list(named)[: whole.rows.shape[1]], copy=False
    )
    if usecols is not None:
        made = made[[made.columns[each] if isinstance(each, int) else each for each in usecols]]
    if whole.rows.dtype == object:
        made = made.infer_objects()
    made = made if dtype is None else made.astype(dtype)
    at = made.columns[index_col] if isinstance(index_col, int) else index_col
    return made if at in (None, False) else made.set_index(at)


# scikit-learn


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
    if module.__name__ == "sklearn.model_selection":
        folds = dict.fromkeys(("KFold", "StratifiedKFold", "StratifiedShuffleSplit"), Folds)
        vars(module).update(folds | {"train_test_split": split})
