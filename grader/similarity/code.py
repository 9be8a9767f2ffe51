"""The code of a submission, read from its files and made into fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grader.errors import SubmissionError
from grader.similarity.findings import Place
from grader.similarity.fingerprints import Hashes, K, grams, winnow
from grader.similarity.tokens import tokens_of
from grader.submission.files import KINDS, handed_in, label_of
from grader.submission.source import texts

MAX_CHARACTERS = 500_000  # of a submission; a person writes a tenth of it at most


@dataclass(frozen=True)
class Source:
    """The code of a submission as text: for each file its scripts or cells, with their labels.

    `templates` are files that staff handed out and that were left as they were; `notes` tell what
    was not read.
    """

    files: list[list[tuple[str, str]]] = field(default_factory=list)
    templates: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    hashes: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Code:
    """What is compared of a submission.

    `grams` are the hashes of all runs of K tokens within a file, `begins` the tokens they begin at,
    `prints` the places of the fingerprints among them. For each token there is its line, and the
    text it stands in, whose label is in `labels`.
    """

    labels: Sequence[str]
    grams: Hashes
    begins: NDArray[np.int32]
    prints: NDArray[np.int64]
    lines: NDArray[np.int32]
    texts: NDArray[np.int32]

    def place(self, first: int, last: int) -> Place:
        """Return where the runs between two places, both included, stand."""
        start, end = self.begins[first], self.begins[last] + K - 1
        labels = (self.labels[self.texts[token]] for token in (start, end))
        return Place(next(labels), int(self.lines[start]), next(labels), int(self.lines[end]))


def read(path: Path, templates: Container[str] = ()) -> Source:
    """Read a submission as text, without files whose SHA-256 is among `templates`.

    Raises SubmissionError where nothing of it can be read, UsageFault where nothing lies there.
    """
    source, left = Source(), MAX_CHARACTERS
    with handed_in(path) as files:
        source.notes.extend(files.notes)
        for name in sorted(files.table):
            label = label_of(name)
            try:
                data = files.read(name)
                found = texts(name, label, data)
            except SubmissionError as error:
                source.notes.append(error.message)
                continue
            digest = hashlib.sha256(data).hexdigest()
            source.hashes.add(digest)
            if digest in templates:
                source.templates.append(label)
                continue
            if sum(len(text) for _, text in found) > left:
                source.notes.append(
                    f"only its first {MAX_CHARACTERS:,} characters of code are compared"
                )
            source.files.append([])
            for place, text in found:
                source.files[-1].append((place, text[:left]))
                left -= len(source.files[-1][-1][1])
            if not left:
                break
    if not source.files and not source.templates:
        raise SubmissionError(
            "; ".join(source.notes) or "it holds no code", expected=KINDS, found="nothing to read",
            where=str(path),
        )  # fmt: skip
    return source


def code_of(source: Source) -> Code:
    """Return the code of a submission as hashes."""
    labels = [label for file in source.files for label, _ in file]
    parts: list[tuple[NDArray[np.generic], ...]] = []
    tokens = runs = seen = 0
    for file in source.files:
        found = tokens_of([text for _, text in file])
        hashes = grams(found.codes)
        if len(hashes):
            begins = np.arange(len(hashes), dtype=np.int32) + np.int32(tokens)
            prints = winnow(hashes) + runs
            parts.append((hashes, begins, prints, found.lines, found.texts + np.int32(seen)))
            tokens, runs = tokens + len(found.codes), runs + len(hashes)
        seen += len(file)
    kinds = (np.uint64, np.int32, np.int64, np.int32, np.int32)
    empty = tuple(np.zeros(0, kind) for kind in kinds)
    joined = [np.concatenate(column) for column in zip(empty, *parts, strict=True)]
    return Code(labels, *joined)
