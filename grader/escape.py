"""Make text that did not come from the grader harmless to show, and all text possible to show.

Reports escape a whole Record, or event, before they look at it: no field can be forgotten.
"""

from __future__ import annotations

import codecs
import re
from typing import TextIO, TypeVar, cast

import msgspec

_T = TypeVar("_T")

# Python calls these printable, and a terminal shows nothing: Unicode's default ignorables.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
# What the log readers of CI services obey: `##[group]` and `##teamcity[` anywhere in a line,
# `::error` at its beginning, which is where a word goes that did not fit the line before.
_COMMAND = re.compile(r"#(?=#\w*\[)|:(?=:[^\W\d])")

_READABLE = str.maketrans(
    {
        "✓": "+", "✗": "x", "×": "x", "–": "-", "—": "-", "−": "-", "─": "-", "│": "|", "→": ">",
        "·": ".", "…": "...", "±": "+/-", "≤": "<=", "≥": ">=", "≈": "~", "°": " degrees",
        "µ": "u", "‘": "'", "’": "'", "“": '"', "”": '"', "•": "*", "\xa0": " ",
    }
)  # fmt: skip
_HANDLER = "grader.readable"


def safe(text: str) -> str:
    r"""Return the text in one line that no terminal and no CI obeys: `\n` for a new line."""
    visible = "".join(c if c.isprintable() else _code(c) for c in text)
    return _COMMAND.sub(_hidden, _INVISIBLE.sub(_hidden, visible))


def escaped(value: _T) -> _T:
    """Return a structure with `safe` applied to every string in it, however deep."""
    made: object = value
    if isinstance(value, str):
        made = safe(value)
    elif isinstance(value, msgspec.Struct):
        fields = {name: escaped(getattr(value, name)) for name in value.__struct_fields__}
        made = msgspec.structs.replace(value, **fields)
    elif isinstance(value, dict):
        made = {escaped(key): escaped(item) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        made = type(value)(map(escaped, value))
    return cast(_T, made)


def write_readably(stream: TextIO) -> None:
    r"""Let a stream write `x` for `×`, and `\u4e2d` for `中`, where its encoding lacks them."""
    if hasattr(stream, "reconfigure"):  # a test's stream may not
        stream.reconfigure(errors=_HANDLER)


def _code(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _hidden(match: re.Match[str]) -> str:
    """Return a code for one character, also where the character is plain ASCII."""
    return _code(match[0]) if not match[0].isascii() else f"\\x{ord(match[0]):02x}"


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Handle an encoding error of a stream: give readable ASCII for what it cannot hold."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end].translate(_READABLE)
    return "".join(c if c.isascii() else _code(c) for c in lost), error.end


codecs.register_error(_HANDLER, _replace)
