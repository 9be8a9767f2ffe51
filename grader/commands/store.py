"""The command for results of trainings that are kept."""

from __future__ import annotations

from collections.abc import Sequence

from grader.commands.shared import FAILED, Parser
from grader.options import path


def store(arguments: Sequence[str]) -> int:
    """Look at the results of trainings that are kept, carry them elsewhere, or remove some."""
    parser = Parser("grade store", description=store.__doc__)
    parser.add_argument("--store", metavar="DIR", type=path, help="as for `grade`")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="a line for each result")
    commands.add_parser("check", help="name those that are not whole; status 1 if there are any")
    for name, words in (("export", "write all to a new zip"), ("import", "take over from a zip")):
        commands.add_parser(name, help=words).add_argument("file", metavar="FILE", type=path)
    prune = commands.add_parser("prune", help="remove old results, and those that are not whole")
    prune.add_argument("--days", metavar="N", type=float, default=365, help="older (default: 365)")
    values = parser.parse_args(arguments)
    from grader import store_tools
    from grader.store import Store, default_place

    place = Store(values.store or default_place())
    match values.command:
        case "list":
            print(*store_tools.lines(place), f"in {place.place}", sep="\n")
        case "check":
            broken = store_tools.broken(place)
            print(*broken, f"{len(broken)} not whole", sep="\n")
            return FAILED if broken else 0
        case "export":
            print(f"{store_tools.exported(place, values.file)} written to {values.file}")
        case "import":
            new, refused = store_tools.imported(place, values.file)
            print(f"{new} new" + (f"; {refused} refused: not whole" if refused else ""))
        case "prune":
            print(f"{store_tools.pruned(place, values.days)} removed")
    return 0
