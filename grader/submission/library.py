"""The modules a submission may import from beside itself, found on disk and read as text.

Where `import x` looks, in this order: modules the notebook writes itself, the folder of the
file, folders it names in `sys.path`, the folders above it up to the folder that was handed in,
and, for packages only, the folder beside which the file lies. The grader's own folders and
the current directory are never searched.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from grader.submission.names import bound_by_import, dotted
from grader.submission.source import SUFFIXES, Stmt, Unit, read_unit, script
from grader.submission.text import clean

# A file beside a submission cannot take the place of these.
RESERVED = frozenset({"torch", "torchvision", "numpy"})


@dataclass
class Library:
    """Finds and reads the modules beside `entry`; `top` is the folder that was handed in."""

    entry: Unit
    top: Path
    units: dict[str, Unit | None] = field(default_factory=dict)
    names: dict[Path, str] = field(default_factory=dict)

    @cached_property
    def roots(self) -> list[Path]:
        """Folders in which any module may lie."""
        home = self.entry.path.parent
        above = [home, *home.parents]
        inside = above[: above.index(self.top) + 1] if self.top in above else [home]
        return list(dict.fromkeys([home, *self._named_folders(home), *inside[1:]]))

    def _named_folders(self, home: Path) -> list[Path]:
        """Folders that the entry adds to `sys.path` by a literal."""
        found: list[str] = []
        for statement in self.entry.statements:
            for node in ast.walk(statement.node):
                if isinstance(node, ast.Call) and dotted(node.func).startswith("sys.path."):
                    literals = (a.value for a in ast.walk(node) if isinstance(a, ast.Constant))
                    found += [s for s in literals if isinstance(s, str) and s]
        return [p for folder in found for p in _nearest(home, folder)]

    def find(self, name: str) -> Unit | None:
        """Read the module of this dotted name, or None. Raises SubmissionError."""
        if name.partition(".")[0] in RESERVED:
            return None
        if name not in self.units:
            self.units[name] = self._read(name)
        return self.units[name]

    def _read(self, name: str) -> Unit | None:
        written = self.entry.files.get(name.replace(".", "/") + ".py")
        if written is not None and written.strip():
            return script(
                self.entry.path.parent / f"{name}.py", f"{name}.py (written here)", written
            )
        path = self._locate(name)
        if path is None or path == self.entry.path:
            return None
        if path.is_dir():
            return Unit(path, self.label(path), [])
        if not path.stat().st_size:
            return Unit(path, self.label(path), [])
        self.names[path] = name
        return read_unit(path, self.label(path))

    def label(self, path: Path) -> str:
        """Give what a person would call the file: its path seen from what was handed in."""
        return clean(Path(os.path.relpath(path, self.top)).as_posix())

    def _locate(self, name: str) -> Path | None:
        parts = name.split(".")
        found = [path for root in self.roots if (path := _descend(root, parts))]
        if found:  # a plain folder counts only when no module of the name lies further on
            return next((path for path in found if path.is_file()), found[0])
        beside = self.entry.path.parent.parent
        near = _descend(beside, parts) if len(parts) > 1 or _package(beside / name) else None
        return near if near and self._may_lie_beside(near) else None

    def _may_lie_beside(self, path: Path) -> bool:
        """Allow packages beside a single file's folder, and that folder by its own name."""
        return self.top == self.entry.path.parent and path.parent != self.top.parent

    def is_package(self, name: str) -> bool:
        """Tell whether it is a folder, or the `__init__.py` of one."""
        unit = self.find(name)
        return unit is not None and (unit.path.is_dir() or unit.path.name == "__init__.py")

    def absolute(self, module: str, package: bool, node: ast.ImportFrom) -> str:
        """Give the dotted name that `from x import` means when it stands in `module`."""
        if not node.level:
            return node.module or ""
        parts = module.split(".") if module else []
        parts = parts if package else parts[:-1]
        up = node.level - 1
        base = parts[: len(parts) - up] if up <= len(parts) else []
        return ".".join([*base, *([node.module] if node.module else [])])

    def star_names(self, name: str, seen: frozenset[str] = frozenset()) -> frozenset[str]:
        """Give what `from name import *` binds."""
        unit = self.find(name)
        if unit is None or name in seen:
            return frozenset()
        bound: set[str] = set()
        for statement in unit.statements:
            bound |= statement.names.binds
            if isinstance(statement.node, ast.ImportFrom) and _is_star(statement.node):
                inner = self.absolute(name, self.is_package(name), statement.node)
                bound |= self.star_names(inner, seen | {name})
        listed = _dunder_all(unit.statements)
        return frozenset(listed or {n for n in bound if not n.startswith("_")})


