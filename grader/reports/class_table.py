"""The table of a class: a line a submission, as text and as CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from grader.escape import escaped, safe
from grader.record import Record
from grader.reports import cells, told
from grader.reports.text import Item, rendered, titled

_LISTED = 20  # things passed over that are named
_STYLES = {"passed": "green", "failed": "", "none": "yellow"}


def render(records: Sequence[Record], *, width: int = 100, color: bool = False) -> str:
    """Return the table as text, at most `width` columns wide, and what came of how many."""
    table = titled("Submission", "Score", "Accuracy", "Parameters", "Not passed", right=(1, 2, 3))
    for record in escaped(list(records)):
        table.add_row(
            Text(record.submission.called, style=_STYLES[end_of(record)]), score_of(record),
            f"{record.accuracy.judged:.2f}%" if record.accuracy else "",
            f"{record.model.parameters:,}" if record.model else "", why_of(record),
        )  # fmt: skip
    counts = Counter(map(end_of, records))
    words = {"passed": "passed every check made", "failed": "did not", "none": "without a score"}
    ends = ", ".join(f"{counts[end]} {said}" for end, said in words.items() if counts[end])
    many = f"{len(records)} submission{'s' * (len(records) != 1)}"
    noticed = [
        Item("for the instructor:", f"{record.submission.called}: {remark}")
        for record in escaped(list(records))
        for remark in record.remarks
    ]
    return rendered([table, *noticed, Text(f"{many}: {ends}")], width=width, color=color)


def remarks(notes: Sequence[str], passed_over: Sequence[str], width: int, *, color: bool) -> str:
    """Return what was noticed about what was handed in, and what of it is not graded."""
    items: list[RenderableType] = [Item("note:", safe(note)) for note in notes]
    items += [Item("passed over:", safe(each)) for each in passed_over[:_LISTED]]
    if more := len(passed_over) - _LISTED:
        items += [Item("passed over:", f"{more} more")] * (more > 0)
    return rendered(items, width=width, color=color)


def as_csv(records: Sequence[Record]) -> bytes:
    """Return the table as CSV in UTF-8, with every check in a column of its own."""
    checks = list(dict.fromkeys(check.id for record in records for check in record.checks))
    rows: list[list[object]] = [[
        "submission", "file", "score", "of", "status", "accuracy", "errors", "parameters", "epochs",
        "level", *checks, "problem", "sha256", "plan",
    ]]  # fmt: skip
    for record in records:
        outcomes = {check.id: check.outcome for check in record.checks}
        rows.append([
            record.submission.called, record.submission.name,
            "" if record.score is None else f"{record.score:g}", f"{record.max_score:g}",
            record.status, f"{record.accuracy.judged:.4f}" if record.accuracy else "",
            record.accuracy.errors if record.accuracy else "",
            record.model.parameters if record.model else "",
            record.recipe.epochs if record.recipe else "", record.level,
            *(outcomes.get(check, "") for check in checks),
            record.problem.message if record.problem else "", record.submission.sha256,
            record.content_sha256,
        ])  # fmt: skip
    return cells.as_csv(map(cells.harmless, row) for row in rows)


def end_of(record: Record) -> str:
    """Return `passed` where every check made did, `failed`, or `none` without a score or check."""
    if record.score is None or not record.checks:
        return "none"
    every = all(check.outcome == "passed" for check in record.checks)
    return "passed" if every else "failed"


def score_of(record: Record) -> str:
    """Return the points, of how many there are."""
    if record.score is None or not record.checks:
        return "none"
    return f"{record.score:g}/{told.possible(record):g}"


def why_of(record: Record) -> str:
    """Return what stands in the way of a pass, in one line."""
    if record.problem is not None:
        return record.problem.message
    return not_passed(record)


def not_passed(record: Record) -> str:
    """Return the titles of the checks that did not pass."""
    return ", ".join(check.title for check in record.checks if check.outcome != "passed")
