"""From a file to its statements: scripts, notebooks of formats 3 and 4, nothing executed."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

import msgspec

from grader.errors import NoCode, SubmissionError, UsageFault
from grader.submission.names import Names, names_of
from grader.submission.program import SetAside, Statement, Witness
from grader.submission.text import Parsed, Room, Text, TooLong, Unparsable, clean, decode, parse
from grader.submission.witness import Output, witness_of

MAX_CELLS = 10_000
MAX_ODD = 32 * 2**20  # bytes of JSON that becomes objects as a whole
COMMAND = "a notebook or shell command; the grader runs none"


@dataclass(frozen=True, eq=False)
class Stmt:
    """One statement with its place.

    `ran` is false in a notebook cell that was never executed. `runs` says where it does: what
    stands under `if __name__ == "__main__":` only in the entry, what stands in its `else` only in
    modules that are imported.
    """

    node: ast.stmt
    text: Text
    ran: bool = True
    runs: Literal["always", "entry", "imported"] = "always"

    @cached_property
    def names(self) -> Names:
        """What it binds and reads."""
        return names_of(self.source)

    @property
    def where(self) -> str:
        """Its place in words."""
        return self.text.where(first_line(self.node))

    @cached_property
    def source(self) -> str:
        """Its own text, moved to the left margin."""
        return dedented(self.node, self.text)

    @property
    def brief(self) -> str:
        """Its first line, for lists that people read."""
        return self.text.lines[first_line(self.node) - 1].strip()[:200]

    def statement(self) -> Statement:
        """As it goes into a Program."""
        return Statement(self.source, self.text.label, first_line(self.node))


@dataclass(frozen=True)
class Unit:
    """One module of a submission: a script or a notebook, as statements.

    `broken` are cells that are not Python: they matter only when what they define is needed.
    `files` are modules that the notebook writes with `%%writefile`; `witness` is what its output
    shows.
    """

    path: PurePosixPath
    statements: list[Stmt]
    commands: list[SetAside] = field(default_factory=list)
    broken: list[tuple[SubmissionError | UsageFault, str]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    witness: Witness | None = None


def first_line(node: ast.stmt) -> int:
    """Give the line a statement starts on, decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)])


def segment(node: ast.AST, text: Text) -> str:
    """Give the characters of a statement or an expression, as they stand in the text."""
    start = first_line(node) if isinstance(node, ast.stmt) else node.lineno  # type: ignore[attr-defined]
    end: int = node.end_lineno  # type: ignore[attr-defined]
    lines = [*text.lines[start - 1 : end]]
    lines[-1] = lines[-1].encode()[: node.end_col_offset].decode()  # type: ignore[attr-defined]
    lines[0] = lines[0].encode()[node.col_offset :].decode()  # type: ignore[attr-defined]
    return "\n".join(lines)


def dedented(node: ast.stmt, text: Text) -> str:
    """Give a statement at the left margin: its own text where that keeps the meaning."""
    source = segment(node, text)
    if node.col_offset == 0 or "\n" not in source:
        return source
    first, *rest = source.split("\n")
    margin = text.lines[first_line(node) - 1].encode()[: node.col_offset].decode()
    moved = "\n".join([first, *(line.removeprefix(margin) for line in rest)])
    try:
        same = ast.dump(ast.parse(moved).body[0]) == ast.dump(node)
    except (SyntaxError, ValueError, IndexError):
        same = False
    return moved if same else ast.unparse(node)


def read_unit(path: PurePosixPath, label: str, data: bytes) -> Unit:
    """Parse a script or a notebook. Raises SubmissionError."""
    if path.suffix.lower() == ".ipynb":
        return read_notebook(path, label, data)
    return script(path, label, decode(data))


def script(path: PurePosixPath, label: str, source: str) -> Unit:
    """Give the unit of a Python file's text. Raises SubmissionError."""
    if not source.strip():
        raise NoCode(
            f"{label} is empty",
            expected="Python code that defines a model",
            found="no text",
            where=label,
            help="save the file again and check that it is the one you meant to submit",
        )
    try:
        parsed = parse(label, source, Room())
    except Unparsable as error:
        raise syntax_error(label, error) from None
    return Unit(path, list(_statements(parsed)), _commands(parsed))


