"""Text that may hold notebook commands and old Python, made into what `ast` can parse.

Lines that only a notebook understands (`!pip …`, `%matplotlib …`, `name?`) become `pass`, one
for one, so that every line keeps its number.
"""

from __future__ import annotations

import ast
import codecs
import re
import warnings
from dataclasses import dataclass, field

MAX_REPAIRS = 300  # of one text
MAX_CODE = 500_000  # characters of a file; to parse them takes up to 900 times the memory
MAX_STATEMENTS = 50_000
MAX_REPARSED = 8 * MAX_CODE  # characters of a file, counted again with every repair
MAX_COMMANDS = 2_000  # that are listed
# Those that are decoded in one pass. Others, such as punycode, take a text's length squared.
CODINGS = frozenset(
    {"utf-8", "ascii", "iso8859-1", "iso8859-2", "iso8859-15", "cp1250", "cp1251", "cp1252",
     "koi8-r", "gb2312", "gbk", "gb18030", "big5", "shift_jis", "euc_jp", "euc_kr"}
)  # fmt: skip
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
_PYTHON_2 = (
    (_PRINT, r"\1print(\2)"),
    (re.compile(r"^(\s*|.*:\s+)raise\s+([\w.]+)\s*,\s*(.+)$"), r"\1raise \2(\3)"),
    (re.compile(r"^(\s*except\s+(?:[\w.]+|\([^()]*\)))\s*,\s*(\w+\s*:.*)$"), r"\1 as \2"),
)
_OLD_PRINT = re.compile(r"^(\s*)print\b\s*(?=[\"'\w])(.*?)(,?)$")
_LONGEST_RUN = 1_000  # characters of a line with %run
_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")  # of PEP 263
_CODING_WITHIN = 200  # bytes of a line
_MARK = re.compile(r"""\\.|'{3}|"{3}|['"#()\[\]{}]""")
_LONG_INTEGER = re.compile(r"0[xXoObB][0-9a-fA-F_]{3000}")
_MAX_BITS = 14_000  # of an integer that can be written in decimal


_Inside = tuple[str, int, bool]
"""The quotes and how many brackets the end of a line is in, and whether a backslash ends it."""
_NOT_INSIDE: _Inside = ("", 0, False)


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


@dataclass
class Room:
    """What may still be read of one file, all of its cells together."""

    code: int = MAX_CODE
    statements: int = MAX_STATEMENTS
    reparsed: int = MAX_REPARSED
    commands: int = MAX_COMMANDS

    def take_code(self, characters: int) -> None:
        """Count characters of Python. Raises TooLong, and counts none, where they are too many."""
        if characters > self.code:
            raise TooLong(f"more than {MAX_CODE:,} characters of code", 1, "")
        self.code -= characters

    def take_statements(self, count: int) -> None:
        """Count statements. Raises TooLong, and counts none, where they are too many."""
        if count > self.statements:
            raise TooLong(f"more than {MAX_STATEMENTS:,} statements", 1, "")
        self.statements -= count


def decode(data: bytes) -> str:
    """Text of a source file: by its mark, its coding line, UTF-8, or else Latin-1."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return clean(data.decode("utf-16", "replace"))
    for coding in (_declared(data), "utf-8"):
        try:
            return clean(data.decode(coding))
        except UnicodeDecodeError:
            pass
    return clean(data.decode("latin-1"))


def _declared(data: bytes) -> str:
    """Return the coding that one of the first two lines names, if it is one that is read."""
    for line in data[: 2 * _CODING_WITHIN].splitlines()[:2]:
        if found := _CODING.match(line[:_CODING_WITHIN]):
            try:
                name = codecs.lookup(found[1].decode("ascii")).name
            except (LookupError, ValueError):
                return "utf-8"
            return name if name in CODINGS else "utf-8"
    return "utf-8"


def clean(text: str) -> str:
    """One kind of line end, no byte order mark, no half of a character pair."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def parse(label: str, source: str, room: Room) -> Parsed:
    """Parse a file or a cell. Raises Unparsable."""
    commands: list[tuple[int, str]] = []
    lines = _cell_magic(source.split("\n"), commands)
    room.take_code(sum(map(len, lines)) + len(lines))
    try:
        body = _tree(lines)
    except SyntaxError:
        lines = _without_commands(lines, commands)
        lines, body = _repaired(lines, source, commands, room)
    room.take_statements(len(body))
    listed = sorted(commands)[: room.commands]
    room.commands -= len(listed)
    return Parsed(Text(label, lines), body, listed)


