"""Names that others chose, made into names that are safe, readable and unique."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

_LONGEST_KEY = 60  # characters
_LONGEST_NAME = 120  # bytes of a part of a path
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?$", re.I)  # by Windows
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]')


def folded(text: str) -> str:
    """Return letters and digits alone: `José O'Neil` is `joseoneil`."""
    return "".join(character for character in _plain(text) if character.isalnum())


def words(name: str) -> list[str]:
    """Return the words of a person's name: `O'Neil, José` is `oneil`, `jose`."""
    return [word for part in re.split(r"[\s,_]+", name) if (word := folded(part))]


def tokens(stem: str) -> list[str]:
    """Return what stands between separators in a file's name."""
    return [token for part in re.split(r"[\W_]+", stem) if (token := folded(part))]


def slug(*texts: str) -> str:
    """Return lower-case letters, digits and single hyphens, at most 67 of them, never none.

    Texts that look alike differ: what is not ASCII, cut short or reserved gets the beginning of
    a hash.
    """
    whole = "-".join(filter(None, texts))
    made = re.sub(r"[\W_]+", "-", _plain(whole)).strip("-")
    short = made[:_LONGEST_KEY].strip("-")
    if short == made and made.isascii() and made and not _RESERVED.match(made):
        return made
    return f"{short or 'submission'}-{digest(whole)}"


def digest(text: str, digits: int = 6) -> str:
    """Return the first hexadecimal digits of a text's hash; any text has one."""
    whole = unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")
    return hashlib.sha256(whole).hexdigest()[:digits]


def unique_keys(candidates: Sequence[Sequence[str]]) -> list[str]:
    """Choose for each its first candidate that no other has; the last ones must differ.

    Those that collide are all given their next one, so that their order does not matter.
    """
    level = [0] * len(candidates)
    while True:
        keys = [each[at] for each, at in zip(candidates, level, strict=True)]
        counts = Counter(keys)
        movable = [
            index
            for index, key in enumerate(keys)
            if counts[key] > 1 and level[index] + 1 < len(candidates[index])
        ]
        if not movable:
            return keys
        for index in movable:
            level[index] += 1


def safe_names(names: Iterable[str]) -> list[str]:
    """Return relative paths that every file system takes and keeps apart, one for each name."""
    seen: set[str] = set()
    made = []
    for name in names:
        path = PurePosixPath(*map(_safe_part, name.split("/")))
        unique, number = path, 1
        while (text := unicodedata.normalize("NFC", str(unique)).casefold()) in seen:
            number += 1
            unique = path.with_name(f"{path.stem}-{number}{path.suffix}")
        seen.add(text)
        made.append(str(unique))
    return made


def _safe_part(part: str) -> str:
    part = _UNSAFE.sub("_", part.encode("utf-8", "replace").decode()).rstrip(". ")
    stem, dot, suffix = part.rpartition(".")
    end = (dot + suffix if stem and len(suffix) < 10 else "").encode()
    start = part.encode()[: len(part.encode()) - len(end)]
    short = start[: _LONGEST_NAME - len(end)].decode("utf-8", "ignore") + end.decode()
    short = short.rstrip(". ")  # once more: the cut may have left one
    return f"_{short}" if not short or _RESERVED.match(short) else short


def _plain(text: str) -> str:
    """Return a text in lower case and without accents."""
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFKD", text.encode("utf-8", "replace").decode())
    bare = "".join(c for c in parts if not unicodedata.category(c).startswith("M"))
    return unicodedata.normalize("NFC", bare).casefold()