_NEWER = {
    (3, 12): re.compile(r"^\s*type\s+\w+\s*[\[=]|^\s*(?:async\s+)?(?:def|class)\s+\w+\["),
    (3, 14): re.compile(r"""(?<![\w"'])[rR]?[tT][rR]?["']"""),
}


def _needs(error: Unparsable) -> tuple[int, int] | None:
    """Return the version of Python whose syntax a line may be, if it is newer than this one."""
    nested = "f-string" in error.message  # which may hold its own quotes since 3.12
    wanted = [v for v, pattern in _NEWER.items() if pattern.search(error.shown)]
    return next((v for v in [(3, 12)] * nested + wanted if v > sys.version_info[:2]), None)


def syntax_error(label: str, error: Unparsable) -> SubmissionError | UsageFault:
    """Say what is wrong with a text that Python cannot parse; newer Python is nobody's fault."""
    if (version := _needs(error)) is not None:
        newer, here = (".".join(map(str, v[:2])) for v in (version, sys.version_info))
        return UsageFault(
            f"{label} may need Python {newer}, and the grader runs on Python {here}",
            expected=f"syntax of Python {here}",
            found=f"{error.message}: {error.shown}",
            where=f"{label}, line {error.line}",
            help=f"install the grader with Python {newer}, or correct the line",
        )
    if isinstance(error, TooLong):
        return SubmissionError(
            f"{label} is too long to read",
            expected="code written by hand",
            found=error.message,
            where=label,
            help="keep data in files of their own; the network does not need them",
        )
    return SubmissionError(
        f"syntax error: {error.message}",
        expected="Python 3 code",
        found=error.shown,
        where=f"{label}, line {error.line}",
        help="run the file or the cell once yourself; Python points at the same line",
    )


def _commands(parsed: Parsed) -> list[SetAside]:
    return [
        SetAside(line[:200], parsed.text.where(number), COMMAND) for number, line in parsed.commands
    ]


def _statements(parsed: Parsed, *, ran: bool = True) -> Iterator[Stmt]:
    for node in parsed.body:
        if is_main_guard(node):
            assert isinstance(node, ast.If)
            for child in node.body:
                yield Stmt(child, parsed.text, ran, "entry")
            for child in node.orelse:
                yield Stmt(child, parsed.text, ran, "imported")
        else:
            yield Stmt(node, parsed.text, ran)


def is_main_guard(node: ast.stmt) -> bool:
    """Tell whether it is `if __name__ == "__main__":`."""
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare):
        return False
    sides = [node.test.left, *node.test.comparators]
    return any(isinstance(s, ast.Name) and s.id == "__name__" for s in sides) and any(
        isinstance(s, ast.Constant) and s.value == "__main__" for s in sides
    )


# Notebooks


class Cell(NamedTuple):
    """A code cell of a notebook, and what it left, as it stands in the JSON."""

    source: str
    ran_as: int | None
    outputs: Any


def read_notebook(path: PurePosixPath, label: str, data: bytes) -> Unit:
    """Give the unit of a notebook. Raises SubmissionError."""
    cells = _cells(label, data)
    if not any(cell.source.strip() for cell in cells):
        raise NoCode(
            f"{label} has no code",
            expected="a notebook with code cells",
            found=f"{len(cells)} code cells, all empty" if cells else "no code cell",
            where=label,
            help="save the notebook again and check that it is the one you meant to submit",
        )
    return _from_cells(path, label, cells)


def texts(path: PurePosixPath, label: str, data: bytes) -> list[tuple[str, str]]:
    """Return a script, or each code cell of a notebook, with its label; nothing is parsed.

    Raises SubmissionError for what is no notebook.
    """
    if path.suffix.lower() != ".ipynb":
        return [(label, decode(data))]
    return [(_cell(label, at), cell.source) for at, cell in enumerate(_cells(label, data))]