def _tree(lines: list[str]) -> list[ast.stmt]:
    source = "\n".join(lines)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(source)
        except (ValueError, OverflowError) as error:  # null bytes, integers past all bounds
            raise SyntaxError(str(error)) from None
    return _LongIntegers().visit(tree).body if _LONG_INTEGER.search(source) else tree.body


class _LongIntegers(ast.NodeTransformer):
    """Writes `0xff…` as `int('0xff…', 0)`: in decimal Python refuses to write it down again."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if type(node.value) is not int or node.value.bit_length() <= _MAX_BITS:
            return node
        digits, base = ast.Constant(hex(node.value)), ast.Constant(0)
        call = ast.Call(ast.Name("int", ast.Load()), [digits, base], [])
        return ast.fix_missing_locations(ast.copy_location(call, node))


def _repaired(
    lines: list[str], source: str, commands: list[tuple[int, str]], room: Room
) -> tuple[list[str], list[ast.stmt]]:
    """Parse a text whose commands are gone, and correct what old Python may have been."""
    for _ in range(MAX_REPAIRS):
        try:
            return lines, _tree(lines)
        except SyntaxError as error:
            room.reparsed -= len(source)
            repaired = _repair(lines, error, commands) if room.reparsed > 0 else None
            if repaired is None:
                raise _unparsable(error, source) from None
            lines = repaired
    raise Unparsable("too many lines that are not Python", 1, lines[0][:200])


def _unparsable(error: SyntaxError, source: str) -> Unparsable:
    lines = source.split("\n")
    line = min(max(error.lineno or 1, 1), len(lines))
    return Unparsable(error.msg, line, lines[line - 1].strip()[:200])


def _cell_magic(lines: list[str], commands: list[tuple[int, str]]) -> list[str]:
    """Set `%%magic` aside: its first line, or the whole cell when the rest is not Python."""
    for index, line in enumerate(lines):
        if line.startswith("%%"):
            commands.append((index + 1, line.strip()))
            if "".join(line[2:].split(None, 1)[:1]) not in PYTHON_CELLS:
                return [""] * len(lines)
        elif line.strip():
            return [*[""] * index, *lines[index:]]
    return [""] * len(lines)


def _without_commands(lines: list[str], commands: list[tuple[int, str]]) -> list[str]:
    """Replace all commands and old prints at once, which stand where a statement begins."""
    kept: list[str] = []
    inside: _Inside = ("", 0, False)
    printing = False  # in an old print of several lines
    while len(kept) < len(lines):
        line, begins = lines[len(kept)], inside == _NOT_INSIDE
        if begins and _COMMAND.match(line):
            kept += _replaced(lines, len(kept), commands)
            continue
        inside = _after(line, *inside[:2])
        ends = inside == _NOT_INSIDE
        old = _OLD_PRINT.match(line.rstrip()) if begins else None
        if old:
            line = f"{old[1]}print({old[2]}" + ("" if ends else old[3])
        printing = printing or old is not None
        kept.append(f"{line})" if printing and ends else line)
        printing = printing and not ends
    return kept


def _after(line: str, quote: str, depth: int) -> _Inside:
    """Return where a line ends that begins in these quotes and so many brackets."""
    at = 0
    while found := _MARK.search(line, at):
        mark, at = found[0], found.end()
        if quote and mark.startswith(quote):
            quote, at = "", found.start() + len(quote)
        elif quote or mark.startswith("\\"):
            continue
        elif mark == "#":
            return "", depth, False
        elif mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth = max(0, depth - 1)
        else:
            quote = mark
    goes_on = (len(line) - len(line.rstrip("\\"))) % 2 == 1
    return quote if len(quote) == 3 or goes_on else "", depth, goes_on


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
        replaced = _replaced(lines, index, commands)
        return [*lines[:index], *replaced, *lines[index + len(replaced) :]]
    for pattern, newer in _PYTHON_2:
        if old := pattern.match(line.rstrip()):
            return [*lines[:index], old.expand(newer), *lines[index + 1 :]]
    return None


def _replaced(lines: list[str], index: int, commands: list[tuple[int, str]]) -> list[str]:
    """Return as many lines of Python as the command takes that begins at `index`."""
    line = lines[index]
    commands.append((index + 1, line.strip()))
    if timed := _TIMED.match(line):
        return [timed[1] + timed[2]]
    if len(line) <= _LONGEST_RUN and (run := _RUN.match(line)):
        # What the other file binds is bound here.
        module = ".".join(re.sub(r"\W", "_", part) for part in run[3].split("/"))
        return [f"{run[1]}from {module} import *"]
    end = index
    while lines[end].rstrip().endswith("\\") and end + 1 < len(lines):
        end += 1
    indent = line[: len(line) - len(line.lstrip())]
    return [f"{indent}pass", *[""] * (end - index)]
