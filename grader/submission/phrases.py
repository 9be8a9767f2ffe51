"""What the statements of a training look like: hooks, losses, loops over epochs and batches."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from grader.submission.names import FUNCTIONS, last
from grader.submission.sites import Site


def name_node(name: str) -> ast.Name:
    """Make the node of a name."""
    return ast.Name(name, ast.Load(), lineno=1, col_offset=0, end_lineno=1, end_col_offset=0)


def quiet(source: str) -> str:
    """Drop `verbose=`, which only prints and which newer schedulers do not take."""
    call = ast.parse(source, mode="eval").body
    if not isinstance(call, ast.Call) or all(k.arg != "verbose" for k in call.keywords):
        return source
    call.keywords = [k for k in call.keywords if k.arg != "verbose"]
    return ast.unparse(call)


def is_hook(node: ast.stmt) -> bool:
    """Tell whether it defines a function, by `def` or by a lambda."""
    assigned = isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Lambda)
    return isinstance(node, FUNCTIONS) or assigned


def makes_loss(node: ast.stmt) -> bool:
    """Tell whether it makes an object such as `nn.NLLLoss()`."""
    value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
    return isinstance(value, ast.Call) and last(value.func).endswith("Loss")


def in_batch_loop(site: Site) -> bool:
    """Tell whether a call stands in the loop over the batches."""
    loops = site.loops
    return bool(loops) and direct_backward(loops[-1].node)


def direct_backward(loop: ast.stmt) -> bool:
    """Tell whether the loop's own body, without loops inside it, calls `backward`."""
    todo: list[ast.AST] = list(ast.iter_child_nodes(loop))
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Call) and last(node.func) == "backward":
            return True
        if not isinstance(node, (ast.For, ast.While)):
            todo.extend(ast.iter_child_nodes(node))
    return False


def loss_calls(node: ast.stmt) -> Iterator[ast.Call]:
    """Give calls of two arguments in an assignment: `criterion(output, target)`."""
    value = getattr(node, "value", None)
    if isinstance(value, ast.expr):
        for inner in ast.walk(value):
            if isinstance(inner, ast.Call) and len(inner.args) == 2:
                yield inner


def plain(node: ast.stmt, call: ast.Call) -> bool:
    """Tell whether a statement gives nothing but the value of a call."""
    return getattr(node, "value", None) is call


def count(iterable: ast.expr) -> tuple[ast.expr, str] | None:
    """Give expression and form that count the turns of a loop over `range`, however wrapped."""
    for node in ast.walk(iterable):
        if isinstance(node, ast.Call) and last(node.func) in ("range", "trange") and node.args:
            if len(node.args) == 1:
                return node.args[0], "{}"
            return (node, "len({})") if last(node.func) == "range" else (node.args[1], "{}")
    return None