def _nearest(home: Path, named: str) -> list[Path]:
    """Where a folder named in `sys.path` lies on this machine: only at or around the file.

    A path of another machine (`/content/drive/…/project/model`) is matched by its end.
    """
    parts = Path(named.replace("\\", "/")).parts
    if parts and set(parts) <= {"..", "."}:
        return [home.joinpath(*parts).resolve()] if parts.count("..") <= 2 else []
    plain = [part for part in parts if part not in ("/", "..", ".")]
    ends = [home.joinpath(*plain[i:]) for i in range(len(plain))]
    ends += [home.parent / part for part in plain[-1:] if part == home.name]
    return [p for p in ends if p.is_dir()]


def _is_star(node: ast.ImportFrom) -> bool:
    return node.names[0].name == "*"


def _dunder_all(statements: list[Stmt]) -> set[str] | None:
    for statement in statements:
        if isinstance(statement.node, ast.Assign) and "__all__" in statement.names.binds:
            found = {n.value for n in ast.walk(statement.node.value) if isinstance(n, ast.Constant)}
            return {n for n in found if isinstance(n, str)}
    return None


def _package(path: Path) -> bool:
    try:
        return path.is_dir() and any(path.glob("*.py"))
    except OSError:
        return False


def _descend(folder: Path, parts: list[str]) -> Path | None:
    """Follow a dotted name down from a folder: to a file, a package's `__init__`, a folder."""
    for part in parts[:-1]:
        below = _match(folder, part, directory=True)
        if below is None:
            return None
        folder = below
    if file := _match(folder, parts[-1], directory=False):
        return file
    if package := _match(folder, parts[-1], directory=True):
        init = package / "__init__.py"
        return init if init.is_file() else package
    return None


def _match(folder: Path, name: str, *, directory: bool) -> Path | None:
    """Give the entry of a folder that is called so, or almost: `model3` finds `Model_3.py`."""
    exact = folder / name if directory else folder / f"{name}.py"
    if _usable(exact, folder, directory):
        return exact
    try:
        entries = sorted(folder.iterdir(), key=lambda path: (path.suffix == ".ipynb", path))
    except OSError:
        return None
    wanted = _plain(name)
    for path in entries:
        stem = path.name if directory else path.stem
        fits = directory or path.suffix in SUFFIXES
        if fits and _plain(stem) == wanted and _usable(path, folder, directory):
            return path
    return None


def _usable(path: Path, folder: Path, directory: bool) -> bool:
    try:
        inside = folder.resolve() in path.resolve().parents
        return inside and (_holds_python(path) if directory else path.is_file())
    except OSError:
        return False


def _holds_python(path: Path) -> bool:
    """Count a folder as a package if it, or a folder in it, holds a module."""
    return path.is_dir() and (_package(path) or any(path.glob("*/*.py")))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def is_standard(name: str) -> bool:
    """Tell whether it is a module of Python itself."""
    return name.partition(".")[0] in sys.stdlib_module_names


def imported(node: ast.Import | ast.ImportFrom, names: set[str]) -> list[ast.alias]:
    """Those aliases of an import statement that bind one of the names."""
    return [alias for alias in node.names if bound_by_import(alias) in names]
