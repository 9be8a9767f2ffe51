"""Lines that fail inside a function or a loop are passed over where a training depends on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.plan.schema import Description
from tests.describing import described_here
from tests.reading import TRAIN, net, script
from tests.test_sandbox_watch_habits import LOADER, MADE

pytestmark = pytest.mark.slow  # each runs a training in a process of its own

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


@pytest.mark.parametrize(
    ("body", "epochs"),
    [
        ("try:\n        for i in range(9):\n            {}[i]\n    except KeyError: pass", 7),
        ("try: fallback()\n    except KeyError: n = 3", 7),
        ("n: int = {}['n']\n    n += 1", 7),
        ("first, *rest = {}['n']\n    list(rest)", 7),
        ("while len(seen) < 3: seen.append({}[0])", None),
    ],
)
def test_ways_of_failing(tmp_path: Path, body: str, epochs: int | None) -> None:
    """Handlers of the file's own run, whatever is bound is bound, and no loop goes on for ever."""
    helper = "seen = []\ndef fallback():\n    return {}['x']\n"
    text = MAIN.format(before=body, ahead="pass", after="{}['y']")
    found = described_here(script(tmp_path, net(), TRAIN, LOADER, helper, text))
    assert found.epochs == epochs
    assert not any("TooSlow" in note or "after 20 s" in note for note in found.notes)


def test_a_second_run_begins_where_the_first_did(tmp_path: Path) -> None:
    """Counts and lists that a statement moved are moved back before it is run once more."""
    loop = (
        "epoch, rates, log = 0, [], {}\nwhile epoch < 6:\n"
        "    train(model, 'cpu', train_loader, optimizer, epoch)\n"
        "    epoch += 1\n    rates.append(epoch)\n    log['missing']\n"
        "assert rates == [1, 2, 3, 4, 5, 6]\n"
    )
    found = described_here(script(tmp_path, net(), TRAIN, LOADER, MADE, loop))
    assert found.epochs == 6
    assert not any("did not run" in note for note in found.notes)


def test_a_form_that_did_not_help_is_left(tmp_path: Path) -> None:
    """One cell that a network cannot run changes no images of those that follow."""
    data = (
        "class Own(torch.utils.data.Dataset):\n    transform = transforms.ToTensor()\n"
        "    def __init__(self): self.rows = open('/nowhere').read()\n"
        "    def __len__(self): return len(self.rows)\n"
        "    def __getitem__(self, i): return self.rows[i]\n"
        "train_loader = torch.utils.data.DataLoader(Own(), 50)\n"
    )
    trial = "for x, y in train_loader: nn.Linear(3, 4)(x)\n"
    main = "def main():\n" + "".join(f"    {line}\n" for line in trial.splitlines()) + "main()\n"
    fit = "for epoch in range(4):\n    train(model, 'cpu', train_loader, optimizer, epoch)\n"
    found = described_here(script(tmp_path, net(), TRAIN, data, main, MADE, fit))
    assert (found.epochs, found.batch_size, found.level) == (4, 50, "rebuilt")
