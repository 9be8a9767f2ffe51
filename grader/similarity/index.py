"""Which submissions share fingerprints: an inverted index, counted row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grader.similarity.code import Code
from grader.similarity.findings import Passage
from grader.similarity.fingerprints import Hashes, K

_PASSAGES = 5  # longest ones, of a pair
_NONE = np.zeros(0, np.uint64)


def frequent(codes: Sequence[Code], people: Sequence[int]) -> Hashes:
    """Return, sorted, the runs of tokens that more than half of the people have."""
    by_person: dict[int, list[Hashes]] = {}
    for code, person in zip(codes, people, strict=True):
        by_person.setdefault(person, []).append(code.grams)
    each = [np.unique(np.concatenate(found)) for found in by_person.values()]
    runs, counts = np.unique(np.concatenate([_NONE, *each]), return_counts=True)
    return runs[counts > len(by_person) / 2]


def among(hashes: Hashes, known: Hashes) -> NDArray[np.bool_]:
    """Tell of each hash whether it is in `known`, which is sorted."""
    if not len(known):
        return np.zeros(len(hashes), np.bool_)
    found: Hashes = known[np.searchsorted(known, hashes).clip(max=len(known) - 1)]
    return np.equal(found, hashes)


class Shared(NamedTuple):
    """How many fingerprints two submissions share, by their places in a list; left < right."""

    left: int
    right: int
    common: int


def shared(prints: Sequence[Hashes], share: float, least: int) -> list[Shared]:
    """Return the pairs that share so large a part of what one of the two has.

    `prints` are distinct fingerprints. The memory needed grows with their number and not with that
    of pairs, but for those returned.
    """
    sizes = np.array([len(found) for found in prints], np.int64)
    hashes, ids = np.unique(np.concatenate([_NONE, *prints]), return_inverse=True)
    owners = np.repeat(np.arange(len(prints)), sizes)
    order = np.argsort(ids, kind="stable")
    listed, counts = owners[order], np.bincount(ids, minlength=len(hashes))
    starts = np.cumsum(counts) - counts
    ends = np.cumsum(sizes)
    found = []
    for left in range(len(prints)):
        own = ids[ends[left] - sizes[left] : ends[left]]
        own = own[counts[own] > 1]
        row = np.bincount(listed[_ranges(starts[own], counts[own])], minlength=len(prints))
        row[: left + 1] = 0
        smaller = np.minimum(sizes, sizes[left])
        for right in np.flatnonzero((row >= least) & (row >= share * smaller)):
            found.append(Shared(left, int(right), int(row[right])))
    return found


def _ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `start, start + 1, …` for each start, one after the other."""
    before = np.cumsum(counts) - counts
    ranges: NDArray[np.int64] = np.arange(counts.sum()) + np.repeat(starts - before, counts)
    return ranges


def passages(left: Code, right: Code, known: Hashes) -> list[Passage]:
    """Return the longest passages that two have in common; the longest has most not in `known`.

    They begin and end with what is not in `known`.
    """
    matched = _matched(left.grams.tolist(), right.grams.tolist())
    here = np.flatnonzero(matched >= 0)
    there = matched[here]
    own = ~among(left.grams[here], known)
    # A passage goes on where both go on to the next token, and in the same file.
    steps = [np.diff(x) == 1 for x in (here, there, left.begins[here], right.begins[there])]
    passage = np.cumsum(np.concatenate([[True], ~np.logical_and.reduce(steps)])[: len(here)])
    _, begins, counts = np.unique(passage[own], return_index=True, return_counts=True)
    places = np.flatnonzero(own)
    found = []
    for i in np.argsort(-counts, kind="stable")[:_PASSAGES]:
        start, end = places[begins[i]], places[begins[i] + counts[i] - 1]
        found.append(
            Passage(
                int(end - start) + K, left.place(here[start], here[end]),
                right.place(there[start], there[end]),
            )
        )  # fmt: skip
    return found


def _matched(left: Sequence[int], right: Sequence[int]) -> NDArray[np.int64]:
    """Return for each of the left its place in the right, or -1.

    Of several places it is the one that goes on from the place before, or else the first.
    """
    first = {gram: at for at, gram in reversed([*enumerate(right)])}
    places, at = [], -1
    for gram in left:
        at = at + 1 if 0 <= at < len(right) - 1 and right[at + 1] == gram else first.get(gram, -1)
        places.append(at)
    return np.array(places, np.int64)


def connected(
    pairs: Sequence[tuple[int, int]], count: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the groups that pairs connect, of at least two, and for each its pairs, by place.

    The pairs that were needed to connect a group come before the rest, in the order given.
    """
    root = list(range(count))

    def find(at: int) -> int:
        while root[at] != at:
            root[at] = at = root[root[at]]
        return at

    needed = []
    for left, right in pairs:
        a, b = find(left), find(right)
        needed.append(a != b)
        root[max(a, b)] = min(a, b)
    members: dict[int, list[int]] = {}
    for at in range(count):
        members.setdefault(find(at), []).append(at)
    inside: dict[int, list[int]] = {}
    for place in sorted(range(len(pairs)), key=lambda place: not needed[place]):
        inside.setdefault(find(pairs[place][0]), []).append(place)
    for top, places in inside.items():
        yield members[top], places
