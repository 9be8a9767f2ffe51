"""A folder with several files: which one is the submission's entry.

A file is the entry if it says `MODEL = …` or `def build_model()`; else if it is the only one
with a model that no other file imports; else if it is the only such one that trains its model when
it is run, and does not only look at what another has trained; else by its name, in the order of
NAMES. What is left is ambiguous, and listed.
"""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import PurePosixPath

from grader.errors import GradingError, NoCode, SubmissionError
from grader.submission.files import Files, label_of
from grader.submission.source import read_unit

MAX_FILES = 400
NAMES = ("submission", "solution", "main", "__main__", "train", "model", "net", "network", "mnist")
_TESTS = re.compile(r"tests?$")
_NO_ENTRIES = re.compile(r"^(test_.*\.py$|.*_test\.py$|setup\.py$|conftest\.py$)")
_EXPLICIT = re.compile(
    rb'^([ \t]*")?(MODEL[ \t]*(:[^=\n]*)?=[^=]|def[ \t]+build_model[ \t]*\()', re.M
)


def candidates(files: Files) -> list[PurePosixPath]:
    """Return the files that may hold the model. Raises SubmissionError if there are none."""
    found = [
        path
        for path in sorted(files.table)
        if not any(map(_TESTS.match, path.parts[:-1]))
        and (not _NO_ENTRIES.match(path.name) or _trains_itself(_text(files, path)))
    ]
    if not found:
        raise NoCode(
            f"{files.name} holds no code",
            expected="at least one .py file or .ipynb notebook",
            found="tests and setup alone" if files.table else "none",
            where=files.name,
            help="submit the folder that holds your notebook or script",
        )
    if len(found) > MAX_FILES:
        raise SubmissionError(
            f"{files.name} holds too many files",
            expected=f"at most {MAX_FILES} scripts and notebooks",
            found=str(len(found)),
            where=files.name,
            help="submit the folder of this assignment alone",
        )
    return found


def choose_entry(files: Files) -> PurePosixPath:
    """Return the file that is run. Raises SubmissionError where nothing decides.

    A file that is imported by another is part of it. Of those that are left, one that speaks to
    the grader is the entry, then one that trains, then one that holds a model.
    """
    paths = candidates(files)
    texts = {path: _text(files, path) for path in paths}
    modelling = [path for path in paths if _MODEL.search(texts[path])] or paths
    words = {path: _imports(text) for path, text in texts.items()}
    imports = _edges(words)
    imported = {other for path in paths for other in imports[path]}
    roots = [path for path in modelling if path not in imported] or modelling
    teaching = _teaching(files, words, imports)
    says = {path for path in roots if _EXPLICIT.search(texts[path]) and not words[path] & _SHOWS}
    runs = [path for path in roots if path in says or not _looks(path, words)]
    done = [texts[other] for path in runs for other in _needed(path, imports)]
    if not (_learns(done) or says):
        # What only looks at what another file has trained is no entry, if there is such another.
        others = [path for path in modelling if path not in roots]
        learning = (
            [p for p in some if _learns_when_run(p, files, teaching)] for some in (others, roots)
        )
        runs = next(filter(None, learning), runs)
    roots = runs or roots
    # A script and a notebook of one name are the same work: the script.
    twins = {path.with_suffix(".ipynb"): path for path in roots if path.suffix == ".py"}
    roots = [p for p in roots if p not in twins or _learns([texts[p]]) > _learns([texts[twins[p]]])]
    whole = {path: [texts[other] for other in _needed(path, imports)] for path in roots}
    roots = [path for path in roots if any(map(_TORCH.search, whole[path]))] or roots
    if explicit := [path for path in roots if _EXPLICIT.search(texts[path])]:
        roots = explicit
    else:
        signs = (_LEARNS, _TRAINS, _HOLDS)
        signed = ([p for p in roots if any(map(sign.search, whole[p]))] for sign in signs)
        roots = next(filter(None, signed), roots)
        if len(roots) > 1:
            roots = _used_as_programs(roots, files, words, teaching)
    roots = _by_name(roots) if len(roots) > 1 else roots
    if len(roots) == 1:
        return roots[0]
    raise SubmissionError(
        f"{len(roots)} files of the folder hold a model and nothing says which one to grade",
        expected=f"one file with a model, or one called {NAMES[0]}.py",
        found="; ".join(label_of(path) for path in roots[:20]),
        where=files.name,
        help="submit the one file, or add one line at its end that says so: `MODEL = ...`",
    )


_MODEL = re.compile(rb"\bnn\b|\bModule\b|\bSequential\b|\bimport\b")
_TORCH = re.compile(rb"\btorch|lightning")
_LEARNS = re.compile(rb"\.backward\(|\.fit\(")
_TRAINS = re.compile(rb"\boptim\.[A-Z]\w*\(|(?<!def )\btrain\w*\(")
_HOLDS = re.compile(rb"\bModule\b|\bSequential\b")


