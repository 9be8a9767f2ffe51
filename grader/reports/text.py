"""Text of a submission made fit to be shown, and rich tables made into plain text."""

from __future__ import annotations

import io

from rich.console import Console, Group, RenderableType


def safe(text: str) -> str:
    """Show what a submission wrote without obeying it: control characters become visible."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def rendered(parts: list[RenderableType], *, width: int, color: bool) -> str:
    """Return the parts below each other, at most `width` columns wide, with ANSI if `color`."""
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, force_terminal=color, color_system="standard" if color else None,
        highlight=False, emoji=False, markup=False,
    )  # fmt: skip
    console.print(Group(*parts))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())
