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
from collections.abc import Iterator
from typing import Any

from placeholders import MissingPackage, Placeholder, in_a_model
from tensors import CannotCapture
from torch import nn
from torch.utils import data

FAILS, NOTHING = "__fails__", "__nothing__"
_SIMPLE = (ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign)
_WORK = (ast.Call, ast.Subscript, ast.Attribute, ast.BinOp)  # what may raise
_WAITS = (ast.Yield, ast.YieldFrom, ast.Await)
_BODIES = ("body", "orelse", "finalbody")
# These say that the file is wrong, or something that the loop around them goes by.
_NEVER = (NameError, StopIteration, CannotCapture, MissingPackage)


class Guarding(ast.NodeTransformer):
    """Lets simple statements ask, but for those whose errors the submission expects itself."""

    def __init__(self) -> None:
        self._inside = False

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Guard what stands in the bodies of a statement."""
        outside, self._inside = self._inside, self._is_inside(node)
        super().generic_visit(node)
        if self._inside:
            for name in _BODIES:
                body = getattr(node, name, None)
                if isinstance(body, list) and not (name == "body" and _expects(node)):
                    setattr(node, name, [_guarded(each) for each in body])
        self._inside = outside
        return node

    def _is_inside(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Module | ast.ClassDef):
            return False
        return self._inside or isinstance(node, ast.stmt)


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
    while todo:
        target = todo.pop()
        if isinstance(target, ast.Tuple | ast.List):
            todo += target.elts
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
    """Whether lines that fail are passed over; `lines` are those that were."""

    def __init__(self) -> None:
        self.on = False
        self.possible = False  # whether a line failed in this statement that could be passed over
        self.lines: dict[tuple[str, int], BaseException] = {}

    def fails(self, line: int) -> bool:
        """Tell whether the statement around a line fails by the error that is under way."""
        error, frame = sys.exc_info()[1], sys._getframe(1)
        usual = isinstance(error, Exception | SystemExit) and not isinstance(error, _NEVER)
        if error is None or not usual or _has_other_ways():
            return True
        self.possible = True
        if self.on:
            self.lines.setdefault((frame.f_code.co_filename, line), error)
        return not self.on

    def nothing(self, name: str) -> Failed:
        """Return what stands for a value that a line was to give."""
        error = sys.exc_info()[1]
        assert error is not None
        Failed.errors[name.partition(".")[0]] = error
        return Failed(name)


def _has_other_ways() -> bool:
    """Tell whether a network or a data set is at work, whose errors have other consequences."""
    frame = sys._getframe(2)
    while frame is not None:
        first = frame.f_code.co_varnames[:1]
        owner = frame.f_locals.get(first[0]) if first else None
        forward = isinstance(owner, nn.Module) and frame.f_code.co_name in ("forward", "__init__")
        if forward or isinstance(owner, data.Dataset):
            return True
        frame = frame.f_back  # type: ignore[assignment] # None at the bottom ends the loop
    return False
