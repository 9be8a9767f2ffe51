"""Templates made into pages: every value is escaped and bounded, and no page can load anything."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
_LONGEST = 1_500  # characters of any value: a submission may hold texts without end


def _bounded(value: object) -> object:
    """Cut a text that is too long to be read; what the page itself made stays whole."""
    if isinstance(value, str) and not isinstance(value, Markup) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]}… ({len(value) - _LONGEST:,} more characters)"
    return value


def _short(text: str, longest: int) -> str:
    """Cut a text to a line's length."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
    trim_blocks=True, lstrip_blocks=True, finalize=_bounded,
)  # fmt: skip
_ENVIRONMENT.filters["short"] = _short


def page(template: str, *, script: str = "", **values: Any) -> bytes:  # noqa: ANN401 - a template's
    """Return a page in UTF-8; `script` is the name of the one script that may run in it, if any."""
    code = (TEMPLATES / script).read_text(encoding="utf-8") if script else ""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    policy += f"; script-src 'sha256-{digest}'" * bool(script)
    made = _ENVIRONMENT.get_template(template).render(
        policy=policy,
        script=Markup(code),  # noqa: S704 - a file of ours
        **values,
    )
    return made.encode("utf-8", "replace")
