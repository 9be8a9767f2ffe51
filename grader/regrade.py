"""`grade regrade DIR`: judge records again by another rubric; nothing is read or trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from grader import checks, runs, seal
from grader import record as records
from grader import rubric as rubrics
from grader.checks.accuracy import decision
from grader.plan.assemble import DEFAULT, request_defaults
from grader.record import Accuracy, Record
from grader.reports.changes import Change
from grader.results import results_in
from grader.rubric import Limits, Rubric
from grader.salt import Salt


def regraded(
    folder: Path, rubric: Rubric, salt: Salt | None = None, *, lower: bool
) -> Iterator[Change]:
    """Judge the records of one submission or of a class again, and write those that may change.

    No score is lowered unless `lower` says so. The `salt` is for their seals. Raises UsageFault
    where there are no records, and GraderFault where one cannot be read or written.
    """
    for place in results_in(folder):
        old = records.load(place / "record.json")
        if doubts := seal.doubts(place, old, salt):
            change = Change(place, old, old, [], f"{doubts[0]}; grade it again")
        else:
            change = _change(place, old, rubric, lower=lower)
        if not change.kept:
            records.save(change.new, place)
            seal.seal(place, salt)
        yield change


def _change(folder: Path, old: Record, rubric: Rubric, *, lower: bool) -> Change:
    if old.score is None:
        return Change(folder, old, old, [], "it has no score; grade it again")
    if old.data.sha256 != rubric.data.digest:
        asked = f"the rubric asks for {rubric.data.title}, not {old.data.title}; grade it again"
        return Change(folder, old, old, [], asked)
    asked_for = rubrics.by_evidence(rubric) if old.judged_by else rubric
    if needed := _untrained(old, asked_for):
        return Change(folder, old, old, [], needed)
    new = replace(_judged(old, asked_for), rubric_sha256=rubrics.sha256_of(rubric))
    why = list(_differences(old, new))
    assert new.score is not None
    if new.score < old.score and not lower:
        return Change(folder, old, new, why, "its score would be lowered (--lower lets it)")
    return Change(folder, old, new, why)


def _untrained(record: Record, rubric: Rubric) -> str:
    """Say what has to be trained first, if anything has."""
    limits, recipe, training = rubric.limits, record.recipe, record.training
    if record.model is None or recipe is None or recipe.flaws or record.status == "partial":
        return ""
    if training is None:
        small = record.model.parameters <= limits.trained_parameters
        fit = record.problem is None and small
        return "its network was too large to be trained; grade it again" if fit else ""
    if limits.rebuilt and record.level == "sandboxed":
        return "the rubric asks for the grader's own loop; grade it again"
    if record.accuracy is not None and (asked := _more_runs(record.accuracy, limits)):
        return f"the rubric asks for {asked} trainings; grade it again"
    budget = limits.epochs - 1
    declared = any(f.about == "epochs" and f.where != DEFAULT for f in recipe.facts)
    epochs = recipe.epochs if declared else int(request_defaults(budget, rubric.data)["epochs"])
    if training.planned_epochs != min(epochs, budget):
        return f"the rubric gives it {min(epochs, budget)} epochs; grade it again"
    return ""


def _more_runs(accuracy: Accuracy, limits: Limits) -> str:
    """Say of how many trainings a rubric wants to know, if not of those there are."""
    done = len(accuracy.runs)
    if limits.judged_by != "evidence":
        return "" if done >= limits.runs else str(limits.runs)
    enough = done >= limits.most_runs or decision(accuracy.runs, limits) != "undecided"
    return "" if enough else f"more than {done}"


def _judged(old: Record, rubric: Rubric) -> Record:
    """Return the record with the verdicts of a rubric."""
    accuracy = runs.judged_again(old.accuracy, rubric.limits)
    new = replace(
        old, accuracy=accuracy, assignment=rubric.assignment, max_score=rubric.max_score,
        inputs_sha256="",
    )  # fmt: skip
    known = {check.id for check in old.checks}
    whole = old.status == "complete"
    found = [check for check in checks.judge(new, rubric) if whole or check.id in known]
    return replace(new, checks=found, score=sum(check.points for check in found))


def _differences(old: Record, new: Record) -> Iterator[str]:
    before = {check.id: check for check in old.checks}
    after = {check.id: check for check in new.checks}
    for name in before | after:
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            known = one or other
            assert known is not None
            yield f"{known.title}: {'not asked any more' if other is None else 'asked for now'}"
        elif one.outcome != other.outcome:
            yield f"{one.title}: {_words(one.outcome)}, now {_words(other.outcome)}"
        elif one.points != other.points:
            yield f"{one.title}: {one.points:g} points, now {other.points:g}"


def _words(outcome: str) -> str:
    return outcome.replace("_", " ")
