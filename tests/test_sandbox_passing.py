"""Lines that fail inside a function or a loop are passed over where a training depends on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.plan.schema import Description
from tests.describing import described_here
from tests.reading import TRAIN, net, script
from tests.test_sandbox_watch_habits import LOADER, MADE

MAIN = """\
def main():
    {before}
    model = Net()
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    for epoch in range(7):
        {ahead}
        train(model, 'cpu', train_loader, optimizer, epoch)
        {after}
main()
"""


def main(folder: Path, *, before: str = "", ahead: str = "", after: str = "") -> Description:
    """Describe a script whose `main` trains, with lines of its own around that."""
    lines = {"before": before or "pass", "ahead": ahead or "pass", "after": after or "pass"}
    return described_here(script(folder, net(), TRAIN, LOADER, MAIN.format(**lines)))


@pytest.mark.parametrize(
    "line",
    [
        "open('/nowhere/classes.names').read()",
        "raise_it = {}['nothing']",
        "(1).look()",
        "exit(1)",
        "first, (second, third) = [][0]",
    ],
)
@pytest.mark.parametrize("where", ["before", "ahead", "after"])
def test_a_line_that_fails_is_passed_over(tmp_path: Path, line: str, where: str) -> None:
    """A look at something that is not there ends no training, and a note tells of it."""
    found = main(tmp_path, **{where: line})
    assert (found.model.class_name, found.epochs, found.level) == ("Net", 7, "rebuilt")
    (note,) = (n for n in found.notes if "passed over" in n)
    assert line in note


def test_what_a_failed_line_was_to_give_is_nothing(tmp_path: Path) -> None:
    """What is done with a value that is not there does nothing, either."""
    found = main(tmp_path, before="names = open('/nowhere').read().split()", after="names.sort()")
    assert found.epochs == 7


@pytest.mark.parametrize(
    ("line", "made", "reason"),
    [("w = {}['w']", "Net(w)", "KeyError"), ("n = int('x')", "Net() if n else None", "base 10")],
)
def test_a_training_that_cannot_be_is_told_by_its_first_error(
    tmp_path: Path, line: str, made: str, reason: str
) -> None:
    """Where a network depends on a line that fails, or nothing learns past it, it is the reason."""
    main = MAIN.format(before=line, ahead="pass", after="pass").replace("Net()", made)
    found = described_here(script(tmp_path, net(), TRAIN, LOADER, main))
    assert found.epochs is None
    assert any("did not run" in note and reason in note for note in found.notes)
    assert not any("passed over" in note for note in found.notes)


def test_an_unknown_name_is_never_passed_over(tmp_path: Path) -> None:
    """Nothing of ours makes a name unknown: the file is wrong."""
    found = main(tmp_path, after="unknown_function(model)")
    assert not any("passed over" in note for note in found.notes)
    assert any("NameError" in note for note in found.notes)


def test_errors_that_are_expected_happen(tmp_path: Path) -> None:
    """What stands in a `try` of the submission's own raises as ever."""
    line = "try: size = int('x')\n    except ValueError: size = 3\n    assert size == 3"
    found = main(tmp_path, before=line, after="{}['x']")
    assert found.epochs == 7


def test_a_training_at_the_top_of_a_file_is_no_function(tmp_path: Path) -> None:
    """Lines of a loop at the top of a file are passed over as well."""
    loop = "for epoch in range(4):\n    train(model, 'cpu', train_loader, optimizer, epoch)\n"
    found = described_here(script(tmp_path, net(), TRAIN, LOADER, MADE, loop + "    [][1]\n"))
    assert (found.epochs, found.level) == (4, "rebuilt")
