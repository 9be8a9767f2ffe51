"""What submissions share, as text for the instructor; `render(findings) -> text`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from grader.escape import escaped
from grader.reports.text import Item, rendered
from grader.similarity.findings import Findings, Pair

_PAIRS = 10  # of a group that are written out
_PASSAGES = 3  # of a pair
_LISTED = 20  # of anything else
_PLANS = {
    "": "", "graph": "; the same network, with another recipe",
    "graph and recipe": "; the same network and recipe",
}  # fmt: skip


def render(findings: Findings, *, width: int = 80) -> str:
    """Return the evidence as text, at most `width` columns wide."""
    shown = escaped(findings)
    names = {one.key: one.name for one in shown.submissions}
    parts: list[RenderableType] = [
        *_sets("The same network and recipe", shown.same_recipe, names),
        *_sets("The same network, with different recipes", shown.same_graph, names),
        *_groups(shown, names),
        *_listed("Left out", shown.left_out),
        *_listed("Notes", shown.notes),
        Text(
            "These are passages to read side by side, and no verdict: who wrote what, and who was "
            "allowed to use it, a program cannot know."
        ),
    ]
    return rendered(parts, width=width, color=False)


def _sets(
    title: str, sets: Sequence[Sequence[str]], names: dict[str, str]
) -> Iterator[RenderableType]:
    yield from _listed(title, [", ".join(_name(key, names) for key in keys) for keys in sets])


def _listed(title: str, lines: Sequence[str]) -> Iterator[RenderableType]:
    if lines:
        yield Text(title, style="bold")
        yield from (Item("-", line) for line in lines[:_LISTED])
        if len(lines) > _LISTED:
            yield Item("-", f"{len(lines) - _LISTED} more")
        yield Text()


def _groups(findings: Findings, names: dict[str, str]) -> Iterator[RenderableType]:
    count = len(findings.submissions)
    yield Text(f"Groups that share code, among {count} submissions: {len(findings.groups)}")
    for number, group in enumerate(findings.groups, 1):
        members = ", ".join(_name(key, names) for key in group.members)
        yield Text()
        yield Item(f"{number}.", f"these share code: {members}", indent=len(str(number)) + 2)
        for pair in group.pairs[:_PAIRS]:
            yield from _pair(pair)
        if (more := len(group.pairs) - _PAIRS + group.further) > 0:
            yield Item("   -", f"{more} more pairs", indent=5)
    yield Text()


def _pair(pair: Pair) -> Iterator[RenderableType]:
    shares = (
        f"{pair.left_share:.0%} of the own code of {pair.left} is found in {pair.right}, "
        f"{pair.right_share:.0%} the other way{_PLANS[pair.plan]}"
    )
    yield Item("   -", shares, indent=5)
    for passage in pair.passages[:_PASSAGES]:
        where = f"{passage.tokens} tokens: {passage.left} | {passage.right}"
        yield Item("", where, indent=7)


def _name(key: str, names: dict[str, str]) -> str:
    return f"{key} ({names[key]})" if names.get(key) else key
