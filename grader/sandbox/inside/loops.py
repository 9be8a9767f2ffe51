"""How long the loops of a submission go on: by a count, or by what they measure. In the sandbox."""

from __future__ import annotations

import ast
from collections.abc import Callable

TURNS, GOES_ON = "__turns__", "__goes_on__"
LOOPS = (ast.For, ast.While)
_LEAVES = (ast.Break, ast.Return)


class Turning(ast.NodeTransformer):
    """Lets every loop ask what it is to go over, and how long.

    `for x in __turns__(things, line, whole, counts):` and, where a `while` ends by more than a
    count, `while __goes_on__(test, line, counted):`.
    """

    def __init__(self, tree: ast.AST) -> None:
        """Learn which names end loops in a statement."""
        loops = [n for n in ast.walk(tree) if isinstance(n, LOOPS)]
        self._ending = {name for loop in loops for test in _ends(loop) for name in _paths(test)}

    def visit_For(self, node: ast.For) -> ast.For:
        """Ask what it goes over."""
        ends = bool(_ends(node))
        counts = ends or bool(self._ending & _changes(node)[0])
        self.generic_visit(node)
        node.iter = _asked(TURNS, node.iter, node.lineno, not ends, counts)
        return node

    def visit_While(self, node: ast.While) -> ast.While:
        """Ask whether it goes on, and whether it is left, by what is no count."""
        ends, leaving = _ends(node), _leaving(node)
        self.generic_visit(node)

        def more(test: ast.expr) -> ast.expr:
            return _asked(GOES_ON, test, node.lineno, bool(ends))

        def less(test: ast.expr) -> ast.expr:
            no = ast.UnaryOp(ast.Not(), more(ast.copy_location(ast.UnaryOp(ast.Not(), test), test)))
            return ast.fix_missing_locations(ast.copy_location(no, test))

        if not (isinstance(node.test, ast.Constant) and ends):
            node.test = _each(node.test, ast.And, ends, more)
        for each in leaving if ends else ():
            each.test = _each(each.test, ast.Or, ends, less)
        return node


def _asked(name: str, thing: ast.expr, *told: object) -> ast.expr:
    constants = [ast.Constant(value) for value in told]  # type: ignore[arg-type] # numbers
    call = ast.Call(ast.Name(name, ast.Load()), [thing, *constants], [])
    return ast.fix_missing_locations(ast.copy_location(call, thing))


def _parts(test: ast.expr, kind: type[ast.boolop]) -> list[ast.expr]:
    whole = isinstance(test, ast.BoolOp) and isinstance(test.op, kind)
    return test.values if whole else [test]  # type: ignore[attr-defined] # of a BoolOp


def _each(
    test: ast.expr, kind: type[ast.boolop], but: list[ast.expr],
    change: Callable[[ast.expr], ast.expr],
) -> ast.expr:  # fmt: skip
    """Change the parts of a test that are joined by `and` or `or`, but for some."""
    parts = [part if part in but else change(part) for part in _parts(test, kind)]
    return parts[0] if len(parts) == 1 else ast.copy_location(ast.BoolOp(kind(), parts), test)


def _ends(loop: ast.For | ast.While) -> list[ast.expr]:
    """Return the tests that end a loop at a count: `epoch < 9`, or `if steps > 99: break`."""
    tests = [p for each in _leaving(loop) for p in _parts(each.test, ast.Or)]
    if isinstance(loop, ast.While):
        tests += _parts(loop.test, ast.And)
    counts, bound = _changes(loop)
    return [
        test for test in tests
        if not any(isinstance(n, ast.Call) for n in ast.walk(test))
        and counts & (paths := _paths(test)) and not paths & bound
    ]  # fmt: skip


def _leaving(loop: ast.For | ast.While) -> list[ast.If]:
    """Return the `if`s that leave a loop: by `break`, or from anywhere in it by `return`."""
    inner = [n for n in ast.walk(loop) if isinstance(n, LOOPS) and n is not loop]
    elsewhere = {id(n) for each in inner for n in ast.walk(each) if isinstance(n, ast.Break)}
    return [
        node for node in ast.walk(loop) if isinstance(node, ast.If)
        and any(isinstance(n, _LEAVES) and id(n) not in elsewhere for n in node.body)
    ]  # fmt: skip


def _changes(loop: ast.For | ast.While) -> tuple[set[str], set[str]]:
    """Return the names that a loop moves on by steps alone, and those it may change otherwise."""
    unsure = {id(n) for i in ast.walk(loop) if isinstance(i, ast.If) for n in ast.walk(i)}
    steps: set[str] = _paths(loop.target) if isinstance(loop, ast.For) else set()
    other: set[str] = set()
    for node in ast.walk(loop):
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {name for target in targets for name in _paths(target)}
            if id(node) not in unsure and _is_step(node):
                steps |= names
            elif id(node) in unsure or not _is_start(node):
                other |= names
        elif isinstance(node, ast.For) and node is not loop:
            other |= _paths(node.target)
        elif isinstance(node, ast.Call):  # what is called may change
            other |= {name for name in _paths(node.func) if "." not in name}
    return steps - other, other


def _is_step(node: ast.Assign | ast.AugAssign) -> bool:
    """Tell `n += 1` and `n = n + 1`."""
    if isinstance(node, ast.AugAssign):
        return isinstance(node.value, ast.Constant)
    value, name = node.value, ast.unparse(node.targets[0])
    sums = isinstance(value, ast.BinOp) and isinstance(value.right, ast.Constant)
    return sums and ast.unparse(value.left) == name  # type: ignore[attr-defined] # of a BinOp


def _is_start(node: ast.Assign | ast.AugAssign) -> bool:
    """Tell `n = 0`."""
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)


def _paths(expression: ast.AST) -> set[str]:
    """Return the names in an expression, with those they are parts of: `args`, `args.epochs`."""
    kinds = (ast.Name, ast.Attribute)
    return {ast.unparse(n) for n in ast.walk(expression) if isinstance(n, kinds)} - {"self"}
