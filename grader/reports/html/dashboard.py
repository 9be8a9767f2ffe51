"""The dashboard of a class, as `index.html`, which links to the report of each submission."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from markupsafe import Markup

from grader.answers import answers_of
from grader.errors import UsageFault
from grader.escape import escaped
from grader.events import Answers
from grader.files import UNREADABLE
from grader.leaderboard import Place, leaderboard, pseudonyms
from grader.record import Record
from grader.reports.class_table import end_of, not_passed, score_of, why_of
from grader.reports.given import Graded, Results
from grader.reports.html import plots
from grader.reports.html.page import page
from grader.reports.html.pictures import picture
from grader.reports.registry import FOLDER, Files
from grader.similarity.findings import Findings

SIMILAR = "similar.json"
"""What `grade similar --out` wrote, if it lies among the results."""
_HARDEST = 48  # images
_FEWEST = 2  # submissions, for an image to be hard for the class


@dataclass(frozen=True)
class Row:
    """A line of the table; `link` leads to the report, and is empty where nobody is named."""

    name: str
    link: str
    people: str
    end: str
    score: str
    points: float | None
    accuracy: float | None
    parameters: int | None
    epochs: int | None
    checks: Sequence[tuple[str, str]]
    why: str
    remarks: Sequence[str]


@dataclass(frozen=True)
class Failing:
    """How often a check did not pass, in per cent of the submissions it was asked of as well."""

    title: str
    failed: int
    open: int
    of: int


@dataclass(frozen=True)
class Hard:
    """An image that many got wrong: what it shows, and what most of them took it for."""

    picture: str
    number: int
    label: str
    answer: str
    wrong: int


@dataclass(frozen=True)
class Group:
    """Submissions that share something, and what; links are as in the table."""

    what: str
    members: Sequence[str]
    pairs: Sequence[str]


def files(results: Results) -> Files:
    """Return the page; nothing where there are no results."""
    return {"index.html": render(results)} if results.graded else {}


def render(results: Results, *, anonymous: bool = False) -> bytes:
    """Return the dashboard; where it is `anonymous`, no name, path or message stands in it."""
    records = [escaped(each.record) for each in results.graded]
    real = [each.record for each in results.graded]
    names = list(pseudonyms(real) if anonymous else (each.submission.called for each in records))
    rows = [
        _row(record, name, "" if anonymous else _place(each, results))
        for record, name, each in zip(records, names, results.graded, strict=True)
    ]
    if anonymous:  # the order of names tells names
        rows.sort(key=lambda row: row.name)
    leaders = leaderboard(records)
    asked = [each for each in map(_answers(results), results.graded) if each is not None]
    return page(
        "dashboard.html", script="table.js", rubric=results.rubric, rows=rows,
        anonymous=anonymous, ends=Counter(row.end for row in rows),
        titles=list(dict.fromkeys(title for row in rows for title, _ in row.checks)),
        plots=_plots(records, leaders, results), failing=_failing(records),
        hard=_hardest(asked, results), answering=len(asked),
        groups=_groups(records, results, names),
        leaders=[
            (place, name)
            for place in leaders
            for record, name in zip(records, names, strict=True)
            if record is place.record
        ],
        missing=len(results.missing),
    )  # fmt: skip


def _place(graded: Graded, results: Results) -> str:
    """Return the report's path from the dashboard."""
    folder = os.path.relpath(graded.folder.resolve(), results.folder.resolve())
    return (Path(folder) / FOLDER / "report.html").as_posix()


def _row(record: Record, name: str, link: str) -> Row:
    people = ", ".join(map(str, record.submission.people))
    return Row(
        name, link, people if link else "", end_of(record), score_of(record), record.score,
        record.accuracy.judged if record.accuracy else None,
        record.model.parameters if record.model else None,
        record.recipe.epochs if record.recipe else None,
        [(check.title, check.outcome) for check in record.checks],
        why_of(record) if link else not_passed(record), record.remarks if link else (),
    )  # fmt: skip


