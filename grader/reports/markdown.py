"""A verdict in Markdown as GitHub reads it."""

from __future__ import annotations

import re

from grader.escape import escaped
from grader.record import Record
from grader.reports import told

_MARKS = {"passed": "✅", "failed": "❌", "not_judged": "➖"}
_ALIVE = re.compile(
    r"([\\`*_{}\[\]()<>#+\-.!|~&:@$])"
)  # signs of Markdown, HTML, links and formulas


def summary(record: Record, most: int) -> str:
    """Return the score, a table of the checks, and what to try; at most so many bytes."""
    record = escaped(record)
    why = told.why_unscored(record)
    score = "no score" if record.score is None else f"{record.score:g} of {record.max_score:g}"
    lines = [
        f"## {plain(record.submission.name)}: {score}{f' ({why})' if why else ''}", "",
        "| | Check | Found | Expected | Points |", "|---|---|---|---|---:|",
    ]  # fmt: skip
    for check in record.checks:
        lines.append(
            f"| {_MARKS[check.outcome]} | {plain(check.title)} | {plain(told.found(check))} | "
            f"{plain(check.expected)} | {check.points:g}/{check.max_points:g} |"
        )
    for each in told.failures(record):
        lines += ["", f"**{plain(each.message)}**", ""]
        lines += [f"- {label}: {plain(text)}" for label, text in told.details(each)]
    lines += ["", *(f"- {plain(line)}" for line in told.accuracy(record))]
    lines += [f"- note: {plain(note)}" for note in record.notes]
    return _cut(lines, most)


def plain(text: str) -> str:
    """Return text that stays what it is: no markup, no link, nobody mentioned."""
    return _ALIVE.sub(r"\\\1", text).replace("@", "@\u200b")


def _cut(lines: list[str], most: int) -> str:
    """Return whole lines, with a word on it where they are not all."""
    ending = "\n\n(cut here: the record holds all of it)\n"
    whole = "\n".join(lines) + "\n"
    if len(whole.encode()) <= most:
        return whole
    room, kept = most - len(ending), []
    for line in lines:
        room -= len(line.encode()) + 1
        if room < 0:
            break
        kept.append(line)
    return "\n".join(kept) + ending