def _cell(label: str, index: int) -> str:
    return f"{label}, cell {index + 1}"


def _cells(label: str, data: bytes) -> list[Cell]:
    notebook = _json(label, data)
    _check_language(label, notebook)
    return list(_code_cells(label, notebook))


class _Cell(msgspec.Struct):
    cell_type: str = ""
    source: str | list[str] | None = None
    input: str | list[str] | None = None
    execution_count: int | None = None
    prompt_number: int | None = None


class _Sheet(msgspec.Struct):
    cells: list[_Cell] = []


class _Kernel(msgspec.Struct):
    language: str | None = None


class _Language(msgspec.Struct):
    name: str | None = None


class _Metadata(msgspec.Struct):
    kernelspec: _Kernel | None = None
    language_info: _Language | None = None


class _Notebook(msgspec.Struct):
    """What is read of a notebook: the rest, such as its outputs, never becomes an object."""

    cells: list[_Cell] | None = None
    worksheets: list[_Sheet] | None = None
    metadata: _Metadata | None = None


def _with_nbformat(data: bytes) -> dict[str, Any] | None:
    """Read a notebook of usual size; None where the library refuses it, for what nobody asks.

    Nothing is validated: most faults of notebooks are in outputs and metadata, and only the code
    is wanted.
    """
    from nbformat import reader  # for notebooks only: it takes as long to import as all of this

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            notebook: dict[str, Any] = reader.reads(clean(data.decode()))
    except Exception:  # of a library, for whatever a submission holds
        return None
    return notebook


def _json(label: str, data: bytes) -> dict[str, Any]:
    """Return the JSON of a notebook, large or not as the format says."""
    if len(data) <= MAX_ODD and (notebook := _with_nbformat(data)) is not None:
        return notebook
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found: dict[str, Any] = msgspec.to_builtins(msgspec.json.decode(data, type=_Notebook))
        return found
    if len(data) > MAX_ODD:
        raise _not_a_notebook(label, f"more than {MAX_ODD // 2**20} MB of something else")
    try:
        notebook = json.loads(clean(data.decode("utf-8", "replace")))
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        words = "an empty file" if not data.strip() else str(error)
        raise NoCode(
            f"{label} is not a notebook",
            expected="the JSON that Jupyter or Colab saves",
            found=words[:200],
            where=f"{label}, line {line} of the file",
            help="open it in Jupyter or Colab, save it again, and submit that file",
        ) from None
    if not isinstance(notebook, dict):
        raise _not_a_notebook(label, f"a JSON {type(notebook).__name__}")
    return notebook


def _not_a_notebook(label: str, found: str) -> NoCode:
    return NoCode(
        f"{label} is not a notebook",
        expected="a notebook of format 3 or 4: an object with a list of cells",
        found=found,
        where=label,
        help="open it in Jupyter or Colab, save it again, and submit that file",
    )


def _check_language(label: str, notebook: dict[str, Any]) -> None:
    metadata = notebook.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    kernel, info = metadata.get("kernelspec"), metadata.get("language_info")
    named = [
        kernel.get("language") if isinstance(kernel, dict) else None,
        info.get("name") if isinstance(info, dict) else None,
    ]
    for language in named:
        if isinstance(language, str) and language and "python" not in language.lower():
            raise NoCode(
                f"{label} is written in another language",
                expected="a Python notebook",
                found=f"a kernel for {language[:40]}",
                where=label,
                help="submit a notebook that runs on a Python kernel",
            )


