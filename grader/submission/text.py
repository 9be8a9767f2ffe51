"""Text that may hold notebook commands and old Python, made into what `ast` can parse.

Lines that only a notebook understands (`!pip …`, `%matplotlib …`, `name?`) become `pass`, one
for one, so that every line keeps its number.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from dataclasses import dataclass, field

MAX_REPAIRS = 300
MAX_CODE = 2 * 2**20  # characters of a file or cell; to read them takes 300 times the memory
MAX_STATEMENTS = 50_000
MAX_PARSED = 20 * MAX_CODE  # characters, counted again with every repair
# Cell magics after which the rest of the cell is still Python of this notebook.
PYTHON_CELLS = frozenset(
    {"time", "timeit", "capture", "prun", "memit", "mprun", "lprun", "wandb", "debug"}
)

# In none of these may two parts take the same characters: that costs a line's length squared.
_COMMAND = re.compile(
    r"^(\s*)(?:[\w.,\[\]][\w.,\[\] ]*=\s*)?(?:[!%]|\?{1,2}\w)|^(\s*)[\w.]+\?{1,2}\s*$"
)
_TIMED = re.compile(r"^(\s*)%(?:time|prun|memit)\s+(?!-)(\S.*)$")
_RUN = re.compile(r"^(\s*)%run\s+(?:-\w+\s+)*(['\"]?)(?:\./)?([^'\"]+?)(?:\.ipynb|\.py)\2\s*$")
_PRINT = re.compile(r"^(\s*|.*[:;]\s*)print\b\s*(?![\s(=])(.*?)(,?)$")
_LONGEST_RUN = 1_000  # characters of a line with %run


@dataclass(frozen=True)
class Text:
    """The lines of a file or a cell, and what a person calls it (`net.ipynb, cell 3`, `net.py`)."""

    label: str
    lines: list[str] = field(repr=False)

    def where(self, line: int) -> str:
        """Give a place in words; lines count from one."""
        return f"{self.label}, line {line}"


@dataclass(frozen=True)
class Parsed:
    """The statements of one text, and its commands as pairs of line number and line."""

    text: Text
    body: list[ast.stmt]
    commands: list[tuple[int, str]]


class Unparsable(Exception):
    """The text is not Python; `line` counts from one."""

    def __init__(self, message: str, line: int, shown: str) -> None:
        super().__init__(message)
        self.message, self.line, self.shown = message, line, shown


class TooLong(Unparsable):
    """The text holds more code than a person writes."""


def decode(data: bytes) -> str:
    """Text of a source file: by its mark, its coding line, UTF-8, or else Latin-1."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return clean(data.decode("utf-16", "replace"))
    try:
        encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        text = data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        text = data.decode("latin-1")
    return clean(text)


def clean(text: str) -> str:
    """One kind of line end, no byte order mark, no half of a character pair."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def parse(label: str, source: str) -> Parsed:
    """Parse a file or a cell. Raises Unparsable."""
    lines = source.split("\n")
    if len(source) > MAX_CODE:
        raise TooLong(f"more than {MAX_CODE:,} characters", 1, "")
    commands: list[tuple[int, str]] = []
    lines = _cell_magic(lines, commands)
    for _ in range(min(MAX_REPAIRS, MAX_PARSED // max(1, len(source)))):
        try:
            body = _tree("\n".join(lines))
        except SyntaxError as error:
            repaired = _repair(lines, error, commands)
            if repaired is None:
                raise _unparsable(error, source) from None
            lines = repaired
        else:
            if len(body) > MAX_STATEMENTS:
                raise TooLong(f"more than {MAX_STATEMENTS:,} statements", 1, "")
            return Parsed(Text(label, lines), body, sorted(commands))
    raise Unparsable("too many lines that are not Python", 1, lines[0])


def _tree(source: str) -> list[ast.stmt]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source).body
        except (ValueError, OverflowError) as error:  # null bytes, integers past all bounds
            raise SyntaxError(str(error)) from None


def _unparsable(error: SyntaxError, source: str) -> Unparsable:
    lines = source.split("\n")
    line = min(max(error.lineno or 1, 1), len(lines))
    return Unparsable(error.msg, line, lines[line - 1].strip()[:200])


def _cell_magic(lines: list[str], commands: list[tuple[int, str]]) -> list[str]:
    """Set `%%magic` aside: its first line, or the whole cell when the rest is not Python."""
    first = next((i for i, line in enumerate(lines) if line.strip()), None)
    if first is None or not lines[first].startswith("%%"):
        return lines
    commands.append((first + 1, lines[first].strip()))
    name = lines[first][2:].split(None, 1)[0] if lines[first][2:].strip() else ""
    if name not in PYTHON_CELLS:
        return [""] * len(lines)
    return _cell_magic([*[""] * (first + 1), *lines[first + 1 :]], commands)


def _repair(
    lines: list[str], error: SyntaxError, commands: list[tuple[int, str]]
) -> list[str] | None:
    """Make the line of the error Python, if it is a command or an old print; else None."""
    if isinstance(error, TabError) and any("\t" in line for line in lines):
        return [line.expandtabs(8) for line in lines]
    at = (error.lineno or 0) - 1
    if not 0 <= at < len(lines):
        return None
    # An error at the end of a line may be reported on the one after it.
    for index in (at, at - 1):
        if index >= 0 and (fixed := _repair_line(lines, index, commands)) is not None:
            return fixed
    return None


def _repair_line(lines: list[str], index: int, commands: list[tuple[int, str]]) -> list[str] | None:
    line = lines[index]
    if _COMMAND.match(line):
        return _without_command(lines, index, commands)
    if old := _PRINT.match(line.rstrip()):
        return [*lines[:index], f"{old[1]}print({old[2]})", *lines[index + 1 :]]
    return None


def _without_command(lines: list[str], index: int, commands: list[tuple[int, str]]) -> list[str]:
    line = lines[index]
    commands.append((index + 1, line.strip()))
    if timed := _TIMED.match(line):
        return [*lines[:index], timed[1] + timed[2], *lines[index + 1 :]]
    if len(line) <= _LONGEST_RUN and (
        run := _RUN.match(line)
    ):  # what the other file binds is bound here
        module = ".".join(re.sub(r"\W", "_", part) for part in run[3].split("/"))
        return [*lines[:index], f"{run[1]}from {module} import *", *lines[index + 1 :]]
    end = index
    while lines[end].rstrip().endswith("\\") and end + 1 < len(lines):
        end += 1
    indent = line[: len(line) - len(line.lstrip())]
    return [*lines[:index], f"{indent}pass", *[""] * (end - index), *lines[end + 1 :]]
