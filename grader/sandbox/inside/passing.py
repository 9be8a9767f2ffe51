"""Lines that fail inside a function or a loop can be passed over, as a cell that fails is.

Runs in the sandbox. A plot, a log or a look at files that fails here ends all that its function
has yet to do, a training among it. Every simple statement in a function or a compound statement
therefore asks, where it raises, whether the statement around it is to fail by that:

    try: x = look(images)
    except BaseException:
        if __fails__(line): raise
        x = __nothing__("x")
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from typing import Any

from placeholders import MissingPackage, Placeholder, in_a_model
from tensors import CannotCapture
from torch import nn
from torch.utils import data

FAILS, NOTHING = "__fails__", "__nothing__"
_SIMPLE = (ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign)
_WORK = (ast.Call, ast.Subscript, ast.Attribute, ast.BinOp)  # what may raise
_WAITS = (ast.Yield, ast.YieldFrom, ast.Await)
_MOST = 1_000  # times that a line is passed over
_BODIES = ("body", "handlers", "orelse", "finalbody", "cases")
# These say that the file is wrong, or something that the loop around them goes by.
_NEVER = (NameError, StopIteration, CannotCapture, MissingPackage)


def guard(node: ast.AST, *, inside: bool = False) -> None:
    """Let simple statements ask, whose errors the submission does not expect itself."""
    inside = (isinstance(node, ast.stmt) and not isinstance(node, ast.ClassDef)) or (
        inside and isinstance(node, ast.ExceptHandler | ast.match_case)
    )
    for name in _BODIES:
        body = getattr(node, name, [])
        for number, each in enumerate(body if isinstance(body, list) else ()):
            guard(each, inside=inside)
            if inside and not (name == "body" and _expects(node)):
                body[number] = _guarded(each)


def _expects(node: ast.AST) -> bool:
    return isinstance(node, ast.Try) and bool(node.handlers)


def _guarded(node: ast.stmt) -> ast.stmt:
    parts = list(ast.walk(node)) if isinstance(node, _SIMPLE) else []
    if not any(isinstance(p, _WORK) for p in parts) or any(isinstance(p, _WAITS) for p in parts):
        return node
    fails = ast.If(_asked(FAILS, node.lineno), [ast.Raise()], [])
    handler: list[ast.stmt] = [fails]
    for target in _targets(node):
        handler.append(ast.Assign([target], _asked(NOTHING, ast.unparse(target))))
    caught = ast.ExceptHandler(ast.Name("BaseException", ast.Load()), None, handler)
    made = ast.copy_location(ast.Try([node], [caught], [], []), node)
    return ast.fix_missing_locations(made)


def _asked(name: str, value: Any) -> ast.expr:
    return ast.Call(ast.Name(name, ast.Load()), [ast.Constant(value)], [])


def _targets(node: ast.stmt) -> Iterator[ast.expr]:
    """Yield the names and attributes that an assignment binds."""
    todo = [*node.targets] if isinstance(node, ast.Assign) else []
    todo += [node.target] if isinstance(node, ast.AnnAssign) else []
    while todo:
        target = todo.pop()
        if isinstance(target, ast.Tuple | ast.List):
            todo += target.elts
        elif isinstance(target, ast.Starred):
            todo.append(target.value)
        elif isinstance(target, ast.Name | ast.Attribute):
            yield target


class Failed(Placeholder):
    """Stands for what a line that was passed over was to give."""

    errors: dict[str, BaseException] = {}  # noqa: RUF012 # of all of them

    def _use(self) -> None:
        """Raise the line's own error where a network depends on it."""
        if in_a_model():
            raise self.errors[self.__name__.partition(".")[0]]


class Passing:
    """Whether lines that fail are passed over, or ever were `used` to; `lines` are those."""

    def __init__(self, expected: Callable[[str, int], bool]) -> None:
        """Take what tells of a line whether the submission expects errors there."""
        self._expected = expected
        self.on = self.used = False
        self.possible = False  # whether a line failed in this statement that could be passed over
        self.lines: dict[tuple[str, int], BaseException] = {}
        self._counts: dict[tuple[str, int], int] = {}

    def fails(self, line: int) -> bool:
        """Tell whether the statement around a line fails by the error that is under way."""
        error, frame = sys.exc_info()[1], sys._getframe(1)
        usual = isinstance(error, Exception | SystemExit) and not isinstance(error, _NEVER)
        place = frame.f_code.co_filename, line
        if error is None or not usual or self._has_other_ways():
            return True
        self.possible = True
        if self.on:
            self._counts[place] = self._counts.get(place, 0) + 1
            if not isinstance(error, SystemExit) or error.code:  # a plain end is no failure
                self.lines.setdefault(place, error)
        return not self.on or self._counts[place] > _MOST

    def nothing(self, name: str) -> Failed:
        """Return what stands for a value that a line was to give."""
        error = sys.exc_info()[1]
        assert error is not None
        Failed.errors[name.partition(".")[0]] = error
        return Failed(name)

    def _has_other_ways(self) -> bool:
        """Tell whether a network, a data set or a `try` is at work: errors have their own ways."""
        frame = sys._getframe(2)
        while frame is not None:
            code = frame.f_code
            owner = frame.f_locals.get(code.co_varnames[0]) if code.co_varnames else None
            forward = isinstance(owner, nn.Module) and code.co_name in ("forward", "__init__")
            expected = self._expected(code.co_filename, frame.f_lineno)
            if forward or expected or isinstance(owner, data.Dataset):
                return True
            frame = frame.f_back  # type: ignore[assignment] # None at the bottom ends the loop
        return False