def _by_name(roots: list[PurePosixPath]) -> list[PurePosixPath]:
    """Return the one with the first of the usual names, or with it and the fewest other words."""
    words = {path: path.stem.lower().split("_") for path in roots}
    for name in NAMES:
        if called := [path for path in roots if path.stem.lower() == name]:
            least = min(len(path.parts) for path in called)
            return [path for path in called if len(path.parts) == least]
    for name in NAMES:
        if holding := [path for path in roots if name in words[path]]:
            fewest = min(len(words[path]) for path in holding)
            return [path for path in holding if len(words[path]) == fewest]
    return roots


def _used_as_programs(
    roots: list[PurePosixPath], files: Files, words: Words, teaching: set[bytes]
) -> list[PurePosixPath]:
    """Return those that learn when they are run, and are in no package that another one uses."""
    roots = [path for path in roots if _learns_when_run(path, files, teaching)] or roots
    packages = {
        path: {_plain(folder.name.encode("utf-8", "replace")) for folder in path.parents
               if folder / "__init__.py" in files.table}
        for path in roots
    }  # fmt: skip
    return [
        path for path in roots
        if not any(packages[path] & words[o] for o in roots if not packages[o])
    ] or roots  # fmt: skip


def _teaching(files: Files, words: Words, imports: Imports) -> set[bytes]:
    """Return the names of modules that hold what learns, or import it."""
    needed = {path: [_text(files, other) for other in _needed(path, imports)] for path in words}
    return {_name(path) for path, texts in needed.items() if _learns(texts)}


def _learns_when_run(path: PurePosixPath, files: Files, teaching: set[bytes]) -> bool:
    """Tell whether a file's statements name what learns, or what names it, and so on.

    `teaching` are the modules that hold such things. A file that cannot be read may do so.
    """
    try:
        statements = read_unit(path, label_of(path), files.read(path)).statements
    except (GradingError, RecursionError, MemoryError):  # which is told when it is run
        return True
    waiting = [s for s in statements if isinstance(s.node, _DEFINES) and not _is_starred(s.node)]
    todo = [s for s in statements if s.runs != "imported" and s not in waiting]
    while todo:
        statement = todo.pop()
        text = statement.source.encode("utf-8", "replace")
        if _learns([text]) or teaching & _imports(text):
            return True
        read = statement.names.now | statement.names.late
        more = [s for s in waiting if s.names.binds & read]
        waiting = [s for s in waiting if s not in more]
        todo += more
    return False


_DEFINES = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


def _is_starred(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.names[0].name == "*"


def _learns(texts: list[bytes]) -> bool:
    return any(map(_LEARNS.search, texts))


_LOOKS = re.compile(
    r"eval|pred|infer|demo|serv|export|test|visual|draw|plot|(^|_)(app|gui)(_|$)", re.I
)


def _trains_itself(text: bytes) -> bool:
    return bool(_LEARNS.search(text)) and b"__main__" in text


def _text(files: Files, path: PurePosixPath) -> bytes:
    try:
        return files.read(path)
    except SubmissionError:  # which is told when the file is read for its model
        return b""


Words = dict[PurePosixPath, set[bytes]]
Imports = dict[PurePosixPath, set[PurePosixPath]]


def _edges(words: Words) -> Imports:
    """Return what each file imports by name: of several files of a name the nearest ones."""
    named: dict[bytes, list[PurePosixPath]] = {}
    for path in words:
        named.setdefault(_name(path), []).append(path)
    found: Imports = {}
    for path, imported in words.items():
        found[path] = set()
        for name in imported & set(named):
            others = [(_shared(path, other), other) for other in named[name] if other != path]
            most = max((shared for shared, _ in others), default=0)
            found[path] |= {other for shared, other in others if shared == most}
    return found


def _shared(one: PurePosixPath, other: PurePosixPath) -> int:
    """Return how many folders two files have in common."""
    pairs = zip(one.parts[:-1], other.parts[:-1], strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _needed(path: PurePosixPath, imports: Imports) -> set[PurePosixPath]:
    """Return a file and all that it imports by name, and these import."""
    found, todo = {path}, [path]
    while todo:
        more = imports[todo.pop()] - found
        found |= more
        todo += more
    return found


def _looks(path: PurePosixPath, words: Words) -> bool:
    """Tell by its name, or by what it shows pages or windows with, a file that only looks."""
    return bool(_LOOKS.search(path.stem)) or bool(words[path] & _SHOWS)


_SHOWS = {b"streamlit", b"gradio", b"flask", b"fastapi", b"django", b"tkinter", b"pygame"}


def _name(path: PurePosixPath) -> bytes:
    stem = path.parent.name if path.stem == "__init__" else path.stem
    return _plain(stem.encode("utf-8", "replace"))


def _imports(text: bytes) -> set[bytes]:
    """Return the plain names that stand in the imports of a file."""
    return {_plain(word) for line in _IMPORT.findall(text) for word in _WORD.findall(line)}


_IMPORT = re.compile(rb"(?:\bfrom\b|\bimport\b|%run\b)([^\n\\]*)")
_WORD = re.compile(rb"[\w-]+")


def _plain(name: bytes) -> bytes:
    return re.sub(rb"[\W_]", b"", name).lower()
