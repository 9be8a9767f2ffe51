"""An error in words, with the line of the submission it happened on. Runs in the box."""

from __future__ import annotations

import os
import traceback
from typing import Any

Json = dict[str, Any]

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib is not needed here

_CALLED = (
    "clicked.py", "data.py", "engines.py", "fitting.py", "folders.py",
    "frames.py", "lost.py", "commandline.py", "modules.py",
    "packages.py", "passing.py", "patches.py", "placeholders.py", "recorded.py", "slices.py",
    "standins.py", "watch.py",
)  # fmt: skip
_OWN = ("CannotCapture", "MissingPackage", "UnsetOption")  # whose words are the grader's


def places(program: Json) -> set[str]:
    """Return the places that belong to the submission, as tracebacks name them."""
    return {s["file"] for module in program["modules"] for s in module["statements"]}


def explain(error: BaseException, files: set[str]) -> Json:
    """Say what went wrong, and the innermost line of the submission it went wrong on.

    `files` are the places (`net.ipynb, cell 3`) that belong to the submission.
    """
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{f.filename}, line {f.lineno}" for f in frames if f.filename in files]
    theirs = isinstance(error, SyntaxError) and error.filename in files
    if isinstance(error, SyntaxError) and theirs:
        places.append(f"{error.filename}, line {error.lineno}")
    kind = type(error).__name__
    own = any(kind.__name__ in _OWN for kind in type(error).__mro__)
    meant = own or theirs or isinstance(error, ImportError)
    ours = not meant and bool(frames) and _is_tracer(frames[-1].filename)
    return {
        "kind": "Tracer" if ours else _printable(kind),
        "message": _printable(_words(error) if own else f"{kind}: {_words(error)}"),
        "where": _printable(places[-1] if places else getattr(error, "where", "") if own else ""),
        "help": _printable(getattr(error, "help", "") if own else ""),
    }


def _is_tracer(file: str) -> bool:
    """Tell a file of ours from those that stand in for something a submission calls."""
    return os.path.dirname(file) == _HERE and os.path.basename(file) not in _CALLED  # noqa: PTH119, PTH120


def _words(error: BaseException) -> str:
    """Return what an error says; some cannot even do that."""
    try:
        return str(error)
    except BaseException as other:  # whatever the submission has in store
        return f"(its message raises {type(other).__name__})"


def _printable(text: str) -> str:
    """Cut a message to length, without halves of characters that JSON cannot carry."""
    return text[:2000].encode("utf-8", "replace").decode()
