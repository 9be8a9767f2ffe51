"""The submissions that lie in a folder or in the download of a system."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from grader.errors import UsageFault
from grader.intake import listing
from grader.intake.entries import Stray
from grader.intake.listing import Item, Unreadable
from grader.intake.names import digest, slug
from grader.intake.systems import recognise
from grader.intake.systems.label import Label
from grader.submission.files import check_path

_NESTED = 3  # folders around a download that are looked into


@dataclass(frozen=True)
class Draft:
    """An entry without its key; `keys` are those it could have.

    `named` are its files and folders with the names they had, `beside` what belongs to it and is
    not graded, with the reason.
    """

    system: str
    label: Label
    keys: tuple[str, ...]
    named: Sequence[tuple[str, Item]]
    beside: Sequence[tuple[Item, str]] = ()
    notes: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """What the first file is called, without its ending."""
        return self.named[0][1].stem


@dataclass
class Finding:
    """What has been found so far; archives stay open as long as `opened`."""

    opened: contextlib.ExitStack
    drafts: list[Draft] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_alone(self, path: Path) -> None:
        """Add a submission that was named by itself; its key has its folder's name as well."""
        check_path(path)
        item = Item(listing.text(path.name), path.is_dir(), path)
        self._add_plain(item, "path", (listing.text(path.parent.name), item.stem), str(path))

    def add_all(self, path: Path) -> None:
        """Add the submissions of a folder or a `.zip`. Raises UsageFault."""
        check_path(path)
        before = len(self.drafts)
        try:
            items, strays = listing.listed(path, self.opened)
        except Unreadable as error:
            raise UsageFault(
                f"{path.name} is no collection of submissions", expected="a folder, or a .zip",
                found=str(error), where=str(path), help="download it again, or give a folder",
            ) from None  # fmt: skip
        self.strays += strays
        self._read(_unwrapped(items), "")
        if len(self.drafts) == before:
            raise UsageFault(
                f"{path.name} holds no submissions",
                expected="scripts, notebooks, folders or archives, or the download of a system",
                found=f"{len(items)} names, none of these", where=str(path),
                help="give the folder in which the submissions lie",
            )  # fmt: skip

    def _read(self, items: Sequence[Item], where: str) -> None:
        """Add what lies in a folder; `where` is the name of a download inside the collection."""
        left = [item for item in items if not item.why_not]
        system, labels = recognise(left)
        for item in items:
            if item.why_not or (item.name not in labels and not item.is_candidate):
                why = item.why_not or "no script, notebook, folder or archive"
                self.strays.append(Stray(item.place, why))
            elif item.name in labels:
                continue
            elif not system and not where and (found := self._download(item)):
                self.strays += found[1]
                self._read(found[0], item.name)
            else:
                note = f"its name is not one of {system.title()}'s" if system else ""
                raw = item.name if item.inside else item.path.name
                self._add_plain(item, "folder", (item.stem,), f"{where}/{raw}", note)
        if system:
            self._add_download([i for i in left if i.name in labels], system, labels, where)

    def _download(self, item: Item) -> tuple[list[Item], list[Stray]] | None:
        """List a folder or an archive if it is the download of several people, and nothing else.

        An archive inside an archive is not looked into.
        """
        with contextlib.suppress(Unreadable), contextlib.ExitStack() as kept:
            if item.suffix == ".zip" and not item.inside:
                items, strays = listing.listed(item.path, kept, listing.MAX_NESTED_LIST)
            else:
                items, strays = (item.children() if item.is_folder else []), []
            items = _unwrapped(items)
            inner = [each for each in items if not each.why_not]
            _, labels = recognise(inner)
            people = {label.who for label in labels.values() if not label.aside}
            if len(people) > 1 and all(i.name in labels for i in inner if i.is_candidate):
                self.opened.push(kept.pop_all())
                return items, strays
        return None

    def _add_plain(
        self, item: Item, system: str, parts: tuple[str, ...], identity: str, note: str = ""
    ) -> None:
        key = slug(*parts)
        longer = slug(key, item.suffix.strip(".") or "folder")
        keys = (key, longer, f"{longer}-{digest(identity, 12)}")
        notes = (note,) if note else ()
        self.drafts.append(Draft(system, Label("", ()), keys, [(item.name, item)], (), notes))

    def _add_download(
        self, items: Sequence[Item], system: str, labels: Mapping[str, Label], where: str
    ) -> None:
        """Add what each person handed in last."""
        people: dict[str, dict[str, list[Item]]] = defaultdict(lambda: defaultdict(list))
        for item in items:
            label = labels[item.name]
            if label.slug:
                people[label.who][label.attempt].append(item)
            else:
                self.strays.append(Stray(item.place, label.aside))
        for who, attempts in people.items():
            key = slug(*labels[next(iter(attempts.values()))[0].name].slug)
            inside = slug(key, where.removesuffix(".zip"))
            keys = (key, inside, f"{key}-{digest(f'{where}/{system}/{who}', 12)}")
            self.drafts.append(_of_person(system, keys, attempts, labels))
        place = f" in {where}" if where else ""
        self.notes.append(f"{system.title()}{place}: {len(people)} submissions")


def _of_person(
    system: str, keys: tuple[str, ...], attempts: Mapping[str, Sequence[Item]],
    labels: Mapping[str, Label],
) -> Draft:  # fmt: skip
    """Return the last attempt: its code, or all of it where there is none."""
    *earlier, last = (attempts[at] for at in sorted(attempts))
    own = [item for item in last if not labels[item.name].aside] or last
    graded = [item for item in own if item.is_candidate] or own
    kept = set(graded)
    rest = [item for item in last if item not in kept]
    beside = [(item, labels[item.name].aside or "not code") for item in rest]
    beside += [
        (item, f"superseded: attempt {number} of {len(attempts)}")
        for number, items in enumerate(earlier, 1)
        for item in items
    ]
    named = [(labels[item.name].file or item.name, item) for item in graded]
    label = labels[graded[0].name]
    if label.attempt:
        label = replace(label, number=len(attempts))
    return Draft(system, label, keys, named, beside)


def _unwrapped(items: list[Item]) -> list[Item]:
    """Return what lies in the one folder that is there.

    In an archive that is what most tools make of a folder. On a disk it may be a submission, and
    is looked into only if a download lies in it.
    """
    for depth in range(_NESTED):
        inner = [item for item in items if not item.why_not]
        if len(inner) != 1 or not inner[0].is_folder or recognise(inner)[0]:
            break
        with contextlib.suppress(Unreadable):
            below = inner[0].children()
            if (inner[0].inside and depth == 0) or recognise(below)[0]:
                items = [*(item for item in items if item is not inner[0]), *below]
    return items
