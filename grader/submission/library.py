"""The modules a submission imports from what was handed in, read as text.

Where `import x` looks, in this order: modules the notebook writes itself, the folder of the
file, folders it names in `sys.path`, and the folders above it up to the top of what was handed
in. All of these are names in `Files`: nothing else can be found.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath

from grader.submission.bounds import MAX_DEPTH, SUFFIXES
from grader.submission.files import Files, label_of
from grader.submission.source import Unit, read_unit, script

# A file beside a submission cannot take the place of these.
RESERVED = frozenset({"torch", "torchvision", "numpy"})


_CLONE = re.compile(r"git\s+clone\b.*/([\w-]+?)(?:\.git)?/?\s*$")
_MAX_NAMED = 20  # folders that an entry may add to `sys.path`
_TOP = PurePosixPath()


@dataclass
class Library:
    """Finds and reads the modules that were handed in together with `entry`."""

    entry: Unit
    files: Files
    units: dict[str, Unit | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @cached_property
    def roots(self) -> list[PurePosixPath]:
        """Folders in which any module may lie."""
        home = self.entry.path.parent
        return list(dict.fromkeys([home, *self._named_folders(home), *home.parents]))

    def _named_folders(self, home: PurePosixPath) -> list[PurePosixPath]:
        """Folders that the entry adds to `sys.path` by a literal."""
        named = islice(dict.fromkeys(self._added_to_path()), _MAX_NAMED)
        return [path for folder in named for path in self._nearest(home, folder)]

    def _added_to_path(self) -> Iterator[str]:
        for statement in self.entry.statements:
            for node in ast.walk(statement.node):
                if isinstance(node, ast.Call) and _dotted(node.func).startswith("sys.path."):
                    literals = (a.value for a in ast.walk(node) if isinstance(a, ast.Constant))
                    yield from (s for s in literals if isinstance(s, str) and s)

    def _nearest(self, home: PurePosixPath, named: str) -> list[PurePosixPath]:
        """Where a folder named in `sys.path` lies in what was handed in: at or around the file.

        A path of another machine (`/content/drive/…/project/model`) is matched by its end.
        """
        parts = PurePosixPath(named.replace("\\", "/")).parts
        plain = [part for part in parts if part not in ("/", "..", ".")][-MAX_DEPTH:]
        if parts and not plain:
            return [] if "/" in parts else list(home.parents)[parts.count("..") - 1 :][:1]
        ends = [home.joinpath(*plain[i:]) for i in range(len(plain))]
        return [path for path in ends if path in self.files.folders]

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
            path = self.entry.path.parent / f"{name}.py"
            return script(path, f"{name}.py (written here)", written)
        found = self._locate(name)
        if found is None or found == self.entry.path:
            return None
        data = self.files.read(found) if found in self.files.table else b""
        return read_unit(found, label_of(found), data) if data else Unit(found, [])

    def _locate(self, name: str) -> PurePosixPath | None:
        parts = name.split(".")
        found = [path for root in self.roots if (path := self._descend(root, parts)) is not None]
        if found:  # a plain folder counts only when no module of the name lies further on
            return next((path for path in found if path in self.files.table), found[0])
        if parts[0] in (self.files.name, *self._cloned):
            return self._descend(_TOP, parts[1:]) if len(parts) > 1 else self._package(_TOP)
        return self._elsewhere(parts)

    def _elsewhere(self, parts: list[str]) -> PurePosixPath | None:
        """Return the only file anywhere that an import can mean, if no package is called so."""
        if parts[0] in sys.stdlib_module_names or importlib.util.find_spec(parts[0]) is not None:
            return None
        if len(parts) > 1 and self.find(parts[0]) is not None:
            return None
        every = {self._descend(folder, parts) for folder in self.files.folders}
        found = [path for path in every if path in self.files.table and path != self.entry.path]
        if len(found) != 1 or found[0].suffix != ".py":
            return None
        name = ".".join(parts)
        self.notes.append(f"`{name}` is {label_of(found[0])}, in no folder where Python looks")
        return found[0]

    @cached_property
    def _cloned(self) -> set[str]:
        """Repositories that the notebook fetches: the one that was handed in may be among them."""
        texts = [command.text for command in self.entry.commands]
        return {name for text in texts for name in _CLONE.findall(text)}

    def _descend(self, folder: PurePosixPath, parts: list[str]) -> PurePosixPath | None:
        """Follow a dotted name down from a folder: to a file, a package's `__init__`, a folder."""
        for part in parts[:-1]:
            below = self._match(folder, part, directory=True)
            if below is None:
                return None
            folder = below
        if (file := self._match(folder, parts[-1], directory=False)) is not None:
            return file
        package = self._match(folder, parts[-1], directory=True)
        return None if package is None else self._package(package)

    def _package(self, folder: PurePosixPath) -> PurePosixPath:
        init = folder / "__init__.py"
        return init if init in self.files.table else folder

    def _match(self, folder: PurePosixPath, name: str, *, directory: bool) -> PurePosixPath | None:
        """Return the entry that is called so, or almost: `model3` finds `Model_3.py`."""
        entries = self.files.folders[folder]
        exact = entries.get(name if directory else f"{name}.py")
        if exact is not None and self._usable(exact, directory):
            return exact
        wanted = _plain(name)
        for path in sorted(entries.values(), key=lambda path: (path.suffix == ".ipynb", path)):
            stem = path.name if directory else path.stem
            fits = directory or path.suffix in SUFFIXES
            if fits and _plain(stem) == wanted and self._usable(path, directory):
                return path
        return None

    def _usable(self, path: PurePosixPath, directory: bool) -> bool:
        """Count a folder as a package if it, or a folder in it, holds a module."""
        if not directory:
            return path in self.files.table
        below = self.files.folders.get(path, {})
        inner = [*below.values()]
        inner += [p for b in below.values() for p in self.files.folders.get(b, {}).values()]
        return any(p.suffix == ".py" and p in self.files.table for p in inner)

    def is_package(self, name: str) -> bool:
        """Tell whether it is a folder, or the `__init__.py` of one."""
        unit = self.find(name)
        return unit is not None and (
            unit.path in self.files.folders or unit.path.name == "__init__.py"
        )

    def absolute(self, module: str, package: bool, node: ast.ImportFrom) -> str:
        """Give the dotted name that `from x import` means when it stands in `module`."""
        if not node.level:
            return node.module or ""
        parts = module.split(".") if module else []
        parts = parts if package else parts[:-1]
        up = node.level - 1
        base = parts[: len(parts) - up] if up <= len(parts) else []
        return ".".join([*base, *([node.module] if node.module else [])])


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _dotted(node: ast.AST) -> str:
    """Give `sys.path.append` of that expression, and the empty text of anything less plain."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""
