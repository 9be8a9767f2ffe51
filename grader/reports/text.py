"""Rich tables and paragraphs made into plain text."""

from __future__ import annotations

import io
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text


@dataclass(frozen=True)
class Item:
    """A paragraph behind a label; no line begins with it, because further ones are indented."""

    label: str
    text: str
    style: str = ""
    indent: int = 2

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Wrap the paragraph between words, and inside a word only where it is too long."""
        indent = self.indent if 2 * self.indent <= options.max_width else 2
        label, text = Text(self.label.ljust(indent), style=self.style), Text(self.text)
        if len(label) > indent:  # no room for it beside the paragraph
            label, text = Text(), Text.assemble(label, " ", text)
        lines = text.wrap(console, max(options.max_width - indent, 1), overflow="fold")
        for number, line in enumerate(lines):
            yield (Text(" " * indent) if number else label) + line


def rendered(parts: list[RenderableType], *, width: int, color: bool) -> str:
    """Return the parts below each other, at most `width` columns wide, with ANSI if `color`."""
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, force_terminal=color, color_system="standard" if color else None,
        highlight=False, emoji=False, markup=False,
    )  # fmt: skip
    console.print(Group(*parts))
    return "\n".join(line.rstrip() for line in stream.getvalue().split("\n")).rstrip("\n")
