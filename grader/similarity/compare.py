"""From the code of a class to what its submissions share."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from grader.similarity.code import Code, Source, code_of
from grader.similarity.findings import Compared, Findings, Group, Pair, Plan
from grader.similarity.fingerprints import Hashes
from grader.similarity.index import among, connected, frequent, passages, shared

THRESHOLD = 0.5  # of the own code of one of the two; docs/class.md tells why
LEAST = 12  # shared fingerprints, which are some 120 tokens: shorter code is alike by chance
SMALLEST_CLASS = 5  # people; in a smaller class, what more than half share may be what two share
_NAMED = 20  # submissions or files that a sentence names
_PAIRS = 20  # of a group that are shown beside those that connect it


@dataclass(frozen=True)
class Submission:
    """One submission; whoever handed in two of them is in the `people` of both.

    `recipe` stands for what its plan computes, `graph` for the network alone; both are empty where
    no record tells.
    """

    key: str
    name: str
    people: frozenset[str]
    source: Source
    recipe: str = ""
    graph: str = ""


def compare(submissions: Iterable[Submission], staff: Sequence[Source] = ()) -> Findings:
    """Return what submissions of different people share; their order does not matter."""
    class_ = sorted(submissions, key=lambda submission: submission.key)
    people = _people(class_)
    codes = [code_of(submission.source) for submission in class_]
    given = _distinct([code_of(source).grams for source in staff])
    is_class = len(set(people)) >= SMALLEST_CLASS
    common = np.setdiff1d(frequent(codes, people), given) if is_class else _distinct([])
    known = np.union1d(given, common)
    prints = [np.unique(code.grams[code.prints]) for code in codes]
    own = [each[~among(each, known)] for each in prints]
    compared = [
        Compared(
            one.key, one.name, len(whole), int(among(whole, common).sum()),
            int(among(whole, given).sum()), len(left), one.source.templates, one.source.notes,
        )
        for one, whole, left in zip(class_, prints, own, strict=True)
    ]  # fmt: skip
    same_recipe, often = _sets([one.recipe for one in class_], class_, people)
    same_graph, oftener = _sets([one.graph for one in class_], class_, people)
    left_out = list(_left_out(class_, compared, people))
    for what, counts in (("network and recipe", often), ("network", oftener)):
        left_out += [f"a {what} that {n} share, more than half of the class" for n in counts]
    return Findings(
        compared, same_recipe, [keys for keys in same_graph if keys not in same_recipe],
        _groups(class_, codes, own, known), left_out, threshold=THRESHOLD, least=LEAST,
    )  # fmt: skip


def _distinct(hashes: Sequence[Hashes]) -> Hashes:
    return np.unique(np.concatenate([np.zeros(0, np.uint64), *hashes]))


def _people(class_: Sequence[Submission]) -> list[int]:
    """Return a number for each submission, equal where people in common lead from one to another.

    A class is counted by it: what few people handed in often is not frequent.
    """
    first: dict[str, int] = {}
    pairs = [
        (first.setdefault(person, at), at)
        for at, submission in enumerate(class_)
        for person in sorted(submission.people)
    ]
    numbers = list(range(len(class_)))
    for members, _ in connected(pairs, len(class_)):
        for at in members:
            numbers[at] = members[0]
    return numbers


def _sets(
    values: Sequence[str], class_: Sequence[Submission], people: Sequence[int]
) -> tuple[list[list[str]], list[int]]:
    """Return the keys of different people whose values are equal.

    What more than half of the class has is left out; of that, how many submissions have it.
    """
    found: dict[str, list[int]] = {}
    for at, value in enumerate(values):
        found.setdefault(value, []).append(at)
    found.pop("", None)
    size = len(set(people))
    sets, often = [], []
    for places in found.values():
        count = len({people[at] for at in places})
        if size >= SMALLEST_CLASS and count > size / 2:
            often.append(len(places))
        elif any(_differ(class_[a], class_[b]) for a, b in itertools.combinations(places, 2)):
            sets.append([class_[at].key for at in places])
    return sets, often


def _differ(one: Submission, other: Submission) -> bool:
    """Tell whether nobody handed in both."""
    return one.people.isdisjoint(other.people)


def _left_out(
    class_: Sequence[Submission], compared: Sequence[Compared], people: Sequence[int]
) -> Iterator[str]:
    """Say what was not looked at, in words."""
    whole = sum(one.fingerprints for one in compared) or 1
    size = len(set(people))
    if size >= SMALLEST_CLASS:
        part = sum(one.common for one in compared) / whole
        yield f"code that more than half of {size} people share: {part:.0%} of all code"
    else:
        yield (
            f"nothing as common to all: of fewer than {SMALLEST_CLASS} people, that may be what "
            "two of them share"
        )
    if part := sum(one.staff for one in compared) / whole:
        yield f"code that stands in files of the staff: {part:.0%} of all code"
    for one in compared:
        if one.templates:
            yield f"files as the staff gave them: {one.key}: {_some(one.templates)}"
    several = Counter(person for one in class_ for person in one.people)
    if again := [one.key for one in class_ if any(several[person] > 1 for person in one.people)]:
        yield f"pairs by one person, who handed in several: {_some(again)}"
    if short := [one.key for one in compared if one.own < LEAST]:
        yield f"too little code of their own to be compared: {_some(short)}"
    for one in compared:
        yield from (f"{one.key}: {note}" for note in one.notes)


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more


def _groups(
    class_: Sequence[Submission], codes: Sequence[Code], own: Sequence[Hashes], known: Hashes
) -> list[Group]:
    found = shared(own, THRESHOLD, LEAST)
    found = [pair for pair in found if _differ(class_[pair.left], class_[pair.right])]
    found.sort(key=lambda pair: -pair.common / min(len(own[pair.left]), len(own[pair.right])))
    groups = []
    for members, places in connected([(pair.left, pair.right) for pair in found], len(class_)):
        shown = sorted(places[: len(members) - 1 + _PAIRS])
        pairs = [
            Pair(
                class_[pair.left].key, class_[pair.right].key, pair.common,
                pair.common / len(own[pair.left]), pair.common / len(own[pair.right]),
                _plan(class_[pair.left], class_[pair.right]),
                passages(codes[pair.left], codes[pair.right], known),
            )
            for pair in (found[place] for place in shown)
        ]  # fmt: skip
        keys = [class_[at].key for at in members]
        groups.append(Group(keys, pairs, further=len(places) - len(shown)))
    return groups


def _plan(left: Submission, right: Submission) -> Plan:
    if left.recipe and left.recipe == right.recipe:
        return "graph and recipe"
    return "graph" if left.graph and left.graph == right.graph else ""