def _plots(records: Sequence[Record], leaders: Sequence[Place], results: Results) -> list[Markup]:
    """Return what two submissions or more can be plotted of."""
    limits = results.rubric.limits
    scores = [record.score for record in records if record.score is not None]
    made = [plots.scores(scores, results.rubric.max_score)] if len(scores) > 1 else []
    known = [
        (record, record.model.parameters, record.accuracy.judged)
        for record in records
        if record.model is not None and record.accuracy is not None
    ]
    if len(known) > 1:
        tried, sizes, accuracies = zip(*known, strict=True)
        front = {id(place.record) for place in leaders if place.front}
        best = [at for at, record in enumerate(tried) if id(record) in front]
        made.append(plots.spread(accuracies, limits.accuracy))
        limit = (limits.parameters, limits.accuracy)
        made.append(plots.trade_off(sizes, accuracies, best, limit))
    return made


def _failing(records: Sequence[Record]) -> list[Failing]:
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        for check in record.checks:
            outcomes[check.title][check.outcome] += 1
    found = [
        Failing(title, counts["failed"], counts["not_judged"], counts.total())
        for title, counts in outcomes.items()
    ]
    return sorted(found, key=lambda each: (-each.failed, -each.open))


def _answers(results: Results) -> Callable[[Graded], Answers | None]:
    """Return a function from results to what the network answered, None where that is unknown."""
    networks = [(each.record, each.folder) for each in results.graded]

    def found(graded: Graded) -> Answers | None:
        one = (graded.record, graded.folder)
        answers = answers_of(one, networks, results.rubric, results.data_dir)
        return answers if isinstance(answers, Answers) else None

    return found


def _hardest(answers: Sequence[Answers], results: Results) -> list[Hard]:
    """Return the images that most networks got wrong, and the surest of them first."""
    taken: dict[int, Counter[int]] = defaultdict(Counter)
    labels: dict[int, int] = {}
    sure: Counter[int] = Counter()
    for each in answers:
        for wrong in each.wrong:
            taken[wrong.number][wrong.answer] += 1
            labels[wrong.number] = wrong.label
            sure[wrong.number] += round(1000 * wrong.sure)
    hard = [number for number, counts in taken.items() if counts.total() >= _FEWEST]
    hard.sort(key=lambda number: (-taken[number].total(), -sure[number], number))
    if not hard:
        return []
    names = dict(enumerate(results.rubric.data.classes))
    return [
        Hard(
            picture(results.test_images[number]), number, names[labels[number]],
            names.get(taken[number].most_common(1)[0][0], "no class"), taken[number].total(),
        )
        for number in hard[:_HARDEST]
    ]  # fmt: skip


def _groups(records: Sequence[Record], results: Results, shown: Sequence[str]) -> list[Group]:
    """Return what is known of work that is alike: by networks, and by code if that was compared."""
    findings = _findings(results.folder / SIMILAR)
    made = []
    if findings is None:
        alike: dict[str, list[str]] = defaultdict(list)
        for record, name in zip(records, shown, strict=True):
            if record.content_sha256:
                alike[record.content_sha256].append(name)
        sets = [members for members in alike.values() if len(members) > 1]
        return [Group("the same network and recipe", sorted(members), []) for members in sets]
    called = [record.submission.called for record in records]
    names = dict(zip(called, shown, strict=True))
    for what, sets in (
        ("the same network and recipe", findings.same_recipe),
        ("the same network, with different recipes", findings.same_graph),
    ):
        made += [Group(what, sorted(names[k] for k in keys if k in names), []) for keys in sets]
    for group in findings.groups:
        pairs = [
            f"{names[pair.left]} and {names[pair.right]}: {pair.left_share:.0%} and "
            f"{pair.right_share:.0%} of their own code"
            for pair in group.pairs
            if pair.left in names and pair.right in names
        ]  # fmt: skip
        made.append(
            Group("code in common", sorted(names[k] for k in group.members if k in names), pairs)
        )
    return made


def _findings(path: Path) -> Findings | None:
    """Read what was compared; None if nothing was. Raises UsageFault where it cannot be read."""
    try:
        return escaped(msgspec.json.decode(path.read_bytes(), type=Findings))
    except FileNotFoundError:
        return None
    except UNREADABLE as error:
        raise UsageFault(
            "what the class shares cannot be read", expected="what `grade similar --out` wrote",
            found=str(error), where=str(path), help=f"write it anew, or remove {SIMILAR}",
        ) from None  # fmt: skip
