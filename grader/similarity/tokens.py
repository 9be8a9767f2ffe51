"""Code as numbers that names, comments, formatting and line breaks do not change.

The lexer takes any text: nothing is parsed, and what is no Python becomes tokens as well. Left out
are comments, texts that stand alone (docstrings), imports, lines for the notebook or the shell, and
commas before a closing bracket. Numbers count as one, and so do texts and names, but for those of
PyTorch, which keep their full name however they were imported: networks differ in them.
"""

from __future__ import annotations

import itertools
import keyword
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from grader.submission.text import PYTHON_CELLS

LIBRARIES = ("torch", "torchvision")
_NAME, _NUMBER, _STRING = "name", "number", "string"
_WRITES = ("writefile", "file")  # cell magics, after which the rest of the cell is a module
# No loop can fail after it has begun, so that no text takes more than its length.
_TOKEN = re.compile(
    r"""(?P<newline>\n)
    |(?P<blank>[^\S\n]+|\\\n|\#[^\n]*)
    |(?P<string>[rRbBuUfFtT]{0,2}
        (?:\"{3}(?:[^"\\]+|\\(?:.|\Z)|"(?!""))*(?:"{3}|\Z)
        |'{3}(?:[^'\\]+|\\(?:.|\Z)|'(?!''))*(?:'{3}|\Z)
        |"(?:[^"\\\n]+|\\(?:.|\Z))*(?:"|(?=\n)|\Z)
        |'(?:[^'\\\n]+|\\(?:.|\Z))*(?:'|(?=\n)|\Z)))
    |(?P<number>0[xXoObB]\w+|(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?[jJ]?)
    |(?P<name>[^\W\d]\w*)
    |(?P<operator>\*\*=?|//=?|<<=?|>>=?|->|:=|\.{3}|[-+*/%&|^@=<>!]=|.)""",
    re.S | re.X,
)
# These begin a statement and stand in no brackets: brackets before them were never closed.
_STATEMENTS = frozenset({"class", "def", "import", "return", "try", "while", "with"})
_KEYWORDS = frozenset(keyword.kwlist)

Token = tuple[str, str, int]
"""Kind, text, and the line it begins in, from one."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of one file: for each its number, its line, and its text's place in the file."""

    codes: NDArray[np.uint64]
    lines: NDArray[np.int32]
    texts: NDArray[np.int32]


def tokens_of(texts: Sequence[str]) -> Tokens:
    """Return the tokens of a file: of a script, or of the cells of a notebook in their order."""
    lines = [(at, line) for at, text in enumerate(texts) for line in _lines(_python(text))]
    words = ([word for _, word, _ in line] for _, line in lines)
    bound = dict(itertools.chain.from_iterable(map(_bound, words)))
    found = (
        (_code(name), number, at)
        for at, line in lines
        for name, number in _named(line, bound)
    )  # fmt: skip
    table = np.array([*found], np.uint64).reshape(-1, 3)
    return Tokens(table[:, 0].copy(), table[:, 1].astype(np.int32), table[:, 2].astype(np.int32))


def _python(cell: str) -> str:
    """Return a text, without the code of another language behind a `%%magic`."""
    first = cell.lstrip().partition("\n")[0]
    magic = first[2:].split(None, 1)[:1] if first.startswith("%%") else []
    return "" if magic and magic[0] not in PYTHON_CELLS and magic[0] not in _WRITES else cell


def _lines(source: str) -> Iterator[list[Token]]:
    """Yield the tokens of each statement that stands on lines of its own, or behind a `;`."""
    line: list[Token] = []
    depth, number, at = 0, 1, 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        assert match is not None  # any character is a token
        kind, text, at = match.lastgroup or "", match[0], match.end()
        if kind == "operator":
            depth = max(0, depth + (text in "([{") - (text in ")]}"))
            if text in "%!?" and not line:
                at = len(source) if (end := source.find("\n", at)) < 0 else end
                continue
        elif text in _STATEMENTS and depth:
            yield line
            line, depth = [], 0
        if depth == 0 and (kind == "newline" or text == ";"):
            yield line
            line = []
        elif kind not in ("newline", "blank"):
            line.append((kind, text, number))
        number += text.count("\n")
    yield line


def _bound(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the names of PyTorch that an import binds, with what they stand for."""
    if not _imports(words):
        return
    at = words.index("import")
    module = "".join(words[1:at])
    clauses = " ".join(word for word in words[at + 1 :] if word not in ("(", ")")).split(",")
    for clause in clauses:
        dotted, _, alias = clause.partition(" as ")
        name = dotted.replace(" ", "")
        full = f"{module}.{name}" if module else name if alias else name.partition(".")[0]
        if full.partition(".")[0] in LIBRARIES:
            yield alias.strip() or full.rpartition(".")[2], full


def _imports(words: Sequence[str]) -> bool:
    return words[:1] == ["import"] or (words[:1] == ["from"] and "import" in words)


def _named(line: Sequence[Token], bound: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Yield what each token of a statement counts as, and its line."""
    if _imports([word for _, word, _ in line]) or all(kind == "string" for kind, *_ in line):
        return
    at, before = 0, ""
    while at < len(line):
        kind, text, number = line[at]
        at += 1
        name = {"number": _NUMBER, "string": _STRING}.get(kind, text)
        if kind == "name" and text not in _KEYWORDS:
            name = _NAME
            if before != "." and text in bound:
                parts = [bound[text]]
                while at + 1 < len(line) and line[at][1] == "." and line[at + 1][0] == "name":
                    parts.append(line[at + 1][1])
                    at += 2
                name = ".".join(parts)
        is_last_comma = text == "," and at < len(line) and line[at][1] in (")", "]", "}")
        if not is_last_comma and not name == before == _STRING:
            yield name, number
        before = name


@lru_cache(maxsize=4096)
def _code(name: str) -> int:
    return zlib.crc32(name.encode("utf-8", "replace"))
