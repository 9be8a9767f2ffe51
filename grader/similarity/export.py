"""A class as an archive that Dolos reads: a file for each submission, and `info.csv`."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from grader.escape import safe
from grader.similarity.code import Source

_COLUMNS = ("filename", "label", "created_at", "full_name", "ignored")
_TEMPLATE = "_staff.py"  # no key begins like this


@dataclass(frozen=True)
class Row:
    """A submission as Dolos shows it: `label` gives it a colour, `created_at` is in ISO 8601."""

    key: str
    source: Source
    label: str = ""
    created_at: str = ""
    full_name: str = ""


def dolos(rows: Sequence[Row], staff: Sequence[Source]) -> bytes:
    """Return a `.zip`: cells and files of a submission follow each other in one script.

    Dolos leaves out what one file with `ignored` holds, which is all code of the staff.
    """
    made, table = io.BytesIO(), io.StringIO(newline="")
    written = csv.writer(table)
    written.writerow(_COLUMNS)
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for row in rows:
            name = f"{row.key}.py"
            archive.writestr(zipfile.ZipInfo(name), _script([row.source]))
            shown = (row.label, row.created_at, row.full_name)
            written.writerow((name, *map(safe, shown), ""))
        if staff:
            archive.writestr(zipfile.ZipInfo(_TEMPLATE), _script(staff))
            written.writerow((_TEMPLATE, "", "", "staff", "true"))
        archive.writestr(zipfile.ZipInfo("info.csv"), table.getvalue().encode("utf-8", "replace"))
    return made.getvalue()


def _script(sources: Sequence[Source]) -> bytes:
    texts = [text for source in sources for file in source.files for text in file]
    whole = "\n".join(f"# {safe(label)}\n{code}\n" for label, code in texts)
    return whole.encode("utf-8", "replace")
