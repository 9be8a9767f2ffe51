"""Reads what is handed back to course systems as they do, as strictly as anybody could."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence

Table = list[list[str]]


def table(data: bytes, delimiter: str = ",") -> Table:
    """Return the cells of a CSV by RFC 4180; every row has as many as the header."""
    text = data.decode("utf-8")
    assert text.endswith("\r\n")
    assert not text.startswith("\ufeff")
    rows: Table = [[]]
    cell, quoted, at = "", False, 0
    while at < len(text):
        two, one = text[at : at + 2], text[at]
        if quoted and two == '""':
            cell, at = cell + '"', at + 1
        elif one == '"':
            assert quoted or not cell, "a quote inside an unquoted cell"
            quoted = not quoted
        elif quoted:
            cell += one
        elif one == delimiter or two == "\r\n":
            rows[-1].append(cell)
            cell = ""
            if two == "\r\n":
                rows.append([])
                at += 1
        else:
            assert one not in "\r\n", "a line that ends in another way"
            cell += one
        at += 1
    assert rows.pop() == []
    assert not quoted
    assert len({len(row) for row in rows}) == 1, rows
    return rows


def no_formulas(rows: Table, but_columns: Sequence[int] = ()) -> None:
    """Assert that no cell would be computed."""
    for row in rows:
        for at, cell in enumerate(row):
            if at not in but_columns:
                assert re.fullmatch(r"-|[+-]?\d+([.,]\d+)?|(?![=+\-@\t\r])[\s\S]*", cell), cell


def canvas(data: bytes, exported: Table, delimiter: str = ",") -> dict[str, str]:
    """Return the grades by Canvas's ids; no title is new, and every person is known."""
    rows = table(data, delimiter)
    header = rows[0]
    assert header[0] in ("Student", "LastName")
    assert "ID" in header
    assert set(header) <= set(exported[0]), "a title that Canvas does not know is a new assignment"
    (assignment,) = (at for at, title in enumerate(header) if re.fullmatch(r".+ \(\d+\)", title))
    people = rows[1:]
    while people and not people[0][header.index("ID")]:
        top = people.pop(0)
        assert "Manual Posting" in top[assignment] or top[0] == "    Points Possible"
    known = {row[exported[0].index("ID")] for row in exported}
    assert {row[header.index("ID")] for row in people} <= known
    grades = {row[header.index("ID")]: row[assignment] for row in people}
    assert all(re.fullmatch(r"\d+([.,]\d{1,2})?", grade) for grade in grades.values())
    return grades


def files(data: bytes) -> dict[str, bytes]:
    """Return what is in a zip that is whole."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}