def _code_cells(label: str, notebook: dict[str, Any]) -> Iterator[Cell]:
    """Yield every code cell."""
    cells = notebook.get("cells")
    if cells is None:  # format 3 keeps its cells in worksheets
        sheets = notebook.get("worksheets")
        if not isinstance(sheets, list):
            raise _not_a_notebook(label, "no list of cells")
        lists = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
        cells = [cell for cells in lists if isinstance(cells, list) for cell in cells]
    if not isinstance(cells, list):
        raise _not_a_notebook(label, "cells that are not a list")
    if len(cells) > MAX_CELLS:
        raise _not_a_notebook(label, f"{len(cells):,} cells, of at most {MAX_CELLS:,}")
    for cell in cells:
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source") or cell.get("input")
            lines = source if isinstance(source, list) else [source]
            count = cell.get("execution_count")
            count = cell.get("prompt_number") if count is None else count
            whole = "".join(line for line in lines if isinstance(line, str))
            yield Cell(clean(whole), count if type(count) is int else None, cell.get("outputs"))


def _witness(label: str, cells: list[Cell]) -> Witness | None:
    """Return what the outputs show, in the order of the execution counts if all are known."""
    left = [
        (cell.ran_as, Output(_cell(label, at), *_texts(cell.outputs)))
        for at, cell in enumerate(cells)
        if cell.outputs
    ]
    if all(count for count, _ in left):
        left.sort(key=lambda pair: pair[0] or 0)
    return witness_of([output for _, output in left])


def _texts(outputs: Any) -> tuple[list[str], bool]:  # noqa: ANN401 - any JSON
    """Return the texts among the outputs of a cell, and whether an error is among them."""
    texts, failed = [], False
    for output in outputs if isinstance(outputs, list) else []:
        if isinstance(output, dict):
            failed = failed or output.get("output_type") in ("error", "pyerr")
            data = output.get("data")
            plain = data.get("text/plain") if isinstance(data, dict) else None
            text = output.get("text") or plain  # format 3 has all of them in `text`
            lines = text if isinstance(text, list) else [text]
            texts.append("".join(line for line in lines if isinstance(line, str)))
    return texts, failed


def _from_cells(path: PurePosixPath, label: str, cells: list[Cell]) -> Unit:
    unit, room = Unit(path, [], witness=_witness(label, cells)), Room()
    counted = any(cell.ran_as for cell in cells)  # Colab writes 0 where it does not know
    parts: list[tuple[int | None, list[Stmt]]] = []
    for index, (source, count, _) in enumerate(cells):
        name = _cell(label, index)
        if written := _written_file(source):
            unit.files[written[0]] = written[1]
        try:
            parsed = parse(name, source, room)
        except Unparsable as error:
            unit.broken.append((syntax_error(name, error), source))
            continue
        unit.commands.extend(_commands(parsed))
        ran = count is not None or not counted
        parts.append((count or None, list(_statements(parsed, ran=ran))))
    unit.statements.extend(_as_run(parts))
    return unit


def _written_file(source: str) -> tuple[str, str] | None:
    """Give the module that a cell writes with `%%writefile name.py`, and its text."""
    head, _, body = source.lstrip().partition("\n")
    words = head.split()
    if words and words[0] in ("%%writefile", "%%file") and words[-1].endswith(".py"):
        return words[-1].removeprefix("./"), body
    return None


def _as_run(parts: list[tuple[int | None, list[Stmt]]]) -> list[Stmt]:
    """Sort by execution counts, unless the order of the page leaves fewer names unbound."""
    page = [s for _, part in parts for s in part]
    counts = [count for count, _ in parts if count is not None]
    if counts == sorted(counts):
        return page
    # A cell that never ran keeps its place after the cell above it.
    keyed, reached = [], 0
    for count, part in parts:
        reached = count if count is not None else reached
        keyed.append((reached, part))
    by_count = [s for _, part in sorted(keyed, key=lambda pair: pair[0]) for s in part]
    return page if unbound_reads(page) < unbound_reads(by_count) else by_count


def unbound_reads(statements: Iterable[Stmt]) -> int:
    """How many reads come before anything binds the name, though something later does."""
    statements = list(statements)
    ever = {name for s in statements for name in s.names.binds}
    bound: set[str] = set()
    unbound = 0
    for statement in statements:
        unbound += len((statement.names.now & ever) - bound)
        bound |= statement.names.binds
    return unbound
