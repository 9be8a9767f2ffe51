"""What a report says of a check, a problem and an accuracy, in plain lines."""

from __future__ import annotations

from collections.abc import Iterator

from grader.record import Check, Problem, Record
from grader.sandbox.protections import ALL, NAMESPACES


def details(told: Check | Problem) -> Iterator[tuple[str, str]]:
    """Return what was expected, found, where, and what to try, as far as it is not said already."""
    shown = {"expected": told.expected, "found": told.found, "where": told.where, "try": told.help}
    yield from ((label, text) for label, text in shown.items() if text and text != told.message)


def lines(told: Check | Problem) -> list[str]:
    """Return the message, and the details below it."""
    message = [told.message] if told.message else []
    return message + [f"{label}: {text}" for label, text in details(told)]


def found(check: Check) -> str:
    """Return what a check found, or why it could not be judged."""
    if check.outcome != "not_judged":
        return check.found or check.message
    return f"{check.message}: {check.found}" if check.found else check.message


def accuracy(record: Record) -> list[str]:
    """Return a line on the accuracy and how sure it is, or nothing where there is none."""
    if record.accuracy is None:
        return []
    low, high = record.accuracy.interval
    judged = f"accuracy {record.accuracy.judged:.2f}%, 95% interval {low:.2f} to {high:.2f}%"
    return [f"{judged} ({len(record.accuracy.runs)} runs)" if record.accuracy.runs[1:] else judged]


def failed(record: Record) -> list[Check]:
    """Return the checks that failed."""
    return [check for check in record.checks if check.outcome == "failed"]


def untold(record: Record) -> Problem | None:
    """Return the problem of a record, where no check that failed says it."""
    told = [check.message for check in failed(record)]
    problem = record.problem
    return problem if problem is not None and problem.message not in told else None


def failures(record: Record) -> list[Check | Problem]:
    """Return what is to be mended: checks that failed, then what no check says."""
    problem = untold(record)
    return [*failed(record)] if problem is None else [*failed(record), problem]


def protection(record: Record) -> str:
    """Return how far the submission was kept apart: `full`, `container` or `none`.

    `container`: all but what namespaces give, so that the container around the grader is what keeps
    files and network from it. Empty where nothing of the submission was run.
    """
    present = {*record.sandbox.present}
    lacking = {each.name for each in ALL if each.required} - present
    if not present:
        return ""
    if not lacking:
        return "full"
    return "container" if lacking <= {*NAMESPACES} else "none"


def possible(record: Record) -> float:
    """Return how many points there are: of what was judged, where checks were left out."""
    return judged(record) if record.status == "partial" else record.max_score


def judged(record: Record) -> float:
    """Return how many points there are for what was judged."""
    return sum(check.max_points for check in record.checks if check.outcome != "not_judged")


def why_unscored(record: Record) -> str:
    """Return why a record has no score that counts, or nothing where it has one."""
    if record.status == "interrupted":
        return "the run was stopped"
    if record.status == "running":
        return "the run has not ended"
    if record.score is None:
        usage = record.problem is not None and record.problem.fault == "usage"
        return "the grader was used wrongly" if usage else "the grader failed"
    return "only some checks were made" if record.status == "partial" else ""
