"""Loaders and datasets of a submission: which call makes them, and for which half of the data."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from grader.submission.names import COMPOUND, last
from grader.submission.sites import Site
from grader.submission.source import Stmt
from grader.submission.trace import Trace
from grader.submission.values import Value, assigned, at

_DATASETS = re.compile(r"mnist", re.I)
_SETS = frozenset({"Subset", "ConcatDataset", "random_split"})
_THROUGH = frozenset(
    {
        "enumerate",
        "tqdm",
        "tqdm_notebook",
        "iter",
        "zip",
        "list",
        "track",
        "progress_bar",
        "Subset",
        "ConcatDataset",
    }
)


@dataclass
class Loaders:
    """Finds loaders by following values to the call of DataLoader."""

    trace: Trace

    def for_training(self, backward: Site | None) -> Value | None:
        """Give the loader that the training loop runs over; else the last one for training."""
        if backward is not None:
            for statement in reversed(backward.loops):
                if isinstance(statement.node, ast.For):
                    site = site_of(backward, statement)
                    if loader := self.behind(Value(statement.node.iter, site)):
                        return loader
        return self._last(train=True)

    def for_testing(self) -> Value | None:
        """Give the last loader of test data."""
        return self._last(train=False)

    def _last(self, *, train: bool) -> Value | None:
        sites = sorted(self.trace.calls.by_name.get("DataLoader", []), key=self.trace.calls.time)
        for site in reversed(sites):
            value = Value(site.call, site)
            if self.kind(value, _target(site.stmt)) is train:
                return value
        return None

    def behind(self, value: Value, depth: int = 0) -> Value | None:
        """Give the call of DataLoader behind an expression."""
        value = self.trace.resolve(value)
        expr = value.expr
        if isinstance(expr, ast.Name) and depth <= 6:
            return self._in_block(expr.id, value.site, depth)
        if depth > 6 or not isinstance(expr, ast.Call):
            return None
        if last(expr.func) == "DataLoader":
            return value
        if last(expr.func) in _THROUGH and expr.args:
            return self.behind(Value(expr.args[0], value.site), depth + 1)
        for returned in self.trace.returned(expr, value.site):
            if found := self.behind(returned, depth + 1):
                return found
        return None

    def _in_block(self, name: str, site: Site, depth: int) -> Value | None:
        """Give the loader that an `if` or `try` before the place binds to a name."""
        statement = self.trace.assignment(name, site)
        if statement is None or not isinstance(statement.node, COMPOUND):
            return None
        for node in ast.walk(statement.node):
            given = assigned(node, name) if isinstance(node, ast.stmt) else None
            if given and (found := self.behind(Value(given, at(site, statement)), depth + 1)):
                return found
        return None

    def is_dataset(self, value: Value) -> bool:
        """Tell whether an expression makes a set of images, or a part of one."""
        expr = self.trace.resolve(value).expr
        return (
            isinstance(expr, ast.Call)
            and self._mnist(value) is not None
            and (last(expr.func) in _SETS or bool(_DATASETS.search(last(expr.func))))
        )

    def tests(self, value: Value, name: str) -> bool:
        """Tell whether a set of images is the one for testing."""
        made = self._mnist(value)
        assert made is not None
        assert isinstance(made.expr, ast.Call)
        flag = argument_of(made.expr, "train", 1)
        if isinstance(flag, ast.Constant):
            return flag.value is False
        return bool(re.search(r"test|val", name, re.I))

    def kind(self, loader: Value, name: str) -> bool | None:
        """Give True for a loader of training data, False for test data, None if nothing tells."""
        dataset = self.dataset(loader)
        if dataset is not None:
            assert isinstance(dataset.expr, ast.Call)
            flag = argument_of(dataset.expr, "train", 1)
            if isinstance(flag, ast.Constant) and isinstance(flag.value, bool):
                return flag.value and not re.search(r"test|val", name, re.I)  # a part split off
        words = f"{name} {ast.unparse(loader.expr)}".lower()
        if re.search(r"test|val", words):
            return False
        return True if "train" in words else None

    def dataset(self, loader: Value) -> Value | None:
        """Give the call that makes the MNIST behind a loader."""
        assert isinstance(loader.expr, ast.Call)
        given = argument_of(loader.expr, "dataset", 0)
        return self._mnist(Value(given, loader.site)) if given is not None else None

    def _mnist(self, value: Value, depth: int = 0) -> Value | None:
        value = self.trace.resolve(value)
        expr = value.expr
        if depth > 6:
            return None
        if isinstance(expr, (ast.List, ast.Tuple)) and expr.elts:
            return self._mnist(Value(expr.elts[0], value.site), depth + 1)
        if not isinstance(expr, ast.Call):
            return None
        if any(k.arg in ("download", "train", "transform") for k in expr.keywords) or (
            _DATASETS.search(last(expr.func))
        ):
            return value
        for returned in self.trace.returned(expr, value.site):
            if found := self._mnist(returned, depth + 1):
                return found
        return self._mnist(Value(expr.args[0], value.site), depth + 1) if expr.args else None

    def transforms(self, loader: Value) -> list[Value]:
        """Give the transforms between the images and a loader, the dataset's own first."""
        assert isinstance(loader.expr, ast.Call)
        given = argument_of(loader.expr, "dataset", 0)
        found: list[Value] = []
        value = self.trace.resolve(Value(given, loader.site)) if given is not None else loader
        for _ in range(6):
            if not isinstance(value.expr, ast.Call) or last(value.expr.func) == "DataLoader":
                break
            found = [*self.transforms_of(value), *found]
            if not value.expr.args:
                break
            value = self.trace.resolve(Value(value.expr.args[0], value.site))
        return found

    def transforms_of(self, dataset: Value) -> list[Value]:
        """Give the transform that a call of a dataset, or of what wraps one, is handed."""
        assert isinstance(dataset.expr, ast.Call)
        mnist = bool(_DATASETS.search(last(dataset.expr.func)))
        given = argument_of(dataset.expr, "transform", 2 if mnist else 99)
        if given is None and not mnist:
            given = next((a for a in dataset.expr.args if "transform" in ast.unparse(a)), None)
        if given is None or (isinstance(given, ast.Constant) and given.value is None):
            return []
        return [Value(given, dataset.site)]

    def last_dataset(self, *, train: bool) -> Value | None:
        """Give the last dataset made with this `train=`, for files without a loader."""
        sites = [s for s in self.trace.calls.sites if _DATASETS.search(last(s.call.func))]
        for site in sorted(sites, key=self.trace.calls.time, reverse=True):
            flag = argument_of(site.call, "train", 1)
            if isinstance(flag, ast.Constant) and flag.value is train:
                return Value(site.call, site)
        return None


def argument_of(call: ast.Call, name: str, position: int) -> ast.expr | None:
    """Give what a call passes under a name or at a position."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    plain = not any(isinstance(a, ast.Starred) for a in call.args)
    return call.args[position] if plain and len(call.args) > position else None


def _target(statement: Stmt) -> str:
    return " ".join(sorted(statement.names.binds | statement.names.touches))


def site_of(site: Site, statement: Stmt) -> Site:
    """Give the place of a statement that lies on the path to a call, or before it."""
    for depth, (block, index) in enumerate(site.path):
        if statement in block[: index + 1]:
            path = (*site.path[:depth], (block, block.index(statement)))
            return Site(site.call, site.scope, path)
    return site
