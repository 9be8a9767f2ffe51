"""A secret of the course's: the seeds and masks of its trainings follow from it.

Without it the seed of a training follows from what a submission computes, and who changes that a
little at home until a lucky seed comes up has one. With it nobody outside can tell which seed a
submission will get; and once it is published, everybody can check that each got its own.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grader.datasets.mask import TURNS, Mask
from grader.errors import UsageFault

NAME = "salt"
"""What the file is called beside a rubric."""

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Salt:
    """The secret itself, 32 bytes; only its `sha256` gets into records."""

    secret: bytes

    @property
    def sha256(self) -> str:
        """What tells this salt from others, and nothing of it."""
        return hashlib.sha256(self.secret).hexdigest()

    def seed(self, content_sha256: str, run: int) -> int:
        """Return the seed of a run, counted from 1, of what computes this."""
        return int(self._made("seed", content_sha256, run)[:8], 16)

    def mask(
        self, content_sha256: str, run: int, classes: int, turns: Sequence[int] = TURNS
    ) -> Mask:
        """Return the mask of a run for so many classes, its turn being one of `turns`."""
        drawn = random.Random(self._made("mask", content_sha256, run))  # noqa: S311 - keyed above
        names = drawn.sample(range(classes), classes)
        return Mask(names, drawn.choice(turns or TURNS[:1]))

    def seal(self, content: bytes) -> str:
        """Return what only the holder of the salt can make of some content."""
        return hmac.new(self.secret, b"seal " + content, "sha256").hexdigest()

    def _made(self, what: str, content_sha256: str, run: int) -> str:
        message = f"{what} of {content_sha256}, run {run}".encode()
        return hmac.new(self.secret, message, "sha256").hexdigest()


def make(path: Path) -> Salt:
    """Write a new salt that only its owner can read; raises UsageFault where a file is already."""
    secret = os.urandom(32)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w") as opened:
            opened.write(secret.hex() + "\n")
    except OSError as error:
        raise UsageFault(
            "the salt cannot be written", expected="a new file in a folder that is there",
            found=str(error), where=str(path),
            help="choose another name; a salt that records depend on must not be replaced",
        ) from None  # fmt: skip
    return Salt(secret)


def load(path: Path) -> Salt:
    """Read a salt; raises UsageFault where there is none."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(path, str(error)) from None
    if not _HEX.fullmatch(text):
        raise _refused(path, f"{len(text)} characters of another kind")
    return Salt(bytes.fromhex(text))


def beside(rubric: Path | None) -> Path | None:
    """Return the salt that lies beside a rubric of one's own, if one does."""
    place = rubric.parent / NAME if rubric else None
    return place if place and place.is_file() else None


def asked_for(named: Path | None, rubric: Path | None) -> Salt | None:
    """Read the salt that is named, or else lies beside the rubric; raises UsageFault as `load`."""
    path = named or beside(rubric)
    return load(path) if path else None


def _refused(path: Path, found: str) -> UsageFault:
    return UsageFault(
        "this is no salt", expected="64 hexadecimal digits, as `grade salt FILE` writes them",
        found=found, where=str(path), help=f"make one: grade salt {path}",
    )  # fmt: skip
