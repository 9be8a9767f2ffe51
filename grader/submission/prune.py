"""Compound statements (`if`, `for`, `try`, `with`) reduced to what binds the names wanted."""

from __future__ import annotations

import ast
import copy

from grader.submission.names import COMPOUND, blocks, names_of


def prune(node: ast.stmt, wanted: set[str]) -> ast.stmt | None:
    """Copy the statement with only what the names need; None if nothing is left.

    What is dropped becomes `pass` in its place, so lines keep their numbers.
    """
    kept = _kept(node, set(wanted))
    return _copy(node, kept) if kept or _head_binds(node) & wanted else None


def _head_binds(node: ast.stmt) -> set[str]:
    """Names bound by the heads of the statement itself: `for x in`, `with a as x`."""
    heads: list[ast.expr | None] = [getattr(node, "target", None), getattr(node, "test", None)]
    heads += [item.optional_vars for item in getattr(node, "items", ())]
    found = (n for head in heads if head is not None for n in ast.walk(head))
    return {n.id for n in found if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _simple(node: ast.stmt) -> list[ast.stmt]:
    """All statements inside that are not compound themselves."""
    found: list[ast.stmt] = []
    for block in blocks(node):
        for child in block:
            found += _simple(child) if isinstance(child, COMPOUND) else [child]
    return found


def _kept(node: ast.stmt, wanted: set[str]) -> set[ast.stmt]:
    candidates = [(child, names_of(child)) for child in _simple(node)]
    kept: set[ast.stmt] = set()
    while True:
        new = [
            (child, names)
            for child, names in candidates
            if child not in kept
            and (
                wanted & (names.binds | names.touches)
                or isinstance(child, (ast.Break, ast.Continue))
            )
        ]
        real = [pair for pair in new if not isinstance(pair[0], (ast.Break, ast.Continue))]
        if not real:
            return kept | _attempts(node, kept)
        for child, names in new:
            kept.add(child)
            wanted = wanted | names.now | names.late


def _attempts(node: ast.stmt, kept: set[ast.stmt]) -> set[ast.stmt]:
    """Find imports that decide, by failing or not, which branch of a kept `try` is run."""
    found: set[ast.stmt] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Try) and any(child in kept for child in ast.walk(inner)):
            found |= {s for s in inner.body if isinstance(s, (ast.Import, ast.ImportFrom))}
    return found


def _copy(node: ast.stmt, kept: set[ast.stmt]) -> ast.stmt:
    new = copy.copy(node)
    for part in ("body", "orelse", "finalbody"):
        if block := getattr(node, part, None):
            setattr(new, part, [_child(child, kept) for child in block])
    for part in ("handlers", "cases"):
        if branches := getattr(node, part, None):
            setattr(new, part, [_branch(branch, kept) for branch in branches])
    return new


def _branch(branch: ast.AST, kept: set[ast.stmt]) -> ast.AST:
    new = copy.copy(branch)
    new.body = [_child(child, kept) for child in branch.body]  # type: ignore[attr-defined]
    return new


def _child(child: ast.stmt, kept: set[ast.stmt]) -> ast.stmt:
    if isinstance(child, COMPOUND):
        inner = _copy(child, kept)
        return inner if any(s in kept for s in _simple(child)) else _pass(child)
    return child if child in kept else _pass(child)


def _pass(node: ast.stmt) -> ast.stmt:
    return ast.copy_location(ast.Pass(), node)
