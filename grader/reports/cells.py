"""Tables as CSV whose cells no spreadsheet takes for formulas (owasp.org, CSV Injection)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?|-")  # Moodle writes a dash for nothing


def harmless(cell: object) -> str:
    """Return a cell that is shown as it is."""
    text = str(cell)
    risky = text.startswith(_BEGINNINGS) and not _NUMBER.fullmatch(text)
    return f"'{text}" if risky else text


def as_csv(rows: Iterable[Iterable[object]], delimiter: str = ",") -> bytes:
    """Return rows as CSV in UTF-8; make cells `harmless` first where students wrote them."""
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerows(rows)
    return file.getvalue().encode()
