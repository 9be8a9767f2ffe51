"""Rich tables and paragraphs, and how they are made into plain text."""

from __future__ import annotations

import io
import shutil
from collections.abc import Container
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
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


def titled(*titles: str, right: Container[int] = ()) -> Table:
    """Return a table without rows yet; the columns at these places from 0 end at the `right`."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for at, title in enumerate(titles):
        made.add_column(title, justify="right" if at in right else "left", overflow="fold")
    return made


def terminal_width(otherwise: int = 80) -> int:
    """Return how many columns a person's terminal has, at least 80; `otherwise` without one."""
    return max(shutil.get_terminal_size((otherwise, 24)).columns, 80)


def rendered(parts: list[RenderableType], *, width: int, color: bool) -> str:
    """Return the parts below each other, at most `width` columns wide, with ANSI if `color`."""
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, force_terminal=color, color_system="standard" if color else None,
        highlight=False, emoji=False, markup=False,
    )  # fmt: skip
    console.print(Group(*parts))
    return "\n".join(line.rstrip() for line in stream.getvalue().split("\n")).rstrip("\n")
