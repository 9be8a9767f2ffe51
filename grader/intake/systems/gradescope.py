"""Gradescope: a folder `submission_{N}` each, and `submission_metadata.yml` about all of them.

    submission_123:
      :submitters:
      - :name: Ada Lovelace
        :sid: '0012'
        :email: ada@example.org
      :created_at: 2024-12-05 11:49:00.123456000 Z
      :history: [...]

Keys are symbols of Ruby. Groups have several submitters. Only the last attempt is in it, and
`:history` tells of the earlier ones. With results in it such a file has many megabytes; it is
read event by event, so that nothing of it is built, and every scalar stays a text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from grader.intake.listing import Item, Unreadable
from grader.intake.systems.label import Label
from grader.person import Person

NAME = "gradescope"
METADATA = "submission_metadata.yml"
_MOST = 256 * 2**20  # bytes
_DEEPEST = 4  # keys above a scalar that is looked at

_Path = tuple[str, ...]


def labels(items: Sequence[Item]) -> dict[str, Label]:
    """Return what the metadata says of the names that lie beside it."""
    metadata = next((i for i in items if i.name == METADATA and not i.is_folder), None)
    if metadata is None:
        return {}
    names = {item.name for item in items}
    about: dict[str, dict[_Path, str]] = defaultdict(dict)
    try:
        data = metadata.read(_MOST)
    except Unreadable:
        return {}
    for path, value in scalars(data):
        if path[0] in names:
            about[path[0]][path[1:]] = value
    found = {name: _label(name, facts) for name, facts in about.items()}
    return found | ({METADATA: Label(METADATA, (), aside="Gradescope's metadata")} if found else {})


def _label(key: str, facts: dict[_Path, str]) -> Label:
    submitters: dict[str, dict[str, str]] = defaultdict(dict)
    earlier = set()
    for path, value in facts.items():
        match path:
            case (":submitters", at, what):
                submitters[at][what] = value
            case (":history", at, *_):
                earlier.add(at)
    people = tuple(
        Person(id=told.get(":sid", ""), name=told.get(":name", ""), email=told.get(":email", ""))
        for told in submitters.values()
    )
    number = re.sub(r"\D", "", key)
    return Label(
        who=key, slug=(str(people[0]) if people else "", number or key), people=people,
        number=len(earlier) + 1, submitted=_time(facts.get((":created_at",), "")),
        ids={"submission": key},
    )  # fmt: skip


def _time(text: str) -> str:
    """Return the time in ISO 8601, in UTC; Ruby writes nanoseconds."""
    match = re.fullmatch(r"(\S+) (\d\d:\d\d:\d\d)(\.\d{1,6})?\d* (Z|[+-]\d\d:\d\d)", text)
    try:
        parts = match.groups("") if match else ()
        return datetime.fromisoformat("{}T{}{}{}".format(*parts)).astimezone(UTC).isoformat()
    except (ValueError, IndexError, OverflowError):
        return ""


def scalars(data: bytes) -> Iterator[tuple[_Path, str]]:
    """Return the scalars of a YAML text with the keys that lead to them, as far as it is valid.

    Whatever is nested deeper than what is looked for, or is a mapping as a key, is passed over.
    """
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    anchors: dict[str | None, str] = {}
    stack: list[_Level] = []
    try:
        for event in yaml.parse(data, Loader=loader):
            if isinstance(event, yaml.CollectionEndEvent):
                stack.pop()
            elif isinstance(event, yaml.CollectionStartEvent):
                key = stack[-1].next("") if stack else None
                stack.append(_Level(isinstance(event, yaml.MappingStartEvent), key))
            elif isinstance(event, yaml.ScalarEvent | yaml.AliasEvent) and stack:
                if isinstance(event, yaml.ScalarEvent):
                    anchors[event.anchor] = value = event.value
                else:
                    value = anchors.get(event.anchor, "")
                key = stack[-1].next(value)
                if len(stack) <= _DEEPEST:
                    path = tuple(
                        k for k in (*(each.key for each in stack[1:]), key) if k is not None
                    )
                    if len(path) == len(stack):
                        yield path, value
    except (yaml.YAMLError, UnicodeError):
        return


class _Level:
    """A mapping or a sequence that is being read, and the key that led to it."""

    def __init__(self, is_mapping: bool, key: str | None) -> None:
        self.key = key
        self._is_mapping, self._pending, self._count = is_mapping, "", 0

    def next(self, value: str) -> str | None:
        """Return the key of the node that comes now; None if that node is a key itself."""
        self._count += 1
        if not self._is_mapping:
            return str(self._count - 1)
        if self._count % 2:
            self._pending = value
            return None
        return self._pending
