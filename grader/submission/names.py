"""Which names a statement binds, reads when it runs, and reads later.

`now` are the names that must exist when the statement runs; `late` are the names that stand
inside function bodies and lambdas, and are looked up only when those are called.
"""

from __future__ import annotations

import symtable
from collections.abc import Iterator
from dataclasses import dataclass

_AT_ONCE = ("genexpr", "listcomp", "setcomp", "dictcomp")  # functions that are called where made


@dataclass(frozen=True)
class Names:
    """The names of one statement; star imports bind nothing, for that takes the other module."""

    binds: frozenset[str] = frozenset()
    now: frozenset[str] = frozenset()
    late: frozenset[str] = frozenset()


def names_of(source: str) -> Names:
    """Read one statement; none of its names where Python does not compile it."""
    try:
        table = symtable.symtable(source, "", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Names()
    reads = list(_reads(table, later=False))
    return Names(
        frozenset(s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()),
        frozenset(name for name, later in reads if not later),
        frozenset(name for name, later in reads if later),
    )


def _reads(table: symtable.SymbolTable, *, later: bool) -> Iterator[tuple[str, bool]]:
    """Yield the names of the module that a scope and those inside it read, and whether later."""
    top = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (top or symbol.is_global()):
            yield symbol.get_name(), later
    for child in table.get_children():
        function = child.get_type() == "function" and child.get_name() not in _AT_ONCE
        yield from _reads(child, later=later or function)
